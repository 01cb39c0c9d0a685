//! Support bundle: one archive that tells those who weren't there how the box is.
//!
//! Owns what goes into it. Promises that nothing of a patient is in it, no secret, and no file of an exam or a result; what
//! the archive holds is listed in it and on the terminal. A part that can't be had is replaced by the reason.

mod parts;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::Config;
use crate::deliver::TimePrecision;
use crate::store::files::write_private;

/// The folder in the archive, so that unpacking it fills nobody's home.
const FOLDER: &str = "modicd-support";
/// The list in it.
const README: &str = "README.txt";

/// Archives that stay in the state folder; their names sort by time.
const KEPT: usize = 3;

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name below the archive's folder.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// What it holds.
    pub content: Vec<u8>,
}

/// A line of the list.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:<22} {:>8} bytes  {}", self.name, self.content.len(), self.about)
    }
}

/// Gathers everything. `config` is the configuration, or why it is not valid. Blocks for some seconds.
pub fn gather(config: &Result<Config, String>) -> Vec<Part> {
    let mut parts = parts::all(config);
    let list: String = parts.iter().map(|part| format!("{part}\n")).collect();
    let text = format!(
        "Support bundle of modicd {}, made {}.\n\nIn it are:\n{list}\n\
         Not in it: anything of a patient, exams, results, studies' references, passwords, tokens, keys, user names.\n",
        env!("CARGO_PKG_VERSION"),
        TimePrecision::Second.format(SystemTime::now()),
    );
    parts.insert(0, Part { name: README, about: "this list", content: text.into_bytes() });
    parts
}

/// Writes the parts as a gzip-compressed tar archive, readable by its owner alone once unpacked.
///
/// # Errors
/// `to` can't be written.
pub fn write(parts: &[Part], to: impl Write) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut archive = tar::Builder::new(GzEncoder::new(to, Compression::default()));
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, format!("{FOLDER}/{}", part.name), &*part.content)?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// Makes an archive in `{state_dir}/support/`, where the newest [`KEPT`] stay, and gives its path. Blocks.
///
/// # Errors
/// The disk refuses.
pub fn keep(config: &Config) -> io::Result<PathBuf> {
    let folder = config.state_dir.join("support");
    fs::create_dir_all(&folder)?;
    let path = folder.join(file_name());
    let mut archive = Vec::new();
    write(&gather(&Ok(config.clone())), &mut archive)?;
    write_private(&path, &archive).map_err(|error| error.source)?;
    let mut archives: Vec<_> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    archives.sort();
    for old in archives.iter().rev().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(path)
}

/// A new file that its owner alone can read.
///
/// # Errors
/// It is there already, or can't be made.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What the archive is called when nobody says.
pub fn file_name() -> String {
    let time = TimePrecision::Second.format(SystemTime::now());
    format!("modicd-support-{}.tar.gz", time.replace([':', '-'], ""))
}
