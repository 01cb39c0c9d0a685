//! Why a bundle isn't taken, or not any more.

use modic_models::BundleError;

use crate::codes::coded_enum;
use crate::store::FileError;

coded_enum! {
    /// Why a bundle isn't staged, activated or gone back to, or why the box went back by itself.
    Reason, meaning: "What it means and what to do, for a person.",
    FixedFolder "fixed_folder" "The configuration has bundles_dir: the networks are those of that folder. Take the key out to update them.";
    NoKeys "no_keys" "[bundles] public_keys is empty, so nobody's signature is trusted.";
    HttpsOff "https_off" "[bundles.tls] is missing: without authorities nothing is fetched over HTTPS.";
    Unreachable "unreachable" "The package can't be read, or the server doesn't answer with it. The log says why.";
    NotAPackage "not_a_package" "The package isn't a tar archive or folder of manifest.toml, manifest.toml.minisig, network.onnx and golden.bin, with MODEL_CARD.md or without, or one of them is too large.";
    WrongPackage "wrong_package" "The package's SHA-256 isn't the one asked for.";
    WrongSignature "wrong_signature" "No trusted key has signed the manifest.";
    WrongDigest "wrong_digest" "A file isn't the one that the manifest names.";
    BadManifest "bad_manifest" "The manifest isn't valid, or describes a network that this program can't use.";
    NotNewer "not_newer" "Its version isn't higher than that of the bundle inside the program and all that were active before.";
    BadNetwork "bad_network" "The network can't be read or run.";
    GoldenCase "golden_case" "The network doesn't compute on this box what it did where it was made.";
    TooSlow "too_slow" "It takes more than [bundles] max_slowdown times as long as the one in use.";
    NothingStaged "nothing_staged" "No bundle of this network is staged.";
    NotStaged "not_staged" "Another bundle is staged than the one asked for.";
    NothingBefore "nothing_before" "The bundle inside the program is in use and there is none to go back to.";
    FailedExams "failed_exams" "Analyses failed or took the daemon down with it before it had proved itself; the box went back to the one before.";
    Busy "busy" "Somebody else is changing the bundles; try again.";
    NotOwner "not_owner" "state_dir belongs to another user; run the command as that one.";
    Disk "disk" "The bundles' folder can't be read or written. Check the disk under state_dir.";
}

/// A bundle was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{reason}: {}", reason.meaning())]
pub struct UpdateError {
    /// Why.
    pub reason: Reason,
    /// What happened.
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Reason {
    /// An error with its cause.
    pub(super) fn because(
        self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> UpdateError {
        UpdateError { reason: self, cause: Some(cause.into()) }
    }
}

impl From<Reason> for UpdateError {
    fn from(reason: Reason) -> UpdateError {
        UpdateError { reason, cause: None }
    }
}

impl From<FileError> for UpdateError {
    fn from(error: FileError) -> UpdateError {
        Reason::Disk.because(error)
    }
}

impl From<BundleError> for UpdateError {
    fn from(error: BundleError) -> UpdateError {
        let reason = match &error {
            BundleError::Manifest(_) | BundleError::Contract { .. } => Reason::BadManifest,
            BundleError::Digest { .. } => Reason::WrongDigest,
            BundleError::Golden { .. } | BundleError::GoldenDiffers { .. } => Reason::GoldenCase,
            BundleError::Runtime { .. } | BundleError::Threads(_) => Reason::BadNetwork,
            BundleError::Read { .. } => Reason::Unreachable,
        };
        reason.because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_holds_the_list() {
        let readme = include_str!("../../../README.md");
        for row in Reason::markdown_table().lines().skip(2) {
            assert!(readme.contains(row), "README lacks: {row}");
        }
    }
}
