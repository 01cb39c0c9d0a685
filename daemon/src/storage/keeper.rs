//! Keeps what is kept within its limits.
//!
//! Owned by the worker, which calls it between two studies: nothing is analysed, no result written and no message of a study
//! enqueued while it looks and removes. Instances may arrive and be asked for at any time, so each study is looked at once
//! more under the locks of those who could want it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::Config;
use super::plan::{Kept, Plan, plan};
use super::sizes::{Size, Sizes};
use crate::audit::{Auditor, Event};
use crate::deliver::{HealthReason, Outbox};
use crate::domain::StudyRef;
use crate::metrics::Counts;
use crate::pacs::Pacs;
use crate::reading::{ReadingError, ReadingStore};
use crate::receive::InstanceStore;
use crate::store::index::{Part, StudyRecord, unix_ms};
use crate::store::{Disk, FileError, Index, IndexError, ResultStore};
use crate::supervision::Clock;

/// Time between two looks when nothing has happened: what was undelivered may go meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The same while too much is kept or the disk is low.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Studies removed at a time, so that analyses don't wait for long.
const REMOVALS_AT_A_TIME: usize = 20;

/// Why what is kept can't be looked at, or something not removed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// The index fails.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The reading lists can't be read.
    #[error("the reading lists can't be read")]
    Reading(#[from] ReadingError),
}

impl StorageError {
    /// Whether the index is unusable.
    pub fn needs_reopening(&self) -> bool {
        matches!(self, Self::Index(error) if error.needs_reopening())
    }
}

/// Where studies have files, and who may want them.
pub struct Sources {
    /// On whose file system all lies.
    pub state_dir: PathBuf,
    /// Instances.
    pub instances: Arc<InstanceStore>,
    /// Results.
    pub results: ResultStore,
    /// Where each study stands.
    pub index: Index,
    /// What waits for the broker.
    pub outbox: Arc<Outbox>,
    /// What waits for the PACS.
    pub pacs: Arc<Pacs>,
    /// The reading lists.
    pub readings: ReadingStore,
}

/// Keeps instances, results and the disk within the limits of `[storage]`. Its methods block on the disk.
pub struct Keeper {
    config: Config,
    quiet_period: Duration,
    sources: Sources,
    counts: Counts,
    auditor: Auditor,
    sizes: Sizes,
    /// When to look next; at once before the first look.
    next_look: Option<Instant>,
    /// What [`Plan::unmet`] said last.
    unmet: bool,
}

impl Keeper {
    /// Nothing is looked at yet. A study that was quiet for `quiet_period` is no longer being received.
    pub fn new(
        config: Config,
        quiet_period: Duration,
        sources: Sources,
        counts: Counts,
        auditor: Auditor,
    ) -> Keeper {
        let (sizes, next_look, unmet) = (Sizes::default(), None, false);
        Keeper { config, quiet_period, sources, counts, auditor, sizes, next_look, unmet }
    }

    /// Whether there is space enough to analyse a study and keep its result.
    pub fn has_space_to_work(&self) -> bool {
        !Disk::has_less_than(&self.sources.state_dir, self.config.min_free_to_work_bytes())
    }

    /// What is wrong now.
    pub fn reasons(&self) -> Vec<HealthReason> {
        let low = Disk::has_less_than(&self.sources.state_dir, self.config.min_free_bytes);
        let reasons = [(low, HealthReason::DiskLow), (self.unmet, HealthReason::StorageHeld)];
        reasons.into_iter().filter(|(stands, _)| *stands).map(|(_, reason)| reason).collect()
    }

    /// Has the next [`Keeper::tend`] look: something has changed.
    pub fn look_soon(&mut self) {
        self.next_look = None;
    }

    /// Looks whether it is time to, and removes what has to go, a part at a time, until `stop`. While the clock isn't trusted
    /// nothing goes for its age: a wrong year would take everything.
    ///
    /// # Errors
    /// Something can't be read or removed; the rest goes at a later look.
    pub fn tend(&mut self, clock: Clock, stop: &CancellationToken) -> Result<(), StorageError> {
        if self.next_look.is_some_and(|time| Instant::now() < time) {
            return Ok(());
        }
        // Also after an error.
        self.next_look = Some(Instant::now() + LOOK_AGAIN);
        let missing = self.missing_bytes();
        let limits = match clock {
            Clock::Free => self.config.without_ages(),
            Clock::Synchronised | Clock::Unknown => self.config.clone(),
        };
        let Plan { removals, unmet } = plan(self.kept()?, &limits, missing, now_ms());
        let (mut went, mut failed) = (0, None);
        for (study_ref, part) in &removals {
            if stop.is_cancelled() {
                return Ok(());
            }
            if went == REMOVALS_AT_A_TIME {
                break;
            }
            match self.remove(study_ref, *part) {
                Ok(true) => went += 1,
                Ok(false) => {}
                Err(error) if error.needs_reopening() => return Err(error),
                // One that can't be removed keeps none of the others.
                Err(error) => failed = Some(error),
            }
        }
        self.unmet = unmet;
        if !removals.is_empty() {
            self.kept()?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if went < removals.len() {
            self.look_soon();
        } else if !unmet && missing == 0 {
            self.next_look = Some(Instant::now() + LOOK_EVERY);
        }
        Ok(())
    }

    /// What the disk lacks for receiving to go on, bytes.
    fn missing_bytes(&self) -> u64 {
        let wanted = self.config.min_free_to_keep_bytes();
        let disk = Disk::read(&self.sources.state_dir);
        disk.map_or(0, |disk| wanted.saturating_sub(disk.free_bytes))
    }

    /// The facts of every study; their sums go to the metrics.
    fn kept(&mut self) -> Result<Vec<Kept>, StorageError> {
        let Sources { instances, results, index, .. } = &self.sources;
        let held = self.held();
        let now_ms = now_ms();
        let mut kept = Vec::new();
        for (study_ref, record) in index.studies()? {
            let size = self.sizes.of(&study_ref, &record, instances, results);
            let is_known = size.is_ok();
            let size = size.unwrap_or_else(|error| {
                // It stays, and keeps none of the others.
                tracing::error!(%study_ref, %error, "What a study takes on the disk can't be read.");
                Size::default()
            });
            kept.push(Kept {
                last_ms: record.last_activity_ms.max(size.written_ms),
                instances_bytes: size.instances_bytes,
                results_bytes: size.results_bytes,
                at_rest: is_known && record.is_at_rest(now_ms, self.quiet_period),
                held: held.as_ref().is_none_or(|held| held.contains(&study_ref)),
                study_ref,
            });
        }
        let instances_bytes = kept.iter().map(|study| study.instances_bytes).sum();
        let results_bytes = kept.iter().map(|study| study.results_bytes).sum();
        self.counts.storage_holds(instances_bytes, results_bytes);
        Ok(kept)
    }

    /// The studies whose results are still wanted by somebody; `None` where that can't be read, and all are kept.
    fn held(&self) -> Option<HashSet<StudyRef>> {
        let Sources { outbox, pacs, readings, .. } = &self.sources;
        let mut held = outbox.studies();
        let read = || -> Result<_, StorageError> { Ok((pacs.studies()?, readings.listed()?)) };
        match read() {
            Ok((queued, listed)) => {
                held.extend(queued);
                held.extend(listed);
                Some(held)
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(
                    error,
                    "Which results are still wanted can't be read: all are kept."
                );
                None
            }
        }
    }

    /// Removes a part of a study unless somebody has come to want it; whether it went.
    fn remove(&mut self, study_ref: &StudyRef, part: Part) -> Result<bool, StorageError> {
        self.sizes.forget(study_ref);
        let Sources { instances, results, index, readings, .. } = &self.sources;
        let quiet_period = self.quiet_period;
        let remove = || {
            instances.between_arrivals(|| {
                let may = |record: &StudyRecord| record.is_at_rest(now_ms(), quiet_period);
                index.remove(study_ref, part, may, || {
                    instances.remove(study_ref)?;
                    if part == Part::Everything {
                        results.remove(study_ref)?;
                    }
                    Ok::<_, StorageError>(())
                })
            })
        };
        let went = match part {
            Part::Instances => remove()?,
            Part::Everything => {
                readings.unless_listed(study_ref, remove)?.transpose()?.unwrap_or(false)
            }
        };
        if went {
            self.counts.storage_removed(part);
            self.auditor.note(&Event::Removed { study: study_ref.clone(), part });
            tracing::info!(%study_ref, part = part.as_str(), "A study was removed, wholly or in part, as [storage] says.");
        }
        Ok(went)
    }
}

fn now_ms() -> u64 {
    unix_ms(SystemTime::now())
}

#[cfg(test)]
mod tests;
