//! The syslog daemon's socket.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Config;
use crate::metrics::Counts;

/// What messages are found by: `journalctl -t modicd-audit`.
const TAG: &str = "modicd-audit";
/// Facility 10 (security), severity 5 (notice), as PS3.15 A.6 wants.
const PRIORITY: u8 = 10 * 8 + 5;
/// Messages that may wait.
const MAX_WAITING: usize = 10_000;
/// Between two attempts at a socket that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// The same at one that is full, which lasts for moments if somebody reads.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
/// After this the log tells.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// What is left at the end may take this long.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Takes messages to the socket, and keeps those that wait for it.
#[derive(Debug)]
pub struct Socket {
    /// Without one, nobody notes anything.
    path: Option<PathBuf>,
    sender: mpsc::Sender<String>,
    waiting: mpsc::Receiver<String>,
    /// Taken from those that wait, not sent yet.
    underway: Option<String>,
    counts: Counts,
}

impl Socket {
    /// The way to the configured socket.
    pub fn new(config: &Config, counts: Counts) -> Socket {
        let (sender, waiting) = mpsc::channel(MAX_WAITING);
        Socket { path: config.socket.clone(), sender, waiting, underway: None, counts }
    }

    pub(super) fn sender(&self) -> mpsc::Sender<String> {
        self.sender.clone()
    }

    /// Sends the other's messages from now on, too: those that wait, and those of its auditors.
    pub fn take_over(&mut self, other: &mut Socket) {
        std::mem::swap(&mut self.sender, &mut other.sender);
        std::mem::swap(&mut self.waiting, &mut other.waiting);
        std::mem::swap(&mut self.underway, &mut other.underway);
    }

    /// Sends until `shutdown`; gives itself back with what waits.
    pub async fn run(mut self, shutdown: CancellationToken) -> Socket {
        tokio::select! {
            () = self.send_all() => {}
            () = shutdown.cancelled() => {}
        }
        self
    }

    /// Sends what is left, if that can be done soon.
    pub async fn close(mut self) {
        self.waiting.close();
        let _ = timeout(CLOSE_LIMIT, self.send_all()).await;
        let left = u64::from(self.underway.is_some()) + self.waiting.len() as u64;
        if left > 0 {
            self.counts.audit_messages_lost.inc_by(left);
            tracing::error!(left, "Audit messages are lost, since the syslog socket took none.");
        }
    }

    /// Sends until the queue is closed and empty.
    async fn send_all(&mut self) {
        let Some(path) = self.path.clone() else { return std::future::pending().await };
        let (mut failing_since, mut told) = (None, false);
        loop {
            if self.underway.is_none() {
                self.underway = self.waiting.recv().await;
            }
            let Some(message) = &self.underway else { return };
            match send(message, &path) {
                Ok(()) => {
                    self.underway = None;
                    self.counts.audit_messages.inc();
                    failing_since = None;
                    if std::mem::take(&mut told) {
                        tracing::info!("The syslog socket takes audit messages again.");
                    }
                }
                Err(error) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= TELL_AFTER && !std::mem::replace(&mut told, true) {
                        let path = path.display();
                        tracing::warn!(%path, %error, "The syslog socket takes no audit messages; they wait.");
                    }
                    let is_full = error.kind() == io::ErrorKind::WouldBlock;
                    sleep(if is_full { SHORT_PAUSE } else { PAUSE }).await;
                }
            }
        }
    }
}

/// Never blocks. A new socket each time, since the daemon at the other end may have been started again. Not tokio's: that
/// would ask a full one again without a pause.
fn send(message: &str, path: &Path) -> io::Result<()> {
    let line = format!("<{PRIORITY}>{TAG}[{}]: {message}", std::process::id());
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(line.as_bytes(), path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::{Auditor, Author, Event};
    use super::*;
    use crate::domain::AeTitle;

    fn opened(path: PathBuf) -> (Auditor, Socket, Counts) {
        let author = Author {
            site: "north".to_owned(),
            device: "mr-1".to_owned(),
            ae_title: AeTitle::try_from("MODICD".to_owned()).unwrap(),
        };
        let (config, counts) = (Config { socket: Some(path) }, Counts::default());
        let socket = Socket::new(&config, counts.clone());
        (Auditor::new(&config, author, counts.clone(), &socket), socket, counts)
    }

    fn listener(path: &Path) -> tokio::net::UnixDatagram {
        tokio::net::UnixDatagram::bind(path).unwrap()
    }

    async fn next(daemon: &tokio::net::UnixDatagram) -> String {
        let mut bytes = vec![0; 65_536];
        let length = timeout(Duration::from_secs(10), daemon.recv(&mut bytes)).await;
        bytes.truncate(length.expect("a message").unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn what_waits_for_an_absent_daemon_reaches_it_in_order_over_a_reload_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (auditor, socket, counts) = opened(path.clone());
        let stop = CancellationToken::new();
        let running = tokio::spawn(socket.run(stop.clone()));
        auditor.note(&Event::Started);
        auditor.note(&Event::Reconfigured);
        tokio::task::yield_now().await;
        stop.cancel();
        let mut former = running.await.unwrap();

        let (_, mut socket, _) = opened(path.clone());
        socket.take_over(&mut former);
        let stop = CancellationToken::new();
        let running = tokio::spawn(socket.run(stop.clone()));
        let daemon = listener(&path);
        let first = next(&daemon).await;
        assert!(first.starts_with("<85>modicd-audit["), "{first}");
        assert!(first.contains("110120"), "{first}");
        assert!(next(&daemon).await.contains("110131"));

        auditor.note(&Event::Stopped);
        stop.cancel();
        running.await.unwrap().close().await;
        assert!(next(&daemon).await.contains("110121"));
        assert_eq!(counts.audit_messages_lost.get(), 0);
    }

    #[tokio::test]
    async fn a_daemon_that_reads_nothing_holds_up_nobody_and_misses_nothing() {
        const MESSAGES: usize = 2000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = listener(&path);
        let (auditor, socket, counts) = opened(path);
        for _ in 0..MESSAGES {
            auditor.note(&Event::Started);
        }
        let stop = CancellationToken::new();
        let running = tokio::spawn(socket.run(stop.clone()));
        sleep(Duration::from_millis(50)).await;
        assert!((counts.audit_messages.get() as usize) < MESSAGES, "its queue is shorter");
        for _ in 0..MESSAGES {
            next(&daemon).await;
        }
        stop.cancel();
        running.await.unwrap().close().await;
        assert_eq!(counts.audit_messages.get() as usize, MESSAGES);
        assert_eq!(counts.audit_messages_lost.get(), 0);
    }

    #[tokio::test]
    async fn what_never_got_there_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (auditor, socket, counts) = opened(folder.path().join("log"));
        for _ in 0..MAX_WAITING + 5 {
            auditor.note(&Event::Started);
        }
        assert_eq!(counts.audit_messages_lost.get(), 5);
        socket.close().await;
        let all = MAX_WAITING as u64 + 5;
        assert_eq!((counts.audit_messages.get(), counts.audit_messages_lost.get()), (0, all));
    }
}
