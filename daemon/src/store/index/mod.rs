//! The index: which studies wait for analysis, and what is known of the others.
//!
//! Owns sled. Promises that what a method returned `Ok` for is on disk, and that a crash at any moment
//! costs no study its analysis. Must hold nothing that can't be rebuilt from the files of instances and
//! results, and no pixel data (sled needs about ten times the live size).
//!
//! Two trees: `studies` ([`StudyRecord`] by study reference) and `instances` (SHA-256 by study reference and name). A change that
//! touches both is written in the order in which losing the second part only repeats work.

mod error;
mod open;
mod reconcile;
mod record;
mod removal;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::sync::watch;

use super::files::Sha256Digest;
use crate::domain::StudyRef;

pub use error::IndexError;
pub use open::Opened;
pub use reconcile::{InstanceFile, Reconciled};
pub use record::{Change, Outcome, StudyRecord, StudyState};
pub use removal::Part;

/// The index of a box; clones share it. Its methods block on the disk.
#[derive(Clone)]
pub struct Index {
    db: sled::Db,
    studies: sled::Tree,
    instances: sled::Tree,
    /// Held while a record is read, changed and written back.
    writer: Arc<Mutex<()>>,
    /// Told of every change of a study's record.
    changed: watch::Sender<()>,
}

/// Whether an analysis may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It may: hand `generation` to [`Index::finish`].
    Begun {
        /// The generation to analyse.
        generation: u64,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// The study took the daemon down too often: publish its failure, then [`Index::finish`] it as
    /// [`Outcome::Failed`].
    Exhausted {
        /// The generation that failed.
        generation: u64,
    },
}

/// What a request to analyse a study again leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// It is due.
    Due,
    /// There is no such study.
    UnknownStudy,
    /// It has a result, but its instances are no longer kept.
    InstancesRemoved,
}

impl Index {
    /// Records a received instance; its file is on disk already. Durable when this returns.
    ///
    /// `name` is the instance's file name in its study.
    pub fn record_instance(
        &self,
        study_ref: &StudyRef,
        name: &str,
        digest: Sha256Digest,
        now: SystemTime,
    ) -> Result<Change, IndexError> {
        let change = self.put_instance(study_ref, name, digest, unix_ms(now))?;
        self.flush()?;
        Ok(change)
    }

    /// Records that the required series are whole, so that the quiet period need not be waited for. A later
    /// instance takes it back.
    pub fn mark_whole(&self, study_ref: &StudyRef) -> Result<(), IndexError> {
        self.update(study_ref, |record| record.whole_generation = record.generation)?;
        self.flush()
    }

    /// The studies to analyse now: those never tried first, then those quiet for longest, so that a study
    /// which takes the daemon down holds up nobody else.
    pub fn due(&self, now: SystemTime, quiet: Duration) -> Result<Vec<StudyRef>, IndexError> {
        let now = unix_ms(now);
        let mut due = self.studies()?;
        due.retain(|(_, record)| record.is_due(now, quiet));
        due.sort_by_key(|(_, record)| (record.attempts, record.last_activity_ms));
        Ok(due.into_iter().map(|(study_ref, _)| study_ref).collect())
    }

    /// Counts an attempt at a study, durably, before it begins; after `max_attempts` that never ended the
    /// study is to be given up. A new instance starts the count again.
    pub fn begin_attempt(
        &self,
        study_ref: &StudyRef,
        max_attempts: u32,
    ) -> Result<Attempt, IndexError> {
        let record = self.update(study_ref, |record| {
            record.state = StudyState::Analysing;
            record.attempts = record.attempts.saturating_add(1);
        })?;
        self.flush()?;
        let StudyRecord { generation, attempts: attempt, .. } = record;
        Ok(if attempt > max_attempts {
            Attempt::Exhausted { generation }
        } else {
            Attempt::Begun { generation, attempt }
        })
    }

    /// Has a study wait for its next attempt after one that ended in an error. Not waited for to be durable: the attempt is
    /// counted already, and a crash leaves the study due all the same.
    pub fn fail_attempt(&self, study_ref: &StudyRef) -> Result<StudyRecord, IndexError> {
        self.update(study_ref, StudyRecord::note_failed_attempt)
    }

    /// Takes an attempt back that was ended in good order before its end, as by a shutdown.
    pub fn abandon_attempt(&self, study_ref: &StudyRef) -> Result<(), IndexError> {
        self.update(study_ref, StudyRecord::note_abandoned)?;
        self.flush()
    }

    /// Makes a study due whose instances are as they were, if it can be analysed again.
    pub fn analyse_again(&self, study_ref: &StudyRef) -> Result<Requested, IndexError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.study(study_ref)?.is_none() {
            return Ok(Requested::UnknownStudy);
        }
        if !self.has_instances(study_ref)? {
            return Ok(Requested::InstancesRemoved);
        }
        self.update_locked(study_ref, StudyRecord::note_request)?;
        self.flush()?;
        Ok(Requested::Due)
    }

    /// Records the end of the analysis of `generation`. The result is on disk and its messages are in the
    /// outbox already. Instances that came in meanwhile keep the study due.
    pub fn finish(
        &self,
        study_ref: &StudyRef,
        generation: u64,
        outcome: &Outcome,
    ) -> Result<(), IndexError> {
        self.update(study_ref, |record| record.note_outcome(generation, outcome))?;
        self.flush()
    }

    /// What is known of a study.
    pub fn study(&self, study_ref: &StudyRef) -> Result<Option<StudyRecord>, IndexError> {
        guarded("look up a study", || {
            let found =
                self.studies.get(study_ref.as_str()).map_err(sled_error("look up a study"))?;
            found.map(|bytes| decode(study_ref, &bytes)).transpose()
        })
    }

    /// Every study that is known.
    pub fn studies(&self) -> Result<Vec<(StudyRef, StudyRecord)>, IndexError> {
        guarded("list the studies", || {
            let mut studies = Vec::new();
            for entry in self.studies.iter() {
                let (key, bytes) = entry.map_err(sled_error("list the studies"))?;
                let name = String::from_utf8_lossy(&key).into_owned();
                if let Ok(study_ref) = StudyRef::try_from(name) {
                    let record = decode(&study_ref, &bytes)?;
                    studies.push((study_ref, record));
                }
            }
            Ok(studies)
        })
    }

    /// Sees every change of a study's record from now on; several may be seen as one.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Records an instance without flushing. The study's record is written first: if the instance's own
    /// entry is lost, its sender, who got no Success, makes the study due once more.
    fn put_instance(
        &self,
        study_ref: &StudyRef,
        name: &str,
        digest: Sha256Digest,
        now_ms: u64,
    ) -> Result<Change, IndexError> {
        const RECORD: &str = "record an instance";
        let key = instance_key(study_ref, name);
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let study_is_known = self.study(study_ref)?.is_some();
        let known = guarded(RECORD, || self.instances.get(&key).map_err(sled_error(RECORD)))?;
        let change = match known {
            Some(known) if study_is_known && known == digest => Change::Identical,
            Some(_) if study_is_known => Change::Replaced,
            _ => Change::New,
        };
        self.update_locked(study_ref, |record| record.note_instance(change, now_ms))?;
        guarded(RECORD, || self.instances.insert(&key, &digest).map_err(sled_error(RECORD)))?;
        Ok(change)
    }

    /// Whether an instance is in the index, and its study too.
    fn knows_instance(&self, study_ref: &StudyRef, key: &str) -> Result<bool, IndexError> {
        guarded("look up an instance", || {
            let failed = sled_error("look up an instance");
            Ok(self.instances.contains_key(key).map_err(&failed)?
                && self.studies.contains_key(study_ref.as_str()).map_err(&failed)?)
        })
    }

    /// Changes a study's record, a new one if there is none; returns it as written.
    fn update(
        &self,
        study_ref: &StudyRef,
        change: impl FnOnce(&mut StudyRecord),
    ) -> Result<StudyRecord, IndexError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.update_locked(study_ref, change)
    }

    /// [`update`](Self::update) for who holds `writer` already.
    fn update_locked(
        &self,
        study_ref: &StudyRef,
        change: impl FnOnce(&mut StudyRecord),
    ) -> Result<StudyRecord, IndexError> {
        let mut record = self.study(study_ref)?.unwrap_or_default();
        change(&mut record);
        guarded("write a record", || {
            self.studies
                .insert(study_ref.as_str(), encode(&record))
                .map_err(sled_error("write a record"))
        })?;
        self.changed.send_replace(());
        Ok(record)
    }

    /// Waits until everything written so far is on disk.
    fn flush(&self) -> Result<(), IndexError> {
        guarded("flush", || self.db.flush().map_err(sled_error("flush")).map(drop))
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

/// Unix time in ms; 0 before 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis().try_into().unwrap_or(u64::MAX))
}

fn instance_key(study_ref: &StudyRef, name: &str) -> String {
    format!("{study_ref}/{name}")
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record of numbers and names is always JSON")
}

fn decode(study_ref: &StudyRef, bytes: &[u8]) -> Result<StudyRecord, IndexError> {
    serde_json::from_slice(bytes)
        .map_err(|source| IndexError::Record { study_ref: study_ref.clone(), source })
}

fn sled_error(operation: &'static str) -> impl Fn(sled::Error) -> IndexError {
    move |source| IndexError::Sled { operation, source }
}

/// Runs a use of sled; a panic in it becomes an error. What a panic may leave inconsistent is dropped by the
/// caller, who opens the index again.
fn guarded<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(IndexError::Panicked { operation }))
}

#[cfg(test)]
mod tests;
