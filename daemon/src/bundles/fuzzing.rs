//! What is read of a bundle before its signature is known to be good, and its manifest.

use modic_models::Manifest;
use semver::Version;

use super::Package;
use super::keys::Keys;

/// A package: the archive, the signature in it, and the manifest as if it were signed.
pub fn package(bytes: &[u8]) {
    let keys = ["RWR8XiHO5McPQOK0bad6fjwBA9HspVCQlZJaHxsETHC4Kz6WsptIoHYn".to_owned()];
    let keys = Keys::parse(&keys).expect("a key of minisign's");
    keys.have_signed(b"a manifest", bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(manifest) = Manifest::parse(text)
    {
        let _ = Version::parse(&manifest.version);
    }
    if let Ok(package) = Package::from_tar(bytes) {
        let _ = package.signed(&keys);
    }
}
