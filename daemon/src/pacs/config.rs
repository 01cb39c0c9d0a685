//! The sections `[[pacs]]` of the configuration: one for each destination.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SendError;
use super::stow::Stow;
use crate::domain::AeTitle;
use crate::report::Object;
use crate::tls::Tls;

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
    /// It isn't said how it is reached, or it is said twice.
    #[error("pacs {0:?} needs either a table pacs.dicom or a table pacs.web")]
    Service(String),
    /// Not an address of the web.
    #[error("pacs.web.url of {0:?} must begin with http:// or https://")]
    Url(String),
    /// Two keys that are of use together only.
    #[error("pacs.{given} of {name:?} needs pacs.{missing} beside it")]
    Incomplete {
        /// The destination.
        name: String,
        /// The key that is there.
        given: &'static str,
        /// The key that isn't.
        missing: &'static str,
    },
    /// Two keys of which only one can be meant.
    #[error("pacs.web of {0:?} has both a username and a token_file; leave one out")]
    TwoCredentials(String),
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

/// Where results are sent: a storage provider of DICOM (`dicom`) or of DICOMweb (`web`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// How logs and `modicd pacs` call it; also the name of its queue's folder.
    pub name: String,
    /// Reached by C-STORE.
    #[serde(default)]
    pub dicom: Option<Dicom>,
    /// Reached by STOW-RS.
    #[serde(default)]
    pub web: Option<Web>,
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

/// A storage provider (PS3.4 B), which may commit itself to keep what it got (PS3.4 J).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dicom {
    /// Name or address; with TLS it must be in the provider's certificate.
    pub host: String,
    /// Port; 2762 is usual with TLS.
    pub port: u16,
    /// The provider's application entity title.
    pub called_ae: AeTitle,
    /// Ours.
    #[serde(default = "own_ae")]
    pub calling_ae: AeTitle,
    /// TLS; without this table the connection is plain TCP.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Ask it to commit itself to keep what it was sent; until it does, an object counts as not delivered. The answer
    /// comes to the daemon's own DICOM port.
    #[serde(default)]
    pub storage_commitment: bool,
    /// Seconds after which a request for commitment without an answer is repeated.
    #[serde(default = "one_hour")]
    pub commitment_timeout_s: u64,
}

/// A DICOMweb server (PS3.18, 10.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Base address of the service, the part before `/studies`.
    pub url: String,
    /// Authorities and our certificate, for `https`.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// User name, for basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// File that holds the password on its first line.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub password_file: Option<PathBuf>,
    /// File that holds a bearer token on its first line.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub token_file: Option<PathBuf>,
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

fn one_hour() -> u64 {
    3600
}

/// How a destination is reached.
pub(super) enum Service<'a> {
    Dicom(&'a Dicom),
    Web(&'a Web),
}

impl Destination {
    /// The table `tls`, if there is one.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        let dicom = self.dicom.as_ref().and_then(|dicom| dicom.tls.as_ref());
        dicom.or(self.web.as_ref().and_then(|web| web.tls.as_ref()))
    }

    /// A storage provider, with defaults for everything else.
    pub fn dicom(name: &str, at: SocketAddr, called_ae: AeTitle, calling_ae: AeTitle) -> Self {
        let dicom = Dicom {
            host: at.ip().to_string(),
            port: at.port(),
            called_ae,
            calling_ae,
            tls: None,
            storage_commitment: false,
            commitment_timeout_s: one_hour(),
        };
        Destination {
            name: name.to_owned(),
            dicom: Some(dicom),
            web: None,
            objects: all_objects(),
            timeout_s: thirty(),
            backoff_max_s: five_minutes(),
        }
    }

    /// What is sent, in order.
    pub fn in_order(&self) -> impl Iterator<Item = Object> {
        Object::ALL.into_iter().filter(|object| self.sends(*object))
    }

    /// Whether this object is sent.
    pub fn sends(&self, object: Object) -> bool {
        self.objects.contains(&object)
    }

    pub(super) fn service(&self) -> Result<Service<'_>, ConfigError> {
        match (&self.dicom, &self.web) {
            (Some(dicom), None) => Ok(Service::Dicom(dicom)),
            (None, Some(web)) => Ok(Service::Web(web)),
            _ => Err(ConfigError::Service(self.name.clone())),
        }
    }

    /// After how long a request for storage commitment is repeated; `None` where none is asked for.
    pub(super) fn commitment_timeout(&self) -> Option<Duration> {
        let dicom = self.dicom.as_ref().filter(|dicom| dicom.storage_commitment)?;
        Some(Duration::from_secs(dicom.commitment_timeout_s))
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// Reads every file that the configuration names, as each connection will.
    pub(super) fn check_files(&self) -> Result<(), SendError> {
        match self.service()? {
            Service::Dicom(dicom) => check_tls(&dicom.tls),
            Service::Web(web) => {
                check_tls(&web.tls)?;
                Stow::new(self, web).map(drop)
            }
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let name = || self.name.clone();
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=32).contains(&self.name.len()) || !self.name.chars().all(of_name) {
            return Err(ConfigError::Name(name()));
        }
        if self.objects.is_empty() {
            return Err(ConfigError::NoObjects(name()));
        }
        let mut ranges =
            vec![("timeout_s", self.timeout_s, 600), ("backoff_max_s", self.backoff_max_s, 3600)];
        let incomplete = |given, missing| ConfigError::Incomplete { name: name(), given, missing };
        let tls = match self.service()? {
            Service::Dicom(dicom) => {
                ranges.push(("dicom.port", dicom.port.into(), u16::MAX.into()));
                ranges.push(("dicom.commitment_timeout_s", dicom.commitment_timeout_s, 86_400));
                &dicom.tls
            }
            Service::Web(web) => {
                let (plain, https) =
                    (web.url.starts_with("http://"), web.url.starts_with("https://"));
                if !plain && !https {
                    return Err(ConfigError::Url(name()));
                }
                if https && web.tls.is_none() {
                    return Err(incomplete("web.url", "web.tls.ca_file"));
                }
                if web.username.is_some() != web.password_file.is_some() {
                    return Err(incomplete("web.username", "web.password_file"));
                }
                if web.username.is_some() && web.token_file.is_some() {
                    return Err(ConfigError::TwoCredentials(name()));
                }
                &web.tls
            }
        };
        if let Some((given, missing)) = tls.as_ref().and_then(Tls::incomplete) {
            return Err(incomplete(given, missing));
        }
        for (key, value, max) in ranges {
            if !(1..=max).contains(&value) {
                return Err(ConfigError::Range { name: name(), key, value, min: 1, max });
            }
        }
        Ok(())
    }
}

fn check_tls(tls: &Option<Tls>) -> Result<(), SendError> {
    tls.as_ref().map_or(Ok(()), |tls| Ok(tls.client_config().map(drop)?))
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

    const DICOM: &str =
        "[[pacs]]\nname = 'a'\ndicom = { host = 'h', port = 104, called_ae = 'A' }\n";
    const WEB: &str = "[[pacs]]\nname = 'a'\nweb = { url = 'http://h/dicom-web' }\n";

    #[test]
    fn a_destination_is_read_and_sends_all_unless_told() {
        assert_eq!(checked(DICOM).unwrap()[0].in_order().count(), 4);
        assert_eq!(checked(WEB).unwrap()[0].commitment_timeout(), None);
        let some = format!("{DICOM}objects = ['report', 'segmentation']\n");
        let sent: Vec<_> = checked(&some).unwrap()[0].in_order().collect();
        assert_eq!(sent, [Object::Segmentation, Object::Report]);
        for object in Object::ALL {
            assert_eq!(serde_json::to_value(object).unwrap(), object.as_str());
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let with = |key: &str| WEB.replace("' }", &format!("', {key} }}"));
        for (text, word) in [
            (DICOM.replace("'a'", "'../a'"), "pacs.name"),
            (DICOM.replace("104", "0"), "pacs.dicom.port"),
            (format!("{DICOM}{DICOM}"), "twice"),
            (format!("{DICOM}objects = []\n"), "pacs.objects"),
            (format!("{DICOM}objects = ['film']\n"), "film"),
            (format!("{DICOM}tsl = true\n"), "tsl"),
            ("[[pacs]]\nname = 'a'\n".to_owned(), "pacs.web"),
            (format!("{DICOM}web = {{ url = 'http://h' }}\n"), "either"),
            (WEB.replace("http:", "ftp:"), "pacs.web.url"),
            (WEB.replace("http:", "https:"), "pacs.web.tls.ca_file"),
            (with("username = 'u'"), "password_file"),
            (with("username = 'u', password_file = 'p', token_file = 't'"), "leave one out"),
            (with("tls = { ca_file = 'c', client_key_file = 'k' }"), "tls.client_cert_file"),
        ] {
            let refused = checked(&text).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
