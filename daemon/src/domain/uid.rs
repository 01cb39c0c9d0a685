//! UIDs that follow from what they name.

use sha2::{Digest, Sha256};

/// A UID in the form of a UUID (PS3.5 B.2; version 8, made from a hash): the same text gives the same one.
pub fn derived_uid(text: &str) -> String {
    let digest = Sha256::digest(text);
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}
