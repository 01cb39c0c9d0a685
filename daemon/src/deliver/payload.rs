//! What the messages hold: the envelope and the bodies that aren't findings or alarms.
//!
//! The field names of these structs are the published ones, their documentation is that of the JSON Schemas
//! (`contract`). Reasons are codes known at compile time, so that no text of a peer can get into a payload.

use std::{collections::BTreeMap, time::SystemTime};

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{alarm::Reasons, time::TimePrecision, topics::EventType};
use crate::domain::StudyRef;
use crate::hex::hex;
use crate::study::{Reason, Weighting};

/// Names an event for good: the same event, published again after a crash, has the same identifier, by which
/// subscribers drop duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct EventId(
    #[schemars(regex(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"))] String,
);

impl EventId {
    /// A UUID (RFC 9562, version 8) from the SHA-256 of what identifies the event; the order counts.
    pub fn derive(parts: &[&str]) -> EventId {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id: [u8; 16] = hasher.finalize()[..16].try_into().expect("a SHA-256 has 32 bytes");
        id[6] = id[6] & 0x0f | 0x80; // version 8: custom
        id[8] = id[8] & 0x3f | 0x80; // variant of RFC 9562
        let hex = hex(&id);
        let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        EventId(groups.join("-"))
    }

    /// The identifier of an event of a study. `fingerprint` names the input of the analysis; it is empty
    /// for events before one.
    pub fn of_study(
        device: &str,
        study_ref: &StudyRef,
        revision: u32,
        event: EventType,
        fingerprint: &str,
    ) -> EventId {
        let revision = revision.to_string();
        EventId::derive(&[device, study_ref.as_str(), &revision, event.as_str(), fingerprint])
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who speaks: the same for every message of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The box.
    pub device: String,
    /// This run of the daemon; random.
    pub boot_id: String,
    /// How exactly it tells times.
    pub time_precision: TimePrecision,
}

impl Identity {
    /// An identity with a new `boot_id`.
    pub fn new(device: &str, time_precision: TimePrecision) -> Identity {
        let boot_id = format!("{:016x}", rand::random::<u64>());
        Identity { device: device.to_owned(), boot_id, time_precision }
    }
}

/// What every JSON payload but `metrics` has at its top level, beside its body's fields.
///
/// `seq` (the position in this box's order of messages; absent on `info` and `health`) and `replayed`
/// (whether the message was, or may have been, sent before) are added when a message is sent.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Envelope<B> {
    /// Name and version of the body's schema.
    pub schema: &'static str,
    /// Names the event for good: drop duplicates by it.
    pub event_id: EventId,
    /// The run of the daemon that says it.
    pub boot_id: String,
    /// When it happened, RFC 3339 in UTC, as exactly as `mqtt.time_precision` says.
    pub time: String,
    /// The box.
    pub device: String,
    /// The study, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study_ref: Option<StudyRef>,
    /// The revision of the study's result, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Always true: not a medical device.
    pub research_use: bool,
    /// The fields of the body stand beside those above.
    #[serde(flatten)]
    pub body: B,
}

impl<B> Envelope<B> {
    /// Wraps a body that isn't about a study.
    pub fn new(
        identity: &Identity,
        schema: &'static str,
        event_id: EventId,
        time: SystemTime,
        body: B,
    ) -> Envelope<B> {
        Envelope {
            schema,
            event_id,
            boot_id: identity.boot_id.clone(),
            time: identity.time_precision.format(time),
            device: identity.device.clone(),
            study_ref: None,
            revision: None,
            research_use: true,
            body,
        }
    }

    /// Says which study it is about.
    pub fn about(mut self, study_ref: &StudyRef, revision: Option<u32>) -> Envelope<B> {
        self.study_ref = Some(study_ref.clone());
        self.revision = revision;
        self
    }
}

/// The bodies on `event/{type}`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event")]
pub enum EventBody {
    /// A study is complete and waits for analysis.
    #[serde(rename = "study.received")]
    StudyReceived {
        /// Instances of the study so far.
        instances: usize,
    },
    /// A study has a result.
    #[serde(rename = "study.completed")]
    StudyCompleted {
        /// Number of findings.
        findings: usize,
        /// Codes of what lowers the confidence, as in the finding.
        quality: Vec<String>,
        /// Whether the result was in the cache.
        cached: bool,
        /// Time of the analysis, s.
        analysis_s: f64,
    },
    /// A study could not be analysed.
    #[serde(rename = "study.failed")]
    StudyFailed {
        /// Code of the reason.
        reason: &'static str,
        /// Attempts made.
        attempts: u32,
    },
    /// A study is outside of what is analysed.
    #[serde(rename = "study.rejected")]
    StudyRejected {
        /// Code of the reason.
        reason: Reason,
        /// What it means and what to do.
        what_to_do: &'static str,
        /// Every series that was not taken.
        series: Vec<RefusedSeries>,
    },
    /// Instances were refused: a sum over an association or a scan, not one by one.
    #[serde(rename = "instance.rejected")]
    InstanceRejected {
        /// Number of instances by code of the reason.
        reasons: BTreeMap<&'static str, u64>,
    },
}

impl EventBody {
    /// Its type, which is also the last part of its topic.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::StudyReceived { .. } => EventType::StudyReceived,
            Self::StudyCompleted { .. } => EventType::StudyCompleted,
            Self::StudyFailed { .. } => EventType::StudyFailed,
            Self::StudyRejected { .. } => EventType::StudyRejected,
            Self::InstanceRejected { .. } => EventType::InstanceRejected,
        }
    }
}

/// A series that was not taken, named without any identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RefusedSeries {
    /// Its place among the study's series, from 1.
    pub series: usize,
    /// Its weighting, as far as it could be told.
    pub weighting: Weighting,
    /// Code of the reason.
    pub reason: Reason,
}

/// How the box is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Exams are received and analysed.
    #[default]
    Ok,
    /// They are, with a limitation.
    Degraded,
    /// They aren't.
    Failing,
}

/// The body on `health`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Health {
    /// In a word.
    pub status: Status,
    /// What keeps it from being ok.
    pub reasons: Reasons,
    /// Studies that wait for analysis.
    pub queue: u64,
    /// Messages that wait for the broker; filled in when sent.
    pub outbox: OutboxHealth,
    /// Objects that wait for each PACS, by its configured name.
    pub pacs: BTreeMap<String, u64>,
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct OutboxHealth {
    /// Messages in it.
    pub messages: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Age of the oldest, s.
    pub oldest_age_s: u64,
}

/// The body on `info`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Info {
    /// The daemon's version.
    pub version: String,
    /// Version of the typing configuration.
    pub typing: String,
    /// SHA-256 of each bundle by its name.
    pub bundles: BTreeMap<String, String>,
    /// Configured limits by name, with the unit in it.
    pub limits: BTreeMap<&'static str, u64>,
}

/// The payload on `metrics`: numbers only, without envelope. Counters, which end in `_total`, count from the start of the
/// process. What the machine doesn't tell is absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Metrics {
    /// Time since the start of the process.
    pub uptime_s: u64,
    /// DICOM associations open now.
    pub associations_active: u64,
    /// DICOM associations accepted.
    pub associations_accepted_total: u64,
    /// DICOM associations rejected.
    pub associations_rejected_total: u64,
    /// Instances received and stored.
    pub instances_received_total: u64,
    /// Instances refused.
    pub instances_rejected_total: u64,
    /// Studies taken up for analysis.
    pub studies_received_total: u64,
    /// Studies with a result.
    pub studies_completed_total: u64,
    /// Studies outside of what is analysed.
    pub studies_rejected_total: u64,
    /// Studies given up after errors.
    pub studies_failed_total: u64,
    /// Studies whose result was there already.
    pub cache_hits_total: u64,
    /// Attempts at a study that ended in an error.
    pub analysis_errors_total: u64,
    /// Studies that wait for analysis.
    pub queue: u64,
    /// Time since the last instance of the study that has waited for longest.
    pub queue_oldest_age_s: u64,
    /// Objects that wait for any PACS.
    pub pacs_objects: u64,
    /// Time of the last analysis; 0 before the first.
    pub last_analysis_s: f64,
    /// Of that, reading the pixels.
    pub last_volume_s: f64,
    /// Of that, the networks.
    pub last_segment_s: f64,
    /// Of that, levels, types and findings.
    pub last_modic_s: f64,
    /// Of that, writing the result.
    pub last_report_s: f64,
    /// Memory of the process in RAM.
    pub resident_bytes: u64,
    /// CPU time of the process.
    pub cpu_seconds_total: f64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads of the process.
    pub threads: u64,
    /// Free space where the state is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Size of the file system where the state is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_size_bytes: Option<u64>,
    /// What instances take on the disk.
    pub instances_bytes: u64,
    /// What results take on the disk.
    pub results_bytes: u64,
    /// Studies removed to stay within the limits, wholly or their instances alone.
    pub removals_total: u64,
    /// The hottest thermal zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    /// Days until the first of the configured certificates expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_days_left: Option<f64>,
    /// Connections to the broker after the first.
    pub mqtt_reconnects_total: u64,
    /// Messages that wait for the broker.
    pub outbox_messages: u64,
    /// Bytes that wait for the broker.
    pub outbox_bytes: u64,
    /// Age of the oldest message.
    pub outbox_oldest_age_s: u64,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_event_id_is_a_uuid_of_what_the_event_is() {
        let study = StudyRef::derive(b"key", "1.2.3");
        let id = |revision, event| EventId::of_study("mr-1", &study, revision, event, "f");
        let one = id(1, EventType::StudyCompleted);
        assert_eq!(one, id(1, EventType::StudyCompleted));
        assert_ne!(one, id(2, EventType::StudyCompleted));
        assert_ne!(one, id(1, EventType::StudyFailed));
        assert_ne!(EventId::derive(&["ab", "c"]), EventId::derive(&["a", "bc"]));

        let groups: Vec<usize> = one.as_str().split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(&one.as_str()[14..15], "8");
    }

    #[test]
    fn the_envelope_and_the_body_stand_side_by_side() {
        let identity =
            Identity { boot_id: "b".to_owned(), ..Identity::new("mr-1", TimePrecision::Second) };
        let study = StudyRef::try_from("0123456789abcdef".to_owned()).unwrap();
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let body = EventBody::StudyRejected {
            reason: Reason::NoT2,
            what_to_do: "Send it.",
            series: Vec::new(),
        };
        assert_eq!(body.event_type().as_str(), "study.rejected");
        let envelope = Envelope::new(
            &identity,
            super::super::topics::schema::EVENT,
            EventId::derive(&["x"]),
            time,
            body,
        )
        .about(&study, Some(2));
        assert_eq!(
            serde_json::to_value(envelope).unwrap(),
            serde_json::json!({
                "schema": "modicd.event/1",
                "event_id": EventId::derive(&["x"]).as_str(),
                "boot_id": "b",
                "time": "2023-11-14T22:13:20Z",
                "device": "mr-1",
                "study_ref": "0123456789abcdef",
                "revision": 2,
                "research_use": true,
                "event": "study.rejected",
                "reason": "no_t2",
                "what_to_do": "Send it.",
                "series": [],
            })
        );
    }

    #[test]
    fn metrics_are_flat_and_numeric() {
        let serde_json::Value::Object(metrics) = serde_json::to_value(Metrics::default()).unwrap()
        else {
            panic!("not an object")
        };
        assert!(metrics.values().all(|value| value.is_number()));
    }

    #[test]
    fn the_event_in_a_body_is_its_type() {
        let body = EventBody::StudyReceived { instances: 3 };
        let value = serde_json::to_value(&body).unwrap();
        assert_eq!(value["event"], body.event_type().as_str());
    }
}
