//! Who may give the box new networks.

use serde::{Deserialize, Serialize};

use super::keys::{Keys, NotAKey};
use crate::tls::Tls;

/// The section `[bundles]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// minisign's public keys, as on the second line of its `.pub` files: a bundle must be signed by one of them. Empty:
    /// none is taken.
    pub public_keys: Vec<String>,
    /// A bundle isn't activated when it takes more than this times as long as the one in use.
    pub max_slowdown: f64,
    /// For packages that are fetched over HTTPS.
    pub tls: Option<Tls>,
}

/// Why the section was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key isn't one of minisign's.
    #[error("bundles.public_keys")]
    Key(#[source] NotAKey),
    /// The factor makes no sense.
    #[error("bundles.max_slowdown = {0} must be between 1 and 100")]
    MaxSlowdown(f64),
    /// Only half of the client's certificate and key is given.
    #[error("bundles.{given} needs bundles.{missing} too")]
    Tls {
        /// The key that is there.
        given: &'static str,
        /// The key that isn't.
        missing: &'static str,
    },
}

impl Default for Config {
    fn default() -> Config {
        Config { public_keys: Vec::new(), max_slowdown: 1.5, tls: None }
    }
}

impl Config {
    /// Checks what the types can't.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Keys::parse(&self.public_keys).map_err(ConfigError::Key)?;
        if !(1.0..=100.0).contains(&self.max_slowdown) {
            return Err(ConfigError::MaxSlowdown(self.max_slowdown));
        }
        match self.tls.as_ref().and_then(Tls::incomplete) {
            Some((given, missing)) => Err(ConfigError::Tls { given, missing }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::PUBLIC_KEY;
    use super::*;

    #[test]
    fn keys_factors_and_half_a_client_certificate_are_checked() {
        let validate = |text: &str| toml::from_str::<Config>(text).unwrap().validate();
        let good = format!("public_keys = ['{PUBLIC_KEY}']\ntls.ca_file = 'ca'");
        assert!(validate(&good).is_ok());
        assert!(validate("").is_ok());
        for (bad, word) in [
            ("public_keys = ['RWQ']", "public_keys"),
            ("max_slowdown = 0.5", "0.5"),
            ("max_slowdown = nan", "max_slowdown"),
            ("tls = { ca_file = 'ca', client_key_file = 'k' }", "tls.client_cert_file"),
        ] {
            let error = validate(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(toml::from_str::<Config>("public_key = 'x'").is_err());
    }
}
