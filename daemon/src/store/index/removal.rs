//! Forgetting what was removed from the disk.
//!
//! The files go first: a crash in between leaves entries without a file, which reconciling drops. A study of whose files
//! nothing is left is forgotten, so the index stays as small as what is kept.

use std::sync::PoisonError;

use super::{Index, IndexError, StudyRecord, guarded, instance_key, sled_error};
use crate::domain::StudyRef;

/// What of a study is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its instances; the study stays, with its result.
    Instances,
    /// All of it.
    Everything,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Instances, Part::Everything];

    /// As metrics and the log name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Instances => "instances",
            Part::Everything => "everything",
        }
    }
}

impl Index {
    /// Removes a part of a study if its record `may` go: `files` removes the files, then the index forgets them. Meanwhile nothing is recorded and no analysis asked for. False when nothing
    /// was removed.
    ///
    /// # Errors
    /// Those of `files`, or the index fails.
    pub fn remove<E: From<IndexError>>(
        &self,
        study_ref: &StudyRef,
        part: Part,
        may: impl FnOnce(&StudyRecord) -> bool,
        files: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, E> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.study(study_ref)?.is_some_and(|record| may(&record)) {
            return Ok(false);
        }
        files()?;
        self.forget_instances(study_ref)?;
        if part == Part::Everything {
            self.forget_study(study_ref)?;
        }
        self.flush()?;
        Ok(true)
    }

    /// Whether any instance of a study is known.
    pub(super) fn has_instances(&self, study_ref: &StudyRef) -> Result<bool, IndexError> {
        guarded("look for instances", || {
            let first = self.instances.scan_prefix(instance_key(study_ref, "")).next();
            Ok(first.transpose().map_err(sled_error("look for instances"))?.is_some())
        })
    }

    pub(super) fn forget_study(&self, study_ref: &StudyRef) -> Result<(), IndexError> {
        guarded("forget a study", || {
            let removed = self.studies.remove(study_ref.as_str());
            removed.map(drop).map_err(sled_error("forget a study"))
        })?;
        self.changed.send_replace(());
        Ok(())
    }

    fn forget_instances(&self, study_ref: &StudyRef) -> Result<(), IndexError> {
        guarded("forget instances", || {
            let failed = sled_error("forget instances");
            for key in self.instances.scan_prefix(instance_key(study_ref, "")).keys() {
                self.instances.remove(key.map_err(&failed)?).map_err(&failed)?;
            }
            Ok(())
        })
    }
}
