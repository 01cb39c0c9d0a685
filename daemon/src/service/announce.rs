//! What the daemon says to the world, put into the outbox.
//!
//! Every message of a study has an identifier derived from what it is about, so that saying it again after
//! a crash is no second event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::deliver::payload::{EventBody, RefusedSeries};
use crate::deliver::topics::schema;
use crate::deliver::{
    Envelope, EventId, EventType, Identity, Message, Outbox, OutboxError, Topics,
};
use crate::domain::StudyRef;
use crate::receive::RefusedInstances;
use crate::report::FindingBody;
use crate::store::index::unix_ms;
use crate::study::SeriesRefusal;

/// Puts messages into the outbox. Its methods block on the disk.
pub struct Announcer {
    identity: Identity,
    topics: Topics,
    outbox: Arc<Outbox>,
    retain_findings: bool,
    /// Numbers the events of this process that no study identifies.
    count: AtomicU64,
}

impl Announcer {
    /// Speaks in the name of `identity`.
    pub fn new(
        identity: Identity,
        topics: Topics,
        outbox: Arc<Outbox>,
        retain_findings: bool,
    ) -> Announcer {
        Announcer { identity, topics, outbox, retain_findings, count: AtomicU64::new(0) }
    }

    /// An event of a study. `generation` counts the study's changes.
    pub fn study(
        &self,
        study_ref: &StudyRef,
        generation: u64,
        revision: Option<u32>,
        body: EventBody,
    ) -> Result<(), OutboxError> {
        let event = body.event_type();
        let parts = [
            self.identity.device.as_str(),
            study_ref.as_str(),
            &generation.to_string(),
            &revision.unwrap_or_default().to_string(),
            event.as_str(),
        ];
        let id = EventId::derive(&parts);
        let envelope = Envelope::new(&self.identity, schema::EVENT, id, SystemTime::now(), body)
            .about(study_ref, revision);
        self.outbox.enqueue(&Message::new(self.topics.event(event), false, &envelope)?)?;
        Ok(())
    }

    /// Instances that were refused in one association or scan.
    pub fn refused_instances(&self, refused: &RefusedInstances) -> Result<(), OutboxError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed).to_string();
        let id = EventId::derive(&[&self.identity.boot_id, "instance.rejected", &count]);
        let reasons = refused.counts.iter().map(|(reason, n)| (reason.code(), *n)).collect();
        let body = EventBody::InstanceRejected { reasons };
        let topic = self.topics.event(body.event_type());
        let envelope = Envelope::new(&self.identity, schema::EVENT, id, SystemTime::now(), body);
        self.outbox.enqueue(&Message::new(topic, false, &envelope)?)?;
        Ok(())
    }

    /// The finding document of a result, as it is kept and published.
    pub fn document(
        &self,
        study_ref: &StudyRef,
        revision: u32,
        body: &FindingBody,
    ) -> Envelope<FindingBody> {
        let id = EventId::of_study(
            &self.identity.device,
            study_ref,
            revision,
            EventType::StudyCompleted,
            &body.fingerprint,
        );
        Envelope::new(&self.identity, schema::FINDING, id, SystemTime::now(), body.clone())
            .about(study_ref, Some(revision))
    }

    /// Publishes a finding document that is on disk, to both of its topics.
    pub fn finding(
        &self,
        study_ref: &StudyRef,
        document: &Map<String, Value>,
    ) -> Result<(), OutboxError> {
        let text =
            |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        for (topic, retain) in [
            (self.topics.finding(study_ref), self.retain_findings),
            (self.topics.latest_finding(), true),
        ] {
            self.outbox.enqueue(&Message {
                topic,
                retain,
                boot_id: text("boot_id"),
                event_id: text("event_id"),
                enqueued_ms: unix_ms(SystemTime::now()),
                payload: document.clone(),
            })?;
        }
        Ok(())
    }
}

/// The series of a refusal, as published.
pub fn refused_series(series: &[SeriesRefusal]) -> Vec<RefusedSeries> {
    series
        .iter()
        .map(|s| RefusedSeries {
            series: s.series_number_in_study,
            weighting: s.weighting,
            reason: s.reason,
        })
        .collect()
}
