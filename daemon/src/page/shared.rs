//! What the answers are made from: the same for all requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::summaries::Summaries;
use crate::audit::Auditor;
use crate::deliver::Outbox;
use crate::deliver::payload::{Health, Info, Metrics};
use crate::metrics::Exporter;
use crate::reading::ReadingStore;
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

/// The state of every handler.
pub(crate) struct Shared {
    /// Read by the answers.
    pub sources: Sources,
    /// Read already.
    pub(super) summaries: Summaries,
    /// Who may ask.
    pub(super) access: Access,
    /// Served on this machine only.
    pub(super) loopback: bool,
    /// Ends the event streams.
    pub shutdown: CancellationToken,
}
