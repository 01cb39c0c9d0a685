//! The section `[mqtt]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::commands::CommandType;
use super::home_assistant::HomeAssistant;
use super::time::TimePrecision;
use super::topics::{self, TopicError, Topics};
use crate::tls::Tls;

/// Room in a packet beside its payload: topic and headers, bytes.
pub(super) const PACKET_OVERHEAD: usize = 1024;

/// Most that may be in flight; rumqttc keeps a slot for each.
const MAX_INFLIGHT: u16 = 1000;

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A segment of the topics is impossible.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// A number is out of range.
    #[error("mqtt.{key} = {value} is not between {min} and {max}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was configured.
        value: u64,
        /// Smallest value allowed.
        min: u64,
        /// Greatest value allowed.
        max: u64,
    },
    /// One of a pair is missing.
    #[error("mqtt.{given} needs mqtt.{missing} beside it")]
    Incomplete {
        /// The key that is there.
        given: &'static str,
        /// The key that isn't.
        missing: &'static str,
    },
}

/// How findings leave the box over MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The broker's name or address; with TLS it must be in the broker's certificate.
    pub host: String,
    /// The broker's port; 8883 is usual with TLS.
    pub port: u16,
    /// First segment of every topic.
    pub root: String,
    /// The hospital or practice; a segment of every topic.
    pub site: String,
    /// This box; a segment of every topic, unique within the site.
    pub device: String,
    /// MQTT client identifier; `modicd-{site}-{device}` when absent. A broker lets in one client of a name.
    pub client_id: Option<String>,
    /// User name at the broker.
    pub username: Option<String>,
    /// File that holds the password on its first line.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub password_file: Option<PathBuf>,
    /// What may be asked of the box over MQTT.
    pub commands: Commands,
    /// Discovery by Home Assistant; without this table nothing is published there.
    pub home_assistant: Option<HomeAssistant>,
    /// TLS; without this table the connection is plain TCP.
    pub tls: Option<Tls>,
    /// Seconds between pings; a dead connection is noticed within two of them.
    pub keep_alive_s: u16,
    /// Messages sent and not yet acknowledged by the broker, at most.
    pub inflight: u16,
    /// Whether `finding/{study_ref}` is retained: the broker then keeps every study's result.
    pub retain_findings: bool,
    /// Which version of MQTT is spoken.
    pub protocol: Protocol,
    /// How exactly payloads tell times.
    pub time_precision: TimePrecision,
    /// Largest payload, bytes; a larger one is refused, never cut. Keep the broker's own limit above it.
    pub max_payload_bytes: usize,
    /// Messages waiting for the broker, at most; beyond that studies wait unanalysed, nothing is dropped.
    pub outbox_max_messages: usize,
    /// Bytes waiting for the broker, at most.
    pub outbox_max_bytes: u64,
    /// Seconds before the first attempt to reconnect; doubled after each, with jitter.
    pub backoff_initial_s: u64,
    /// Seconds between attempts to reconnect, at most.
    pub backoff_max_s: u64,
    /// Seconds that a shutdown waits for the broker to take what is in the outbox.
    pub drain_limit_s: u64,
}

/// The table `mqtt.commands`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commands {
    /// What may be asked for; nothing by default, and then the box subscribes to nothing.
    pub allow: Vec<CommandType>,
}

/// Versions of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// MQTT 3.1.1: every broker speaks it.
    #[default]
    #[serde(rename = "3.1.1")]
    V3,
    /// MQTT 5: the broker says why it refuses a message, and payloads say what they are.
    #[serde(rename = "5")]
    V5,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            host: "127.0.0.1".to_owned(),
            port: 1883,
            root: "modic".to_owned(),
            site: "site".to_owned(),
            device: "modicd".to_owned(),
            client_id: None,
            username: None,
            password_file: None,
            commands: Commands::default(),
            home_assistant: None,
            tls: None,
            keep_alive_s: 30,
            inflight: 16,
            retain_findings: false,
            protocol: Protocol::default(),
            time_precision: TimePrecision::default(),
            max_payload_bytes: 256 * 1024,
            outbox_max_messages: 10_000,
            outbox_max_bytes: 256 * 1024 * 1024,
            backoff_initial_s: 1,
            backoff_max_s: 60,
            drain_limit_s: 5,
        }
    }
}

impl Config {
    /// Checks what can be checked without the network or the disk.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.topics()?;
        if let Some(home_assistant) = &self.home_assistant {
            topics::check_segment("home_assistant.prefix", &home_assistant.prefix)?;
        }
        in_range("port", self.port, 1, u16::MAX)?;
        in_range("keep_alive_s", self.keep_alive_s, 5, u16::MAX)?;
        in_range("inflight", self.inflight, 1, MAX_INFLIGHT)?;
        in_range("max_payload_bytes", self.max_payload_bytes as u64, 4096, 16 << 20)?;
        in_range("outbox_max_messages", self.outbox_max_messages as u64, 16, 1_000_000)?;
        in_range(
            "outbox_max_bytes",
            self.outbox_max_bytes,
            self.max_payload_bytes as u64,
            1 << 40,
        )?;
        in_range("backoff_initial_s", self.backoff_initial_s, 1, 3600)?;
        in_range("backoff_max_s", self.backoff_max_s, self.backoff_initial_s, 3600)?;
        in_range("drain_limit_s", self.drain_limit_s, 0, 60)?;
        if self.password_file.is_some() && self.username.is_none() {
            return Err(ConfigError::Incomplete { given: "password_file", missing: "username" });
        }
        match self.tls.as_ref().and_then(Tls::incomplete) {
            Some((given, missing)) => Err(ConfigError::Incomplete { given, missing }),
            None => Ok(()),
        }
    }

    /// The topics of this box.
    pub fn topics(&self) -> Result<Topics, TopicError> {
        Topics::new(&self.root, &self.site, &self.device)
    }

    /// The MQTT client identifier.
    pub fn client_id(&self) -> String {
        let Config { site, device, .. } = self;
        self.client_id.clone().unwrap_or_else(|| format!("modicd-{site}-{device}"))
    }
}

fn in_range<T: Into<u64>>(key: &'static str, value: T, min: T, max: T) -> Result<(), ConfigError> {
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Range { key, value, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_an_empty_table_gives_it() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        Config::default().validate().unwrap();
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<Config>("hots = 'broker'").is_err());
        assert!(toml::from_str::<Config>("[tls]\nca_file = 'ca'\nverify = false").is_err());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |text: &str| {
            toml::from_str::<Config>(text).unwrap().validate().unwrap_err().to_string()
        };
        assert!(refused("inflight = 0").contains("mqtt.inflight"));
        assert!(refused("backoff_initial_s = 90").contains("mqtt.backoff_max_s"));
        assert!(refused("keep_alive_s = 0").contains("mqtt.keep_alive_s"));
        assert!(refused("site = 'a/b'").contains("site"));
        assert!(refused("password_file = 'p'").contains("mqtt.username"));
        let half = "[tls]\nca_file = 'ca'\nclient_cert_file = 'c'";
        assert!(refused(half).contains("mqtt.tls.client_key_file"));
    }
}
