//! An example of each document, made of the types that are sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Published;
use crate::bundles::{Network, Reason};
use crate::deliver::alarm::{Alarm, AlarmState};
use crate::deliver::bundle::{BundleSlot, BundleSource, BundleState, RefusedBundle};
use crate::deliver::commands::{
    BundleActivate, BundleRollback, BundleStage, Check, CommandState, CommandStatus, CommandType,
    LogLevel, SelfTest, Sha256Hex, StudyRerun, SupportBundle, Verbosity,
};
use crate::deliver::payload::{EventBody, Health, Info, Metrics, OutboxHealth, Status};
use crate::deliver::topics::schema;
use crate::deliver::{Envelope, EventId, HealthReason, Identity, TimePrecision};
use crate::domain::{Endplate, EndplateSide, Level, StudyRef};
use crate::modic::{Composition, Config, Finding, OtherMarrowLesion, Third};
use crate::report::{BundleUsed, DiscSummary, FindingBody, LIMITS, LevelSeen};
use crate::study::{self, SeriesRefusal, Weighting};

const DIGEST: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

pub(super) fn state<B: Serialize>(schema: &'static str, body: B) -> Published<B> {
    Published { envelope: envelope(schema, body), seq: None, replayed: false }
}

pub(super) fn event(body: EventBody) -> Published<EventBody> {
    let envelope = envelope(schema::EVENT, body).about(&study_ref(), Some(1));
    Published { envelope, seq: Some(42), replayed: false }
}

pub(super) fn answer(body: CommandStatus) -> Published<CommandStatus> {
    let envelope = envelope(schema::COMMAND_STATUS, body);
    Published { envelope, seq: Some(43), replayed: false }
}

pub(super) fn finding() -> Published<FindingBody> {
    let envelope = envelope(schema::FINDING, finding_body()).about(&study_ref(), Some(1));
    Published { envelope, seq: Some(40), replayed: false }
}

pub(super) fn info() -> Info {
    Info {
        version: "0.1.0".to_owned(),
        typing: "4".to_owned(),
        bundles: ["modic", "vertebrae"].map(|name| (name.to_owned(), DIGEST.to_owned())).into(),
        limits: [("max_associations", 16), ("max_object_bytes", 268_435_456)].into(),
    }
}

pub(super) fn health() -> Health {
    let mut health = Health {
        status: Status::Degraded,
        queue: 2,
        outbox: OutboxHealth { messages: 3, bytes: 20_480, oldest_age_s: 12 },
        pacs: [("archive".to_owned(), 4)].into(),
        ..Health::default()
    };
    health.reasons.update(&[HealthReason::AnalysisError], time());
    health
}

pub(super) fn metrics() -> Metrics {
    Metrics {
        uptime_s: 86_400,
        instances_received_total: 1_200,
        studies_received_total: 40,
        studies_completed_total: 38,
        studies_rejected_total: 2,
        queue: 2,
        pacs_objects: 4,
        last_analysis_s: 21.5,
        resident_bytes: 104_857_600,
        disk_free_bytes: Some(48_000_000_000),
        disk_size_bytes: Some(64_000_000_000),
        instances_bytes: 3_200_000_000,
        results_bytes: 1_100_000_000,
        removals_total: 42,
        temperature_celsius: Some(48.5),
        certificate_days_left: Some(213.25),
        outbox_messages: 3,
        outbox_bytes: 20_480,
        outbox_oldest_age_s: 12,
        ..Metrics::default()
    }
}

pub(super) fn study_completed() -> EventBody {
    EventBody::StudyCompleted {
        findings: 1,
        quality: vec!["age_unknown".to_owned()],
        cached: false,
        analysis_s: 21.5,
    }
}

pub(super) fn alarm() -> Alarm {
    let alarm = HealthReason::AnalysisError;
    let since = Some(TimePrecision::Millisecond.format(time()));
    Alarm { alarm, state: AlarmState::Raised, since, what_to_do: alarm.what_to_do() }
}

pub(super) fn bundle() -> BundleState {
    let slot = |version: &str, source| BundleSlot {
        version: version.to_owned(),
        sha256: DIGEST.to_owned(),
        source,
    };
    BundleState {
        name: Network::Modic,
        active: slot("0.5.0", BundleSource::Disk),
        on_probation: true,
        staged: Some(slot("0.5.1", BundleSource::Disk)),
        previous: Some(slot("0.4.2", BundleSource::Program)),
        refused: Some(RefusedBundle { version: "0.5.1".to_owned(), reason: Reason::TooSlow }),
    }
}

pub(super) fn bundle_stage() -> BundleStage {
    let url = "https://updates.example/modic-0.5.1.tar".to_owned();
    BundleStage { expires: expires(), url, sha256: digest() }
}

pub(super) fn bundle_activate() -> BundleActivate {
    BundleActivate { expires: expires(), name: Network::Modic, sha256: digest() }
}

pub(super) fn bundle_rollback() -> BundleRollback {
    BundleRollback { expires: expires(), name: Network::Modic }
}

fn digest() -> Sha256Hex {
    Sha256Hex::try_from(DIGEST.to_owned()).expect("a digest")
}

pub(super) fn study_rerun() -> StudyRerun {
    StudyRerun { expires: expires(), study_ref: study_ref() }
}

pub(super) fn support_bundle() -> SupportBundle {
    SupportBundle { expires: expires() }
}

pub(super) fn self_test() -> SelfTest {
    SelfTest { expires: expires() }
}

pub(super) fn log_level() -> LogLevel {
    LogLevel { expires: expires(), level: Verbosity::Debug, for_s: 3_600 }
}

pub(super) fn command_status() -> CommandStatus {
    CommandStatus {
        command: CommandType::SelfTest.as_str().to_owned(),
        id: "2026-11-18.7".to_owned(),
        state: CommandState::Failed,
        reason: Some("self_test_failed"),
        checks: vec![
            Check { check: "networks", ok: true },
            Check { check: "state_dir", ok: false },
        ],
    }
}

fn expires() -> String {
    TimePrecision::Second.format(time() + Duration::from_secs(60))
}

fn finding_body() -> FindingBody {
    let (level, side) = (Level::L5, EndplateSide::Superior);
    let disc = "L4-L5".to_owned();
    let finding = Finding {
        number: 1,
        level,
        side,
        disc: Some(disc.clone()),
        pattern: "1-2".to_owned(),
        composition_percent: Composition {
            type_1: 70.0,
            type_2: 25.0,
            type_3: 0.0,
            indeterminate: 5.0,
        },
        volume_mm3: 812.5,
        area_mm2: 240.0,
        height_percent: 18.0,
        height_grade: 'A',
        place: vec![Third::Anterior, Third::Central],
        t1_ratio: 0.75,
        t2_ratio: 1.5,
        probability: 0.875,
        slice: 7,
        endplate: Endplate { level, side },
    };
    let bundle = |name: &str, version: &str| BundleUsed {
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: DIGEST.to_owned(),
    };
    let refused = |series_number_in_study, weighting, reason| SeriesRefusal {
        series_number_in_study,
        weighting,
        reason,
    };
    let seen = |level| LevelSeen { level, height_mm: 26.5, volume_mm3: 31_250.0 };
    FindingBody {
        limits: LIMITS.map(str::to_owned).to_vec(),
        software: "modicd 0.1.0".to_owned(),
        fingerprint: DIGEST.to_owned(),
        bundles: vec![bundle("vertebrae", "0.3.0"), bundle("modic", "0.4.2")],
        unrounded: false,
        typing: Config::default(),
        numbering_confidence: 0.75,
        quality: vec!["age_unknown".to_owned()],
        fat_suppressed_series: vec!["stir".to_owned()],
        refused_series: vec![refused(1, Weighting::Other, study::Reason::Localizer)],
        levels: [Level::S1, Level::L5, Level::L4, Level::L3, Level::L2, Level::L1].map(seen).into(),
        discs: vec![DiscSummary {
            disc,
            pattern: finding.pattern.clone(),
            findings: 1,
            volume_mm3: finding.volume_mm3,
            height_percent: finding.height_percent,
        }],
        finding_count: 1,
        largest_type: Some(finding.pattern.clone()),
        largest_level: Some(finding.level),
        largest_side: Some(finding.side),
        largest_disc: finding.disc.clone(),
        largest_volume_mm3: Some(finding.volume_mm3),
        findings: vec![finding],
        other_marrow_lesions: vec![OtherMarrowLesion {
            level: Level::L2,
            volume_mm3: 140.0,
            t1_ratio: 1.5,
            t2_ratio: 1.25,
            probability: 0.5,
            voxels: Vec::new(),
        }],
    }
}

fn envelope<B: Serialize>(schema: &'static str, body: B) -> Envelope<B> {
    let identity = Identity {
        device: "mr-1".to_owned(),
        boot_id: "5f0c9d2b7a416e83".to_owned(),
        time_precision: TimePrecision::Millisecond,
    };
    Envelope::new(&identity, schema, EventId::derive(&["example", schema]), time(), body)
}

fn study_ref() -> StudyRef {
    StudyRef::derive(b"an example's key", "2.25.1")
}

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_000_000_250)
}
