//! Names: of studies outside the box, and of DICOM application entities.

use hmac::{Hmac, Mac};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::hex::hex;

/// Why a name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// Not a DICOM AE title (PS3.5, 6.2: 1 to 16 printable ASCII characters, no backslash).
    #[error("AE title {0:?} is not 1 to 16 printable ASCII characters without a backslash")]
    AeTitle(String),
    /// Not 16 lower-case hex digits.
    #[error("study reference {0:?} is not 16 lower-case hex digits")]
    StudyRef(String),
}

/// A study's name outside the box: the first 16 hex digits of HMAC-SHA-256(site key, StudyInstanceUID).
///
/// It is also the study's folder name, so no character of a peer's UID ever reaches the file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StudyRef(String);

impl StudyRef {
    /// Derives the reference of a study from the site's key.
    pub fn derive(site_key: &[u8], study_instance_uid: &str) -> StudyRef {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(site_key).expect("HMAC takes a key of any length");
        mac.update(study_instance_uid.trim_end_matches(['\0', ' ']).as_bytes());
        let digest = mac.finalize().into_bytes();
        StudyRef(hex(&digest[..8]))
    }

    /// The 16 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for StudyRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StudyRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

impl TryFrom<String> for StudyRef {
    type Error = IdError;
    fn try_from(s: String) -> Result<Self, IdError> {
        let valid = s.len() == 16 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(StudyRef(s)) } else { Err(IdError::StudyRef(s)) }
    }
}

impl From<StudyRef> for String {
    fn from(r: StudyRef) -> String {
        r.0
    }
}

impl std::fmt::Display for StudyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DICOM application entity title.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AeTitle(String);

impl AeTitle {
    /// The title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AeTitle {
    type Error = IdError;
    fn try_from(s: String) -> Result<Self, IdError> {
        let title = s.trim_matches(' ');
        let printable = title.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'\\');
        if (1..=16).contains(&title.len()) && printable {
            Ok(AeTitle(title.to_owned()))
        } else {
            Err(IdError::AeTitle(s))
        }
    }
}

impl From<AeTitle> for String {
    fn from(t: AeTitle) -> String {
        t.0
    }
}

impl std::fmt::Display for AeTitle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_reference_hides_the_uid_and_ignores_its_padding() {
        let a = StudyRef::derive(b"key", "1.2.3");
        assert_eq!(a, StudyRef::derive(b"key", "1.2.3\0"));
        assert_ne!(a, StudyRef::derive(b"other key", "1.2.3"));
        assert_eq!(a.as_str().len(), 16);
        assert!(StudyRef::try_from("../../../../etc/".to_owned()).is_err());
    }

    #[test]
    fn ae_titles_are_checked() {
        assert_eq!(AeTitle::try_from(" MODICD ".to_owned()).unwrap().as_str(), "MODICD");
        for bad in ["", "   ", "SEVENTEEN_LETTERS", "a\\b", "tab\t"] {
            assert!(AeTitle::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
