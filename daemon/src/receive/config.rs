//! The `[receive]` section of the configuration.

use crate::domain::AeTitle;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where instances come from and what a peer may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the DICOM listener. The default is reachable from this machine only: whoever
    /// opens it to a network decides so.
    pub bind: SocketAddr,
    /// The daemon's own AE title.
    pub ae_title: AeTitle,
    /// Accept associations called by any title, for peers whose configuration can't be changed.
    pub accept_any_called_ae: bool,
    /// Calling AE titles that may associate; empty: any.
    pub allowed_calling_ae: Vec<AeTitle>,
    /// Associations served at the same time; one more is rejected as a transient condition, so that the
    /// peer tries again.
    pub max_associations: usize,
    /// Longest P-DATA-TF accepted and announced to peers, in bytes.
    pub max_pdu_bytes: u32,
    /// Largest instance accepted, in bytes; streamed to disk, never held in memory.
    pub max_object_bytes: u64,
    /// A connection must bring its whole association request within this time.
    pub request_timeout_s: u64,
    /// An association that brings no whole PDU for this long is aborted.
    pub idle_timeout_s: u64,
    /// An association older than this is aborted, whatever it does.
    pub association_timeout_s: u64,
    /// At a stop, running associations may go on for this long before they are aborted.
    pub shutdown_grace_s: u64,
    /// A folder whose DICOM files are taken in as if they had been sent; absent: none.
    pub watch_folder: Option<PathBuf>,
    /// Time between two looks into the watched folder; a file is taken when it looks the same twice.
    pub watch_interval_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            bind: SocketAddr::from(([127, 0, 0, 1], 11112)),
            ae_title: AeTitle::try_from("MODICD".to_owned())
                .expect("the default AE title is valid"),
            accept_any_called_ae: false,
            allowed_calling_ae: Vec::new(),
            max_associations: 16,
            max_pdu_bytes: 131_072,
            max_object_bytes: 256 << 20,
            request_timeout_s: 10,
            idle_timeout_s: 60,
            association_timeout_s: 3600,
            shutdown_grace_s: 10,
            watch_folder: None,
            watch_interval_s: 5,
        }
    }
}

/// A value that can't work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("receive.{key} must lie between {min} and {max}, but is {value}")]
pub struct ConfigError {
    key: &'static str,
    min: u64,
    max: u64,
    value: u64,
}

impl Config {
    /// Checks that every number lies in its range.
    ///
    /// # Errors
    /// The first key out of range, with the range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const DAY_S: u64 = 86_400;
        let ranges = [
            ("max_associations", self.max_associations as u64, 1, 256),
            ("max_pdu_bytes", self.max_pdu_bytes.into(), 4096, 1 << 20),
            ("max_object_bytes", self.max_object_bytes, 1 << 20, 4 << 30),
            ("request_timeout_s", self.request_timeout_s, 1, DAY_S),
            ("idle_timeout_s", self.idle_timeout_s, 1, DAY_S),
            ("association_timeout_s", self.association_timeout_s, 1, DAY_S),
            ("shutdown_grace_s", self.shutdown_grace_s, 0, 600),
            ("watch_interval_s", self.watch_interval_s, 1, DAY_S),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(ConfigError { key, min, max, value });
            }
        }
        Ok(())
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }

    pub(super) fn association_timeout(&self) -> Duration {
        Duration::from_secs(self.association_timeout_s)
    }

    pub(super) fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_s)
    }

    pub(super) fn watch_interval(&self) -> Duration {
        Duration::from_secs(self.watch_interval_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_unknown_keys_are_not() {
        assert_eq!(Config::default().validate(), Ok(()));
        let parsed: Config = toml::from_str("bind = \"0.0.0.0:104\"\nae_title = \"EDGE\"").unwrap();
        assert_eq!(parsed.bind.port(), 104);
        assert_eq!(parsed.max_associations, 16);
        assert!(toml::from_str::<Config>("max_association = 3").is_err());
    }

    #[test]
    fn a_number_out_of_range_is_named() {
        let config = Config { max_pdu_bytes: 10, ..Config::default() };
        let said = config.validate().unwrap_err().to_string();
        assert!(said.contains("receive.max_pdu_bytes") && said.contains("4096"), "{said}");
    }
}
