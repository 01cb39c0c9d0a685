//! Bringing the index in line with the files.
//!
//! Done at every start: after a crash between an instance's rename and its record the index is behind by
//! one, after one between the removal of files and of their entries it is ahead, after damage it is empty, and sled drops the
//! tail of a damaged log without a word.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{Index, IndexError, StudyState, guarded, instance_key, sled_error};
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
    /// Studies of which nothing was left on disk.
    pub studies_removed: usize,
    /// Files that could not be read; they stay out of the index.
    pub unreadable: usize,
}

impl Index {
    /// Adds what is on disk only, removes what isn't there any more. Only files that the index doesn't know are read.
    ///
    /// A study that was lost from the index is due again; with its result on disk nothing is computed,
    /// and its messages carry the same event identifiers as before.
    pub fn reconcile(
        &self,
        instances: impl IntoIterator<Item = InstanceFile>,
        results: impl IntoIterator<Item = StoredResult>,
    ) -> Result<Reconciled, IndexError> {
        let mut done = Reconciled::default();
        let (mut with_instances, mut with_results) = (HashSet::new(), HashMap::new());
        for result in results {
            done.results_added += self.add_result(&result)?;
            with_results.insert(result.study_ref.clone(), result.written_ms());
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
            with_instances.insert(file.study_ref);
        }
        done.instances_removed = retain(&self.instances, |key| on_disk.contains(key))?;
        for (study_ref, record) in self.studies()? {
            if with_instances.contains(&study_ref) {
                continue;
            }
            match with_results.get(&study_ref) {
                None => {
                    self.forget_study(&study_ref)?;
                    done.studies_removed += 1;
                }
                Some(written_ms) if record.has_work() || record.last_activity_ms == 0 => {
                    self.update(&study_ref, |record| record.note_no_instances(*written_ms))?;
                }
                Some(_) => {}
            }
        }
        self.flush()?;
        Ok(done)
    }

    /// Puts a result's revision into the study's record; 1 when it was new.
    fn add_result(&self, result: &StoredResult) -> Result<usize, IndexError> {
        let known = self.study(&result.study_ref)?.map_or(0, |record| record.latest_revision);
        if known >= result.revision {
            return Ok(0);
        }
        self.update(&result.study_ref, |record| {
            record.latest_revision = record.latest_revision.max(result.revision);
            if !record.has_work() {
                record.state = StudyState::Completed;
            }
        })?;
        Ok(1)
    }
}

/// Removes the entries whose key isn't wanted; returns how many.
fn retain(tree: &sled::Tree, wanted: impl Fn(&str) -> bool) -> Result<usize, IndexError> {
    guarded("remove entries", || {
        let failed = sled_error("remove entries");
        let mut removed = 0;
        for key in tree.iter().keys() {
            let key = key.map_err(&failed)?;
            if !wanted(&String::from_utf8_lossy(&key)) {
                tree.remove(key).map_err(&failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    })
}
