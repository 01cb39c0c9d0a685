//! The syslog daemon's socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Counts;

/// What messages are found by: `journalctl -t modicd-audit`.
const TAG: &str = "modicd-audit";
/// Facility 10 (security), severity 5 (notice), as PS3.15 A.6 wants.
const PRIORITY: u8 = 10 * 8 + 5;
/// Between two attempts at a socket that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// What is left at a stop may take this long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Takes messages to the socket.
pub struct Socket {
    path: PathBuf,
    waiting: mpsc::Receiver<String>,
    counts: Counts,
}

impl Socket {
    pub(super) fn new(path: PathBuf, waiting: mpsc::Receiver<String>, counts: Counts) -> Socket {
        Socket { path, waiting, counts }
    }

    /// Sends until `shutdown`, and then what is left if that can be done soon.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut message = None;
        tokio::select! {
            () = self.send_all(&mut message) => {}
            () = shutdown.cancelled() => {
                self.waiting.close();
                let _ = timeout(LAST_WORDS, self.send_all(&mut message)).await;
            }
        }
        let left = u64::from(message.is_some()) + self.waiting.len() as u64;
        if left > 0 {
            self.counts.audit_messages_lost.inc_by(left);
            tracing::error!(left, path = %self.path.display(), "Audit messages are lost, since the syslog socket took none.");
        }
    }

    /// Sends until there is no more to come; `message` is the one under way.
    async fn send_all(&mut self, message: &mut Option<String>) {
        let mut is_away = false;
        loop {
            if message.is_none() {
                *message = self.waiting.recv().await;
            }
            let Some(text) = message else { return };
            match self.send(text).await {
                Ok(()) => {
                    *message = None;
                    self.counts.audit_messages.inc();
                    if std::mem::take(&mut is_away) {
                        tracing::info!("The syslog socket takes audit messages again.");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let path = self.path.display();
                        tracing::warn!(%path, %error, "The syslog socket takes no audit messages; they wait.");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// A new socket each time, since the daemon at the other end may have been started again.
    async fn send(&self, message: &str) -> io::Result<()> {
        let line = format!("<{PRIORITY}>{TAG}[{}]: {message}", std::process::id());
        UnixDatagram::unbound()?.send_to(line.as_bytes(), &self.path).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Auditor, Author, Config, Event, open};
    use super::*;
    use crate::domain::AeTitle;

    fn opened(path: PathBuf) -> (Auditor, Socket, Counts) {
        let author = Author {
            site: "north".to_owned(),
            device: "mr-1".to_owned(),
            ae_title: AeTitle::try_from("MODICD".to_owned()).unwrap(),
        };
        let counts = Counts::default();
        let (auditor, socket) = open(&Config { socket: Some(path) }, author, counts.clone());
        (auditor, socket.unwrap(), counts)
    }

    async fn next(daemon: &UnixDatagram) -> String {
        let mut bytes = vec![0; 65_536];
        let length = timeout(Duration::from_secs(10), daemon.recv(&mut bytes)).await;
        bytes.truncate(length.unwrap().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn what_waits_for_an_absent_daemon_reaches_it_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (auditor, socket, counts) = opened(path.clone());
        let stop = CancellationToken::new();
        let running = tokio::spawn(socket.run(stop.clone()));
        auditor.note(&Event::Started);
        auditor.note(&Event::Reconfigured);
        tokio::task::yield_now().await;

        let daemon = UnixDatagram::bind(&path).unwrap();
        let first = next(&daemon).await;
        assert!(first.starts_with("<85>modicd-audit["), "{first}");
        assert!(first.contains("110120"), "{first}");
        assert!(next(&daemon).await.contains("110131"));

        auditor.note(&Event::Stopped);
        stop.cancel();
        assert!(next(&daemon).await.contains("110121"));
        running.await.unwrap();
        assert_eq!((counts.audit_messages.get(), counts.audit_messages_lost.get()), (3, 0));
    }

    #[tokio::test]
    async fn what_never_got_there_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (auditor, socket, counts) = opened(folder.path().join("log"));
        for _ in 0..super::super::MAX_WAITING + 5 {
            auditor.note(&Event::Started);
        }
        assert_eq!(counts.audit_messages_lost.get(), 5);
        let stop = CancellationToken::new();
        stop.cancel();
        socket.run(stop).await;
        let all = super::super::MAX_WAITING as u64 + 5;
        assert_eq!((counts.audit_messages.get(), counts.audit_messages_lost.get()), (0, all));
    }
}
