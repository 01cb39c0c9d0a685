//! What every study takes on the disk, measured once for each change of it.

use std::collections::HashMap;

use crate::domain::StudyRef;
use crate::receive::InstanceStore;
use crate::store::index::StudyRecord;
use crate::store::{FileError, ResultStore};

/// What a study takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    /// Its instances, bytes.
    pub instances_bytes: u64,
    /// Its results, bytes.
    pub results_bytes: u64,
    /// When the newest result was written, Unix time in ms; 0 without one.
    pub written_ms: u64,
}

/// The state of a study that was measured: its files change only with it.
type State = (u64, u64, u32);

/// The sizes that are known.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    known: HashMap<StudyRef, (State, Size)>,
}

impl Sizes {
    /// What a study takes, measured unless it is known. Blocking.
    pub fn of(
        &mut self,
        study_ref: &StudyRef,
        record: &StudyRecord,
        instances: &InstanceStore,
        results: &ResultStore,
    ) -> Result<Size, FileError> {
        let state = (record.generation, record.analysed_generation, record.latest_revision);
        if let Some((of, size)) = self.known.get(study_ref)
            && *of == state
        {
            return Ok(*size);
        }
        let size = Size {
            instances_bytes: instances.bytes_of(study_ref)?,
            results_bytes: results.bytes_of(study_ref)?,
            written_ms: results.at(study_ref, record.latest_revision).written_ms(),
        };
        self.known.insert(study_ref.clone(), (state, size));
        Ok(size)
    }

    /// Has a study measured again.
    pub fn forget(&mut self, study_ref: &StudyRef) {
        self.known.remove(study_ref);
    }

    /// How many are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.known.len()
    }
}
