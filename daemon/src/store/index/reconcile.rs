//! Bringing the index in line with the files.
//!
//! Done at every start: after a crash between an instance's rename and its record the index is behind by
//! one, after damage it is empty, and sled drops the tail of a damaged log without a word.

use std::{collections::HashSet, path::PathBuf};

use super::{Index, IndexError, StudyState, instance_key};
use crate::{
    domain::StudyRef,
    store::{StoredResult, files},
};

/// A received instance as found on disk.
#[derive(Debug, Clone)]
pub struct InstanceFile {
    /// The study it belongs to.
    pub study_ref: StudyRef,
    /// Its name in the study, as given to [`Index::record_instance`].
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// When it was written, Unix time in ms.
    pub modified_ms: u64,
}

/// What reconciling changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Instances that were on disk only.
    pub instances_added: usize,
    /// Instances that were in the index only.
    pub instances_removed: usize,
    /// Results that were on disk only.
    pub results_added: usize,
    /// Files that could not be read; they stay out of the index.
    pub unreadable: usize,
}

impl Index {
    /// Adds what is on disk only, removes instances whose file is gone. Only files that the index doesn't
    /// know are read.
    ///
    /// A study that was lost from the index is due again; with its result in the cache nothing is computed,
    /// and its messages carry the same event identifiers as before.
    pub fn reconcile(
        &self,
        instances: impl IntoIterator<Item = InstanceFile>,
        results: impl IntoIterator<Item = StoredResult>,
    ) -> Result<Reconciled, IndexError> {
        let mut done = Reconciled::default();
        for result in results {
            match result.fingerprint() {
                Some(fingerprint) => {
                    done.results_added += self.add_result(&result, &fingerprint)?
                }
                None => done.unreadable += 1,
            }
        }
        let mut on_disk = HashSet::new();
        for file in instances {
            let key = instance_key(&file.study_ref, &file.name);
            if !self.knows_instance(&file.study_ref, &key)? {
                match files::sha256_of(&file.path) {
                    Ok(digest) => {
                        self.put_instance(&file.study_ref, &file.name, digest, file.modified_ms)?;
                        done.instances_added += 1;
                    }
                    Err(_) => done.unreadable += 1,
                }
            }
            on_disk.insert(key);
        }
        done.instances_removed = self.retain_instances(|key| on_disk.contains(key))?;
        self.flush()?;
        Ok(done)
    }

    /// Puts a result into the cache and its revision into the study's record; 1 when it was new.
    fn add_result(&self, result: &StoredResult, fingerprint: &str) -> Result<usize, IndexError> {
        let cached = self.cached(fingerprint)?.is_some();
        let known = self.study(&result.study_ref)?.map_or(0, |record| record.latest_revision);
        if cached && known >= result.revision {
            return Ok(0);
        }
        self.put_result(fingerprint, &result.study_ref, result.revision)?;
        self.update(&result.study_ref, |record| {
            record.latest_revision = record.latest_revision.max(result.revision);
            if !record.has_work() {
                record.state = StudyState::Completed;
            }
        })?;
        Ok(1)
    }
}
