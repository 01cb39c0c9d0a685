//! Why something of a reading list was refused.

use super::Name;
use crate::agreement::GradingsError;
use crate::domain::StudyRef;
use crate::store::files::FileError;

/// Why something of a reading list was refused. Every message can be shown to who asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// Not a name for a list or a reader.
    #[error(
        "{0:?} is no name: 1 to 32 letters, digits, dots, hyphens and underscores, a letter or digit first"
    )]
    Name(String),
    /// A new list makes no sense.
    #[error("a reading list needs {0}")]
    NewList(&'static str),
    /// A list of that name is there.
    #[error("there is a reading list {0} already")]
    Exists(Name),
    /// There is no such list, or no such reader in it.
    #[error("there is no such reading list or reader")]
    NotFound,
    /// The token opens nothing here.
    #[error("the token doesn't open this reading list")]
    Token,
    /// The exam isn't the one that the reader is at, or what was asked for is not for this session.
    #[error("this is not open to the reader now")]
    NotOpen,
    /// Not every endplate was graded, or one that isn't asked for.
    #[error(
        "an exam is handed in with a grade for each of its endplates; {0:?} is missing or not asked for"
    )]
    Endplates(String),
    /// The reading time is none.
    #[error("the reading time is 0 to 86400 seconds")]
    Seconds,
    /// An imported row is about an exam or reader that the list doesn't have.
    #[error("the list has no reader {reader} or no study {study}")]
    NotListed {
        /// The reader in the row.
        reader: String,
        /// The study in the row.
        study: String,
    },
    /// An imported exam was handed in before, with other grades.
    #[error(
        "reader {reader} handed in other grades of study {study_ref}: what was handed in isn't changed"
    )]
    Contradiction {
        /// The reader.
        reader: Name,
        /// The study.
        study_ref: StudyRef,
    },
    /// An imported row's time is none.
    #[error("{0:?} is no time as RFC 3339 has it")]
    Time(String),
    /// An imported table can't be understood.
    #[error(transparent)]
    Gradings(#[from] GradingsError),
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something that has nothing to do with readings failed.
    #[error("the box could not answer")]
    Internal(#[from] anyhow::Error),
    /// A file of a list is damaged.
    #[error("a file of the reading list can't be understood")]
    Damaged(#[from] serde_json::Error),
}
