//! Names of files in the configuration that hold secrets or certificates.
//!
//! Under systemd's `LoadCredential=` they lie in a folder whose name isn't known beforehand: there a name without a
//! path, such as `mqtt.password`, means the credential of that name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

/// Where systemd says that the credentials are.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// For `#[serde(deserialize_with)]`: the file's path.
pub fn file<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Ok(resolve(PathBuf::deserialize(from)?, std::env::var_os(DIRECTORY)))
}

/// Likewise where it may be left out; needs `#[serde(default)]` beside it.
pub fn optional_file<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    file(from).map(Some)
}

fn resolve(name: PathBuf, directory: Option<OsString>) -> PathBuf {
    let is_name = name.is_relative() && name.parent() == Some(Path::new(""));
    match directory {
        Some(directory) if is_name => Path::new(&directory).join(name),
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
        assert_eq!(resolved("mqtt.password", None), Path::new("mqtt.password"));
        for other in ["/etc/modicd/mqtt.password", "secrets/mqtt.password", "../mqtt.password"] {
            assert_eq!(resolved(other, at), Path::new(other));
        }
    }
}
