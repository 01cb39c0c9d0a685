//! The `[receive]` section of the configuration.

use super::access::Peer;
use crate::domain::AeTitle;
use crate::tls::{self, TlsError};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

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
    /// Associations served at the same time; one more is rejected as a transient condition, so that the
    /// peer tries again.
    pub max_associations: usize,
    /// Of these, how many may come from one address, so that others find a place.
    pub max_associations_per_peer: usize,
    /// Association requests that one address may make; more are rejected as a temporary congestion. As many may come at once.
    pub max_requests_per_minute: u32,
    /// Longest P-DATA-TF accepted and announced to peers, in bytes.
    pub max_pdu_bytes: u32,
    /// Largest instance accepted, in bytes; streamed to disk, never held in memory.
    pub max_object_bytes: u64,
    /// Instances that a study may have; further ones are refused.
    pub max_study_instances: u64,
    /// Bytes that they may have together.
    pub max_study_bytes: u64,
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
    /// TLS; with this table the port takes nothing else.
    pub tls: Option<Tls>,
    /// Who may send; empty: whoever reaches the port.
    pub peers: Vec<Peer>,
}

/// The table `[receive.tls]`; all files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The box's certificate with its chain.
    #[serde(deserialize_with = "crate::credentials::file")]
    pub cert_file: PathBuf,
    /// Its private key.
    #[serde(deserialize_with = "crate::credentials::file")]
    pub key_file: PathBuf,
    /// Certificates of the authorities that sign those of peers; absent: peers are asked for none.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub client_ca_file: Option<PathBuf>,
    /// These authorities' lists of revoked certificates.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub crl_file: Option<PathBuf>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them can't be read or used.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let clients = match &self.client_ca_file {
            Some(ca_file) => tls::clients_of(ca_file, self.crl_file.as_deref())?,
            None => tls::everybody(),
        };
        let config = tls::server_config(&self.cert_file, &self.key_file, clients)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            bind: SocketAddr::from(([127, 0, 0, 1], 11112)),
            ae_title: AeTitle::try_from("MODICD".to_owned())
                .expect("the default AE title is valid"),
            accept_any_called_ae: false,
            max_associations: 16,
            max_associations_per_peer: 12,
            max_requests_per_minute: 1200,
            max_pdu_bytes: 131_072,
            max_object_bytes: 256 << 20,
            max_study_instances: 10_000,
            max_study_bytes: 2 << 30,
            request_timeout_s: 10,
            idle_timeout_s: 60,
            association_timeout_s: 3600,
            shutdown_grace_s: 10,
            watch_folder: None,
            watch_interval_s: 5,
            tls: None,
            peers: Vec::new(),
        }
    }
}

/// A value that can't work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A number out of its range.
    #[error("receive.{key} must lie between {min} and {max}, but is {value}")]
    Range {
        /// Which.
        key: &'static str,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What it is.
        value: u64,
    },
    /// Two values that don't go together.
    #[error("receive.{key} needs receive.{needs}")]
    Needs {
        /// What is set.
        key: &'static str,
        /// What is missing beside it.
        needs: &'static str,
    },
}

impl Config {
    /// Checks that every number lies in its range, and that nothing is without what it needs.
    ///
    /// # Errors
    /// The first key that can't work, and why.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const DAY_S: u64 = 86_400;
        let ranges = [
            ("max_associations", self.max_associations as u64, 1, 256),
            ("max_associations_per_peer", self.max_associations_per_peer as u64, 1, 256),
            ("max_requests_per_minute", self.max_requests_per_minute.into(), 1, 1_000_000),
            ("max_pdu_bytes", self.max_pdu_bytes.into(), 4096, 1 << 20),
            ("max_object_bytes", self.max_object_bytes, 1 << 20, 4 << 30),
            ("max_study_instances", self.max_study_instances, 1, 1_000_000),
            ("max_study_bytes", self.max_study_bytes, 1 << 20, 1 << 40),
            ("request_timeout_s", self.request_timeout_s, 1, DAY_S),
            ("idle_timeout_s", self.idle_timeout_s, 1, DAY_S),
            ("association_timeout_s", self.association_timeout_s, 1, DAY_S),
            ("shutdown_grace_s", self.shutdown_grace_s, 0, 600),
            ("watch_interval_s", self.watch_interval_s, 1, DAY_S),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(ConfigError::Range { key, min, max, value });
            }
        }
        let asks_for_certificates =
            self.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        let needs = |key| Err(ConfigError::Needs { key, needs: "tls.client_ca_file" });
        if !asks_for_certificates && self.tls.as_ref().is_some_and(|tls| tls.crl_file.is_some()) {
            return needs("tls.crl_file");
        }
        if !asks_for_certificates && self.peers.iter().any(|peer| peer.certificate_name.is_some()) {
            return needs("peers.certificate_name");
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
    fn a_rule_about_certificates_needs_the_authorities() {
        let said = |text: &str| {
            toml::from_str::<Config>(text).unwrap().validate().map_err(|e| e.to_string())
        };
        let rule = "peers = [{ calling_ae = 'MR1', certificate_name = 'mr1.example' }]";
        assert!(said(rule).unwrap_err().contains("peers.certificate_name needs"));
        let tls = |more: &str| format!("{rule}\n[tls]\ncert_file = '/c'\nkey_file = '/k'\n{more}");
        assert!(said(&tls("")).is_err());
        assert_eq!(said(&tls("client_ca_file = '/a'")), Ok(()));
        let lists = "[tls]\ncert_file = '/c'\nkey_file = '/k'\ncrl_file = '/l'";
        assert!(said(lists).unwrap_err().contains("tls.crl_file needs"));
    }

    #[test]
    fn a_number_out_of_range_is_named() {
        let config = Config { max_pdu_bytes: 10, ..Config::default() };
        let said = config.validate().unwrap_err().to_string();
        assert!(said.contains("receive.max_pdu_bytes") && said.contains("4096"), "{said}");
    }
}
