//! What waits for one destination: an empty file for each object, `{study_ref}-r{revision:04}-{object}`.
//!
//! ```text
//! {dir}/                to be sent
//! {dir}/stored/         sent; the destination has yet to commit itself to keep it
//! {dir}/transactions/   requests for commitment that await an answer, {transaction UID}.json
//! ```
//!
//! The objects themselves lie in the results' folders. Methods block on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::domain::StudyRef;
use crate::report::Object;
use crate::store::files::{self, FileError};

/// One object that waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    pub study_ref: StudyRef,
    pub revision: u32,
    pub object: Object,
}

impl Job {
    fn name(&self) -> String {
        format!("{}-r{:04}-{}", self.study_ref, self.revision, self.object.as_str())
    }

    fn parse(name: &str) -> Option<Job> {
        let [study_ref, revision, object] = name.split('-').collect::<Vec<_>>().try_into().ok()?;
        Some(Job {
            study_ref: StudyRef::try_from(study_ref.to_owned()).ok()?,
            revision: revision.strip_prefix('r')?.parse().ok()?,
            object: Object::ALL.into_iter().find(|known| known.as_str() == object)?,
        })
    }
}

/// A request for storage commitment: the jobs it is about, by SOP Instance UID.
pub(super) type Transaction = BTreeMap<String, Job>;

/// The queue of one destination.
#[derive(Debug)]
pub(super) struct Queue {
    dir: PathBuf,
    /// Held while a job is moved between the folders, and while both are listed.
    moving: Mutex<()>,
}

impl Queue {
    pub fn open(dir: PathBuf) -> Result<Queue, FileError> {
        let queue = Queue { dir, moving: Mutex::default() };
        files::create_dir(&queue.stored_dir())?;
        files::create_dir(&queue.transactions_dir())?;
        Ok(queue)
    }

    /// On disk when this returns; a job that waits already stays as it is.
    pub fn enqueue(&self, job: &Job) -> Result<(), FileError> {
        let path = self.dir.join(job.name());
        if path.exists() { Ok(()) } else { files::write_atomically(&path, b"") }
    }

    /// All that are to be sent, the oldest first; those of one time in the order of [`Object::ALL`].
    pub fn waiting(&self) -> Result<Vec<Job>, FileError> {
        jobs(&self.dir)
    }

    /// All that were sent and aren't committed yet.
    pub fn stored(&self) -> Result<Vec<Job>, FileError> {
        jobs(&self.stored_dir())
    }

    /// The studies of both.
    pub fn studies(&self) -> Result<BTreeSet<StudyRef>, FileError> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = [self.waiting()?, self.stored()?].concat();
        Ok(jobs.into_iter().map(|job| job.study_ref).collect())
    }

    /// How many there are of both.
    pub fn count(&self) -> Result<usize, FileError> {
        Ok(jobs_in(&self.dir)? + jobs_in(&self.stored_dir())?)
    }

    /// Since when each of them waits.
    pub fn since(&self) -> Result<Vec<SystemTime>, FileError> {
        let waiting = [entries(&self.dir)?, entries(&self.stored_dir())?].concat();
        let is_job = |(name, since): (String, _)| Job::parse(&name).map(|_| since);
        Ok(waiting.into_iter().filter_map(is_job).collect())
    }

    /// Takes a job that was sent off.
    pub fn remove(&self, job: &Job) -> Result<(), FileError> {
        remove(&self.dir.join(job.name()))
    }

    /// Notes that a job was sent and awaits commitment.
    pub fn mark_stored(&self, job: &Job) -> Result<(), FileError> {
        self.rename(&self.dir.join(job.name()), &self.stored_dir().join(job.name()))
    }

    /// Notes a request for commitment, before it is made.
    pub fn begin_transaction(&self, uid: &str, jobs: &Transaction) -> Result<(), FileError> {
        let names: BTreeMap<_, _> = jobs.iter().map(|(uid, job)| (uid, job.name())).collect();
        let text = serde_json::to_vec(&names).expect("names are text");
        files::write_atomically(&self.transaction_file(uid), &text)
    }

    /// What a request was about; `None` when there is no such one.
    pub fn transaction(&self, uid: &str) -> Result<Option<Transaction>, FileError> {
        let path = self.transaction_file(uid);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::during("read", &path)(error)),
        };
        let names: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap_or_default();
        let jobs = names.into_iter().filter_map(|(uid, name)| Some((uid, Job::parse(&name)?)));
        Ok(Some(jobs.collect()))
    }

    /// Forgets a request that was answered, refused or given up.
    pub fn end_transaction(&self, uid: &str) -> Result<(), FileError> {
        remove(&self.transaction_file(uid))
    }

    /// The jobs of all requests younger than `limit`. Older ones stay, in case that they are answered yet, until none of
    /// their jobs waits any more.
    pub fn awaiting(&self, limit: Duration) -> Result<BTreeSet<Job>, FileError> {
        let stored: BTreeSet<Job> = self.stored()?.into_iter().collect();
        let mut awaiting = BTreeSet::new();
        for (name, since) in entries(&self.transactions_dir())? {
            let Some(uid) = name.strip_suffix(".json") else { continue };
            let jobs: BTreeSet<Job> =
                self.transaction(uid)?.unwrap_or_default().into_values().collect();
            // One from the future was written before the clock was set back.
            let old = since.elapsed().map_or(true, |age| age > limit);
            if jobs.is_disjoint(&stored) && old {
                self.end_transaction(uid)?;
            } else if !old {
                awaiting.extend(jobs);
            }
        }
        Ok(awaiting)
    }

    /// The destination has committed itself to keep an object: it is done.
    pub fn commit(&self, job: &Job) -> Result<(), FileError> {
        remove(&self.stored_dir().join(job.name()))
    }

    /// The destination doesn't have an object any more: it is sent again.
    pub fn send_again(&self, job: &Job) -> Result<(), FileError> {
        self.rename(&self.stored_dir().join(job.name()), &self.dir.join(job.name()))
    }

    fn stored_dir(&self) -> PathBuf {
        self.dir.join("stored")
    }

    fn transactions_dir(&self) -> PathBuf {
        self.dir.join("transactions")
    }

    fn transaction_file(&self, uid: &str) -> PathBuf {
        // Asked with a peer's text: only what a UID may hold gets into a path.
        let uid: String = uid.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        self.transactions_dir().join(format!("{uid}.json"))
    }

    /// Moves a file that may have been moved already.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::rename(from, to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(FileError::during("rename", from))?,
        }
        files::sync_dir(&self.dir)?;
        files::sync_dir(&self.stored_dir())
    }
}

fn jobs(dir: &Path) -> Result<Vec<Job>, FileError> {
    let mut jobs: Vec<_> = entries(dir)?
        .into_iter()
        .filter_map(|(name, since)| Some((since, Job::parse(&name)?)))
        .collect();
    jobs.sort();
    Ok(jobs.into_iter().map(|(_, job)| job).collect())
}

/// How many jobs a folder has; asked for often, so by their names alone.
fn jobs_in(dir: &Path) -> Result<usize, FileError> {
    let entries = fs::read_dir(dir).map_err(FileError::during("list", dir))?;
    let is_job = |name: std::ffi::OsString| name.to_str().and_then(Job::parse).is_some();
    Ok(entries.flatten().filter(|entry| is_job(entry.file_name())).count())
}

/// Names in a folder, each with the time it was written.
fn entries(dir: &Path) -> Result<Vec<(String, SystemTime)>, FileError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(FileError::during("list", dir))? {
        let entry = entry.map_err(FileError::during("list", dir))?;
        // What was removed meanwhile is no entry.
        if let (Some(name), Ok(since)) =
            (entry.file_name().to_str(), entry.metadata().and_then(|m| m.modified()))
        {
            found.push((name.to_owned(), since));
        }
    }
    Ok(found)
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(FileError::during("remove", path))?,
    }
    files::sync_dir(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    fn job() -> Job {
        let study_ref = StudyRef::derive(b"key", "1.2.3");
        Job { study_ref, revision: 12, object: Object::Report }
    }

    #[test]
    fn jobs_survive_a_restart_and_are_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path().join("archive")).unwrap();
        queue.enqueue(&job()).unwrap();
        queue.enqueue(&job()).unwrap();
        fs::write(queue.dir.join("stray"), b"").unwrap();
        let queue = Queue::open(folder.path().join("archive")).unwrap();
        assert_eq!(queue.waiting().unwrap(), [job()]);
        queue.remove(&job()).unwrap();
        assert!(queue.waiting().unwrap().is_empty());
    }

    #[test]
    fn a_stored_job_is_done_when_committed_and_sent_again_when_not() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path().to_owned()).unwrap();
        queue.enqueue(&job()).unwrap();
        queue.mark_stored(&job()).unwrap();
        assert_eq!((queue.waiting().unwrap(), queue.stored().unwrap()), (vec![], vec![job()]));
        assert_eq!(queue.studies().unwrap(), [job().study_ref].into());

        queue.begin_transaction("2.25.1", &[("1.2".to_owned(), job())].into()).unwrap();
        let queue = Queue::open(folder.path().to_owned()).unwrap();
        assert_eq!(queue.transaction("2.25.1").unwrap().unwrap()["1.2"], job());
        assert_eq!(queue.transaction("../2.25.2").unwrap(), None);
        assert_eq!(queue.awaiting(LONG).unwrap(), [job()].into());
        // An old request no longer counts, but may still be answered.
        assert!(queue.awaiting(Duration::ZERO).unwrap().is_empty());
        assert!(queue.transaction("2.25.1").unwrap().is_some());

        queue.send_again(&job()).unwrap();
        assert_eq!((queue.waiting().unwrap(), queue.stored().unwrap()), (vec![job()], vec![]));
        queue.mark_stored(&job()).unwrap();
        queue.commit(&job()).unwrap();
        queue.commit(&job()).unwrap();
        assert!(queue.stored().unwrap().is_empty() && queue.studies().unwrap().is_empty());
        assert!(queue.awaiting(Duration::ZERO).unwrap().is_empty());
        assert_eq!(queue.transaction("2.25.1").unwrap(), None);
    }
}
