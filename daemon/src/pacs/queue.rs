//! What waits for one destination: an empty file for each object, `{study_ref}-r{revision:04}-{object}`.
//!
//! The objects themselves lie in the results' folders. Methods block on the disk.

use std::fs;
use std::path::PathBuf;

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

/// The queue of one destination.
#[derive(Debug)]
pub(super) struct Queue {
    dir: PathBuf,
}

impl Queue {
    pub fn open(dir: PathBuf) -> Result<Queue, FileError> {
        files::create_dir(&dir)?;
        Ok(Queue { dir })
    }

    /// On disk when this returns; a job that waits already stays as it is.
    pub fn enqueue(&self, job: &Job) -> Result<(), FileError> {
        let path = self.dir.join(job.name());
        if path.exists() { Ok(()) } else { files::write_atomically(&path, b"") }
    }

    /// All that wait, the oldest first; those of one time in the order of [`Object::ALL`].
    pub fn waiting(&self) -> Result<Vec<Job>, FileError> {
        let mut jobs = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(FileError::during("list", &self.dir))? {
            let entry = entry.map_err(FileError::during("list", &self.dir))?;
            if let Some(job) = entry.file_name().to_str().and_then(Job::parse) {
                let since = entry.metadata().and_then(|m| m.modified()).ok();
                jobs.push((since, job));
            }
        }
        jobs.sort();
        Ok(jobs.into_iter().map(|(_, job)| job).collect())
    }

    /// Takes a job that is done off.
    pub fn remove(&self, job: &Job) -> Result<(), FileError> {
        let path = self.dir.join(job.name());
        fs::remove_file(&path).map_err(FileError::during("remove", &path))?;
        files::sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_survive_a_restart_and_are_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let study_ref = StudyRef::derive(b"key", "1.2.3");
        let job = Job { study_ref, revision: 12, object: Object::Report };
        let queue = Queue::open(folder.path().join("archive")).unwrap();
        queue.enqueue(&job).unwrap();
        queue.enqueue(&job).unwrap();
        fs::write(queue.dir.join("stray"), b"").unwrap();
        let queue = Queue::open(folder.path().join("archive")).unwrap();
        assert_eq!(queue.waiting().unwrap(), std::slice::from_ref(&job));
        queue.remove(&job).unwrap();
        assert!(queue.waiting().unwrap().is_empty());
    }
}
