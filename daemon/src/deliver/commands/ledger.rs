//! Which requests were taken, kept on disk until they have expired.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::store::files::FileError;
use crate::store::index::unix_ms;
use crate::store::write_atomically;

/// Requests remembered at most.
const MAX_ENTRIES: usize = 1000;

/// The identifiers of requests that were taken, by type and identifier.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    expires_ms: u64,
    ended: bool,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is written down and may be carried out.
    Now,
    /// It was taken before.
    Before,
    /// Too many are remembered.
    Full,
}

impl Ledger {
    /// Reads the ledger; one that is damaged or absent is empty. Gives the requests too whose end isn't written down:
    /// the last run of the daemon ended before theirs.
    pub(super) fn open(path: &Path) -> (Ledger, Vec<(String, String)>) {
        let text = std::fs::read(path).unwrap_or_default();
        let entries: BTreeMap<String, Entry> = serde_json::from_slice(&text).unwrap_or_default();
        let unended = entries.iter().filter(|(_, entry)| !entry.ended);
        let unended = unended.filter_map(|(key, _)| key.split_once('/'));
        let unended = unended.map(|(kind, id)| (kind.to_owned(), id.to_owned())).collect();
        (Ledger { path: path.to_owned(), entries }, unended)
    }

    /// Takes a request, on disk when this returns.
    pub(super) fn take(
        &mut self,
        kind: &str,
        id: &str,
        expires: SystemTime,
        now: SystemTime,
    ) -> Result<Taken, FileError> {
        let key = format!("{kind}/{id}");
        if self.entries.contains_key(&key) {
            return Ok(Taken::Before);
        }
        let now = unix_ms(now);
        self.entries.retain(|_, entry| entry.expires_ms >= now || !entry.ended);
        if self.entries.len() >= MAX_ENTRIES {
            return Ok(Taken::Full);
        }
        self.entries.insert(key.clone(), Entry { expires_ms: unix_ms(expires), ended: false });
        if let Err(error) = self.write() {
            self.entries.remove(&key);
            return Err(error);
        }
        Ok(Taken::Now)
    }

    /// Strikes off a request that nobody was told of.
    pub(super) fn forget(&mut self, kind: &str, id: &str) -> Result<(), FileError> {
        self.entries.remove(&format!("{kind}/{id}"));
        self.write()
    }

    /// Takes note of a request's end.
    pub(super) fn end(&mut self, kind: &str, id: &str) -> Result<(), FileError> {
        match self.entries.get_mut(&format!("{kind}/{id}")) {
            Some(entry) => entry.ended = true,
            None => return Ok(()),
        }
        self.write()
    }

    fn write(&self) -> Result<(), FileError> {
        let text = serde_json::to_vec(&self.entries).expect("names and numbers can be written");
        write_atomically(&self.path, &text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_is_taken_once_whatever_happens_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.json");
        let now = SystemTime::now();
        let later = now + Duration::from_secs(60);
        let (mut ledger, _) = Ledger::open(&path);
        assert_eq!(ledger.take("self-test", "a", later, now).unwrap(), Taken::Now);
        assert_eq!(ledger.take("self-test", "a", later, now).unwrap(), Taken::Before);
        assert_eq!(ledger.take("log.level", "a", later, now).unwrap(), Taken::Now);
        ledger.end("log.level", "a").unwrap();

        let (mut ledger, unended) = Ledger::open(&path);
        assert_eq!(unended, [("self-test".to_owned(), "a".to_owned())]);
        assert_eq!(ledger.take("self-test", "a", later, now).unwrap(), Taken::Before);
        ledger.end("self-test", "a").unwrap();
        assert!(Ledger::open(&path).1.is_empty());
    }

    #[test]
    fn expired_ones_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.json");
        let now = SystemTime::now();
        let entry = Entry { expires_ms: unix_ms(now) + 1000, ended: true };
        let entries = (0..MAX_ENTRIES).map(|n| (format!("self-test/{n}"), entry)).collect();
        let mut ledger = Ledger { path, entries };
        assert_eq!(ledger.take("self-test", "x", now, now).unwrap(), Taken::Full);
        let later = now + Duration::from_secs(2);
        assert_eq!(ledger.take("self-test", "x", later, later).unwrap(), Taken::Now);
    }
}
