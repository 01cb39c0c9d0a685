//! Takes results from the queues to their destinations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dicom::dictionary_std::tags;
use dicom::object::{OpenFileOptions, ReadError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::queue::{Job, Queue};
use super::{Association, Config, Destination, ScuError};
use crate::domain::StudyRef;
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
}

impl Pacs {
    /// Opens a queue for each destination in `{state_dir}/pacs/`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(
        state_dir: &Path,
        destinations: &Config,
        results: &ResultStore,
    ) -> Result<Pacs, FileError> {
        let outlet = |destination: &Destination| {
            let queue = Queue::open(state_dir.join("pacs").join(&destination.name))?;
            let (destination, results) = (destination.clone(), results.clone());
            Ok(Arc::new(Outlet { destination, queue, results, filled: Notify::new() }))
        };
        Ok(Pacs { outlets: destinations.iter().map(outlet).collect::<Result<_, _>>()? })
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

    /// Sends until `shutdown`; an object that is on its way is finished first.
    pub async fn run(self: Arc<Pacs>, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        for outlet in &self.outlets {
            tasks.spawn(Arc::clone(outlet).run(shutdown.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

impl Outlet {
    async fn run(self: Arc<Outlet>, shutdown: CancellationToken) {
        let mut backoff = Duration::from_secs(1);
        while !shutdown.is_cancelled() {
            let (outlet, stop) = (Arc::clone(&self), shutdown.clone());
            let round = tokio::task::spawn_blocking(move || outlet.round(&stop)).await;
            let all_sent = round.unwrap_or_else(|_| {
                tracing::error!(destination = self.destination.name, "Sending ended in a panic.");
                false
            });
            if all_sent {
                backoff = Duration::from_secs(1);
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = self.filled.notified() => {}
                }
            } else {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (2 * backoff).min(Duration::from_secs(self.destination.backoff_max_s));
            }
        }
    }

    /// Tries everything that waits, in one association; whether all of it was sent.
    fn round(&self, stop: &CancellationToken) -> bool {
        let destination = &self.destination.name;
        let waiting = match self.queue.waiting() {
            Ok(waiting) if waiting.is_empty() => return true,
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(destination, error = %error, "The queue can't be read.");
                return false;
            }
        };
        let files: Vec<PathBuf> = waiting.iter().map(|job| self.file(job)).collect();
        let mut association = match Association::establish(&self.destination, &classes(&files)) {
            Ok(association) => association,
            Err(error) => {
                let waiting = waiting.len();
                tracing::warn!(destination, waiting, error = %error, "Nothing can be sent.");
                return false;
            }
        };
        let mut all_sent = true;
        for (job, file) in waiting.iter().zip(&files) {
            if stop.is_cancelled() {
                return false;
            }
            let Job { study_ref, revision, object } = job;
            let object = object.as_str();
            match association.store(file) {
                Ok(()) => {
                    tracing::info!(destination, %study_ref, revision, object, "An object was sent.");
                    if let Err(error) = self.queue.remove(job) {
                        tracing::error!(destination, error = %error, "The queue can't be written.");
                        return false;
                    }
                }
                Err(error) => {
                    tracing::warn!(destination, %study_ref, revision, object, error = %error, "An object waits.");
                    all_sent = false;
                    if !error.is_of_the_object() {
                        return false;
                    }
                }
            }
        }
        // All answers are in; an end out of order changes nothing.
        let _ = association.release();
        all_sent
    }

    fn file(&self, job: &Job) -> PathBuf {
        self.results.dir(&job.study_ref, job.revision).join(job.object.file())
    }
}

/// Sends files in one association; each must be answered with Success. Blocking.
///
/// # Errors
/// The first that wasn't sent.
pub(crate) fn send_files(to: &Destination, files: &[PathBuf]) -> Result<(), ScuError> {
    let mut association = Association::establish(to, &classes(files))?;
    files.iter().try_for_each(|file| association.store(file))?;
    let _ = association.release();
    Ok(())
}

/// The SOP classes of files, each once; of one that can't be read, nothing: storing it says why.
fn classes(files: &[PathBuf]) -> Vec<String> {
    let classes: BTreeSet<String> = files.iter().filter_map(|file| sop_class(file).ok()).collect();
    classes.into_iter().collect()
}

fn sop_class(file: &Path) -> Result<String, ReadError> {
    let object = OpenFileOptions::new().read_until(tags::SOP_INSTANCE_UID).open_file(file)?;
    Ok(object.meta().media_storage_sop_class_uid.trim_end_matches('\0').to_owned())
}
