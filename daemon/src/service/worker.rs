//! The worker: takes one due study after the other from the index to the outbox.
//!
//! A study is done in this order, each step durable before the next: attempt counted, result committed,
//! messages in the outbox and the queues of the PACS, end recorded. A crash between two steps repeats the rest with the same result
//! (by its fingerprint) and the same event identifiers.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use fail::fail_point;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::announce::{Announcer, refused_series};
use super::networks::Networks;
use crate::analysis::{Analysis, AnalysisError, Prepared, Refused};
use crate::config::WorkerConfig;
use crate::deliver::alarm::Reasons;
use crate::deliver::payload::{EventBody, Health, Status};
use crate::deliver::{HealthReason, OutboxError};
use crate::domain::StudyRef;
use crate::metrics::Counts;
use crate::pacs::Pacs;
use crate::receive::InstanceStore;
use crate::report::{FINDING_FILE, FindingBody};
use crate::storage::Keeper;
use crate::store::index::{Attempt, Outcome};
use crate::store::{Index, IndexError, ResultStore, StoredResult, disk, write_atomically};
use crate::study::{self, Completeness, Headers};
use crate::supervision::{Clock, Pulse};

/// Code of `study.failed` when the analysis ended in errors or took the daemon down.
const ANALYSIS_FAILED: &str = "analysis_failed";

/// How often the system is asked whether its clock is right: while analyses wait for it, later while it isn't, and while it is.
const ASK_CLOCK_AT_START_EVERY: Duration = Duration::from_secs(2);
const ASK_CLOCK_EVERY: Duration = Duration::from_secs(60);
const ASK_GOOD_CLOCK_EVERY: Duration = Duration::from_secs(600);

/// How long a study whose analysis failed waits for its next attempt: at first, by how much longer each time, at most. What is
/// wrong with the box may pass meanwhile, and attempts are few.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
const TRY_AGAIN_SLOWER: u32 = 4;
const TRY_AGAIN_AFTER_MOST: Duration = Duration::from_secs(600);

pub(super) struct Worker {
    pub config: WorkerConfig,
    pub study: study::Config,
    pub networks: Networks,
    pub store: Arc<InstanceStore>,
    pub index: Index,
    pub results: ResultStore,
    pub announcer: Arc<Announcer>,
    pub pacs: Arc<Pacs>,
    pub health: watch::Sender<Health>,
    /// The generation of each receiving study that was last looked at for being whole.
    pub looked_at: HashMap<StudyRef, u64>,
    /// Studies whose analysis failed, and when each is tried again.
    pub failed: HashMap<StudyRef, Instant>,
    pub counts: Counts,
    /// Beats with every step forward.
    pub pulse: Pulse,
    /// Whether a changed configuration was refused.
    pub config_refused: Arc<AtomicBool>,
    /// How long a synchronised clock is waited for at first; without it nobody asks for one.
    pub clock_wait: Option<Duration>,
    /// Whether the clock can be trusted, as it was last asked.
    pub clock: Clock,
    /// What keeps the box from being ok.
    pub reasons: Reasons,
    /// Keeps the disk in order between two studies.
    pub keeper: Keeper,
}

/// How long a study waits after this many attempts, at least one.
fn wait_after(attempts: u32) -> Duration {
    let factor = TRY_AGAIN_SLOWER.saturating_pow(attempts.saturating_sub(1));
    TRY_AGAIN_AFTER.saturating_mul(factor).min(TRY_AGAIN_AFTER_MOST)
}

impl Worker {
    /// Works until `shutdown`; the study at work is finished first, or broken off after `stop_limit_s`.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let pause = Duration::from_secs_f64(self.config.poll_interval_s);
        if let Some(limit) = self.clock_wait {
            self.wait_for_clock(limit, &shutdown).await;
        }
        let mut asked = Instant::now();
        while !shutdown.is_cancelled() {
            let again_after = match self.clock {
                Clock::Free => ASK_CLOCK_EVERY,
                Clock::Synchronised | Clock::Unknown => ASK_GOOD_CLOCK_EVERY,
            };
            if self.clock_wait.is_some() && asked.elapsed() >= again_after {
                (self.clock, asked) = (Clock::ask().await, Instant::now());
            }
            let stop = shutdown.clone();
            let round = tokio::task::spawn_blocking(move || {
                let result = self.round(&stop);
                (self, result)
            });
            let result;
            (self, result) = round.await.context("the worker ended in a panic")?;
            result?;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// For boxes that boot with a wrong time.
    async fn wait_for_clock(&mut self, limit: Duration, shutdown: &CancellationToken) {
        let began = Instant::now();
        loop {
            self.pulse.beat();
            self.clock = Clock::ask().await;
            if self.clock != Clock::Free || began.elapsed() >= limit || shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = self.tell_health(vec![HealthReason::ClockNotSynchronised]) {
                tracing::warn!(%error, "The health can't be told.");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(ASK_CLOCK_AT_START_EVERY) => {}
            }
        }
    }

    /// Every study that is due now. While the disk is nearly full nothing is touched that would have to be written.
    fn round(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.pulse.beat();
        let now = Instant::now();
        let mut due = Vec::new();
        if self.keeper.has_space_to_work() {
            if self.config.analyse_when_whole {
                self.mark_whole_studies(stop)?;
            }
            due = self.index.due(SystemTime::now(), self.config.quiet_period())?;
            self.failed.retain(|study_ref, _| due.contains(study_ref));
            due.retain(|study_ref| self.failed.get(study_ref).is_none_or(|again| *again <= now));
        }
        let mut reasons = Vec::new();
        if self.failed.values().any(|again| *again > now) {
            reasons.push(HealthReason::AnalysisError);
        }
        for study_ref in &due {
            if stop.is_cancelled() || !self.keeper.has_space_to_work() {
                break;
            }
            self.networks.follow();
            self.pulse.beat();
            if let Err(error) = self.work_on(study_ref, stop) {
                if error.downcast_ref::<IndexError>().is_some_and(IndexError::needs_reopening) {
                    return Err(error);
                }
                let reason = match obstacle(&error) {
                    Some(reason) => reason,
                    None => {
                        self.counts.analysis_errors.inc();
                        self.note_failure(study_ref)?;
                        HealthReason::AnalysisError
                    }
                };
                reasons.push(reason);
                tracing::error!(%study_ref, error = format!("{error:#}"), "A study waits: it failed.");
            }
            self.keeper.look_soon();
            self.tend_storage(stop)?;
            if self.keeper.reasons().iter().any(|reason| self.reasons.since(*reason).is_none()) {
                // To be told now, not after all that is due.
                break;
            }
        }
        self.tend_storage(stop)?;
        reasons.extend(self.keeper.reasons());
        if self.clock == Clock::Free {
            reasons.push(HealthReason::ClockNotSynchronised);
        }
        if self.config_refused.load(Ordering::Relaxed) {
            reasons.push(HealthReason::ConfigRefused);
        }
        self.networks.follow();
        self.tell_health(reasons)
    }

    /// Has a study wait for its next attempt, if it gets one.
    fn note_failure(&mut self, study_ref: &StudyRef) -> Result<(), IndexError> {
        let attempts = self.index.fail_attempt(study_ref)?.attempts;
        if attempts < self.config.max_attempts {
            self.failed.insert(study_ref.clone(), Instant::now() + wait_after(attempts));
        }
        Ok(())
    }

    /// Removes what has to go.
    fn tend_storage(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.pulse.beat();
        match self.keeper.tend(self.clock, stop) {
            Err(error) if error.needs_reopening() => Err(error.into()),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(error, "What is kept on the disk could not be looked through.");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn work_on(&mut self, study_ref: &StudyRef, stop: &CancellationToken) -> anyhow::Result<()> {
        match self.index.begin_attempt(study_ref, self.config.max_attempts)? {
            Attempt::Exhausted { generation } => {
                tracing::error!(%study_ref, "A study is given up after too many attempts.");
                let attempts = self.config.max_attempts;
                let body = EventBody::StudyFailed { reason: ANALYSIS_FAILED, attempts };
                self.announcer.study(study_ref, generation, None, body)?;
                let outcome = Outcome::Failed { reason: ANALYSIS_FAILED };
                self.index.finish(study_ref, generation, &outcome)?;
                self.counts.studies_failed.inc();
            }
            Attempt::Begun { generation, .. } => {
                let outcome = self.attempt(study_ref, generation, stop);
                if let Err(error) = &outcome {
                    let is_broken_off =
                        matches!(error.downcast_ref(), Some(AnalysisError::BrokenOff));
                    // Not the study's fault: it waits for the next start, or until what is in the way is gone.
                    if is_broken_off || obstacle(error).is_some() {
                        self.index.abandon_attempt(study_ref)?;
                    }
                    if is_broken_off {
                        tracing::info!(%study_ref, "A study is broken off, to be done after the next start.");
                        return Ok(());
                    }
                }
                let outcome = outcome?;
                self.index.finish(study_ref, generation, &outcome)?;
            }
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        study_ref: &StudyRef,
        generation: u64,
        stop: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        let files = self.files_of(study_ref)?;
        let body = EventBody::StudyReceived { instances: files.len() };
        self.announcer.study(study_ref, generation, None, body)?;
        self.counts.studies_received.inc();
        let prepared = match self.networks.analyser().prepare(&files)? {
            Ok(prepared) => prepared,
            Err(refused) => return self.reject(study_ref, generation, refused),
        };
        let started = Instant::now();
        let known = self.results.find_by_fingerprint(study_ref, &prepared.fingerprint)?;
        let cached = known.is_some();
        let result = match known {
            Some(result) => result,
            None => match self.analyse(&prepared, stop)? {
                Ok(analysis) => self.keep(study_ref, &analysis)?,
                Err(refused) => return self.reject(study_ref, generation, refused),
            },
        };
        let analysis_s = started.elapsed().as_secs_f64();
        let revision = result.revision;
        let findings = self.publish(&result, generation, cached, analysis_s)?;
        tracing::info!(%study_ref, revision, findings, cached, analysis_s, "A study is done.");
        self.counts.studies_completed.inc();
        if cached {
            self.counts.cache_hits.inc();
        }
        Ok(Outcome::Completed { revision })
    }

    /// Analyses until `stop` and `stop_limit_s` after it.
    fn analyse(
        &mut self,
        prepared: &Prepared,
        stop: &CancellationToken,
    ) -> anyhow::Result<Result<Analysis, Refused>> {
        let Worker { networks, pulse, config, .. } = self;
        let limit = Duration::from_secs_f64(config.stop_limit_s);
        let mut stopped = None;
        let mut on_step = || {
            fail_point!("analysis-step");
            pulse.beat();
            let is_over =
                stop.is_cancelled() && stopped.get_or_insert_with(Instant::now).elapsed() >= limit;
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        networks.analyse(prepared, &mut on_step)
    }

    /// Writes a result as the study's next revision.
    fn keep(&self, study_ref: &StudyRef, analysis: &Analysis) -> anyhow::Result<StoredResult> {
        let started = Instant::now();
        let revision = self.results.latest(study_ref)?.map_or(1, |latest| latest.revision + 1);
        let staged = self.results.stage(study_ref, revision)?;
        let document = self.announcer.document(study_ref, revision, &analysis.body);
        let text = serde_json::to_vec_pretty(&document)?;
        write_atomically(&staged.path().join(FINDING_FILE), &text)?;
        analysis.write_files(staged.path(), revision)?;
        let result = staged.commit()?;
        self.counts.analyses_unrounded.inc_by(analysis.body.unrounded.into());
        let stages = analysis.stages.iter().copied().chain([("report", started.elapsed())]);
        stages.clone().for_each(|(stage, time)| self.counts.stage_took(stage, time));
        self.counts.analysis_took(stages.clone().map(|(_, time)| time).sum());
        let stages = stages.map(|(name, time)| format!("{name} {:.2} s", time.as_secs_f64()));
        let stages = stages.collect::<Vec<_>>().join(", ");
        tracing::info!(%study_ref, stages, "A study is analysed.");
        Ok(result)
    }

    /// Puts a result that is on disk into the outbox and the queues of the PACS, neither waiting for the other; gives the number
    /// of findings.
    fn publish(
        &self,
        result: &StoredResult,
        generation: u64,
        cached: bool,
        analysis_s: f64,
    ) -> anyhow::Result<usize> {
        let StoredResult { study_ref, revision, .. } = result;
        let queued = self.pacs.enqueue(study_ref, *revision);
        let text = result.finding()?;
        let body: FindingBody =
            serde_json::from_slice(&text).context("a finding document on disk is damaged")?;
        self.announcer.finding(study_ref, &serde_json::from_slice(&text)?)?;
        queued.context("the objects for the PACS can't be queued")?;
        let findings = body.findings.len();
        let event =
            EventBody::StudyCompleted { findings, quality: body.quality, cached, analysis_s };
        self.announcer.study(study_ref, generation, Some(*revision), event)?;
        Ok(findings)
    }

    fn reject(
        &mut self,
        study_ref: &StudyRef,
        generation: u64,
        refused: Refused,
    ) -> anyhow::Result<Outcome> {
        let reason = refused.reason;
        tracing::info!(%study_ref, %reason, "A study is not analysed.");
        let body = EventBody::StudyRejected {
            reason,
            what_to_do: reason.what_to_do(),
            series: refused_series(&refused.refused_series),
        };
        self.announcer.study(study_ref, generation, None, body)?;
        self.counts.study_rejected(reason);
        Ok(Outcome::Rejected { reason: reason.as_str() })
    }

    fn files_of(&self, study_ref: &StudyRef) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.store.study_folder(study_ref);
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("can't read the instances of study {study_ref}"))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "dcm") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Whether all that the sender announced is there. No attempt is counted here, so a panic over a header mustn't end more than
    /// this look.
    fn is_whole(&self, study_ref: &StudyRef) -> anyhow::Result<bool> {
        let look = || -> anyhow::Result<bool> {
            let headers = Headers::read(self.files_of(study_ref)?, &self.study)?;
            Ok(study::completeness(&headers, &self.study) == Completeness::Complete)
        };
        catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| bail!("a header made a panic"))
    }

    /// Studies whose senders say how much there is, and of which all is there, needn't wait.
    fn mark_whole_studies(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let studies = self.index.studies()?;
        self.looked_at.retain(|known, _| {
            studies.iter().any(|(study_ref, record)| study_ref == known && record.has_work())
        });
        for (study_ref, record) in studies {
            let looked_at = self.looked_at.get(&study_ref) == Some(&record.generation);
            if !record.has_work() || record.whole_generation == record.generation || looked_at {
                continue;
            }
            if stop.is_cancelled() {
                break;
            }
            self.pulse.beat();
            self.looked_at.insert(study_ref.clone(), record.generation);
            let is_whole = match self.is_whole(&study_ref) {
                Ok(is_whole) => is_whole,
                Err(error) => {
                    // It fails by itself when it was quiet for long enough.
                    let error = format!("{error:#}");
                    tracing::error!(%study_ref, error, "Whether a study is whole can't be seen.");
                    continue;
                }
            };
            // An instance that came in meanwhile belongs to a later generation: look again then.
            let now = self.index.study(&study_ref)?.map(|r| r.generation);
            if is_whole && now == Some(record.generation) {
                self.index.mark_whole(&study_ref)?;
            }
        }
        Ok(())
    }

    fn tell_health(&mut self, mut reasons: Vec<HealthReason>) -> anyhow::Result<()> {
        let pacs = self.pacs.health().unwrap_or_else(|error| {
            tracing::error!(%error, "The queues of the PACS can't be read.");
            reasons.push(HealthReason::PacsQueueUnreadable);
            Default::default()
        });
        if self.networks.went_back() {
            reasons.push(HealthReason::BundleWentBack);
        }
        let queue = self.index.studies()?.iter().filter(|(_, r)| r.has_work()).count() as u64;
        self.reasons.update(&reasons, SystemTime::now());
        let reasons = self.reasons.clone();
        let status = if reasons.since(HealthReason::DiskLow).is_some() {
            Status::Failing
        } else if reasons.is_empty() {
            Status::Ok
        } else {
            Status::Degraded
        };
        let health = Health { status, reasons, queue, pacs, ..Health::default() };
        self.health.send_if_modified(|old| {
            let changed = *old != health;
            *old = health;
            changed
        });
        Ok(())
    }
}

/// What keeps every study from being done, if it was that: it needn't be tried again before it is out of the way.
fn obstacle(error: &anyhow::Error) -> Option<HealthReason> {
    if matches!(error.downcast_ref(), Some(OutboxError::Full { .. })) {
        return Some(HealthReason::OutboxFull);
    }
    let mut io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.any(disk::is_full).then_some(HealthReason::DiskLow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_that_fails_again_waits_longer_up_to_a_limit() {
        let waits = [1, 2, 3, 4, 5].map(|attempts| wait_after(attempts).as_secs());
        assert_eq!(waits, [5, 20, 80, 320, 600]);
        assert_eq!(wait_after(u32::MAX), TRY_AGAIN_AFTER_MOST);
    }
}
