//! What goes into a support bundle.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use super::Part;
use crate::config::Config;
use crate::doctor;
use crate::domain::StudyRef;
use crate::metrics::system::{THERMAL_ZONES, temperatures};
use crate::page;
use crate::status::Status;

/// Newest lines of the journal.
const JOURNAL_LINES: &str = "5000";
/// Most bytes of a part, the end is kept.
const MAX_PART: usize = 4 << 20;
const REDACTED: &str = "(left out)";

pub(super) fn all(config: &Result<Config, String>) -> Vec<Part> {
    let state_dir = config.as_ref().ok().map(|config| config.state_dir.as_path());
    let part = |name, about, content: Result<String, String>| {
        let content = match content {
            Ok(content) if content.is_empty() => "there is nothing\n".to_owned(),
            Ok(content) => content,
            Err(why) => format!("could not be had: {why}\n"),
        };
        Part { name, about, content: the_end_of(content.into_bytes()) }
    };
    let file = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    vec![
        part("version.txt", "program and machine", Ok(version())),
        part("configuration.toml", "as it is in effect, defaults included", configuration(config)),
        part("doctor.json", "what `modicd doctor` says", examined(config)),
        part("status.json", "what the daemon last said of itself", status(state_dir)),
        part("journal.txt", "its newest log records", journal().map(|text| without_studies(&text))),
        part("state.txt", "how much is kept, folder by folder", state(state_dir)),
        part("system/os-release", "the distribution", file("/etc/os-release")),
        part("system/cpuinfo", "the processor", file("/proc/cpuinfo")),
        part("system/meminfo", "the memory", file("/proc/meminfo")),
        part("system/loadavg", "the load", file("/proc/loadavg")),
        part("system/mounts", "the file systems", file("/proc/mounts").map(|text| mounts(&text))),
        part("system/thermal.txt", "the temperatures", Ok(thermal())),
    ]
}

fn version() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    format!("modicd {version}\n{arch}, Linux {kernel}")
}

/// Names of secrets' files stay, what they hold isn't read.
fn configuration(config: &Result<Config, String>) -> Result<String, String> {
    let mut config = config.as_ref().map_err(String::clone)?.clone();
    let names = config.pacs.iter_mut().filter_map(|pacs| pacs.web.as_mut()?.username.as_mut());
    for name in names.chain(config.mqtt.username.as_mut()) {
        *name = REDACTED.to_owned();
    }
    toml::to_string(&config).map_err(|e| e.to_string())
}

fn examined(config: &Result<Config, String>) -> Result<String, String> {
    let checks = match config {
        Ok(config) => doctor::examine(config),
        Err(error) => doctor::invalid(&anyhow::anyhow!("{error}")),
    };
    serde_json::to_string_pretty(&checks).map_err(|e| e.to_string())
}

fn status(state_dir: Option<&Path>) -> Result<String, String> {
    let folder = state_dir.ok_or("the configuration is not valid")?;
    let status = Status::read(folder).map_err(|e| e.to_string())?;
    let status = status.ok_or("the daemon hasn't run yet")?;
    serde_json::to_string_pretty(&status).map_err(|e| e.to_string())
}

/// The journal's; what this process logged, where that can't be read, as in the daemon's sandbox.
fn journal() -> Result<String, String> {
    match journalctl() {
        Ok(text) if !text.is_empty() => Ok(text),
        other => match page::logs::text() {
            own if own.is_empty() => other,
            own => Ok(own),
        },
    }
}

fn journalctl() -> Result<String, String> {
    let output = Command::new("journalctl")
        .args(["--unit", "modicd", "--lines", JOURNAL_LINES, "--output", "short-iso-precise"])
        .args(["--no-pager", "--quiet", "--no-hostname"])
        .output()
        .map_err(|e| format!("journalctl: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Log records without references of studies, which stand in fields, messages and paths, and without numbers of findings.
fn without_studies(records: &str) -> String {
    let ends_word = |c: char| !c.is_ascii_alphanumeric();
    let (mut text, mut before) = (String::with_capacity(records.len()), "");
    for piece in records.split_inclusive(ends_word) {
        let word = piece.trim_end_matches(ends_word);
        let of_study = StudyRef::try_from(word.to_owned()).is_ok() || before == "findings=";
        text += if of_study { REDACTED } else { word };
        text += &piece[word.len()..];
        before = piece;
    }
    text
}

/// Device, folder, type, and whether it can be written. Other options may name a user, and sshfs' devices do.
fn mounts(table: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [device, folder, kind, options, ..] = fields[..] else { return String::new() };
        let device = device.rsplit_once('@').map_or(device, |(_, host)| host);
        let access = options.split(',').next().unwrap_or_default();
        format!("{device} {folder} {kind} {access}\n")
    };
    table.lines().map(line).collect()
}

/// Numbers only: names of folders below these are studies' references.
fn state(state_dir: Option<&Path>) -> Result<String, String> {
    let folder = state_dir.ok_or("the configuration is not valid")?;
    let mut entries: Vec<_> = fs::read_dir(folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    let mut text = String::new();
    for path in entries {
        let mut tally = Tally::default();
        tally.add(&path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let age = |time: Option<SystemTime>| {
            let age = time.and_then(|time| time.elapsed().ok());
            age.map_or_else(|| "?".to_owned(), |age| format!("{} min", age.as_secs() / 60))
        };
        let Tally { files, bytes, oldest, newest } = tally;
        let (oldest, newest) = (age(oldest), age(newest));
        let _ = writeln!(
            text,
            "{name:<14} {files:>8} files {bytes:>14} bytes, oldest {oldest}, newest {newest} ago"
        );
    }
    Ok(text)
}

#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    oldest: Option<SystemTime>,
    newest: Option<SystemTime>,
}

impl Tally {
    fn add(&mut self, path: &Path) {
        let Ok(metadata) = path.symlink_metadata() else { return };
        if metadata.is_dir() {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(&entry.path());
            }
            return;
        }
        self.files += 1;
        self.bytes += metadata.len();
        let modified = metadata.modified().ok();
        self.oldest = [self.oldest, modified].into_iter().flatten().min();
        self.newest = [self.newest, modified].into_iter().flatten().max();
    }
}

fn thermal() -> String {
    let zones = temperatures(Path::new(THERMAL_ZONES));
    zones.iter().map(|zone| format!("{} {:.1} °C\n", zone.kind.trim(), zone.celsius)).collect()
}

fn the_end_of(content: Vec<u8>) -> Vec<u8> {
    let cut = content.len().saturating_sub(MAX_PART);
    content[cut..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_records_say_nothing_of_a_study() {
        let records = "2026-11-03T10:00:00.123456+0100 modicd[7]: INFO A study is done. \
            study_ref=0123456789abcdef revision=2 findings=3 cached=false\n\
            ERROR A study waits: it failed. error=\"could not list /s/results/fedcba9876543210/r0001\"\n";
        let told = without_studies(records);
        assert_eq!(
            told,
            "2026-11-03T10:00:00.123456+0100 modicd[7]: INFO A study is done. \
            study_ref=(left out) revision=2 findings=(left out) cached=false\n\
            ERROR A study waits: it failed. error=\"could not list /s/results/(left out)/r0001\"\n"
        );
    }

    #[test]
    fn mounts_name_no_user() {
        let table = "/dev/sda1 / ext4 rw,relatime 0 0\n\
            //nas/mri /mnt/mri cifs ro,vers=3.1.1,username=JSMITH,uid=0 0 0\n\
            jsmith@host:/mri /mnt/other fuse.sshfs rw,user_id=0 0 0\n";
        let told = "/dev/sda1 / ext4 rw\n\
            //nas/mri /mnt/mri cifs ro\n\
            host:/mri /mnt/other fuse.sshfs rw\n";
        assert_eq!(mounts(table), told);
    }
}
