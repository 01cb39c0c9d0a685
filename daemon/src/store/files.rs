//! Files and folders that are either whole or absent, whatever moment the power fails.
//!
//! A name that can be seen holds data that is on disk; what a crash leaves behind has a name starting with
//! [`TEMPORARY_PREFIX`].

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Names of unfinished files start with this.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Bytes read at a time while hashing.
const HASH_CHUNK: usize = 64 * 1024;

/// The unit of `st_blocks`, whatever the file system's own blocks are (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// A SHA-256 digest.
pub type Sha256Digest = [u8; 32];

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} {path}")]
pub struct FileError {
    /// What was tried: a verb.
    pub operation: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Makes the closure that `map_err` wants.
    pub fn during(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError { operation, path: path.to_owned(), source }
    }
}

/// The names in a folder, none when it is absent.
pub fn names_in(dir: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(FileError::during("list", dir))?,
    };
    entries
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(FileError::during("list", dir))
}

/// What the files of a folder take on the disk, bytes, as du(1) counts; 0 when it is absent. Its folders' own blocks and
/// what lies in subfolders don't count.
pub fn bytes_in(dir: &Path) -> Result<u64, FileError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(FileError::during("list", dir))?,
    };
    let mut bytes = 0;
    for entry in entries {
        // What is removed meanwhile takes nothing.
        if let Ok(metadata) = entry.map_err(FileError::during("list", dir))?.metadata() {
            bytes += if metadata.is_file() { metadata.blocks() * BLOCK_BYTES } else { 0 };
        }
    }
    Ok(bytes)
}

/// Removes a folder with all in it, in two steps: it is moved to `trash`, a name on the same file system that nobody reads,
/// durably, and emptied there. So a crash leaves the folder whole or gone. Nothing happens when it is absent.
pub fn remove_dir(dir: &Path, trash: &Path) -> Result<(), FileError> {
    if !dir.exists() {
        return Ok(());
    }
    // Left by a removal that failed half-way.
    empty(trash)?;
    fs::rename(dir, trash).map_err(FileError::during("move aside", dir))?;
    sync_dir(parent(dir))?;
    empty(trash)
}

/// Removes a folder that may be absent.
fn empty(trash: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(trash) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(FileError::during("remove", trash)),
    }
}

/// Writes a file that is whole and durable when this returns, replacing one of the same name.
///
/// The bytes go to a temporary file in the same folder, are fsynced, renamed, and the folder fsynced.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let dir = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(dir)
        .map_err(FileError::during("create a temporary file in", dir))?;
    file.write_all(bytes).map_err(FileError::during("write", path))?;
    file.as_file().sync_all().map_err(FileError::during("fsync", path))?;
    file.persist(path).map_err(|e| FileError::during("rename a file to", path)(e.error))?;
    sync_dir(dir)
}

/// Writes a secret as [`write_atomically`] does, for nobody's eyes but those of the daemon's user.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomically(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(FileError::during("restrict access to", path))
}

/// Gives a finished folder its final name: fsyncs everything in it, renames it, fsyncs the parent.
///
/// Both must lie on one file system. Fails when `final_dir` exists and isn't empty.
pub fn publish_dir(tmp_dir: &Path, final_dir: &Path) -> Result<(), FileError> {
    sync_tree(tmp_dir)?;
    fs::rename(tmp_dir, final_dir).map_err(FileError::during("rename a folder to", final_dir))?;
    sync_dir(parent(final_dir))
}

/// Creates a folder with its parents, and makes the names durable. Nobody but the daemon's user looks into them: most hold
/// what is a patient's.
pub fn create_dir(dir: &Path) -> Result<(), FileError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    create_dir(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(FileError::during("create the folder", dir)(e))
        }
        _ => sync_dir(above),
    }
}

/// Makes the names in a folder durable.
pub fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(FileError::during("fsync the folder", dir))
}

/// The first line of a file, of a password's for instance.
pub fn first_line(path: &Path) -> Result<String, FileError> {
    let text = fs::read_to_string(path).map_err(FileError::during("read", path))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The SHA-256 of a file's content, read in chunks.
pub fn sha256_of(path: &Path) -> Result<Sha256Digest, FileError> {
    let mut file = File::open(path).map_err(FileError::during("open", path))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; HASH_CHUNK];
    loop {
        match file.read(&mut chunk).map_err(FileError::during("read", path))? {
            0 => return Ok(hasher.finalize().into()),
            n => hasher.update(&chunk[..n]),
        }
    }
}

/// Fsyncs a folder and all below it, files first.
fn sync_tree(dir: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(FileError::during("list", dir))? {
        let path = entry.map_err(FileError::during("list", dir))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)
                .and_then(|f| f.sync_all())
                .map_err(FileError::during("fsync", &path))?;
        }
    }
    sync_dir(dir)
}

/// The folder a path lies in; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomically(&path, b"a longer first version").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_its_operation_and_path_and_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_atomically(&dir.path().join("absent/a.json"), b"x").unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_folder_is_created_with_its_parents_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(&dir.path().join("a/b")).unwrap();
        create_dir(&dir.path().join("a/b")).unwrap();
        for name in ["a", "a/b"] {
            let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn a_published_folder_appears_whole_and_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let (tmp, done) = (dir.path().join(".tmp-1"), dir.path().join("done"));
        fs::create_dir_all(tmp.join("inner")).unwrap();
        fs::write(tmp.join("inner/file"), b"x").unwrap();
        publish_dir(&tmp, &done).unwrap();
        assert_eq!(fs::read(done.join("inner/file")).unwrap(), b"x");
        assert!(!tmp.exists());

        fs::create_dir(&tmp).unwrap();
        assert!(publish_dir(&tmp, &done).is_err());
        assert!(done.join("inner/file").exists());
    }

    #[test]
    fn a_folder_takes_what_its_files_take_and_is_removed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (study, trash) = (dir.path().join("study"), dir.path().join(".trash"));
        assert_eq!(bytes_in(&study).unwrap(), 0);
        fs::create_dir_all(study.join("inner")).unwrap();
        fs::write(study.join("a"), [1; 100_000]).unwrap();
        fs::write(study.join("b"), [1]).unwrap();
        sync_tree(&study).unwrap();
        let bytes = bytes_in(&study).unwrap();
        assert!((100_001..150_000).contains(&bytes), "{bytes}");
        fs::create_dir(&trash).unwrap();
        fs::write(trash.join("left"), [1]).unwrap();
        remove_dir(&study, &trash).unwrap();
        remove_dir(&study, &trash).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn hashing_reads_past_one_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let bytes: Vec<u8> = (0..HASH_CHUNK * 2 + 17).map(|i| i as u8).collect();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(sha256_of(&path).unwrap(), Sha256Digest::from(Sha256::digest(&bytes)));
    }
}
