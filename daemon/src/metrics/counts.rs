//! What is counted where it happens.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::receive::{Reason as InstanceReason, Rejection};
use crate::report::BundleUsed;
use crate::store::index::Part;
use crate::study::Reason as StudyReason;

/// The stages of an analysis, in order.
pub const STAGES: [&str; 4] = ["volume", "segment", "modic", "report"];

/// Upper bounds of the buckets for an analysis and its stages, s: from a small exam on a fast CPU to a long one on a slow.
const ANALYSIS_BUCKETS: [f64; 12] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// Upper bounds of the buckets for an acknowledgement, s: from a broker beside the box to one that is given up.
const ACKNOWLEDGE_BUCKETS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0];

/// Label `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByReason {
    reason: &'static str,
}

/// Label `stage`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByStage {
    stage: &'static str,
}

/// Labels of a network in use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByBundle {
    bundle: String,
    version: String,
    sha256: String,
}

/// Label `content`: [`CONTENTS`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByContent {
    content: &'static str,
}

/// What is kept on the disk.
const CONTENTS: [&str; 2] = ["instances", "results"];

/// Label `part`: what of a study was removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByPart {
    part: &'static str,
}

/// Label `destination`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByDestination {
    destination: String,
}

/// Labels of failures to deliver to a PACS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PacsFailure {
    destination: String,
    reason: &'static str,
}

impl ByDestination {
    fn of(destination: &str) -> ByDestination {
        ByDestination { destination: destination.to_owned() }
    }
}

impl PacsFailure {
    fn of(destination: &str, reason: &'static str) -> PacsFailure {
        PacsFailure { destination: destination.to_owned(), reason }
    }
}

pub(super) type Seconds = Gauge<f64, AtomicU64>;

/// Counted since the start of the process; clones count together.
///
/// Every series that can be known beforehand exists from the start, at 0: else its first increase would be invisible.
#[derive(Debug, Clone)]
pub struct Counts {
    pub(crate) associations_accepted: Counter,
    pub(super) associations_rejected: Family<ByReason, Counter>,
    pub(super) associations_active: Gauge,
    pub(crate) instances_received: Counter,
    pub(super) instances_rejected: Family<ByReason, Counter>,
    pub(crate) studies_received: Counter,
    pub(crate) studies_completed: Counter,
    pub(super) studies_rejected: Family<ByReason, Counter>,
    pub(crate) studies_failed: Counter,
    pub(crate) cache_hits: Counter,
    pub(crate) analyses_unrounded: Counter,
    pub(crate) analysis_errors: Counter,
    pub(super) stage_duration: Family<ByStage, Histogram>,
    pub(super) analysis_duration: Histogram,
    pub(super) last_stage: Family<ByStage, Seconds>,
    pub(super) last_analysis: Seconds,
    pub(super) bundles: Family<ByBundle, Gauge>,
    pub(super) mqtt_connected: Gauge,
    pub(super) mqtt_reconnects: Counter,
    pub(super) acknowledge_duration: Histogram,
    pub(super) pacs_sent: Family<ByDestination, Counter>,
    pub(super) pacs_failures: Family<PacsFailure, Counter>,
    pub(super) storage: Family<ByContent, Gauge>,
    pub(super) storage_removals: Family<ByPart, Counter>,
    pub(crate) audit_messages: Counter,
    pub(crate) audit_messages_lost: Counter,
}

impl Default for Counts {
    fn default() -> Counts {
        let stage_histogram: fn() -> Histogram = || Histogram::new(ANALYSIS_BUCKETS);
        let counts = Counts {
            associations_accepted: Counter::default(),
            associations_rejected: Family::default(),
            associations_active: Gauge::default(),
            instances_received: Counter::default(),
            instances_rejected: Family::default(),
            studies_received: Counter::default(),
            studies_completed: Counter::default(),
            studies_rejected: Family::default(),
            studies_failed: Counter::default(),
            cache_hits: Counter::default(),
            analyses_unrounded: Counter::default(),
            analysis_errors: Counter::default(),
            stage_duration: Family::new_with_constructor(stage_histogram),
            analysis_duration: stage_histogram(),
            last_stage: Family::default(),
            last_analysis: Gauge::default(),
            bundles: Family::default(),
            mqtt_connected: Gauge::default(),
            mqtt_reconnects: Counter::default(),
            acknowledge_duration: Histogram::new(ACKNOWLEDGE_BUCKETS),
            pacs_sent: Family::default(),
            pacs_failures: Family::default(),
            storage: Family::default(),
            storage_removals: Family::default(),
            audit_messages: Counter::default(),
            audit_messages_lost: Counter::default(),
        };
        for part in Part::ALL {
            drop(counts.storage_removals.get_or_create(&ByPart { part: part.as_str() }));
        }
        for reason in Rejection::ALL.map(Rejection::code) {
            drop(counts.associations_rejected.get_or_create(&ByReason { reason }));
        }
        for reason in InstanceReason::ALL {
            drop(counts.instances_rejected.get_or_create(&ByReason { reason: reason.code() }));
        }
        for reason in StudyReason::ALL {
            drop(counts.studies_rejected.get_or_create(&ByReason { reason: reason.as_str() }));
        }
        for stage in STAGES {
            drop(counts.stage_duration.get_or_create(&ByStage { stage }));
            drop(counts.last_stage.get_or_create(&ByStage { stage }));
        }
        counts
    }
}

impl Counts {
    /// An association was accepted; it counts as active until the guard is dropped.
    pub(crate) fn association_accepted(&self) -> Outstanding {
        self.associations_accepted.inc();
        self.associations_active.inc();
        Outstanding(self.associations_active.clone())
    }

    /// An association was rejected, or a connection, for one of the codes of [`Rejection`].
    pub(crate) fn association_rejected(&self, reason: &'static str) {
        self.associations_rejected.get_or_create(&ByReason { reason }).inc();
    }

    /// So many instances were refused.
    pub(crate) fn instances_rejected(&self, reason: InstanceReason, number: u64) {
        self.instances_rejected.get_or_create(&ByReason { reason: reason.code() }).inc_by(number);
    }

    /// A study isn't analysed.
    pub(crate) fn study_rejected(&self, reason: StudyReason) {
        self.studies_rejected.get_or_create(&ByReason { reason: reason.as_str() }).inc();
    }

    /// A stage of an analysis took so long.
    pub(crate) fn stage_took(&self, stage: &'static str, time: Duration) {
        let (by, seconds) = (ByStage { stage }, time.as_secs_f64());
        self.stage_duration.get_or_create(&by).observe(seconds);
        self.last_stage.get_or_create(&by).set(seconds);
    }

    /// A whole analysis, its report included, took so long; results from the cache don't count.
    pub(crate) fn analysis_took(&self, time: Duration) {
        self.analysis_duration.observe(time.as_secs_f64());
        self.last_analysis.set(time.as_secs_f64());
    }

    /// These networks are in use from now on, and no others.
    pub fn use_bundles(&self, bundles: &[BundleUsed]) {
        self.bundles.clear();
        for BundleUsed { name, version, sha256 } in bundles.iter().cloned() {
            self.bundles.get_or_create(&ByBundle { bundle: name, version, sha256 }).set(1);
        }
    }

    /// The broker let us in, for the first time or again.
    pub(crate) fn mqtt_connected(&self, again: bool) {
        self.mqtt_connected.set(1);
        if again {
            self.mqtt_reconnects.inc();
        }
    }

    /// The connection to the broker is gone.
    pub(crate) fn mqtt_disconnected(&self) {
        self.mqtt_connected.set(0);
    }

    /// From publishing a message to the broker's acknowledgement it took so long.
    pub(crate) fn mqtt_acknowledged(&self, time: Duration) {
        self.acknowledge_duration.observe(time.as_secs_f64());
    }

    /// Instances and results take so many bytes on the disk.
    pub(crate) fn storage_holds(&self, instances_bytes: u64, results_bytes: u64) {
        for (content, bytes) in CONTENTS.into_iter().zip([instances_bytes, results_bytes]) {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.storage.get_or_create(&ByContent { content }).set(bytes);
        }
    }

    /// A study was removed, or a part of it.
    pub(crate) fn storage_removed(&self, part: Part) {
        self.storage_removals.get_or_create(&ByPart { part: part.as_str() }).inc();
    }

    /// This PACS is a destination, for whose failures there are these reasons.
    pub(crate) fn expect_pacs(&self, destination: &str, reasons: &[&'static str]) {
        drop(self.pacs_sent.get_or_create(&ByDestination::of(destination)));
        for reason in reasons {
            drop(self.pacs_failures.get_or_create(&PacsFailure::of(destination, reason)));
        }
    }

    /// A PACS answered Success for an object.
    pub(crate) fn pacs_sent(&self, destination: &str) {
        self.pacs_sent.get_or_create(&ByDestination::of(destination)).inc();
    }

    /// An attempt at a PACS failed.
    pub(crate) fn pacs_failed(&self, destination: &str, reason: &'static str) {
        self.pacs_failures.get_or_create(&PacsFailure::of(destination, reason)).inc();
    }
}

/// What the topic `metrics` says in one number.
impl Counts {
    pub(super) fn active(&self) -> u64 {
        self.associations_active.get().try_into().unwrap_or_default()
    }

    pub(super) fn all_associations_rejected(&self) -> u64 {
        sum(&self.associations_rejected, Rejection::ALL.map(Rejection::code))
    }

    pub(super) fn all_instances_rejected(&self) -> u64 {
        sum(&self.instances_rejected, InstanceReason::ALL.iter().map(|r| r.code()))
    }

    pub(super) fn all_studies_rejected(&self) -> u64 {
        sum(&self.studies_rejected, StudyReason::ALL.iter().map(|r| r.as_str()))
    }

    pub(super) fn last_stage_s(&self, stage: &'static str) -> f64 {
        self.last_stage.get_or_create(&ByStage { stage }).get()
    }

    pub(super) fn last_analysis_s(&self) -> f64 {
        self.last_analysis.get()
    }

    /// What instances and results take, bytes; 0 until it was first looked at.
    pub(crate) fn storage_bytes(&self) -> [u64; 2] {
        CONTENTS.map(|content| {
            let bytes = self.storage.get_or_create(&ByContent { content }).get();
            bytes.try_into().unwrap_or_default()
        })
    }

    pub(super) fn all_storage_removals(&self) -> u64 {
        let of = |part: Part| self.storage_removals.get_or_create(&ByPart { part: part.as_str() });
        Part::ALL.into_iter().map(|part| of(part).get()).sum()
    }

    pub(super) fn reconnects(&self) -> u64 {
        self.mqtt_reconnects.get()
    }
}

fn sum(of: &Family<ByReason, Counter>, reasons: impl IntoIterator<Item = &'static str>) -> u64 {
    reasons.into_iter().map(|reason| of.get_or_create(&ByReason { reason }).get()).sum()
}

/// Counts as one for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Outstanding(Gauge);

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.dec();
    }
}
