//! Where requests come in and answers go out.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::ledger::{Ledger, Taken};
use super::{Check, CommandState, CommandStatus, CommandType, MAX_LIFETIME, Refusal, Request};
use crate::audit::{Auditor, Event};
use crate::deliver::topics::schema;
use crate::deliver::{Envelope, EventId, Identity, Message, Outbox, OutboxError, Topics};

/// Requests that wait to be carried out, at most.
const WAITING: usize = 8;

/// Longest identifier of a request, characters.
const MAX_ID: usize = 64;

/// A request to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is asked for.
    pub request: Request,
    kind: &'static str,
    id: String,
}

/// Takes requests and answers them. Its methods block on the disk.
pub struct Desk {
    allow: Vec<CommandType>,
    identity: Identity,
    topics: Topics,
    outbox: Arc<Outbox>,
    auditor: Auditor,
    ledger: Mutex<Ledger>,
    accepted: mpsc::Sender<Command>,
    /// Whether nothing is answered any more; locked while an answer is written.
    left: Mutex<bool>,
}

impl Desk {
    /// Opens the ledger `path`, and answers the requests that the last run of the daemon didn't end; one that can't be
    /// answered waits for the next start. What is accepted comes out of the channel.
    pub fn open(
        path: &Path,
        allow: &[CommandType],
        identity: Identity,
        topics: Topics,
        outbox: Arc<Outbox>,
        auditor: Auditor,
    ) -> (Desk, mpsc::Receiver<Command>) {
        let (ledger, unended) = Ledger::open(path);
        let (accepted, waiting) = mpsc::channel(WAITING);
        let ledger = Mutex::new(ledger);
        let (allow, left) = (allow.to_vec(), Mutex::default());
        let desk = Desk { allow, identity, topics, outbox, auditor, ledger, accepted, left };
        for (kind, id) in unended {
            match desk.say(&kind, &id, CommandState::Failed, Some("interrupted"), Vec::new()) {
                Ok(()) => desk.note_end(&kind, &id),
                Err(error) => {
                    tracing::warn!(%error, "A command's interruption can't be told yet.");
                }
            }
        }
        (desk, waiting)
    }

    /// Whether anything may be asked for.
    pub fn is_open(&self) -> bool {
        !self.allow.is_empty()
    }

    /// Takes what came in on a topic. Answers unless the topic has no usable identifier or the request was taken before.
    pub fn receive(
        &self,
        topic: &str,
        payload: &[u8],
        retained: bool,
        now: SystemTime,
    ) -> Result<(), OutboxError> {
        let Some((kind, id)) = self.topics.command(topic) else { return Ok(()) };
        if !is_name(kind) || !is_name(id) {
            tracing::warn!("A command with an unusable type or identifier is ignored.");
            return Ok(());
        }
        let checked = self.check(kind, id, payload, retained, now);
        let taken = checked.and_then(|(command, expires)| self.take(command, expires, now));
        match taken {
            Ok(Some((place, command))) => {
                let said = self.say(kind, id, CommandState::Accepted, None, Vec::new());
                match &said {
                    Ok(()) => place.send(command),
                    // Nobody knows of it: it may be asked for again.
                    Err(_) => self.forget(kind, id),
                }
                said
            }
            Ok(None) => Ok(()),
            Err(refusal) => {
                tracing::warn!(reason = %refusal, "A command is refused.");
                self.say(kind, id, CommandState::Refused, Some(refusal.as_str()), Vec::new())
            }
        }
    }

    /// Whoever is at work still is heard no more: a desk that is opened on the ledger later answers for them that they were
    /// interrupted, and must be the only one that writes.
    pub fn leave(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Says where a request stands; nothing after [`Desk::leave`].
    pub fn answer(
        &self,
        command: &Command,
        state: CommandState,
        reason: Option<&'static str>,
        checks: Vec<Check>,
    ) -> Result<(), OutboxError> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left {
            return Ok(());
        }
        self.say(command.kind, &command.id, state, reason, checks)?;
        if matches!(state, CommandState::Succeeded | CommandState::Failed) {
            self.note_end(command.kind, &command.id);
        }
        Ok(())
    }

    fn check(
        &self,
        kind: &str,
        id: &str,
        payload: &[u8],
        retained: bool,
        now: SystemTime,
    ) -> Result<(Command, SystemTime), Refusal> {
        let known = CommandType::ALL.iter().find(|command| command.as_str() == kind);
        let command = *known.ok_or(Refusal::UnknownCommand)?;
        if !self.allow.contains(&command) {
            return Err(Refusal::NotAllowed);
        }
        if retained {
            return Err(Refusal::Retained);
        }
        let request = Request::parse(command, payload)?;
        let expires = request.expires()?;
        if expires < now {
            return Err(Refusal::Expired);
        }
        if expires > now + MAX_LIFETIME {
            return Err(Refusal::ExpiresTooLate);
        }
        Ok((Command { request, kind: command.as_str(), id: id.to_owned() }, expires))
    }

    /// Writes a request down and keeps a place for it; `None` if it was taken before.
    fn take(
        &self,
        command: Command,
        expires: SystemTime,
        now: SystemTime,
    ) -> Result<Option<(mpsc::Permit<'_, Command>, Command)>, Refusal> {
        let place = self.accepted.try_reserve().map_err(|_| Refusal::Busy)?;
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match ledger.take(command.kind, &command.id, expires, now) {
            Ok(Taken::Now) => Ok(Some((place, command))),
            Ok(Taken::Before) => Ok(None),
            Ok(Taken::Full) => Err(Refusal::Busy),
            Err(error) => {
                tracing::error!(%error, "A command can't be written down.");
                Err(Refusal::Busy)
            }
        }
    }

    fn forget(&self, kind: &str, id: &str) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = ledger.forget(kind, id) {
            // At the next start it counts as interrupted.
            tracing::warn!(%error, "A command can't be struck off.");
        }
    }

    fn note_end(&self, kind: &str, id: &str) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = ledger.end(kind, id) {
            // At the next start it counts as interrupted.
            tracing::warn!(%error, "A command's end can't be written down.");
        }
    }

    fn say(
        &self,
        kind: &str,
        id: &str,
        state: CommandState,
        reason: Option<&'static str>,
        checks: Vec<Check>,
    ) -> Result<(), OutboxError> {
        let (command, id) = (kind.to_owned(), id.to_owned());
        if matches!(state, CommandState::Refused | CommandState::Failed | CommandState::Succeeded) {
            let succeeded = state == CommandState::Succeeded;
            self.auditor.note(&Event::Commanded { command: command.clone(), succeeded });
        }
        let topic = self.topics.command_status(&command, &id);
        let event = EventId::derive(&[&topic, &format!("{state:?}")]);
        let body = CommandStatus { command, id, state, reason, checks };
        let now = SystemTime::now();
        let envelope = Envelope::new(&self.identity, schema::COMMAND_STATUS, event, now, body);
        self.outbox.enqueue(&Message::new(topic, false, &envelope)?).map(drop)
    }
}

/// Letters, digits, `-`, `_` and `.`: nothing that could change a topic or a log.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=MAX_ID).contains(&text.len()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deliver::TimePrecision;
    use crate::deliver::outbox::Limits;

    struct Fixture {
        desk: Desk,
        waiting: mpsc::Receiver<Command>,
        outbox: Arc<Outbox>,
        dir: tempfile::TempDir,
    }

    fn fixture(allow: &[CommandType]) -> Fixture {
        fixture_with_room(allow, 100)
    }

    fn fixture_with_room(allow: &[CommandType], max_messages: usize) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_messages, max_bytes: 1 << 20, max_payload_bytes: 1 << 16 };
        let outbox = Arc::new(Outbox::open(&dir.path().join("outbox"), limits).unwrap());
        open(allow, outbox, dir)
    }

    fn open(allow: &[CommandType], outbox: Arc<Outbox>, dir: tempfile::TempDir) -> Fixture {
        let identity = Identity::new("box", TimePrecision::default());
        let topics = Topics::new("modic", "site", "box").unwrap();
        let path = dir.path().join("commands.json");
        let (desk, waiting) =
            Desk::open(&path, allow, identity, topics, Arc::clone(&outbox), Auditor::default());
        Fixture { desk, waiting, outbox, dir }
    }

    impl Fixture {
        fn ask(&self, kind: &str, id: &str, lifetime_s: i64, retained: bool) {
            self.try_to_ask(kind, id, lifetime_s, retained).unwrap();
        }

        fn try_to_ask(
            &self,
            kind: &str,
            id: &str,
            lifetime_s: i64,
            retained: bool,
        ) -> Result<(), OutboxError> {
            let now = SystemTime::now();
            let lifetime = Duration::from_secs(lifetime_s.unsigned_abs());
            let expires = if lifetime_s < 0 { now - lifetime } else { now + lifetime };
            let payload = format!(r#"{{"expires":"{}"}}"#, humantime::format_rfc3339(expires));
            let topic = format!("modic/v1/site/box/cmd/{kind}/{id}");
            self.desk.receive(&topic, payload.as_bytes(), retained, now)
        }

        fn opened_again(self) -> Fixture {
            open(&self.desk.allow, self.outbox, self.dir)
        }

        /// Topic's end, state and reason of every answer.
        fn answers(&self) -> Vec<(String, String, String)> {
            let all = self.outbox.pending_after(0, 100).unwrap();
            let text = |m: &Message, key: &str| {
                m.payload.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
            };
            let start = "modic/v1/site/box/cmd/";
            all.iter()
                .map(|(_, m)| {
                    let topic = m.topic.strip_prefix(start).unwrap_or_default();
                    (topic.to_owned(), text(m, "state"), text(m, "reason"))
                })
                .collect()
        }
    }

    #[test]
    fn every_request_is_carried_out_once_or_refused_with_its_reason() {
        let mut all = fixture(&[CommandType::SelfTest]);
        all.ask("self-test", "a", 60, false);
        all.ask("self-test", "a", 60, false);
        all.ask("log.level", "b", 60, false);
        all.ask("reboot", "c", 60, false);
        all.ask("self-test", "d", 60, true);
        all.ask("self-test", "e", -1, false);
        all.ask("self-test", "f", 90_000, false);
        all.ask("self-test", "a b", 60, false);
        let expected = [
            ("self-test/a/status", "accepted", ""),
            ("log.level/b/status", "refused", "not_allowed"),
            ("reboot/c/status", "refused", "unknown_command"),
            ("self-test/d/status", "refused", "retained"),
            ("self-test/e/status", "refused", "expired"),
            ("self-test/f/status", "refused", "expires_too_late"),
        ];
        let expected = expected.map(|(t, s, r)| (t.to_owned(), s.to_owned(), r.to_owned()));
        assert_eq!(all.answers(), expected);
        assert_eq!(all.waiting.try_recv().unwrap().id, "a");
        assert!(all.waiting.try_recv().is_err());
    }

    #[test]
    fn more_than_can_wait_are_refused() {
        let all = fixture(&[CommandType::SelfTest]);
        for n in 0..=WAITING {
            all.ask("self-test", &n.to_string(), 60, false);
        }
        let states: Vec<_> = all.answers().into_iter().map(|(_, state, _)| state).collect();
        assert_eq!(states.iter().filter(|s| *s == "accepted").count(), WAITING);
        assert_eq!(states.last().unwrap(), "refused");
    }

    #[test]
    fn who_is_at_work_when_the_desk_is_left_is_heard_no_more() {
        let mut left = fixture(&[CommandType::SelfTest]);
        left.ask("self-test", "a", 60, false);
        let command = left.waiting.try_recv().unwrap();
        let ledger = || std::fs::read(left.dir.path().join("commands.json")).unwrap();
        let before = ledger();
        left.desk.leave();
        left.desk.answer(&command, CommandState::Succeeded, None, Vec::new()).unwrap();
        let states: Vec<_> = left.answers().into_iter().map(|(_, state, _)| state).collect();
        assert_eq!(states, ["accepted"]);
        assert_eq!(ledger(), before, "the next desk finds it unended");
    }

    #[test]
    fn a_request_that_a_crash_ended_is_said_to_have_failed_and_not_repeated() {
        let before = fixture(&[CommandType::SelfTest]);
        before.ask("self-test", "a", 60, false);
        let after = before.opened_again();
        after.ask("self-test", "a", 60, false);
        let answers: Vec<_> = after.answers().into_iter().map(|(_, s, r)| (s, r)).collect();
        let expected = [("accepted", ""), ("failed", "interrupted")];
        assert_eq!(answers, expected.map(|(s, r)| (s.to_owned(), r.to_owned())));
    }

    #[test]
    fn a_full_outbox_loses_no_request_and_keeps_no_desk_from_opening() {
        let mut all = fixture_with_room(&[CommandType::SelfTest], 1);
        all.ask("self-test", "a", 60, false);
        assert_eq!(all.waiting.try_recv().unwrap().id, "a");
        let full = all.try_to_ask("self-test", "b", 60, false).unwrap_err();
        assert!(matches!(full, OutboxError::Full { .. }), "{full}");
        assert!(all.waiting.try_recv().is_err());
        all.outbox.acknowledge(1).unwrap();
        all.ask("self-test", "b", 60, false);
        assert_eq!(all.waiting.try_recv().unwrap().id, "b");

        // Neither was ended, and there is room to say so of one alone.
        let all = all.opened_again();
        all.outbox.acknowledge(2).unwrap();
        let all = all.opened_again();
        let told =
            |all: &Fixture| all.answers().into_iter().map(|(t, s, _)| (t, s)).next().unwrap();
        let failed = |id: &str| (format!("self-test/{id}/status"), "failed".to_owned());
        assert_eq!(told(&all), failed("a"));
        all.outbox.acknowledge(3).unwrap();
        assert_eq!(told(&all.opened_again()), failed("b"));
    }
}
