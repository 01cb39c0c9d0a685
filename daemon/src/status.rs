//! How the daemon is, left in a file for the tools on the box: they need no port, no token and no running daemon.
//!
//! The daemon writes `{state_dir}/status.json`; `modicd status`, `modicd doctor` and `modicd support-bundle` read it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::deliver::payload::{Health, Info, Metrics};
use crate::deliver::{HealthReason, Outbox};
use crate::store::files::{FileError, write_atomically};
use crate::store::index::unix_ms;

/// Its name in the state folder.
pub const FILE: &str = "status.json";

/// It is written anew at least so often.
const EVERY: Duration = Duration::from_secs(30);

/// What the file holds; its parts are as they are published over MQTT.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The process that wrote it.
    pub pid: u32,
    /// When, Unix time in ms.
    pub written_ms: u64,
    /// Whether that was its last word.
    pub stopped: bool,
    /// Address of the DICOM port.
    pub dicom: String,
    /// Address of the page.
    pub page: String,
    /// As on the topic `info`.
    pub info: Value,
    /// As on the topic `health`.
    pub health: Value,
    /// As on the topic `metrics`.
    pub metrics: Value,
}

impl Status {
    /// Reads the file of a state folder; `None` where no daemon has written one.
    ///
    /// # Errors
    /// It can't be read, or isn't one of ours.
    pub fn read(state_dir: &Path) -> std::io::Result<Option<Status>> {
        let text = match std::fs::read(state_dir.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Whether the process that wrote it runs still.
    pub fn is_alive(&self) -> bool {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", self.pid));
        !self.stopped && comm.is_ok_and(|comm| comm.starts_with("modicd"))
    }

    /// What kept it from being ok, as far as this version knows the codes.
    pub fn reasons(&self) -> Vec<HealthReason> {
        let codes = self.health["reasons"].as_array().into_iter().flatten();
        codes.filter_map(|code| serde_json::from_value(code.clone()).ok()).collect()
    }

    /// What the process does, in words for a person.
    pub fn condition(&self) -> String {
        match (self.is_alive(), self.stopped) {
            (true, _) => format!("runs (process {})", self.pid),
            (false, true) => "is stopped".to_owned(),
            (false, false) => "doesn't run, and didn't stop in order".to_owned(),
        }
    }

    /// How old it is; nothing where the clock was set back.
    pub fn age(&self) -> Duration {
        Duration::from_millis(unix_ms(SystemTime::now()).saturating_sub(self.written_ms))
    }
}

/// What is written from.
pub struct Writer {
    /// Holds the file.
    pub state_dir: PathBuf,
    /// Address of the DICOM port.
    pub dicom: String,
    /// Address of the page.
    pub page: String,
    /// What was started, with the networks in use.
    pub info: watch::Receiver<Info>,
    /// How it is.
    pub health: watch::Receiver<Health>,
    /// In numbers.
    pub metrics: watch::Receiver<Metrics>,
    /// What waits for the broker.
    pub outbox: Arc<Outbox>,
}

impl Writer {
    /// Writes at every change and from time to time until `shutdown`, and then that the daemon has stopped. Whoever starts
    /// it has written it before.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = self.health.changed() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            self.write(false);
        }
        self.write(true);
    }

    /// Writes the file now; `stopped` where this is the daemon's last word.
    pub fn write(&mut self, stopped: bool) {
        if let Err(error) = self.try_write(stopped) {
            tracing::warn!(%error, "How the daemon is can't be written down.");
        }
    }

    fn try_write(&mut self, stopped: bool) -> anyhow::Result<()> {
        let mut health = self.health.borrow_and_update().clone();
        health.outbox = self.outbox.health(SystemTime::now());
        let status = Status {
            pid: std::process::id(),
            written_ms: unix_ms(SystemTime::now()),
            stopped,
            dicom: self.dicom.clone(),
            page: self.page.clone(),
            info: serde_json::to_value(&*self.info.borrow())?,
            health: serde_json::to_value(health)?,
            metrics: serde_json::to_value(&*self.metrics.borrow())?,
        };
        let text = serde_json::to_vec_pretty(&status)?;
        let path = self.state_dir.join(FILE);
        tokio::task::block_in_place(|| write_atomically(&path, &text))
            .map_err(|e: FileError| e.into())
    }
}
