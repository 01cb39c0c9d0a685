//! The section `[page]` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the page is served and who may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the page. The default is reachable from this machine only; any other needs `tls`.
    pub bind: SocketAddr,
    /// Holds the token on its first line. By default `page.token` in the state folder, made at the first start.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub token_file: Option<PathBuf>,
    /// TLS; without this table the page is plain HTTP.
    pub tls: Option<Tls>,
}

/// The table `[page.tls]`; both files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The page's certificate with its chain.
    #[serde(deserialize_with = "crate::credentials::file")]
    pub cert_file: PathBuf,
    /// Its private key.
    #[serde(deserialize_with = "crate::credentials::file")]
    pub key_file: PathBuf,
}

/// Why the section was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The token would cross a network in the clear.
    #[error(
        "page.bind = {0} is open to the network: that needs a table page.tls; or bind 127.0.0.1"
    )]
    OpenWithoutTls(SocketAddr),
}

impl Default for Config {
    fn default() -> Self {
        Config { bind: SocketAddr::from(([127, 0, 0, 1], 8042)), token_file: None, tls: None }
    }
}

impl Config {
    /// Checks that nothing leaves the machine unencrypted.
    ///
    /// # Errors
    /// The page would be served over a network without TLS.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() && !self.bind.ip().is_loopback() {
            return Err(ConfigError::OpenWithoutTls(self.bind));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_open_to_the_network_needs_tls() {
        assert_eq!(Config::default().validate(), Ok(()));
        let open: Config = toml::from_str("bind = '0.0.0.0:443'").unwrap();
        assert!(open.validate().unwrap_err().to_string().contains("page.tls"));
        let text = "bind = '[::]:443'\ntls = { cert_file = '/c', key_file = '/k' }";
        let secured: Config = toml::from_str(text).unwrap();
        assert_eq!(secured.validate(), Ok(()));
        assert!(toml::from_str::<Config>("tls = { cert_file = '/c' }").is_err());
    }
}
