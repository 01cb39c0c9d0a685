//! Takes results from the queues to their destinations.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::sop_uids;
use super::queue::{Job, Queue, Transaction};
use super::{Config, Connection, Destination, SendError};
use crate::audit::{Auditor, Event};
use crate::domain::{StudyRef, derived_uid};
use crate::metrics::Counts;
use crate::receive::{CommitmentReport, CommitmentSink, SinkError};
use crate::store::{FileError, ResultStore};

/// All destinations with their queues.
pub struct Pacs {
    outlets: Vec<Arc<Outlet>>,
}

/// One destination with its queue.
struct Outlet {
    destination: Destination,
    queue: Queue,
    results: ResultStore,
    filled: Notify,
    /// Jobs over which a connection ended: they come after all others.
    last: Mutex<BTreeSet<Job>>,
    counts: Counts,
    auditor: Auditor,
}

/// How an attempt to send all that waits ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// All was sent, and commitment asked for.
    Done,
    /// The destination took what it would; the rest waits.
    Left,
    /// The destination didn't answer, or nothing could be tried.
    Away,
}

impl Round {
    /// One that `error` ended: a destination that refuses something has answered.
    fn ended_by(error: &SendError) -> Round {
        if error.is_refusal() { Round::Left } else { Round::Away }
    }
}

/// What waits for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Objects not sent, or not committed where that is asked for.
    pub objects: u64,
    /// Since when the oldest waits.
    pub oldest: Option<SystemTime>,
}

/// Why delivery can't begin.
#[derive(Debug, thiserror::Error)]
pub enum PacsError {
    /// The disk refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or secret of a destination can't be read.
    #[error("pacs {name:?}")]
    Destination {
        /// The destination.
        name: String,
        /// Why.
        source: Box<SendError>,
    },
}

/// Reads every file that the configuration of a destination names, as delivery will.
pub(crate) fn check_files(destination: &Destination) -> Result<(), PacsError> {
    destination.check_files().map_err(|source| {
        let name = destination.name.clone();
        PacsError::Destination { name, source: Box::new(source) }
    })
}

impl Pacs {
    /// Opens a queue for each destination in `{state_dir}/pacs/`.
    ///
    /// # Errors
    /// The disk refuses, or a file of certificates or secrets that the configuration names.
    pub fn open(
        state_dir: &Path,
        destinations: &Config,
        results: &ResultStore,
        counts: &Counts,
        auditor: &Auditor,
    ) -> Result<Pacs, PacsError> {
        let outlet = |destination: &Destination| {
            check_files(destination)?;
            let queue = Queue::open(state_dir.join("pacs").join(&destination.name))?;
            counts.expect_pacs(&destination.name, &SendError::REASONS);
            let (destination, results) = (destination.clone(), results.clone());
            let (filled, counts, auditor) = (Notify::new(), counts.clone(), auditor.clone());
            let last = Mutex::default();
            Ok(Arc::new(Outlet { destination, queue, results, filled, last, counts, auditor }))
        };
        let outlets = destinations.iter().map(outlet).collect::<Result<_, PacsError>>()?;
        Ok(Pacs { outlets })
    }

    /// Has a result sent to every destination; on disk when this returns. Blocking.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn enqueue(&self, study_ref: &StudyRef, revision: u32) -> Result<(), FileError> {
        for outlet in &self.outlets {
            for object in outlet.destination.in_order() {
                outlet.queue.enqueue(&Job { study_ref: study_ref.clone(), revision, object })?;
            }
            outlet.filled.notify_one();
        }
        Ok(())
    }

    /// Whether a destination is asked for storage commitment.
    pub fn awaits_commitment(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.destination.commitment_timeout().is_some())
    }

    /// How much waits for each destination, by its name: objects not sent, or not committed where that is asked for.
    /// Blocking.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn health(&self) -> Result<BTreeMap<String, u64>, FileError> {
        let count = |outlet: &Arc<Outlet>| {
            Ok((outlet.destination.name.clone(), outlet.queue.count()? as u64))
        };
        self.outlets.iter().map(count).collect()
    }

    /// The same with the age of what waits, for those who ask less often. Blocking.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn backlog(&self) -> Result<BTreeMap<String, Backlog>, FileError> {
        let backlog = |outlet: &Arc<Outlet>| {
            let since = outlet.queue.since()?;
            let backlog = Backlog { objects: since.len() as u64, oldest: since.into_iter().min() };
            Ok((outlet.destination.name.clone(), backlog))
        };
        self.outlets.iter().map(backlog).collect()
    }

    /// The studies of which an object is still to be sent, or committed where that is asked for. Blocking.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn studies(&self) -> Result<HashSet<StudyRef>, FileError> {
        let studies = self.outlets.iter().map(|outlet| outlet.queue.studies());
        Ok(studies.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Sends until `shutdown`; an object that is on its way is finished first.
    pub async fn run(self: Arc<Pacs>, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        for outlet in &self.outlets {
            tasks.spawn(Arc::clone(outlet).run(shutdown.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

impl CommitmentSink for Pacs {
    /// Takes what was committed off its queue and puts back what wasn't. A report that nobody waits for is one that was
    /// taken before, and is taken again.
    fn report(&self, report: &CommitmentReport) -> Result<(), SinkError> {
        for outlet in &self.outlets {
            outlet.take(report).map_err(|error| SinkError(Box::new(error)))?;
        }
        Ok(())
    }
}

impl Outlet {
    async fn run(self: Arc<Outlet>, shutdown: CancellationToken) {
        const FIRST: Duration = Duration::from_secs(1);
        let longest = Duration::from_secs(self.destination.backoff_max_s);
        let mut backoff = FIRST;
        while !shutdown.is_cancelled() {
            let (outlet, stop) = (Arc::clone(&self), shutdown.clone());
            let round = tokio::task::spawn_blocking(move || outlet.round(&stop)).await;
            let round = round.unwrap_or_else(|_| {
                tracing::error!(destination = self.destination.name, "Sending ended in a panic.");
                Round::Away
            });
            let pause = match round {
                // What a commitment failed for waits in the queue without a notice.
                Round::Done => {
                    self.destination.commitment_timeout().map_or(Duration::MAX, |_| longest)
                }
                Round::Left | Round::Away => backoff,
            };
            backoff = if round == Round::Done { FIRST } else { (2 * backoff).min(longest) };
            tokio::select! {
                () = shutdown.cancelled() => {}
                // A notice changes nothing for a destination that is away.
                () = self.filled.notified(), if round != Round::Away => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Tries everything that waits, over one connection. What ended a connection before is tried last, after commitment was asked
    /// for: an archive that breaks off over one object gets all others.
    fn round(&self, stop: &CancellationToken) -> Round {
        let destination = &self.destination.name;
        let (waiting, unasked) = match self.due() {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(destination, error = %error, "The queue can't be read.");
                return Round::Away;
            }
        };
        if waiting.is_empty() && unasked.is_empty() {
            return Round::Done;
        }
        self.last().retain(|job| waiting.contains(job));
        let (last, first): (Vec<Job>, Vec<Job>) =
            waiting.into_iter().partition(|job| self.last().contains(job));
        let files: Vec<PathBuf> = first.iter().chain(&last).map(|job| self.file(job)).collect();
        let mut connection = match Connection::open(&self.destination, &files) {
            Ok(connection) => connection,
            Err(error) => {
                let waiting = files.len() + unasked.len();
                self.counts.pacs_failed(destination, error.reason());
                tracing::warn!(destination, waiting, error = %error, "Nothing can be sent.");
                return Round::ended_by(&error);
            }
        };
        let Some(mut all_sent) = self.send(&mut connection, &first, stop) else {
            return Round::Away;
        };
        let asked = match self.destination.commitment_timeout() {
            Some(limit) => self.ask(&mut connection, limit),
            None => Ok(true),
        };
        let all_asked = match asked {
            Ok(all_asked) => all_asked,
            Err(error) => {
                tracing::warn!(destination, error = %error, "Storage commitment can't be asked for.");
                self.counts.pacs_failed(destination, error.reason());
                return Round::ended_by(&error);
            }
        };
        match self.send(&mut connection, &last, stop) {
            Some(all_last_sent) => {
                all_sent &= all_last_sent;
                connection.close();
            }
            // It isn't away: it took all others.
            None => all_sent = false,
        }
        if all_sent && all_asked { Round::Done } else { Round::Left }
    }

    /// Sends one object after the other; whether all were sent. `None` when there is no use in going on with this connection.
    fn send(
        &self,
        connection: &mut Connection,
        jobs: &[Job],
        stop: &CancellationToken,
    ) -> Option<bool> {
        let mut sent = BTreeMap::new();
        let outcome = self.send_and_count(connection, jobs, stop, &mut sent);
        for (study, objects) in sent {
            let destination = self.destination.name.clone();
            self.auditor.note(&Event::Sent { destination, study, objects });
        }
        outcome
    }

    /// [`send`](Self::send), with how many of each study were sent.
    fn send_and_count(
        &self,
        connection: &mut Connection,
        jobs: &[Job],
        stop: &CancellationToken,
        sent: &mut BTreeMap<StudyRef, u64>,
    ) -> Option<bool> {
        let destination = &self.destination.name;
        let mut all_sent = true;
        for job in jobs {
            if stop.is_cancelled() {
                return None;
            }
            let file = &self.file(job);
            let Job { study_ref, revision, object } = job;
            let object = object.as_str();
            match connection.store(file) {
                Ok(()) => {
                    tracing::info!(destination, %study_ref, revision, object, "An object was sent.");
                    self.counts.pacs_sent(destination);
                    *sent.entry(study_ref.clone()).or_default() += 1;
                    if let Err(error) = self.sent(job) {
                        tracing::error!(destination, error = %error, "The queue can't be written.");
                        return None;
                    }
                }
                Err(error) => {
                    tracing::warn!(destination, %study_ref, revision, object, error = %error, "An object waits.");
                    self.counts.pacs_failed(destination, error.reason());
                    all_sent = false;
                    if !error.is_of_the_object() {
                        self.last().insert(job.clone());
                        return None;
                    }
                }
            }
        }
        Some(all_sent)
    }

    fn last(&self) -> MutexGuard<'_, BTreeSet<Job>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be sent, and what is to be asked commitment for. What the configuration no longer sends is withdrawn.
    fn due(&self) -> Result<(Vec<Job>, Vec<Job>), FileError> {
        let destination = &self.destination.name;
        let (waiting, unwanted): (Vec<Job>, Vec<Job>) =
            self.queue.waiting()?.into_iter().partition(|job| self.destination.sends(job.object));
        for job in unwanted {
            self.queue.remove(&job)?;
            let Job { study_ref, revision, object } = job;
            let object = object.as_str();
            tracing::info!(destination, %study_ref, revision, object, "An object is no longer to be sent.");
        }
        let Some(limit) = self.destination.commitment_timeout() else {
            // Left from a time when commitment was configured: without it, sent is delivered.
            self.queue.stored()?.iter().try_for_each(|job| self.queue.commit(job))?;
            return Ok((waiting, Vec::new()));
        };
        Ok((waiting, self.unasked(limit)?))
    }

    /// What was sent and is in no request for commitment younger than `limit`.
    fn unasked(&self, limit: Duration) -> Result<Vec<Job>, FileError> {
        let awaiting = self.queue.awaiting(limit)?;
        Ok(self.queue.stored()?.into_iter().filter(|job| !awaiting.contains(job)).collect())
    }

    /// The destination answered Success for an object.
    fn sent(&self, job: &Job) -> Result<(), FileError> {
        match self.destination.commitment_timeout() {
            Some(_) => self.queue.mark_stored(job),
            None => self.queue.remove(job),
        }
    }

    /// Asks for commitment for everything that was sent; whether that was all of it. The request is on disk first: its
    /// answer may be quick.
    fn ask(&self, connection: &mut Connection, limit: Duration) -> Result<bool, SendError> {
        let destination = &self.destination.name;
        let (mut instances, mut all_asked) = (Vec::new(), true);
        let mut transaction = Transaction::new();
        for job in self.unasked(limit)? {
            match sop_uids(&self.file(&job)) {
                Ok((class, instance)) => {
                    transaction.insert(instance.clone(), job);
                    instances.push((class, instance));
                }
                Err(error) => {
                    let Job { study_ref, revision, object } = &job;
                    let object = object.as_str();
                    tracing::warn!(destination, %study_ref, revision, object, error = %error, "Commitment of an object can't be asked for.");
                    self.counts.pacs_failed(destination, error.reason());
                    all_asked = false;
                }
            }
        }
        if instances.is_empty() {
            return Ok(all_asked);
        }
        let uid = derived_uid(&format!("storage commitment {}", rand::random::<u128>()));
        self.queue.begin_transaction(&uid, &transaction)?;
        let asked = connection.request_commitment(&uid, &instances);
        match &asked {
            Ok(()) => tracing::info!(
                destination,
                objects = instances.len(),
                "Storage commitment was asked for."
            ),
            Err(_) => self.queue.end_transaction(&uid)?,
        }
        asked.map(|()| all_asked)
    }

    /// Takes a report about this destination's objects; another's is none of its business.
    fn take(&self, report: &CommitmentReport) -> Result<(), FileError> {
        let destination = &self.destination.name;
        let Some(transaction) = self.queue.transaction(&report.transaction_uid)? else {
            return Ok(());
        };
        for uid in &report.committed {
            if let Some(job) = transaction.get(uid) {
                self.queue.commit(job)?;
                let Job { study_ref, revision, object } = job;
                let object = object.as_str();
                tracing::info!(destination, %study_ref, revision, object, "An object is committed.");
            }
        }
        for (uid, reason) in &report.failed {
            if let Some(job) = transaction.get(uid) {
                self.queue.send_again(job)?;
                let Job { study_ref, revision, object } = job;
                let object = object.as_str();
                let reason = format!("{reason:#06x}");
                tracing::warn!(destination, %study_ref, revision, object, reason, "An object is not committed and will be sent again.");
            }
        }
        self.queue.end_transaction(&report.transaction_uid)
    }

    fn file(&self, job: &Job) -> PathBuf {
        self.results.dir(&job.study_ref, job.revision).join(job.object.file())
    }
}

/// Sends files over one connection; each must be answered with Success. Blocking.
///
/// # Errors
/// The first that wasn't sent.
pub(crate) fn send_files(to: &Destination, files: &[PathBuf]) -> Result<(), SendError> {
    let mut connection = Connection::open(to, files)?;
    files.iter().try_for_each(|file| connection.store(file))?;
    connection.close();
    Ok(())
}

#[cfg(test)]
mod tests;
