//! The sections `[[pacs]]` of the configuration: one for each destination.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::AeTitle;
use crate::report::Object;

/// All destinations.
pub type Config = Vec<Destination>;

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A name can't be a folder's.
    #[error("pacs.name = {0:?} is not 1 to 32 letters, digits, hyphens or underscores")]
    Name(String),
    /// Two destinations have one name.
    #[error("pacs.name = {0:?} is there twice")]
    Twice(String),
    /// Nothing would be sent.
    #[error("pacs.objects of {0:?} is empty; leave it out to send all of them")]
    NoObjects(String),
    /// A number is out of range.
    #[error("pacs.{key} = {value} of {name:?} is not between {min} and {max}")]
    Range {
        /// The destination.
        name: String,
        /// The key.
        key: &'static str,
        /// What was configured.
        value: u64,
        /// Smallest value allowed.
        min: u64,
        /// Greatest value allowed.
        max: u64,
    },
}

/// A storage provider to which results are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// How logs and `modicd pacs` call it; also the name of its queue's folder.
    pub name: String,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The provider's application entity title.
    pub called_ae: AeTitle,
    /// Ours.
    #[serde(default = "own_ae")]
    pub calling_ae: AeTitle,
    /// What is sent.
    #[serde(default = "all_objects")]
    pub objects: Vec<Object>,
    /// Seconds for connecting, and for each answer.
    #[serde(default = "thirty")]
    pub timeout_s: u64,
    /// Seconds between attempts at most; the first is after one.
    #[serde(default = "five_minutes")]
    pub backoff_max_s: u64,
}

fn own_ae() -> AeTitle {
    AeTitle::try_from("MODICD".to_owned()).expect("a valid title")
}

fn all_objects() -> Vec<Object> {
    Object::ALL.to_vec()
}

fn thirty() -> u64 {
    30
}

fn five_minutes() -> u64 {
    300
}

impl Destination {
    /// One with defaults for everything else.
    pub fn new(name: &str, at: SocketAddr, called_ae: AeTitle, calling_ae: AeTitle) -> Destination {
        Destination {
            name: name.to_owned(),
            host: at.ip().to_string(),
            port: at.port(),
            called_ae,
            calling_ae,
            objects: all_objects(),
            timeout_s: thirty(),
            backoff_max_s: five_minutes(),
        }
    }

    /// What is sent, in order.
    pub fn in_order(&self) -> impl Iterator<Item = Object> {
        Object::ALL.into_iter().filter(|object| self.objects.contains(object))
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let name = self.name.clone();
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=32).contains(&name.len()) || !name.chars().all(of_name) {
            return Err(ConfigError::Name(name));
        }
        if self.objects.is_empty() {
            return Err(ConfigError::NoObjects(name));
        }
        for (key, value, max) in [
            ("port", u64::from(self.port), u64::from(u16::MAX)),
            ("timeout_s", self.timeout_s, 600),
            ("backoff_max_s", self.backoff_max_s, 3600),
        ] {
            if !(1..=max).contains(&value) {
                return Err(ConfigError::Range { name, key, value, min: 1, max });
            }
        }
        Ok(())
    }
}

/// Checks what can be checked without the network.
pub(crate) fn validate(destinations: &Config) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for destination in destinations {
        destination.validate()?;
        if !names.insert(&destination.name) {
            return Err(ConfigError::Twice(destination.name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Section {
        pacs: Config,
    }

    fn checked(text: &str) -> Result<Config, String> {
        let section: Section = toml::from_str(text).map_err(|e| e.to_string())?;
        validate(&section.pacs).map_err(|e| e.to_string())?;
        Ok(section.pacs)
    }

    #[test]
    fn a_destination_is_read_and_sends_all_unless_told() {
        let one = "[[pacs]]\nname = 'archive'\nhost = 'h'\nport = 104\ncalled_ae = 'ARCHIVE'\n";
        let archive = &checked(one).unwrap()[0];
        assert_eq!(archive.in_order().count(), 4);
        let some = format!("{one}objects = ['report', 'segmentation']\n");
        let sent: Vec<_> = checked(&some).unwrap()[0].in_order().collect();
        assert_eq!(sent, [Object::Segmentation, Object::Report]);
        for object in Object::ALL {
            assert_eq!(serde_json::to_value(object).unwrap(), object.as_str());
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let one = "[[pacs]]\nname = 'a'\nhost = 'h'\nport = 104\ncalled_ae = 'A'\n";
        for (text, word) in [
            (one.replace("'a'", "'../a'"), "pacs.name"),
            (one.replace("104", "0"), "pacs.port"),
            (format!("{one}{one}"), "twice"),
            (format!("{one}objects = []\n"), "pacs.objects"),
            (format!("{one}objects = ['film']\n"), "film"),
            (format!("{one}tsl = true\n"), "tsl"),
        ] {
            let refused = checked(&text).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
