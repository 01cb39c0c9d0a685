//! The watched folder: a second way in, for machines that can copy files but not speak DICOM.
//!
//! A file is taken once two scans found it with the same size and time of change. Then it goes the way of
//! every instance, and is removed after the fsync; or it is moved to `refused/`, with the reason beside it.
//! Symbolic links and anything that isn't a regular file are left alone, as are names that begin with a dot,
//! which copying tools give to unfinished files.

use super::arrivals::Tally;
use super::config::Config;
use super::refusal::{Origin, Reason, RefusedInstances};
use super::upload::Destination;
use super::{InstanceSink, InstanceStore};
use crate::audit::Auditor;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirEntry};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

const REFUSED: &str = "refused";
/// Folders in folders, as PACS exports nest them (patient, study, series).
const MAX_DEPTH: usize = 8;
/// More files than this wait for the next scan.
const MAX_FILES: usize = 20_000;

/// Watches the configured folder until `shutdown`; returns at once if none is configured.
pub async fn watch_folder(
    config: &Config,
    store: Arc<InstanceStore>,
    sink: Arc<dyn InstanceSink>,
    auditor: Auditor,
    shutdown: CancellationToken,
) {
    let Some(folder) = config.watch_folder.clone() else { return };
    info!(folder = %folder.display(), "A folder is watched.");
    let new_watcher = || {
        FolderWatcher::new(folder.clone(), Arc::clone(&store), Arc::clone(&sink), auditor.clone())
    };
    let mut watcher = new_watcher();
    let mut ticks = interval(config.watch_interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let stop = shutdown.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let result = watcher.scan(&|| stop.is_cancelled());
            (watcher, result)
        });
        match scanned.await {
            Ok((back, result)) => {
                watcher = back;
                if let Err(e) = result {
                    warn!(error = %e, "The watched folder could not be read.");
                }
            }
            Err(_) => {
                error!("A scan of the watched folder ended in a panic.");
                watcher = new_watcher();
            }
        }
    }
}

/// What two scans compare.
type Look = (u64, SystemTime);

/// Scans one folder again and again. Blocks: for blocking threads only.
pub struct FolderWatcher {
    folder: PathBuf,
    destination: Destination,
    auditor: Auditor,
    /// The files of the last scan; no longer than [`MAX_FILES`].
    seen: HashMap<PathBuf, Look>,
    /// Files that wait for a later scan: their reason is logged once.
    waiting: HashSet<PathBuf>,
    /// Files that are dealt with and can't be moved away, as in a folder that can't be written.
    stuck: HashMap<PathBuf, (Look, Fate)>,
}

/// What becomes of a file that is dealt with.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Removed,
    SetAside(Reason),
}

impl FolderWatcher {
    /// A watcher that has seen nothing yet.
    pub fn new(
        folder: PathBuf,
        store: Arc<InstanceStore>,
        sink: Arc<dyn InstanceSink>,
        auditor: Auditor,
    ) -> FolderWatcher {
        let destination = Destination { store, sink };
        let (seen, waiting, stuck) = Default::default();
        FolderWatcher { folder, destination, auditor, seen, waiting, stuck }
    }

    /// One scan: takes the files that look as they did in the last one, until `stop` says so. Files that
    /// failed for a reason of this machine stay and are tried again.
    ///
    /// # Errors
    /// When the folder itself can't be read.
    pub fn scan(&mut self, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let refused_folder = self.folder.join(REFUSED);
        let before = std::mem::take(&mut self.seen);
        self.stuck.retain(|path, _| path.symlink_metadata().is_ok());
        self.waiting.retain(|path| path.symlink_metadata().is_ok());
        let origin = Origin::Folder(self.folder.clone());
        let (mut taken, mut counts) = (Tally::default(), BTreeMap::new());
        for path in regular_files_except(&self.folder, Some(&refused_folder))? {
            if stop() {
                break;
            }
            // a file may vanish between the listing and the look at it
            let Ok(look) = fs::symlink_metadata(&path).and_then(|m| Ok((m.len(), m.modified()?)))
            else {
                continue;
            };
            if before.get(&path) != Some(&look) {
                self.seen.insert(path, look);
                continue;
            }
            if let Some((known, fate)) = self.stuck.get(&path)
                && *known == look
            {
                if self.move_away(&path, *fate).is_ok() {
                    self.stuck.remove(&path);
                }
                self.seen.insert(path, look);
                continue;
            }
            // What a file's content does to a parser mustn't keep those behind it waiting.
            let ingested = catch_unwind(AssertUnwindSafe(|| self.destination.ingest(&path)));
            let fate = match ingested.unwrap_or_else(|_| Err(Reason::Malformed.into())) {
                Ok(stored) => {
                    debug!(study_ref = %stored.study_ref, "A file was taken in.");
                    taken.count(&stored);
                    Fate::Removed
                }
                Err(refusal) if refusal.reason.is_transient() => {
                    let reason = refusal.reason.code();
                    if self.waiting.insert(path.clone()) {
                        warn!(reason, cause = refusal.cause(), "A file waits for the next scan.");
                    }
                    self.seen.insert(path, look);
                    if refusal.reason == Reason::DiskLow {
                        // So do all others.
                        for (path, look) in before {
                            self.seen.entry(path).or_insert(look);
                        }
                        break;
                    }
                    continue;
                }
                Err(refusal) => {
                    *counts.entry(refusal.reason).or_default() += 1;
                    Fate::SetAside(refusal.reason)
                }
            };
            if let Err(error) = self.move_away(&path, fate) {
                warn!(%error, ?fate, "A file of the watched folder can't be moved away. Is the folder writable?");
                self.stuck.insert(path.clone(), (look, fate));
                self.seen.insert(path, look);
            }
        }
        taken.audit(&origin, &self.auditor);
        if !counts.is_empty() {
            let refused = RefusedInstances { origin, counts };
            warn!(refused = refused.total(), "Files of the watched folder were refused.");
            self.destination.sink.refused(&refused);
        }
        Ok(())
    }

    /// Removes a file, or moves it to the same place below `refused/` and says there why. One of the same name that lies
    /// there stays.
    fn move_away(&self, path: &Path, fate: Fate) -> io::Result<()> {
        let Fate::SetAside(reason) = fate else { return fs::remove_file(path) };
        let inside = path.strip_prefix(&self.folder).map_err(io::Error::other)?;
        let first = self.folder.join(REFUSED).join(inside);
        let note_of = |target: &Path| with_ending(target, ".reason");
        let is_taken = |path: &Path| path.symlink_metadata().is_ok();
        let mut target = first.clone();
        for n in 2.. {
            if !is_taken(&target) && !is_taken(&note_of(&target)) {
                break;
            }
            target = with_ending(&first, &format!(".{n}"));
        }
        let note = note_of(&target);
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&note, format!("{reason}\n{}\n", reason.sentence()))?;
        fs::rename(path, &target)
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(ending);
    path.into()
}

/// The regular files in a folder and its subfolders, in order of their paths; symbolic links aren't
/// followed, names that begin with a dot are left out, depth and number are bounded (8, 20 000).
///
/// # Errors
/// When the folder itself can't be read; subfolders that can't be are left out.
pub fn regular_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    regular_files_except(folder, None)
}

fn regular_files_except(folder: &Path, except: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![(sorted_entries(folder)?, 1)];
    while let Some((entries, depth)) = folders.pop() {
        for entry in entries {
            // of the entry itself, so links are neither files nor folders here
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_file() && files.len() < MAX_FILES {
                files.push(path);
            } else if kind.is_dir() && depth < MAX_DEPTH && except != Some(path.as_path()) {
                match sorted_entries(&path) {
                    Ok(entries) => folders.push((entries, depth + 1)),
                    Err(e) => warn!(error = %e, "A subfolder could not be read."),
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

fn sorted_entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(folder)?
        .filter(|e| !matches!(e, Ok(e) if e.file_name().as_encoded_bytes().starts_with(b".")))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::testing::{RecordingSink, Sample, scratch_store};
    use std::sync::atomic::Ordering;
    use tempfile::TempDir;

    struct Fixture {
        folder: TempDir,
        _root: TempDir,
        sink: Arc<RecordingSink>,
        watcher: FolderWatcher,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (root, store) = scratch_store();
        let sink = Arc::new(RecordingSink::default());
        let watcher =
            FolderWatcher::new(folder.path().to_owned(), store, sink.clone(), Auditor::default());
        Fixture { folder, _root: root, sink, watcher }
    }

    impl Fixture {
        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }

        fn scan(&mut self) -> usize {
            self.watcher.scan(&|| false).unwrap();
            self.sink.stored.lock().unwrap().len()
        }
    }

    #[test]
    fn a_file_is_taken_once_it_has_stopped_growing() {
        let mut f = fixture();
        let set = Sample::default().explicit();
        let path = f.write("patient/study/IM1", &set[..100]);
        assert_eq!(f.scan(), 0);
        f.write("patient/study/IM1", &set);
        assert_eq!(f.scan(), 0, "it changed since the last scan");
        assert_eq!(f.scan(), 1);
        assert!(!path.exists());
        assert_eq!(f.scan(), 1);
    }

    #[test]
    fn refused_files_are_set_aside_with_the_reason_and_reported_once() {
        let mut f = fixture();
        let path = f.write("a/notes.txt", b"not an image");
        f.scan();
        f.scan();
        let aside = f.folder.path().join("refused/a/notes.txt");
        assert!(!path.exists());
        assert_eq!(fs::read(&aside).unwrap(), b"not an image");
        let note = fs::read_to_string(aside.with_extension("txt.reason")).unwrap();
        assert!(note.starts_with("not_dicom\n"), "{note}");
        f.scan();
        f.scan();
        let refused = f.sink.refused.lock().unwrap();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].counts, BTreeMap::from([(Reason::NotDicom, 1)]));
    }

    #[test]
    fn a_refused_file_takes_no_other_ones_place() {
        let mut f = fixture();
        for content in ["first", "second", "third"] {
            f.write("IM1", content.as_bytes());
            f.scan();
            f.scan();
        }
        for (name, content) in [("IM1", "first"), ("IM1.2", "second"), ("IM1.3", "third")] {
            let aside = f.folder.path().join(REFUSED).join(name);
            assert_eq!(fs::read_to_string(&aside).unwrap(), content);
            assert!(with_ending(&aside, ".reason").exists());
        }
    }

    #[test]
    fn what_cannot_be_moved_away_is_dealt_with_once() {
        let mut f = fixture();
        let path = f.write("notes.txt", b"not an image");
        let in_the_way = f.write("refused", b"a file where a folder should be");
        for _ in 0..5 {
            f.scan();
        }
        assert!(path.exists());
        assert_eq!(f.sink.refused.lock().unwrap().len(), 1);
        fs::remove_file(in_the_way).unwrap();
        f.scan();
        assert!(!path.exists() && f.folder.path().join("refused/notes.txt").exists());
        assert_eq!(f.sink.refused.lock().unwrap().len(), 1);
    }

    #[test]
    fn links_and_unfinished_names_are_left_alone() {
        let mut f = fixture();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("IM1");
        fs::write(&target, Sample::default().explicit()).unwrap();
        let link = |name: &str, to: &Path| {
            std::os::unix::fs::symlink(to, f.folder.path().join(name)).unwrap();
        };
        link("file", &target);
        link("folder", outside.path());
        f.write(".IM2.part", &Sample::numbered(2).explicit());
        f.scan();
        assert_eq!(f.scan(), 0);
        assert!(target.exists() && f.folder.path().join(".IM2.part").exists());
        assert!(!f.folder.path().join(REFUSED).exists());
    }

    #[test]
    fn files_stay_while_the_disk_is_low_and_are_taken_at_once_when_it_no_longer_is() {
        let mut f = fixture();
        let paths = [1, 2].map(|n| f.write(&format!("IM{n}"), &Sample::numbered(n).explicit()));
        let store = |min_free_bytes| {
            let store = InstanceStore::open(f._root.path(), b"site key", 1 << 20).unwrap();
            Arc::new(store.leaving_free(min_free_bytes))
        };
        let (low, enough) = (store(u64::MAX), store(1));
        f.watcher.destination.store = low;
        f.scan();
        assert_eq!((f.scan(), f.scan()), (0, 0));
        assert!(paths.iter().all(|path| path.exists()));
        f.watcher.destination.store = enough;
        assert_eq!(f.scan(), 2);
        assert!(f.sink.refused.lock().unwrap().is_empty());
    }

    #[test]
    fn a_file_stays_while_the_index_fails() {
        let mut f = fixture();
        f.sink.fails.store(true, Ordering::SeqCst);
        let path = f.write("IM1", &Sample::default().explicit());
        f.scan();
        assert_eq!(f.scan(), 0);
        assert!(path.exists());
        f.sink.fails.store(false, Ordering::SeqCst);
        assert_eq!(f.scan(), 1);
        assert!(!path.exists() && f.sink.refused.lock().unwrap().is_empty());
    }
}
