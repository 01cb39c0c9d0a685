//! Entry points of the fuzzers in `tests/fuzz`, one for each kind of bytes that somebody outside may send.
//!
//! Each takes the way that the bytes take in the daemon. It must neither panic, but where a foreign codec's panic is caught
//! there too, nor hang, nor take memory that no limit bounds.

use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::config::Config;
use crate::phantom::{self, Settings};
use crate::study::{self, Headers};
use crate::volume;

pub use crate::bundles::fuzzing::package;
pub use crate::deliver::commands::fuzzing::request;
pub use crate::receive::fuzzing::{association, data_set};

/// A DICOM file: its header, and the pixels of its first frames.
pub fn file(bytes: &[u8]) {
    const FRAMES: usize = 4;
    let (_folder, path) = written(bytes);
    let headers = Headers::read([&path], &study::Config::default()).expect("the disk works");
    for slice in headers.slices.iter().take(FRAMES) {
        volume::fuzzing::values(slice);
    }
    let _ = study::select(&headers, &study::Config::default());
}

/// A valid exam with bytes changed: five of the input each say which of all files' bytes, and what it becomes.
pub fn exam(changes: &[u8]) {
    static EXAM: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let files = EXAM.get_or_init(|| small_exam().expect("a phantom can be made"));
    let mut files = files.clone();
    let total: usize = files.iter().map(Vec::len).sum();
    for change in changes.chunks_exact(5) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]);
        let mut at = at as usize % total;
        for file in &mut files {
            match file.get_mut(at) {
                Some(byte) => {
                    *byte = change[4];
                    break;
                }
                None => at -= file.len(),
            }
        }
    }
    let folder = tempfile::tempdir().expect("the disk works");
    let paths: Vec<PathBuf> = (0..files.len()).map(|n| folder.path().join(n.to_string())).collect();
    for (path, file) in paths.iter().zip(&files) {
        std::fs::write(path, file).expect("the disk works");
    }
    let config = study::Config::default();
    let headers = Headers::read(&paths, &config).expect("the disk works");
    let _ = study::completeness(&headers, &config);
    if let Ok(pair) = study::select(&headers, &config).outcome {
        for series in [&pair.t1, &pair.t2] {
            let _ = volume::assemble(series);
        }
    }
}

/// A configuration file.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(config) = toml::from_str::<Config>(text) {
        let _ = config.check();
    }
}

/// The files of an exam as small as the study stage takes.
fn small_exam() -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let settings =
        Settings { slices: 5, rows: 24, columns: 24, pixel_mm: 1.9, ..Settings::default() };
    let folder = tempfile::tempdir()?;
    phantom::write_dicom(&phantom::generate(1, &settings), 1, folder.path())?;
    let mut files = Vec::new();
    for path in crate::receive::regular_files(folder.path())? {
        files.push(std::fs::read(path)?);
    }
    Ok(files)
}

fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("the disk works");
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("the disk works");
    (folder, path)
}
