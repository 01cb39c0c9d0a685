//! Why an instance was refused: codes for people and machines, and their DIMSE status.

use super::command::Status;
use crate::domain::AeTitle;
use crate::store::disk;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why one instance was refused. The code ([`Reason::code`]) is stable: it is published and documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing that could be a DICOM data set.
    NotDicom,
    /// The data set ends inside an element, an item or a sequence.
    Truncated,
    /// The data set's structure contradicts itself: an unknown VR, an item where none may be, sequences
    /// nested beyond any use.
    Malformed,
    /// Study, Series or SOP Instance UID, or SOP Class UID, is absent or empty.
    MissingUid,
    /// One of these UIDs is longer than 64 characters or holds control characters.
    InvalidUid,
    /// An image without pixels: not one, or a data set cut between two elements.
    MissingPixelData,
    /// The data set's SOP class or instance is not the one that the C-STORE command announced.
    UidMismatch,
    /// Neither MR Image Storage nor Enhanced MR Image Storage.
    SopClassNotSupported,
    /// A transfer syntax whose pixels the daemon can't decode.
    TransferSyntaxNotSupported,
    /// Larger than `receive.max_object_bytes`, or with a header larger than any MR image has.
    TooLarge,
    /// Beyond `receive.max_study_instances` or `receive.max_study_bytes` of its study.
    StudyTooLarge,
    /// A C-STORE command without what it must hold, or without a data set.
    InvalidCommand,
    /// A file in the watched folder, or named by the user, that can't be read.
    Unreadable,
    /// Less space is free than `storage.min_free_bytes`, or none; the peer may try again.
    DiskLow,
    /// The disk fails; the peer may try again.
    StorageFailed,
    /// On disk, but the index didn't take it; the peer may try again.
    IndexFailed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 16] = [
        Reason::NotDicom,
        Reason::Truncated,
        Reason::Malformed,
        Reason::MissingUid,
        Reason::InvalidUid,
        Reason::MissingPixelData,
        Reason::UidMismatch,
        Reason::SopClassNotSupported,
        Reason::TransferSyntaxNotSupported,
        Reason::TooLarge,
        Reason::StudyTooLarge,
        Reason::InvalidCommand,
        Reason::Unreadable,
        Reason::DiskLow,
        Reason::StorageFailed,
        Reason::IndexFailed,
    ];

    /// The stable code, as published.
    pub fn code(self) -> &'static str {
        match self {
            Reason::NotDicom => "not_dicom",
            Reason::Truncated => "truncated",
            Reason::Malformed => "malformed",
            Reason::MissingUid => "missing_uid",
            Reason::InvalidUid => "invalid_uid",
            Reason::MissingPixelData => "missing_pixel_data",
            Reason::UidMismatch => "uid_mismatch",
            Reason::SopClassNotSupported => "sop_class_not_supported",
            Reason::TransferSyntaxNotSupported => "transfer_syntax_not_supported",
            Reason::TooLarge => "too_large",
            Reason::StudyTooLarge => "study_too_large",
            Reason::InvalidCommand => "invalid_command",
            Reason::Unreadable => "unreadable",
            Reason::DiskLow => "disk_low",
            Reason::StorageFailed => "storage_failed",
            Reason::IndexFailed => "index_failed",
        }
    }

    /// One sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::NotDicom => "This is not DICOM.",
            Reason::Truncated => "The data set ends too early.",
            Reason::Malformed => "The data set's structure is damaged.",
            Reason::MissingUid => "A study, series, instance or class UID is missing.",
            Reason::InvalidUid => "A study, series, instance or class UID is not valid.",
            Reason::MissingPixelData => "The image has no pixel data.",
            Reason::UidMismatch => "The data set is not the instance that was announced.",
            Reason::SopClassNotSupported => "This is not an MR image.",
            Reason::TransferSyntaxNotSupported => "The transfer syntax is not supported.",
            Reason::TooLarge => "The instance is larger than the configured limit.",
            Reason::StudyTooLarge => {
                "The study has more instances or bytes than the configured limits."
            }
            Reason::InvalidCommand => "The store command is incomplete.",
            Reason::Unreadable => "The file can't be read.",
            Reason::DiskLow => "There is too little space on the disk.",
            Reason::StorageFailed => "The instance could not be written to disk.",
            Reason::IndexFailed => "The instance could not be recorded.",
        }
    }

    /// Whether the same instance may be accepted later, without being changed.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Reason::DiskLow | Reason::StorageFailed | Reason::IndexFailed | Reason::Unreadable
        )
    }

    /// The status of the C-STORE response (PS3.4, table B.2-1; PS3.7, annex C).
    pub(super) fn status(self) -> Status {
        match self {
            Reason::TooLarge
            | Reason::StudyTooLarge
            | Reason::DiskLow
            | Reason::StorageFailed
            | Reason::IndexFailed => Status::OUT_OF_RESOURCES,
            Reason::MissingUid
            | Reason::InvalidUid
            | Reason::MissingPixelData
            | Reason::UidMismatch => Status::DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
            Reason::SopClassNotSupported => Status::SOP_CLASS_NOT_SUPPORTED,
            Reason::NotDicom
            | Reason::Truncated
            | Reason::Malformed
            | Reason::TransferSyntaxNotSupported
            | Reason::InvalidCommand
            | Reason::Unreadable => Status::CANNOT_UNDERSTAND,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A refused instance: the reason and, for failures of this machine, what failed.
#[derive(Debug, thiserror::Error)]
#[error("instance refused: {reason}")]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// What failed on this machine, if anything did.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Refusal {
    /// A refusal because the spool failed, or has no space left.
    pub(super) fn storage(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
        let source = source.into();
        let reason = match source.downcast_ref() {
            Some(error) if disk::is_full(error) => Reason::DiskLow,
            _ => Reason::StorageFailed,
        };
        Refusal { reason, source: Some(source) }
    }

    /// A refusal because a file to be taken in can't be read.
    pub(super) fn unreadable(source: std::io::Error) -> Refusal {
        Refusal { reason: Reason::Unreadable, source: Some(source.into()) }
    }

    /// What failed on this machine, for a log; empty for faults of the instance.
    pub(super) fn cause(&self) -> String {
        self.source.as_ref().map(|s| s.to_string()).unwrap_or_default()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal { reason, source: None }
    }
}

/// Which door instances came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An association.
    Association {
        /// The peer's address.
        peer: IpAddr,
        /// Its calling AE title, when it is a valid one.
        calling_ae: Option<AeTitle>,
    },
    /// A watched folder.
    Folder(PathBuf),
}

/// The instances refused in one association, or in one scan of the watched folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedInstances {
    /// Where they came from.
    pub origin: Origin,
    /// How many, by reason; never empty.
    pub counts: BTreeMap<Reason, u64>,
}

impl RefusedInstances {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_failing_one() {
        let reason = |kind: std::io::ErrorKind| Refusal::storage(std::io::Error::from(kind)).reason;
        assert_eq!(reason(std::io::ErrorKind::StorageFull), Reason::DiskLow);
        assert_eq!(reason(std::io::ErrorKind::QuotaExceeded), Reason::DiskLow);
        assert_eq!(reason(std::io::ErrorKind::ReadOnlyFilesystem), Reason::StorageFailed);
    }

    #[test]
    fn the_readme_holds_the_list() {
        let readme = include_str!("../../../README.md");
        let list = readme.split("counted by reason in").nth(1).unwrap();
        let list = list.split("\n\n").next().unwrap();
        for reason in Reason::ALL {
            assert!(list.contains(&format!("`{reason}`")), "README lacks {reason}");
        }
    }

    #[test]
    fn the_published_code_is_the_serialized_one() {
        for reason in Reason::ALL {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.code()));
        }
    }
}
