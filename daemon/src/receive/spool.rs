//! Instance files: written whole or not at all.
//!
//! Owns `{root}/{study_ref}/{name}.dcm`, where `name` is the first 32 hex digits of the SHA-256 of the SOP
//! Instance UID, and `{root}/.incoming/`, where an instance grows until it is whole. A file that stands in a
//! study's folder is complete, checked and fsynced; it is only ever replaced by a rename, or removed with its whole study.
//! Nothing is begun while less space is free than the store was told to leave.
//!
//! Must not put any character that a peer chose into a path.

use super::dataset::{Identity, identify, is_plausible_uid};
use super::file_meta;
use super::refusal::{Reason, Refusal};
use super::sop::{TransferSyntax, is_storage_class};
use crate::domain::StudyRef;
use crate::hex::hex;
use crate::store::Disk;
use crate::store::files::{self, FileError};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tempfile::NamedTempFile;

const INCOMING: &str = ".incoming";
/// Where a study's folder lies while it is being removed.
const REMOVED: &str = ".removed";

/// The spool's folders can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} {}", path.display())]
pub struct SpoolError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl SpoolError {
    fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
        move |source| SpoolError { operation, path: path.to_owned(), source }
    }
}

impl From<FileError> for SpoolError {
    fn from(FileError { operation, path, source }: FileError) -> SpoolError {
        SpoolError { operation, path, source }
    }
}

/// What an arrival changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The instance wasn't there before.
    New,
    /// It was there with other bytes.
    Replaced,
    /// It was there, byte for byte.
    Unchanged,
}

/// An instance that stands on disk, fsynced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInstance {
    /// Its study.
    pub study_ref: StudyRef,
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// What the arrival changed.
    pub change: Change,
}

/// What an instance is said to be before its data set has been read; UIDs without padding.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) transfer_syntax: TransferSyntax,
    pub(super) sop_class_uid: String,
    pub(super) sop_instance_uid: String,
}

impl Claim {
    fn check(&self) -> Result<(), Reason> {
        if !is_storage_class(&self.sop_class_uid) {
            Err(Reason::SopClassNotSupported)
        } else if !is_plausible_uid(&self.sop_instance_uid) {
            Err(Reason::InvalidUid)
        } else {
            Ok(())
        }
    }
}

/// The instance files of all studies.
#[derive(Debug)]
pub struct InstanceStore {
    root: PathBuf,
    site_key: Vec<u8>,
    max_object_bytes: u64,
    /// What a study may have.
    max_study: Extent,
    /// Nothing is begun while less than this is free.
    min_free_bytes: u64,
    /// Shared by whatever arrives, from before its file is in place until it is in the index; exclusive while a study is
    /// removed.
    arriving: RwLock<()>,
    /// What is there of each study that something came for; held from the comparison with an earlier file to the rename
    /// over it.
    extents: Mutex<HashMap<StudyRef, Extent>>,
}

/// How much there is of a study.
#[derive(Debug, Clone, Copy)]
struct Extent {
    instances: u64,
    bytes: u64,
}

impl InstanceStore {
    /// Opens the store at `root`, making the folder if needed, and removes what an interrupted run left in
    /// `.incoming` and `.removed`. One process may have a store open.
    ///
    /// # Errors
    /// When a folder can't be made, read or cleaned.
    pub fn open(
        root: impl Into<PathBuf>,
        site_key: impl Into<Vec<u8>>,
        max_object_bytes: u64,
    ) -> Result<InstanceStore, SpoolError> {
        let root = root.into();
        let incoming = root.join(INCOMING);
        files::create_dir(&incoming)?;
        let leftovers = fs::read_dir(&incoming).map_err(SpoolError::at("read", &incoming))?;
        for leftover in leftovers {
            let path = leftover.map_err(SpoolError::at("read", &incoming))?.path();
            fs::remove_file(&path).map_err(SpoolError::at("remove", &path))?;
        }
        let removed = root.join(REMOVED);
        match fs::remove_dir_all(&removed) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(SpoolError::at("remove", &removed)(e));
            }
            _ => files::create_dir(&removed)?,
        }
        Ok(InstanceStore {
            root,
            site_key: site_key.into(),
            max_object_bytes,
            max_study: Extent { instances: u64::MAX, bytes: u64::MAX },
            min_free_bytes: 0,
            arriving: RwLock::default(),
            extents: Mutex::default(),
        })
    }

    /// Refuses instances beyond this many of a study, or this many bytes of all of them.
    pub fn with_max_study(self, instances: u64, bytes: u64) -> InstanceStore {
        InstanceStore { max_study: Extent { instances, bytes }, ..self }
    }

    /// Refuses instances while less than this is free, bytes.
    pub fn leaving_free(self, min_free_bytes: u64) -> InstanceStore {
        InstanceStore { min_free_bytes, ..self }
    }

    /// Every study and its instance files, in order; to build an index from.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub fn list(&self) -> Result<BTreeMap<StudyRef, Vec<PathBuf>>, SpoolError> {
        let mut studies = BTreeMap::new();
        for path in entries(&self.root)? {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let Ok(study_ref) = StudyRef::try_from(name.to_owned()) else { continue };
            let mut files = entries(&path)?;
            files.retain(|file| file.extension().is_some_and(|e| e == "dcm"));
            studies.insert(study_ref, files);
        }
        Ok(studies)
    }

    /// The folder of a study's instance files; it need not exist.
    pub fn study_folder(&self, study_ref: &StudyRef) -> PathBuf {
        self.root.join(study_ref.as_str())
    }

    /// What the instance files of a study take on the disk, bytes.
    ///
    /// # Errors
    /// When its folder can't be read.
    pub fn bytes_of(&self, study_ref: &StudyRef) -> Result<u64, FileError> {
        files::bytes_in(&self.study_folder(study_ref))
    }

    /// Held by whoever brings an instance, from before [`InstanceStore::commit`] until the index knows it.
    pub(super) fn arriving(&self) -> RwLockReadGuard<'_, ()> {
        self.arriving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work`, which may remove studies, while no instance is on its way between its file and the index.
    pub fn between_arrivals<T>(&self, work: impl FnOnce() -> T) -> T {
        let _none = self.arriving.write().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Removes the instance files of a study: after a crash all of them are there or none. Call it in
    /// [`InstanceStore::between_arrivals`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, study_ref: &StudyRef) -> Result<(), FileError> {
        self.extents().remove(study_ref);
        let removed = self.root.join(REMOVED).join(study_ref.as_str());
        files::remove_dir(&self.study_folder(study_ref), &removed)
    }

    /// Starts an instance that is said to be this one.
    pub(super) fn begin(&self, claim: Claim) -> Result<Incoming, Refusal> {
        claim.check()?;
        if Disk::has_less_than(&self.root, self.min_free_bytes) {
            return Err(Reason::DiskLow.into());
        }
        let head = file_meta::head(&claim)?;
        let folder = self.root.join(INCOMING);
        let mut incoming = Incoming {
            file: NamedTempFile::new_in(folder).map_err(Refusal::storage)?,
            hasher: Sha256::new(),
            length: 0,
            data_set_start: head.len() as u64,
            limit: self.max_object_bytes + head.len() as u64,
            claim,
        };
        incoming.write(&head)?;
        Ok(incoming)
    }

    fn extents(&self) -> MutexGuard<'_, HashMap<StudyRef, Extent>> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much there is of a study. Names that an earlier process, or an attempt that failed, left in its folder are on
    /// disk after this, so that whoever sends the same again may be told that it is kept.
    fn take_up(&self, folder: &Path) -> io::Result<Extent> {
        if folder.is_dir() {
            files::sync_dir(folder).and_then(|()| files::sync_dir(&self.root)).map_err(io_error)?;
        }
        Extent::of(folder)
    }

    /// Checks a whole instance and gives it its place. After `Ok` it survives a loss of power.
    pub(super) fn commit(&self, incoming: Incoming) -> Result<StoredInstance, Refusal> {
        let identity = incoming.identify()?;
        incoming.file.as_file().sync_all().map_err(Refusal::storage)?;
        let sha256: [u8; 32] = incoming.hasher.finalize().into();
        let study_ref = StudyRef::derive(&self.site_key, &identity.study_instance_uid);
        let folder = self.study_folder(&study_ref);
        let path = folder.join(instance_file_name(&identity.sop_instance_uid));

        let mut extents = self.extents();
        let (change, earlier_bytes) = match earlier_at(&path, incoming.length) {
            Earlier::None => (Change::New, 0),
            Earlier::Other(bytes) => (Change::Replaced, bytes),
            Earlier::Digest(earlier) if earlier == sha256 => (Change::Unchanged, 0),
            Earlier::Digest(_) => (Change::Replaced, incoming.length),
        };
        // Taken out, so that it is taken up anew if anything fails below.
        let mut extent = match extents.remove(&study_ref) {
            Some(extent) => extent,
            None => self.take_up(&folder).map_err(Refusal::storage)?,
        };
        if change != Change::Unchanged {
            let after = Extent {
                instances: extent.instances + u64::from(change == Change::New),
                bytes: (extent.bytes + incoming.length).saturating_sub(earlier_bytes),
            };
            if after.instances > self.max_study.instances || after.bytes > self.max_study.bytes {
                extents.insert(study_ref, extent);
                return Err(Reason::StudyTooLarge.into());
            }
            files::create_dir(&folder).map_err(io_error).map_err(Refusal::storage)?;
            incoming.file.persist(&path).map_err(|e| Refusal::storage(e.error))?;
            files::sync_dir(&folder).map_err(io_error).map_err(Refusal::storage)?;
            extent = after;
        }
        extents.insert(study_ref.clone(), extent);
        Ok(StoredInstance { study_ref, path, sha256, change })
    }
}

/// An instance on its way in. Dropped before [`InstanceStore::commit`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Incoming {
    file: NamedTempFile,
    hasher: Sha256,
    length: u64,
    data_set_start: u64,
    limit: u64,
    claim: Claim,
}

impl Incoming {
    /// Appends bytes of the data set.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            return Err(Reason::TooLarge.into());
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(Refusal::storage)
    }

    /// Reads back what was written, and holds it against what was claimed.
    fn identify(&self) -> Result<Identity, Refusal> {
        let mut reader = BufReader::new(self.file.as_file());
        let start = self.data_set_start;
        reader.seek(SeekFrom::Start(start)).map_err(Refusal::storage)?;
        let encoding = self.claim.transfer_syntax.encoding();
        let identity = identify(&mut reader, start, self.length, encoding)?;
        let same = self.claim.sop_class_uid == identity.sop_class_uid
            && self.claim.sop_instance_uid == identity.sop_instance_uid;
        if !same {
            return Err(Reason::UidMismatch.into());
        }
        Ok(identity)
    }
}

fn instance_file_name(sop_instance_uid: &str) -> String {
    let digest = Sha256::digest(sop_instance_uid.as_bytes());
    let hex = hex(&digest[..16]);
    format!("{hex}.dcm")
}

impl Extent {
    /// Of the files in a folder, which need not exist.
    fn of(folder: &Path) -> io::Result<Extent> {
        let mut extent = Extent { instances: 0, bytes: 0 };
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(extent),
            entries => entries?,
        };
        for entry in entries {
            extent.instances += 1;
            extent.bytes += entry?.metadata()?.len();
        }
        Ok(extent)
    }
}

enum Earlier {
    None,
    /// Of another length, bytes.
    Other(u64),
    Digest([u8; 32]),
}

/// The digest of the file at `path`, unless its length already tells that it is another. One that can't be read is another,
/// too: sending it again mends it.
fn earlier_at(path: &Path, expected_length: u64) -> Earlier {
    match digest_of(path, expected_length) {
        Ok(earlier) => earlier,
        Err(error) => {
            tracing::error!(%error, "A stored instance can't be read; the one that came takes its place.");
            Earlier::Other(path.symlink_metadata().map_or(0, |metadata| metadata.len()))
        }
    }
}

fn digest_of(path: &Path, expected_length: u64) -> io::Result<Earlier> {
    const CHUNK: usize = 64 << 10;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Earlier::None),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    if length != expected_length {
        return Ok(Earlier::Other(length));
    }
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Earlier::Digest(hasher.finalize().into())),
            n => hasher.update(&chunk[..n]),
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(SpoolError::at("read", folder))?;
    paths.sort();
    Ok(paths)
}

/// A refusal's reason hangs on the operating system's word.
fn io_error(error: FileError) -> io::Error {
    error.source
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::testing::{MR, Sample, scratch_store};

    fn claim(sop_instance_uid: &str) -> Claim {
        Claim {
            transfer_syntax: TransferSyntax::EXPLICIT_LITTLE_ENDIAN,
            sop_class_uid: MR.to_owned(),
            sop_instance_uid: sop_instance_uid.to_owned(),
        }
    }

    fn store(store: &InstanceStore, sample: &Sample) -> Result<StoredInstance, Refusal> {
        let bytes = sample.explicit();
        let mut incoming = store.begin(claim(&sample.sop_instance_uid))?;
        for piece in bytes.chunks(100) {
            incoming.write(piece)?;
        }
        store.commit(incoming)
    }

    #[test]
    fn an_instance_sent_again_changes_nothing_unless_its_bytes_differ() {
        let (_dir, spool) = scratch_store();
        let mut sample = Sample::default();
        let first = store(&spool, &sample).unwrap();
        assert_eq!(first.change, Change::New);
        let modified = fs::metadata(&first.path).unwrap().modified().unwrap();

        let again = store(&spool, &sample).unwrap();
        assert_eq!(again, StoredInstance { change: Change::Unchanged, ..first.clone() });
        assert_eq!(fs::metadata(&first.path).unwrap().modified().unwrap(), modified);

        sample.pixels[0] ^= 1;
        let other = store(&spool, &sample).unwrap();
        assert_eq!((other.change, &other.path), (Change::Replaced, &first.path));
        assert_ne!(other.sha256, first.sha256);
        assert_eq!(other.sha256[..], Sha256::digest(fs::read(&other.path).unwrap())[..]);
    }

    #[test]
    fn a_study_has_an_end_and_others_go_on() {
        let (dir, spool) = scratch_store();
        let refusal = |result: Result<StoredInstance, Refusal>| result.map_err(|e| e.reason).err();
        let first = store(&spool, &Sample::numbered(1)).unwrap();
        drop(spool);
        // What an earlier run has stored counts.
        let open = || InstanceStore::open(dir.path(), b"site key", 1 << 20).unwrap();
        let spool = open().with_max_study(2, u64::MAX);
        assert_eq!(refusal(store(&spool, &Sample::numbered(2))), None);
        assert_eq!(refusal(store(&spool, &Sample::numbered(3))), Some(Reason::StudyTooLarge));
        let replaced = Sample { pixels: vec![9; 4096], ..Sample::numbered(2) };
        assert_eq!(store(&spool, &replaced).unwrap().change, Change::Replaced);
        let other = Sample { study_instance_uid: "1.9".to_owned(), ..Sample::numbered(4) };
        assert_eq!(refusal(store(&spool, &other)), None);
        spool.between_arrivals(|| spool.remove(&first.study_ref)).unwrap();
        assert_eq!(refusal(store(&spool, &Sample::numbered(3))), None);
        drop(spool);

        let spool = open().with_max_study(100, 10_000);
        let large = Sample { pixels: vec![9; 8192], ..Sample::numbered(5) };
        assert_eq!(refusal(store(&spool, &large)), Some(Reason::StudyTooLarge));
        assert_eq!(refusal(store(&spool, &Sample::numbered(5))), None);
        assert_eq!(fs::read_dir(dir.path().join(INCOMING)).unwrap().count(), 0);
    }

    #[test]
    fn a_stored_file_opens_as_dicom_with_the_data_set_verbatim() {
        let (_dir, spool) = scratch_store();
        let sample = Sample::default();
        let stored = store(&spool, &sample).unwrap();
        assert!(fs::read(&stored.path).unwrap().ends_with(&sample.explicit()));
        let object = dicom::object::open_file(&stored.path).unwrap();
        assert_eq!(object.meta().media_storage_sop_class_uid.trim_end_matches('\0'), MR);
        assert_eq!(object.meta().transfer_syntax(), "1.2.840.10008.1.2.1");
        assert_eq!(object.meta().implementation_class_uid(), file_meta::IMPLEMENTATION_CLASS_UID);
        let pixels = object.element_by_name("PixelData").unwrap().to_bytes().unwrap().into_owned();
        assert_eq!(pixels, sample.pixels);
    }

    #[test]
    fn a_hostile_study_uid_is_refused_and_leaves_nothing() {
        let (_dir, spool) = scratch_store();
        let uid = format!("{}etc/x", "../".repeat(19));
        let sample = Sample { study_instance_uid: format!("{uid:.<64}"), ..Sample::default() };
        assert_eq!(store(&spool, &sample).unwrap_err().reason, Reason::InvalidUid);
        assert!(spool.list().unwrap().is_empty());
    }

    #[test]
    fn leftovers_are_removed_at_open_and_instances_are_kept() {
        let (dir, spool) = scratch_store();
        let stored = store(&spool, &Sample::default()).unwrap();
        let leftover = dir.path().join(".incoming/half");
        fs::write(&leftover, b"half an instance").unwrap();
        drop(spool);
        let spool = InstanceStore::open(dir.path(), b"site key", 1 << 20).unwrap();
        assert!(!leftover.exists());
        assert_eq!(spool.list().unwrap()[&stored.study_ref], [stored.path]);
    }

    #[test]
    fn nothing_is_begun_while_the_disk_is_low() {
        let (dir, _) = scratch_store();
        let spool = InstanceStore::open(dir.path(), b"site key", 1 << 20).unwrap();
        let spool = spool.leaving_free(u64::MAX);
        assert_eq!(spool.begin(claim("1.2.3")).unwrap_err().reason, Reason::DiskLow);
        assert_eq!(fs::read_dir(dir.path().join(INCOMING)).unwrap().count(), 0);
        assert!(spool.leaving_free(1).begin(claim("1.2.3")).is_ok());
    }

    #[test]
    fn a_study_is_removed_whole_and_never_while_an_instance_arrives() {
        let (dir, spool) = scratch_store();
        let stored = store(&spool, &Sample::default()).unwrap();
        let study_ref = &stored.study_ref;
        assert!(spool.bytes_of(study_ref).unwrap() >= stored.path.metadata().unwrap().len());
        std::thread::scope(|threads| {
            let arriving = spool.arriving();
            let removing = threads.spawn(|| spool.between_arrivals(|| spool.remove(study_ref)));
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert!(stored.path.exists());
            drop(arriving);
            removing.join().unwrap().unwrap();
        });
        assert!(spool.list().unwrap().is_empty());
        assert_eq!(spool.bytes_of(study_ref).unwrap(), 0);

        // A crash between moving aside and emptying.
        store(&spool, &Sample::default()).unwrap();
        let half = dir.path().join(REMOVED).join(study_ref.as_str());
        fs::rename(spool.study_folder(study_ref), &half).unwrap();
        drop(spool);
        let spool = InstanceStore::open(dir.path(), b"site key", 1 << 20).unwrap();
        assert!(spool.list().unwrap().is_empty() && !half.exists());
    }

    #[test]
    fn an_abandoned_or_refused_instance_leaves_nothing() {
        let (dir, spool) = scratch_store();
        let begin = || spool.begin(claim("1.2.3")).unwrap();
        let mut abandoned = begin();
        abandoned.write(b"something").unwrap();
        drop(abandoned);
        assert_eq!(spool.commit(begin()).unwrap_err().reason, Reason::Truncated);
        let mut large = begin();
        assert_eq!(large.write(&vec![0; 2 << 20]).unwrap_err().reason, Reason::TooLarge);
        drop(large);
        assert!(spool.list().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join(INCOMING)).unwrap().count(), 0);
    }
}
