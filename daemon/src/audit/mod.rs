//! Audit: who sent what, who saw it, who was turned away, as DICOM's audit messages (PS3.15 A.5) in the machine's syslog.
//!
//! Owns the messages and their way to a syslog daemon's socket. What becomes of them there (kept, encrypted and sent to the
//! site's repository) is that daemon's work. Promises that auditing holds up nobody: messages wait in memory for a daemon
//! that is away, in bounded number, and those beyond are counted as lost. Must not: name a patient or a study's UID.

mod config;
mod event;
mod message;
mod socket;

use std::time::SystemTime;

use tokio::sync::mpsc;

pub use config::Config;
pub use event::Event;
pub use message::Author;
pub use socket::Socket;

use crate::metrics::Counts;

/// Takes note of events; clones note in the same order. The default notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Auditor(Option<Noting>);

#[derive(Debug, Clone)]
struct Noting {
    author: Author,
    waiting: mpsc::Sender<String>,
    counts: Counts,
}

impl Auditor {
    /// Notes for a socket; nothing where none is configured.
    pub fn new(config: &Config, author: Author, counts: Counts, socket: &Socket) -> Auditor {
        let noting = Noting { author, waiting: socket.sender(), counts };
        Auditor(config.socket.is_some().then_some(noting))
    }

    /// Takes note; never waits.
    pub fn note(&self, event: &Event) {
        let Some(Noting { author, waiting, counts }) = &self.0 else { return };
        let message = message::encode(event, author, SystemTime::now());
        if waiting.try_send(message).is_err() {
            counts.audit_messages_lost.inc();
        }
    }
}
