//! Names of files in the configuration that hold secrets or certificates.
//!
//! Under systemd's `LoadCredential=` they lie in a folder that it names: there a name without a path, such as
//! `mqtt.password`, means the credential of that name. systemd names it to the daemon alone, and hides it from what
//! `ExecReload=` runs; root finds it where it always is.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::config::Config;

/// Where systemd says that the credentials are.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Where they are while the unit runs.
const OF_UNIT: &str = "/run/credentials/modicd.service";

/// For `#[serde(deserialize_with)]`: the file's path.
pub fn file<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Ok(resolve(PathBuf::deserialize(from)?, std::env::var_os(DIRECTORY)))
}

/// Likewise where it may be left out; needs `#[serde(default)]` beside it.
pub fn optional_file<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    file(from).map(Some)
}

/// The secrets that systemd hands over and that this process can't look at, by their key.
pub fn out_of_reach(config: &Config) -> Vec<String> {
    let files = config.secret_files().into_iter();
    files.filter(|(_, path)| is_out_of_reach(path)).map(|(key, _)| key).collect()
}

/// Whether systemd hands this file over, and this process can't look at it.
pub fn is_out_of_reach(path: &Path) -> bool {
    path.starts_with(OF_UNIT) && File::open(path).is_err()
}

fn resolve(name: PathBuf, directory: Option<OsString>) -> PathBuf {
    let is_name = name.is_relative() && name.parent() == Some(Path::new(""));
    match directory {
        Some(directory) if is_name => Path::new(&directory).join(name),
        None if is_name && !name.exists() => Path::new(OF_UNIT).join(name),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_a_credential_where_there_are_any() {
        let resolved = |name: &str, directory: Option<&str>| {
            resolve(PathBuf::from(name), directory.map(OsString::from))
        };
        let at = Some("/run/credentials/modicd.service");
        let inside = "/run/credentials/modicd.service/mqtt.password";
        assert_eq!(resolved("mqtt.password", at), Path::new(inside));
        assert_eq!(resolved("mqtt.password", None), Path::new(inside), "a person's, or a reload's");
        assert_eq!(resolved("Cargo.toml", None), Path::new("Cargo.toml"), "it lies here");
        for other in ["/etc/modicd/mqtt.password", "secrets/mqtt.password", "../mqtt.password"] {
            assert_eq!(resolved(other, at), Path::new(other));
        }
    }

    #[test]
    fn a_secret_that_only_the_daemon_is_given_is_out_of_reach() {
        let text =
            "state_dir = '/s'\n[mqtt]\npassword_file = 'of-nobody'\n[page]\ntoken_file = '/absent'";
        let config = toml::from_str::<Config>(text).unwrap();
        assert_eq!(out_of_reach(&config), ["mqtt.password_file"]);
    }
}
