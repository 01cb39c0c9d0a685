//! The outbox: messages on disk until the broker has acknowledged them.
//!
//! One file a message, `{seq:020}.json`, written atomically and fsynced. Promises strict order, and that
//! what was enqueued stays until [`Outbox::acknowledge`]. Must drop nothing: when full it refuses, and the
//! caller keeps its study queued. rumqttc loses unacknowledged messages when a broker restarts, hence this
//! (clean session, `if !session_present { pending.clear() }` in its 0.25.1).
//!
//! Its methods block on the disk: call them from `spawn_blocking`.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::Notify;

use super::{
    message::{Message, Seq},
    payload::OutboxHealth,
};
use crate::domain::StudyRef;
use crate::store::{
    files::{self, FileError, TEMPORARY_PREFIX},
    index::unix_ms,
};

/// Ending of a message's file.
const MESSAGE: &str = "json";

/// Ending of the empty file that keeps the newest number used while no message does.
const ACKNOWLEDGED: &str = "acked";

/// Ending of a file that can't be read.
const DAMAGED: &str = "damaged";

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Too much waits for the broker already; try again when some of it is acknowledged.
    #[error("the outbox is full: {messages} messages, {bytes} bytes")]
    Full {
        /// Messages in it.
        messages: usize,
        /// Bytes in it.
        bytes: u64,
    },
    /// Larger than any broker would be asked to take; trying again is no use.
    #[error("a payload for {topic} has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its topic.
        topic: String,
        /// Its size.
        bytes: usize,
        /// `max_payload_bytes`.
        limit: usize,
    },
    /// The body is not a JSON object with an `event_id`.
    #[error("a payload for {topic} can't be encoded")]
    Encode {
        /// Its topic.
        topic: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How much the outbox takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages at most.
    pub max_messages: usize,
    /// Bytes of all files at most.
    pub max_bytes: u64,
    /// Bytes of one payload at most.
    pub max_payload_bytes: usize,
}

impl From<&super::Config> for Limits {
    fn from(config: &super::Config) -> Limits {
        Limits {
            max_messages: config.outbox_max_messages,
            max_bytes: config.outbox_max_bytes,
            max_payload_bytes: config.max_payload_bytes,
        }
    }
}

/// The outbox of a box; one process at a time.
#[derive(Debug)]
pub struct Outbox {
    dir: PathBuf,
    limits: Limits,
    pending: Mutex<Pending>,
    /// Rung at every new message, for the sender.
    filled: Notify,
}

/// What lies in the folder.
#[derive(Debug, Default)]
struct Pending {
    /// The number of the newest message ever.
    newest: Seq,
    entries: BTreeMap<Seq, Entry>,
    /// `(topic, event_id)` of every entry.
    keys: HashSet<(String, String)>,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    enqueued_ms: u64,
    key: (String, String),
    /// The study it is about.
    study_ref: Option<StudyRef>,
}

impl Outbox {
    /// Opens the outbox in `dir`, creates it when absent. A damaged message is renamed to `*.damaged`, and a warning logged; it
    /// doesn't hold up the others.
    ///
    /// One that can't be read now waits for the next start.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(dir: &Path, limits: Limits) -> Result<Outbox, OutboxError> {
        files::create_dir(dir)?;
        let mut pending = Pending::default();
        for entry in fs::read_dir(dir).map_err(FileError::during("list", dir))? {
            let path = entry.map_err(FileError::during("list", dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(&path).map_err(FileError::during("remove", &path))?;
                continue;
            }
            let mut parts = name.split('.');
            let Some(seq) = parts.next().and_then(|stem| stem.parse::<Seq>().ok()) else {
                continue;
            };
            pending.newest = pending.newest.max(seq);
            if parts.next() == Some(MESSAGE) {
                match read(&path) {
                    Ok(Some((message, bytes))) => pending.insert(seq, &message, bytes),
                    Ok(None) => set_aside(&path)?,
                    Err(error) => {
                        tracing::error!(%error, "A message in the outbox waits for the next start.");
                    }
                }
            }
        }
        let filled = Notify::new();
        Ok(Outbox { dir: dir.to_owned(), limits, pending: Mutex::new(pending), filled })
    }

    /// Takes a message; on disk when this returns. One that waits already (same topic, same event) is not
    /// taken twice: its number is returned.
    pub fn enqueue(&self, message: &Message) -> Result<Seq, OutboxError> {
        let mut pending = self.lock();
        let key = (message.topic.clone(), message.event_id.clone());
        if pending.keys.contains(&key) {
            let waiting = pending.entries.iter().find(|(_, entry)| entry.key == key);
            return Ok(*waiting.expect("every key belongs to an entry").0);
        }
        let size = message.encode(Seq::MAX, false).len();
        if size > self.limits.max_payload_bytes {
            let (topic, limit) = (message.topic.clone(), self.limits.max_payload_bytes);
            return Err(OutboxError::TooLarge { topic, bytes: size, limit });
        }
        let file = serde_json::to_vec(message).expect("a message can be written as JSON");
        let (messages, bytes) = (pending.entries.len(), pending.bytes);
        let full = messages >= self.limits.max_messages
            || bytes + file.len() as u64 > self.limits.max_bytes;
        if full {
            return Err(OutboxError::Full { messages, bytes });
        }
        let seq = pending.newest + 1;
        files::write_atomically(&self.path(seq, MESSAGE), &file)?;
        pending.insert(seq, message, file.len() as u64);
        drop(pending);
        self.filled.notify_one();
        Ok(seq)
    }

    /// The oldest messages after `seq` (0 for all), at most `limit`. A damaged one is set aside; one that can't be read now
    /// stays for another time.
    pub fn pending_after(
        &self,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<(Seq, Message)>, OutboxError> {
        let mut pending = self.lock();
        let mut found = Vec::new();
        let mut damaged = Vec::new();
        for &seq in pending.entries.range(seq + 1..).map(|(seq, _)| seq) {
            if found.len() == limit {
                break;
            }
            let path = self.path(seq, MESSAGE);
            match read(&path) {
                Ok(Some((message, _))) => found.push((seq, message)),
                Ok(None) => {
                    set_aside(&path)?;
                    damaged.push(seq);
                }
                Err(error) => tracing::error!(%error, "A message in the outbox is passed over."),
            }
        }
        for seq in damaged {
            pending.remove(seq);
        }
        Ok(found)
    }

    /// Removes a message that the broker has taken; nothing happens if it is gone already.
    pub fn acknowledge(&self, seq: Seq) -> Result<(), OutboxError> {
        let mut pending = self.lock();
        if !pending.entries.contains_key(&seq) {
            return Ok(());
        }
        if seq == pending.newest {
            // Otherwise the next start would give this number again.
            let marker = self.path(seq, ACKNOWLEDGED);
            files::write_atomically(&marker, b"")?;
            self.remove_markers_below(seq)?;
        }
        let path = self.path(seq, MESSAGE);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::during("remove", &path)(e).into());
            }
            _ => pending.remove(seq),
        }
        files::sync_dir(&self.dir)?;
        Ok(())
    }

    /// The number of the newest message ever taken, 0 before the first.
    pub fn newest(&self) -> Seq {
        self.lock().newest
    }

    /// Number of messages waiting.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How full it is, and the age of its oldest message.
    pub fn health(&self, now: SystemTime) -> OutboxHealth {
        let pending = self.lock();
        let oldest = pending.entries.first_key_value().map(|(_, entry)| entry.enqueued_ms);
        OutboxHealth {
            messages: pending.entries.len() as u64,
            bytes: pending.bytes,
            oldest_age_s: oldest.map_or(0, |ms| unix_ms(now).saturating_sub(ms) / 1000),
        }
    }

    /// The studies that any message waiting is about.
    pub fn studies(&self) -> HashSet<StudyRef> {
        self.lock().entries.values().filter_map(|entry| entry.study_ref.clone()).collect()
    }

    /// Waits for the next [`enqueue`](Self::enqueue); one that came since the last wait counts.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn path(&self, seq: Seq, ending: &str) -> PathBuf {
        self.dir.join(format!("{seq:020}.{ending}"))
    }

    fn remove_markers_below(&self, seq: Seq) -> Result<(), FileError> {
        let newest = self.path(seq, ACKNOWLEDGED);
        for entry in fs::read_dir(&self.dir).map_err(FileError::during("list", &self.dir))? {
            let path = entry.map_err(FileError::during("list", &self.dir))?.path();
            if path.extension().is_some_and(|e| e == ACKNOWLEDGED) && path != newest {
                fs::remove_file(&path).map_err(FileError::during("remove", &path))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Entries change only after the disk has; a panic between leaves nothing inconsistent.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn insert(&mut self, seq: Seq, message: &Message, bytes: u64) {
        let key = (message.topic.clone(), message.event_id.clone());
        self.newest = self.newest.max(seq);
        self.bytes += bytes;
        self.keys.insert(key.clone());
        let enqueued_ms = message.enqueued_ms;
        self.entries.insert(seq, Entry { bytes, enqueued_ms, key, study_ref: message.study_ref() });
    }

    fn remove(&mut self, seq: Seq) {
        if let Some(entry) = self.entries.remove(&seq) {
            self.bytes -= entry.bytes;
            self.keys.remove(&entry.key);
        }
    }
}

/// A message and the size of its file; `None` when the file is no message.
fn read(path: &Path) -> Result<Option<(Message, u64)>, FileError> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(FileError::during("read", path))?,
    };
    Ok(serde_json::from_slice(&bytes).ok().map(|message| (message, bytes.len() as u64)))
}

/// Renames a file that is no message, so that nobody trips over it again.
fn set_aside(path: &Path) -> Result<(), FileError> {
    let target = path.with_extension(DAMAGED);
    tracing::warn!(path = %target.display(), "A message in the outbox is damaged; it is set aside.");
    match fs::rename(path, &target) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(FileError::during("set aside", path)(e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    const LIMITS: Limits =
        Limits { max_messages: 100, max_bytes: 100_000, max_payload_bytes: 1000 };

    fn message(event_id: &str) -> Message {
        Message {
            topic: "modic/v1/site/mr/event/study.received".to_owned(),
            retain: false,
            boot_id: "boot".to_owned(),
            event_id: event_id.to_owned(),
            enqueued_ms: unix_ms(SystemTime::now()),
            payload: Map::from_iter([("event_id".to_owned(), event_id.into())]),
        }
    }

    fn waiting(outbox: &Outbox) -> Vec<(Seq, String)> {
        let messages = outbox.pending_after(0, usize::MAX).unwrap();
        messages.into_iter().map(|(seq, message)| (seq, message.event_id)).collect()
    }

    #[test]
    fn messages_come_out_in_order_across_restarts_until_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        for id in ["a", "b", "c"] {
            outbox.enqueue(&message(id)).unwrap();
        }
        outbox.acknowledge(1).unwrap();
        outbox.acknowledge(1).unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        assert_eq!(outbox.enqueue(&message("d")).unwrap(), 4);
        assert_eq!(waiting(&outbox), [(2, "b".into()), (3, "c".into()), (4, "d".into())]);
        let one = outbox.pending_after(2, 1).unwrap();
        assert_eq!((one.len(), one[0].0), (1, 3));
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Of one of a few events, so that some wait already.
        Enqueue(u8),
        /// Of the message at this place among those ever taken.
        Acknowledge(prop::sample::Index),
        /// As after a crash, with what it may leave.
        Reopen,
        /// A file is damaged.
        Damage(prop::sample::Index),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0..8u8).prop_map(Step::Enqueue),
            4 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
            2 => Just(Step::Reopen),
            1 => any::<prop::sample::Index>().prop_map(Step::Damage),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a list in memory.
        #[test]
        fn what_waits_is_what_was_taken_and_not_acknowledged(
            steps in prop::collection::vec(any_step(), 0..60),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let limits = Limits { max_messages: 6, ..LIMITS };
            let mut outbox = Outbox::open(dir.path(), limits).unwrap();
            let (mut expected, mut newest) = (Vec::<(Seq, String)>::new(), 0);
            for step in steps {
                match step {
                    Step::Enqueue(event) => {
                        let event = event.to_string();
                        let waits = expected.iter().find(|(_, id)| *id == event).map(|(seq, _)| *seq);
                        match (waits, outbox.enqueue(&message(&event))) {
                            (Some(seq), taken) => prop_assert_eq!(taken.unwrap(), seq),
                            (None, Ok(seq)) => {
                                prop_assert_eq!(seq, newest + 1, "numbers go up one by one");
                                newest = seq;
                                expected.push((seq, event));
                            }
                            (None, refused) => {
                                let is_full = matches!(refused, Err(OutboxError::Full { .. }));
                                prop_assert!(is_full);
                                prop_assert_eq!(expected.len(), limits.max_messages);
                            }
                        }
                    }
                    Step::Acknowledge(which) if newest > 0 => {
                        let seq = which.index(newest as usize) as Seq + 1;
                        outbox.acknowledge(seq).unwrap();
                        expected.retain(|(other, _)| *other != seq);
                    }
                    Step::Damage(which) if !expected.is_empty() => {
                        let (seq, _) = expected.remove(which.index(expected.len()));
                        fs::write(outbox.path(seq, MESSAGE), [0; 40]).unwrap();
                        // It is noticed when it is read next.
                        waiting(&outbox);
                    }
                    Step::Reopen => {
                        fs::write(dir.path().join(format!("{TEMPORARY_PREFIX}x")), b"{").unwrap();
                        drop(outbox);
                        outbox = Outbox::open(dir.path(), limits).unwrap();
                    }
                    Step::Acknowledge(_) | Step::Damage(_) => {}
                }
                prop_assert_eq!(&waiting(&outbox), &expected);
                prop_assert_eq!((outbox.newest(), outbox.len()), (newest, expected.len()));
            }
        }
    }

    #[test]
    fn numbers_are_never_given_twice_even_when_the_outbox_was_empty() {
        let dir = tempfile::tempdir().unwrap();
        for expected in 1..=5 {
            let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
            assert_eq!(outbox.enqueue(&message("a")).unwrap(), expected);
            outbox.acknowledge(expected).unwrap();
            assert!(outbox.is_empty());
            assert_eq!(outbox.newest(), expected);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "one marker is kept");
    }

    #[test]
    fn an_event_that_waits_is_not_taken_twice() {
        let dir = tempfile::tempdir().unwrap();
        Outbox::open(dir.path(), LIMITS).unwrap().enqueue(&message("a")).unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        assert_eq!(outbox.enqueue(&message("a")).unwrap(), 1);
        let elsewhere = Message { topic: "modic/v1/site/mr/latest".to_owned(), ..message("a") };
        assert_eq!(outbox.enqueue(&elsewhere).unwrap(), 2);
        assert_eq!(outbox.len(), 2);
    }

    #[test]
    fn a_study_is_told_as_long_as_a_message_about_it_waits() {
        let dir = tempfile::tempdir().unwrap();
        let study_ref = StudyRef::derive(b"key", "1.2.3");
        let about = |id: &str| {
            let mut message = message(id);
            message.payload.insert("study_ref".to_owned(), study_ref.as_str().into());
            message
        };
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        for message in [about("a"), message("b"), about("c")] {
            outbox.enqueue(&message).unwrap();
        }
        outbox.acknowledge(1).unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        assert_eq!(outbox.studies(), [study_ref].into());
        outbox.acknowledge(3).unwrap();
        assert_eq!((outbox.studies().len(), outbox.len()), (0, 1));
    }

    #[test]
    fn a_full_outbox_refuses_and_takes_again_after_an_acknowledgement() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_messages: 2, ..LIMITS };
        let outbox = Outbox::open(dir.path(), limits).unwrap();
        outbox.enqueue(&message("a")).unwrap();
        outbox.enqueue(&message("b")).unwrap();
        let refused = outbox.enqueue(&message("c"));
        assert!(matches!(refused, Err(OutboxError::Full { messages: 2, .. })));
        outbox.acknowledge(1).unwrap();
        assert_eq!(outbox.enqueue(&message("c")).unwrap(), 3);

        let small = Limits { max_bytes: 10, ..LIMITS };
        let outbox = Outbox::open(&dir.path().join("small"), small).unwrap();
        assert!(matches!(outbox.enqueue(&message("a")), Err(OutboxError::Full { .. })));
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        let mut big = message("a");
        big.payload.insert("body".to_owned(), "x".repeat(1000).into());
        assert!(matches!(outbox.enqueue(&big), Err(OutboxError::TooLarge { limit: 1000, .. })));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_damaged_message_is_set_aside_and_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        for id in ["a", "b", "c"] {
            outbox.enqueue(&message(id)).unwrap();
        }
        fs::write(outbox.path(1, MESSAGE), [0; 100]).unwrap();
        assert_eq!(waiting(&outbox), [(2, "b".into()), (3, "c".into())]);
        fs::write(outbox.path(2, MESSAGE), b"{\"topic\":").unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        assert_eq!(waiting(&outbox), [(3, "c".into())]);
        assert!(outbox.path(1, DAMAGED).exists() && outbox.path(2, DAMAGED).exists());
    }

    #[test]
    fn a_message_that_cannot_be_read_now_waits_for_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        for id in ["a", "b"] {
            outbox.enqueue(&message(id)).unwrap();
        }
        let (path, elsewhere) = (outbox.path(1, MESSAGE), dir.path().join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        fs::create_dir(&path).unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        assert_eq!(waiting(&outbox), [(2, "b".into())]);
        fs::remove_dir(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        assert_eq!(waiting(&outbox), [(1, "a".into()), (2, "b".into())]);
    }

    #[test]
    fn what_a_crash_left_half_written_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join(format!("{TEMPORARY_PREFIX}x"));
        fs::write(&half, b"{").unwrap();
        assert!(Outbox::open(dir.path(), LIMITS).unwrap().is_empty());
        assert!(!half.exists());
    }

    #[test]
    fn health_tells_the_age_of_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), LIMITS).unwrap();
        let now = SystemTime::now();
        assert_eq!(outbox.health(now), OutboxHealth::default());
        outbox.enqueue(&message("a")).unwrap();
        let health = outbox.health(now + Duration::from_secs(100));
        assert_eq!(health.messages, 1);
        assert!((99..=100).contains(&health.oldest_age_s), "{health:?}");
        assert_eq!(health.bytes, outbox.path(1, MESSAGE).metadata().unwrap().len());
    }
}
