//! What the answers are made from: the same for all requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::guesses::Guesses;
use super::summaries::Summaries;
use crate::audit::{Auditor, Event};
use crate::deliver::Outbox;
use crate::deliver::payload::{Health, Info, Metrics};
use crate::domain::StudyRef;
use crate::metrics::Exporter;
use crate::reading::{Name, ReadingStore};
use crate::store::{Index, ResultStore};

/// What the service hands to the page.
pub(crate) struct Sources {
    /// The studies.
    pub index: Index,
    /// Their results.
    pub results: ResultStore,
    /// The reading lists.
    pub readings: ReadingStore,
    /// A study is analysed when it was quiet for this long.
    pub quiet_period: Duration,
    /// What waits for the broker.
    pub outbox: Arc<Outbox>,
    /// Versions and limits.
    pub info: watch::Receiver<Info>,
    /// How the box is.
    pub health: watch::Receiver<Health>,
    /// What it counted.
    pub metrics: watch::Receiver<Metrics>,
    /// Takes note of who looks.
    pub auditor: Auditor,
    /// The same and more for Prometheus.
    pub exporter: Arc<Exporter>,
}

impl Sources {
    /// Tells the audit that somebody sees an exam's findings, or a file of it; a reader of a reading list is known by name.
    pub fn opened(
        &self,
        address: IpAddr,
        reader: Option<&Name>,
        study: &StudyRef,
        file: Option<&str>,
    ) {
        self.auditor.note(&Event::Opened {
            address,
            reader: reader.map(ToString::to_string),
            study: study.clone(),
            file: file.map(str::to_owned),
        });
    }
}

/// The state of every handler.
pub(crate) struct Shared {
    /// Read by the answers.
    pub sources: Sources,
    /// Read already.
    pub(super) summaries: Summaries,
    /// Who may ask.
    pub(super) access: Access,
    /// At readers' tokens. Apart from those at the page's, which a reader's own token would have forgotten.
    pub(super) reader_guesses: Guesses,
    /// Served on this machine only.
    pub(super) loopback: bool,
    /// Ends the event streams.
    pub shutdown: CancellationToken,
}
