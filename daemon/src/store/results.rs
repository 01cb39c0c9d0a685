//! Results as folders: `{state}/results/{study_ref}/r{revision:04}/`, with [`FINDING_FILE`] in each.
//!
//! A revision is written once, in a staging folder, and appears whole under its name; it is never changed
//! afterwards. A study's results are removed together, by way of the staging folder; what a crash left there is swept at the
//! next start.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::files::{self, FileError, TEMPORARY_PREFIX};
use super::index::unix_ms;
use crate::domain::StudyRef;

/// The finding document in every result folder; its top-level `fingerprint` names what it was computed
/// from.
pub const FINDING_FILE: &str = "finding.json";

/// The folder below `results/` in which unfinished results lie.
const STAGING: &str = ".staging";

/// Why a result could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A revision is never overwritten.
    #[error("study {study_ref} already has a revision {revision}")]
    Exists {
        /// The study.
        study_ref: StudyRef,
        /// The revision that is there.
        revision: u32,
    },
    /// A result without its document isn't one.
    #[error("result {revision} of study {study_ref} has no {FINDING_FILE}")]
    NoFinding {
        /// The study.
        study_ref: StudyRef,
        /// The revision that was to be committed.
        revision: u32,
    },
}

/// All results of this box.
#[derive(Debug, Clone)]
pub struct ResultStore {
    root: PathBuf,
}

/// One revision, whole and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The study.
    pub study_ref: StudyRef,
    /// 1 for the first.
    pub revision: u32,
    /// Its folder.
    pub dir: PathBuf,
}

/// A result being written; dropped without [`commit`](StagedResult::commit), it is gone.
#[derive(Debug)]
pub struct StagedResult {
    dir: tempfile::TempDir,
    target: StoredResult,
}

impl ResultStore {
    /// Opens `{state}/results`, creates it when absent and sweeps unfinished results.
    pub fn open(state_dir: &Path) -> Result<ResultStore, ResultError> {
        let root = state_dir.join("results");
        let staging = root.join(STAGING);
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(FileError::during("sweep", &staging))?;
        }
        files::create_dir(&staging)?;
        Ok(ResultStore { root })
    }

    /// The newest revision of a study.
    pub fn latest(&self, study_ref: &StudyRef) -> Result<Option<StoredResult>, ResultError> {
        Ok(self.revisions(study_ref)?.pop())
    }

    /// The newest revision of a study that was computed from the same input, read from the documents themselves: they know
    /// of a result as soon as it is there, the index when all of its messages wait in the outbox.
    pub fn find_by_fingerprint(
        &self,
        study_ref: &StudyRef,
        fingerprint: &str,
    ) -> Result<Option<StoredResult>, ResultError> {
        let revisions = self.revisions(study_ref)?;
        Ok(revisions.into_iter().rev().find(|r| r.fingerprint().as_deref() == Some(fingerprint)))
    }

    /// Every revision of every study: what the index is rebuilt from.
    pub fn all(&self) -> Result<Vec<StoredResult>, ResultError> {
        let mut all = Vec::new();
        for name in files::names_in(&self.root)? {
            if let Ok(study_ref) = StudyRef::try_from(name) {
                all.extend(self.revisions(&study_ref)?);
            }
        }
        Ok(all)
    }

    /// Begins a result; nothing can be seen of it before [`StagedResult::commit`]. Who may read it is
    /// decided by the process's umask alone.
    pub fn stage(&self, study_ref: &StudyRef, revision: u32) -> Result<StagedResult, ResultError> {
        let staging = self.root.join(STAGING);
        let dir = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(fs::Permissions::from_mode(0o777))
            .tempdir_in(&staging)
            .map_err(FileError::during("create a folder in", &staging))?;
        Ok(StagedResult { dir, target: self.at(study_ref, revision) })
    }

    /// A revision that is there, or would be.
    pub fn at(&self, study_ref: &StudyRef, revision: u32) -> StoredResult {
        let dir = self.dir(study_ref, revision);
        StoredResult { study_ref: study_ref.clone(), revision, dir }
    }

    /// Where a revision lies, or would.
    pub fn dir(&self, study_ref: &StudyRef, revision: u32) -> PathBuf {
        self.root.join(study_ref.as_str()).join(format!("r{revision:04}"))
    }

    /// What the results of a study take on the disk, bytes.
    ///
    /// # Errors
    /// A folder can't be read.
    pub fn bytes_of(&self, study_ref: &StudyRef) -> Result<u64, FileError> {
        let study_dir = self.root.join(study_ref.as_str());
        let revisions = files::names_in(&study_dir)?;
        revisions.iter().map(|name| files::bytes_in(&study_dir.join(name))).sum()
    }

    /// Removes every result of a study: after a crash all of them are there or none.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, study_ref: &StudyRef) -> Result<(), FileError> {
        let removed = self.root.join(STAGING).join(study_ref.as_str());
        files::remove_dir(&self.root.join(study_ref.as_str()), &removed)
    }

    /// The revisions of a study, oldest first.
    pub fn revisions(&self, study_ref: &StudyRef) -> Result<Vec<StoredResult>, FileError> {
        let study_dir = self.root.join(study_ref.as_str());
        let mut revisions: Vec<_> = files::names_in(&study_dir)?
            .into_iter()
            .filter_map(|name| {
                let revision = name.strip_prefix('r')?.parse().ok()?;
                let dir = study_dir.join(name);
                Some(StoredResult { study_ref: study_ref.clone(), revision, dir })
            })
            .filter(|r| r.dir.join(FINDING_FILE).is_file())
            .collect();
        revisions.sort_by_key(|r| r.revision);
        Ok(revisions)
    }
}

impl StoredResult {
    /// When its document was written, Unix time in ms; 0 when it can't be told.
    pub fn written_ms(&self) -> u64 {
        let written = self.dir.join(FINDING_FILE).metadata().and_then(|m| m.modified());
        written.map_or(0, unix_ms)
    }

    /// The finding document as it was written.
    pub fn finding(&self) -> Result<Vec<u8>, FileError> {
        let path = self.dir.join(FINDING_FILE);
        fs::read(&path).map_err(FileError::during("read", &path))
    }

    /// What the result was computed from; `None` when the document can't be read or doesn't say.
    pub fn fingerprint(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Document {
            fingerprint: String,
        }
        let document: Document = serde_json::from_slice(&self.finding().ok()?).ok()?;
        Some(document.fingerprint)
    }
}

impl StagedResult {
    /// Where to write the result's files.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes the result durable and visible.
    pub fn commit(self) -> Result<StoredResult, ResultError> {
        let StoredResult { study_ref, revision, dir: final_dir } = &self.target;
        if !self.path().join(FINDING_FILE).is_file() {
            return Err(ResultError::NoFinding {
                study_ref: study_ref.clone(),
                revision: *revision,
            });
        }
        if final_dir.exists() {
            return Err(ResultError::Exists { study_ref: study_ref.clone(), revision: *revision });
        }
        let study_dir = final_dir.parent().expect("a result lies in its study's folder");
        files::create_dir(study_dir)?;
        files::publish_dir(self.path(), final_dir)?;
        Ok(self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study() -> StudyRef {
        StudyRef::derive(b"key", "1.2.3")
    }

    fn keep(store: &ResultStore, revision: u32, fingerprint: &str) -> StoredResult {
        let staged = store.stage(&study(), revision).unwrap();
        let document = format!(r#"{{"fingerprint":"{fingerprint}","findings":[]}}"#);
        fs::write(staged.path().join(FINDING_FILE), document).unwrap();
        staged.commit().unwrap()
    }

    #[test]
    fn the_newest_revision_is_the_highest_number_not_the_last_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = ResultStore::open(dir.path()).unwrap();
        assert_eq!(store.latest(&study()).unwrap(), None);
        keep(&store, 9999, "a");
        let newest = keep(&store, 10000, "b");
        assert_eq!(store.latest(&study()).unwrap(), Some(newest));
    }

    #[test]
    fn a_result_is_found_by_what_it_was_computed_from() {
        let dir = tempfile::tempdir().unwrap();
        let store = ResultStore::open(dir.path()).unwrap();
        let first = keep(&store, 1, "a");
        keep(&store, 2, "b");
        assert_eq!(store.find_by_fingerprint(&study(), "a").unwrap(), Some(first));
        assert_eq!(store.find_by_fingerprint(&study(), "c").unwrap(), None);
        assert_eq!(store.all().unwrap().len(), 2);
    }

    #[test]
    fn a_crash_before_the_commit_leaves_no_result_and_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = ResultStore::open(dir.path()).unwrap();
        let staged = store.stage(&study(), 1).unwrap();
        fs::write(staged.path().join(FINDING_FILE), b"{}").unwrap();
        let left_behind = staged.dir.keep();
        assert_eq!(store.latest(&study()).unwrap(), None);

        let store = ResultStore::open(dir.path()).unwrap();
        assert!(!left_behind.exists());
        assert_eq!(store.latest(&study()).unwrap(), None);
    }

    #[test]
    fn the_results_of_a_study_go_together() {
        let dir = tempfile::tempdir().unwrap();
        let store = ResultStore::open(dir.path()).unwrap();
        assert_eq!(store.bytes_of(&study()).unwrap(), 0);
        let first = keep(&store, 1, "a");
        let one = store.bytes_of(&study()).unwrap();
        let second = keep(&store, 2, "b");
        assert!(one > 0 && store.bytes_of(&study()).unwrap() > one);
        assert!(second.written_ms() > 1_000_000_000_000);
        store.remove(&study()).unwrap();
        assert_eq!((store.all().unwrap(), store.bytes_of(&study()).unwrap()), (vec![], 0));
        assert!(!first.dir.exists());
    }

    #[test]
    fn a_revision_is_never_overwritten_nor_kept_without_its_document() {
        let dir = tempfile::tempdir().unwrap();
        let store = ResultStore::open(dir.path()).unwrap();
        let empty = store.stage(&study(), 1).unwrap();
        assert!(matches!(empty.commit(), Err(ResultError::NoFinding { .. })));
        keep(&store, 1, "a");
        let again = store.stage(&study(), 1).unwrap();
        fs::write(again.path().join(FINDING_FILE), b"{}").unwrap();
        assert!(matches!(again.commit(), Err(ResultError::Exists { revision: 1, .. })));
        assert_eq!(store.latest(&study()).unwrap().unwrap().fingerprint().unwrap(), "a");
    }
}
