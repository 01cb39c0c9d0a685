//! A bundle on its way: the files of one folder or tar archive, read within bounds and verified.
//!
//! What a package holds is looked at in the order of trust: the names and sizes, the signature over the manifest, the digests
//! in the manifest, and only then the network itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use modic_models::{Bundle, Manifest, Runtime};
use semver::Version;
use sha2::{Digest, Sha256};

use super::keys::Keys;
use super::{Network, Reason, UpdateError};
use crate::hex::hex;
use crate::segment::check_contract;

const MANIFEST: &str = "manifest.toml";
const SIGNATURE: &str = "manifest.toml.minisig";
const NETWORK: &str = "network.onnx";
const GOLDEN: &str = "golden.bin";
const CARD: &str = "MODEL_CARD.md";

/// The files of a package with the most bytes that each may have. All but the card must be there.
const FILES: [(&str, u64); 5] = [
    (MANIFEST, 64 << 10),
    (SIGNATURE, 4 << 10),
    (NETWORK, 32 << 20),
    (GOLDEN, 16 << 20),
    (CARD, 256 << 10),
];

/// No package is larger, as an archive: its files and what tar puts around them.
pub(super) const MAX_ARCHIVE: u64 = 50 << 20;

/// The files of a bundle, unverified.
#[derive(Debug, PartialEq, Eq)]
pub struct Package(BTreeMap<&'static str, Vec<u8>>);

impl Package {
    /// Reads a folder or a tar archive.
    ///
    /// # Errors
    /// It can't be read, or holds anything but the files of a package.
    pub fn read(path: &Path) -> Result<Package, UpdateError> {
        if path.is_dir() {
            return Self::from_folder(path);
        }
        Self::from_tar(File::open(path).map_err(|e| Reason::Unreachable.because(e))?)
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// As of [`Package::read`].
    pub fn from_folder(folder: &Path) -> Result<Package, UpdateError> {
        let unreachable = |error: io::Error| Reason::Unreachable.because(error);
        let mut package = Package(BTreeMap::new());
        for entry in std::fs::read_dir(folder).map_err(unreachable)? {
            let entry = entry.map_err(unreachable)?;
            let name = entry.file_name();
            // Not following links.
            if !entry.file_type().map_err(unreachable)?.is_file() {
                return Err(odd(&name.to_string_lossy(), "is no file"));
            }
            let file = File::open(entry.path()).map_err(unreachable)?;
            package.add(&name.to_string_lossy(), file)?;
        }
        package.complete()
    }

    /// Reads a tar archive.
    ///
    /// # Errors
    /// As of [`Package::read`].
    pub fn from_tar(archive: impl Read) -> Result<Package, UpdateError> {
        let broken = |error: io::Error| Reason::NotAPackage.because(error);
        let mut archive = tar::Archive::new(archive.take(MAX_ARCHIVE));
        let mut package = Package(BTreeMap::new());
        for entry in archive.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() {
                return Err(odd(&name, "is no file"));
            }
            package.add(&name, entry)?;
        }
        package.complete()
    }

    fn add(&mut self, name: &str, content: impl Read) -> Result<(), UpdateError> {
        let known = FILES.iter().find(|(known, _)| *known == name);
        let (name, most) = *known.ok_or_else(|| odd(name, "doesn't belong there"))?;
        let mut bytes = Vec::new();
        content
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Reason::Unreachable.because(e))?;
        if bytes.len() as u64 > most {
            return Err(odd(name, "is too large"));
        }
        match self.0.insert(name, bytes) {
            Some(_) => Err(odd(name, "is there twice")),
            None => Ok(()),
        }
    }

    fn complete(self) -> Result<Package, UpdateError> {
        let missing = FILES.iter().find(|(name, _)| *name != CARD && !self.0.contains_key(name));
        missing.map_or(Ok(()), |(name, _)| Err(odd(name, "is missing")))?;
        Ok(self)
    }

    /// The package as a tar archive, the same bytes for the same files.
    ///
    /// # Errors
    /// It can't be written.
    pub fn to_tar(&self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, bytes.as_slice())?;
        }
        archive.into_inner()
    }

    /// The name and content of each file.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (*name, bytes.as_slice()))
    }

    /// What identifies the bundle: the SHA-256 of its manifest in hex.
    pub(super) fn identity(&self) -> String {
        hex(&Sha256::digest(&self.0[MANIFEST]))
    }

    /// What a trusted key says that this is.
    ///
    /// # Errors
    /// No trusted key says anything, or nothing that can be used.
    pub(super) fn signed(&self, keys: &Keys) -> Result<Signed, UpdateError> {
        let manifest = &self.0[MANIFEST];
        if !keys.have_signed(manifest, &self.0[SIGNATURE]) {
            return Err(Reason::WrongSignature.into());
        }
        let bad = |e| Reason::BadManifest.because(e);
        let text = std::str::from_utf8(manifest).map_err(|e| Reason::BadManifest.because(e))?;
        let manifest = Manifest::parse(text)?;
        let network = Network::named(&manifest.name)
            .ok_or_else(|| bad(format!("no network is called {:?}", manifest.name)))?;
        check_contract(network.shipped(), &manifest)?;
        let version = Version::parse(&manifest.version)
            .map_err(|e| bad(format!("version {:?}: {e}", manifest.version)))?;
        Ok(Signed { network, version, sha256: manifest.sha256 })
    }

    /// The network, verified: its digest, and that it computes here what it should.
    ///
    /// # Errors
    /// It isn't what the manifest says, or doesn't compute that.
    pub(super) fn load(&self, runtime: &Runtime) -> Result<Bundle, UpdateError> {
        let manifest = String::from_utf8_lossy(&self.0[MANIFEST]);
        let network = self.0[NETWORK].clone().into();
        Ok(Bundle::verify(&manifest, network, &self.0[GOLDEN], runtime)?)
    }
}

/// What a manifest says that was signed by a trusted key.
#[derive(Debug)]
pub(super) struct Signed {
    pub network: Network,
    pub version: Version,
    /// Of the ONNX file, in hex.
    pub sha256: String,
}

fn odd(name: &str, what: &str) -> UpdateError {
    Reason::NotAPackage.because(format!("{name:?} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    const WHOLE: [(&str, &[u8]); 4] =
        [(MANIFEST, b"m"), (SIGNATURE, b"s"), (NETWORK, b"n"), (GOLDEN, b"g")];

    fn said(result: Result<Package, UpdateError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.reason, Reason::NotAPackage);
        format!("{:#}", anyhow::Error::from(error))
    }

    #[test]
    fn a_folder_and_its_archive_are_the_same_package() {
        let dir = folder(&WHOLE);
        let package = Package::read(dir.path()).unwrap();
        let archive = package.to_tar().unwrap();
        assert_eq!(Package::from_tar(archive.as_slice()).unwrap(), package);
        std::fs::write(dir.path().join(CARD), b"c").unwrap();
        let with_card = Package::read(dir.path()).unwrap();
        assert_ne!(with_card, package);
        assert_eq!(with_card.identity(), package.identity());
    }

    #[test]
    fn anything_else_in_a_folder_is_refused_by_name() {
        for (name, _) in WHOLE {
            let dir = folder(&WHOLE);
            std::fs::remove_file(dir.path().join(name)).unwrap();
            assert!(said(Package::read(dir.path())).contains(name));
        }
        let dir = folder(&WHOLE);
        std::fs::write(dir.path().join("run.sh"), b"x").unwrap();
        assert!(said(Package::read(dir.path())).contains("run.sh"));
        let dir = folder(&WHOLE);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(CARD)).unwrap();
        assert!(said(Package::read(dir.path())).contains("no file"));
        let large = vec![0; (64 << 10) + 1];
        let dir = folder(&[&WHOLE[1..], &[(MANIFEST, large.as_slice())]].concat());
        assert!(said(Package::read(dir.path())).contains("too large"));
    }

    #[test]
    fn anything_else_in_an_archive_is_refused_by_name() {
        let archive = |more: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
            let mut archive = tar::Builder::new(Vec::new());
            for (name, bytes) in WHOLE {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, name, bytes).unwrap();
            }
            more(&mut archive);
            archive.into_inner().unwrap()
        };
        let file = |name: &'static str, size: u64| {
            move |archive: &mut tar::Builder<Vec<u8>>| {
                let mut header = tar::Header::new_gnu();
                // As it is: the builder wouldn't write every name.
                header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
                header.set_size(size);
                header.set_cksum();
                archive.append(&header, io::repeat(b'x').take(size)).unwrap();
            }
        };
        assert!(Package::from_tar(archive(&|_| {}).as_slice()).is_ok());
        for (bad, word) in [
            (archive(&file("../manifest.toml", 1)), "../manifest.toml"),
            (archive(&file("/network.onnx", 1)), "/network.onnx"),
            (archive(&file("sub/golden.bin", 1)), "sub/golden.bin"),
            (archive(&file("golden.bin", 1)), "twice"),
            (archive(&file(CARD, (256 << 10) + 1)), "too large"),
        ] {
            assert!(said(Package::from_tar(bad.as_slice())).contains(word), "{word}");
        }
        let link = archive(&|archive| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, CARD, "/etc/passwd").unwrap();
        });
        assert!(said(Package::from_tar(link.as_slice())).contains("no file"));
        let whole = archive(&|_| {});
        assert!(Package::from_tar(&whole[..700]).is_err());
        assert!(said(Package::from_tar(&[b'x'; 2048][..])).contains("not_a_package"));
    }

    #[test]
    fn nothing_is_believed_that_is_not_signed() {
        let package = Package::read(folder(&WHOLE).path()).unwrap();
        let keys = Keys::parse(&[super::super::testing::PUBLIC_KEY.to_owned()]).unwrap();
        assert_eq!(package.signed(&keys).unwrap_err().reason, Reason::WrongSignature);
    }
}
