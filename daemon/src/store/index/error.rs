//! What can go wrong with the index, and whether rebuilding helps.

use std::path::PathBuf;

use crate::domain::StudyRef;

/// Why the index could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// sled reported an error.
    #[error("index: could not {operation}")]
    Sled {
        /// What was tried: a verb and its object.
        operation: &'static str,
        /// sled's reason.
        #[source]
        source: sled::Error,
    },
    /// sled panicked, as it may on damaged files (<https://github.com/spacejam/sled/issues/1387>).
    #[error("index: sled panicked while trying to {operation}")]
    Panicked {
        /// What was tried.
        operation: &'static str,
    },
    /// A record can't be read.
    #[error("index: the record of study {study_ref} is damaged")]
    Record {
        /// Whose record.
        study_ref: StudyRef,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Another process has the index open.
    #[error("index: {path} is in use by another process")]
    InUse {
        /// The index's folder.
        path: PathBuf,
    },
    /// The folder can't be created or moved aside.
    #[error(transparent)]
    File(#[from] crate::store::FileError),
}

impl IndexError {
    /// Whether the index is unusable, so that it must be dropped, opened again and reconciled.
    pub fn needs_reopening(&self) -> bool {
        matches!(self, Self::Sled { .. } | Self::Panicked { .. } | Self::Record { .. })
    }
}
