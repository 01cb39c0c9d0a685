//! Opening the index whatever state its files are in.
//!
//! sled may fail or panic on what an abrupt stop left behind (spacejam/sled 1166, 1387, 1527, 1533). Then
//! the folder is moved aside, kept for who wants to look, and an empty index is opened.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Index, IndexError, guarded, sled_error};
use crate::store::files::{self, FileError};

/// sled's page cache, bytes; its default is 1 GiB.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Damaged indexes kept; the oldest go first.
const DAMAGED_KEPT: usize = 3;

/// How the index was found. Reconcile it in every case; say so in the log in the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It was there.
    Existing,
    /// There was none.
    Fresh,
    /// It could not be opened, an empty one took its place.
    Rebuilt {
        /// Where the damaged one lies.
        moved_to: PathBuf,
    },
}

impl Index {
    /// Opens the index in `dir`, or an empty one in its place when it is damaged.
    ///
    /// Fails when another process has it open, and when no index at all can be opened there.
    pub fn open(dir: &Path) -> Result<(Index, Opened), IndexError> {
        let fresh = !dir.exists();
        match open_sled(dir) {
            Ok(index) => Ok((index, if fresh { Opened::Fresh } else { Opened::Existing })),
            Err(e) if e.needs_reopening() && !fresh => {
                let moved_to = move_aside(dir)?;
                Ok((open_sled(dir)?, Opened::Rebuilt { moved_to }))
            }
            Err(e) => Err(e),
        }
    }
}

/// Opens sled and reads every record once: some damage shows only then.
fn open_sled(dir: &Path) -> Result<Index, IndexError> {
    const OPEN: &str = "open it";
    let opened = guarded(OPEN, || {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None) // every change is flushed before it is acknowledged
            .open()
            .map_err(|e| if is_locked(&e) { in_use(dir) } else { sled_error(OPEN)(e) })?;
        let tree = |name: &str| db.open_tree(name).map_err(sled_error(OPEN));
        Ok(Index {
            studies: tree("studies")?,
            instances: tree("instances")?,
            db: db.clone(),
            writer: Default::default(),
            changed: Default::default(),
        })
    })?;
    guarded("read it through", || {
        for entry in opened.instances.iter() {
            entry.map_err(sled_error("read it through"))?;
        }
        opened.studies().map(drop)
    })?;
    Ok(opened)
}

/// Renames a damaged index to `index.damaged-<Unix time in ms>` and prunes the older ones.
fn move_aside(dir: &Path) -> Result<PathBuf, IndexError> {
    let prefix = format!("{}.damaged-", dir.file_name().unwrap_or_default().to_string_lossy());
    let target = dir.with_file_name(format!("{prefix}{:013}", super::unix_ms(SystemTime::now())));
    fs::rename(dir, &target).map_err(FileError::during("move aside", dir))?;

    let parent = target.parent().expect("an index lies in the state folder");
    let list = fs::read_dir(parent).map_err(FileError::during("list", parent))?;
    let mut damaged: Vec<PathBuf> = list
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    damaged.sort();
    for old in &damaged[..damaged.len().saturating_sub(DAMAGED_KEPT)] {
        fs::remove_dir_all(old).map_err(FileError::during("remove", old))?;
    }
    files::sync_dir(parent)?;
    Ok(target)
}

/// sled has no error of its own for a lock held by another process (0.34.7, `config.rs`, `try_lock`).
/// Moving the folder of a living process aside would be fatal, so its message is looked at.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(e) if e.to_string().contains("could not acquire lock"))
}

fn in_use(dir: &Path) -> IndexError {
    IndexError::InUse { path: dir.to_owned() }
}
