//! What can be wrong with a bundle.

use std::path::PathBuf;

/// Why a bundle was refused, or its network didn't run.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file of the bundle can't be read.
    #[error("can't read {path} of the bundle")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
    /// The manifest isn't one.
    #[error("manifest.toml of the bundle is not valid")]
    Manifest(#[source] toml::de::Error),
    /// The manifest contradicts itself or asks for what this program can't do.
    #[error("manifest of bundle {bundle}: {problem}")]
    Contract {
        /// The bundle's name.
        bundle: String,
        /// What is wrong.
        problem: String,
    },
    /// A file isn't the one the manifest speaks of.
    #[error("{file} of bundle {bundle} has SHA-256 {found}, its manifest says {expected}")]
    Digest {
        /// The bundle's name.
        bundle: String,
        /// The file's name.
        file: &'static str,
        /// Computed.
        found: String,
        /// Stated.
        expected: String,
    },
    /// The golden case is not readable.
    #[error("golden case of bundle {bundle} is damaged: {problem}")]
    Golden {
        /// The bundle's name.
        bundle: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The golden case gives other results here than where the bundle was made.
    #[error(
        "golden case of bundle {bundle}: {agreement:.4} of logits are as they should be, \
         {required:.4} are required"
    )]
    GoldenDiffers {
        /// The bundle's name.
        bundle: String,
        /// Fraction of logits that are.
        agreement: f64,
        /// Fraction that is asked for.
        required: f64,
    },
    /// The runtime failed.
    #[error("bundle {bundle}: {action} failed: {cause}")]
    Runtime {
        /// The bundle's name.
        bundle: String,
        /// What was tried.
        action: &'static str,
        /// tract's words, its error type kept inside this crate.
        cause: String,
    },
    /// The pool of threads.
    #[error("networks can't run on several threads: {0}")]
    Threads(String),
}
