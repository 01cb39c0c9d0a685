//! The keys whose signatures are trusted: Ed25519, in minisign's format.

use minisign_verify::{PublicKey, Signature};

/// The trusted public keys.
pub(super) struct Keys(Vec<PublicKey>);

/// A configured key that is none.
#[derive(Debug, thiserror::Error)]
#[error("{key:?} is no public key of minisign's: {source}")]
pub struct NotAKey {
    key: String,
    source: minisign_verify::Error,
}

impl Keys {
    /// Of the Base64 that stands on the second line of minisign's `.pub` files.
    pub(super) fn parse(keys: &[String]) -> Result<Keys, NotAKey> {
        let parse = |key: &String| {
            PublicKey::from_base64(key).map_err(|source| NotAKey { key: key.clone(), source })
        };
        keys.iter().map(parse).collect::<Result<_, _>>().map(Keys)
    }

    /// Whether nobody is trusted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the keys signed `message`; `signature` is the text of a `.minisig` file, whose message may be
    /// prehashed (minisign's default) or not.
    pub(super) fn have_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let text = std::str::from_utf8(signature).ok();
        let Some(signature) = text.and_then(|text| Signature::decode(text).ok()) else {
            return false;
        };
        self.0.iter().any(|key| key.verify(message, &signature, true).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        LEGACY_SIGNATURE, OTHER_PUBLIC_KEY, PUBLIC_KEY, SIGNATURE, SIGNED,
    };
    use super::*;

    #[test]
    fn only_a_trusted_key_and_the_whole_message_count() {
        let keys = |keys: &[&str]| {
            Keys::parse(&keys.iter().map(|key| key.to_string()).collect::<Vec<_>>()).unwrap()
        };
        let trusted = keys(&[OTHER_PUBLIC_KEY, PUBLIC_KEY]);
        for signature in [SIGNATURE, LEGACY_SIGNATURE] {
            assert!(trusted.have_signed(SIGNED, signature.as_bytes()));
            assert!(!keys(&[OTHER_PUBLIC_KEY]).have_signed(SIGNED, signature.as_bytes()));
            assert!(!keys(&[]).have_signed(SIGNED, signature.as_bytes()));
            assert!(!trusted.have_signed(&SIGNED[1..], signature.as_bytes()));
            let other_comment = signature.replace("trusted comment: a", "trusted comment: b");
            assert_ne!(other_comment, signature);
            assert!(!trusted.have_signed(SIGNED, other_comment.as_bytes()));
            for end in 0..signature.trim_end().len() {
                assert!(!trusted.have_signed(SIGNED, &signature.as_bytes()[..end]), "{end}");
            }
        }
        assert!(!trusted.have_signed(SIGNED, b"\xff"));
    }
}
