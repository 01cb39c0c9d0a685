//! A message on its way to the broker, as it lies in the outbox.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{outbox::OutboxError, payload::Envelope};
use crate::domain::StudyRef;
use crate::store::index::unix_ms;

/// A message's place in the order of all messages this box ever sent; 1 for the first.
pub type Seq = u64;

/// A message to publish with quality of service 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The whole topic.
    pub topic: String,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// The run of the daemon that enqueued it.
    pub boot_id: String,
    /// What the message is about; one with the same topic and event is enqueued once.
    pub event_id: String,
    /// When it was enqueued, Unix time in ms.
    pub enqueued_ms: u64,
    /// The envelope without `seq` and `replayed`.
    pub payload: Map<String, Value>,
}

impl Message {
    /// A message of an envelope.
    pub fn new<B: Serialize>(
        topic: String,
        retain: bool,
        envelope: &Envelope<B>,
    ) -> Result<Message, OutboxError> {
        let encoded = serde_json::to_value(envelope).and_then(serde_json::from_value);
        let payload = match encoded {
            Ok(payload) => payload,
            Err(source) => return Err(OutboxError::Encode { topic, source }),
        };
        Ok(Message {
            topic,
            retain,
            boot_id: envelope.boot_id.clone(),
            event_id: envelope.event_id.as_str().to_owned(),
            enqueued_ms: unix_ms(SystemTime::now()),
            payload,
        })
    }

    /// The study that it is about, if it is about one.
    pub fn study_ref(&self) -> Option<StudyRef> {
        self.payload.get("study_ref")?.as_str()?.to_owned().try_into().ok()
    }

    /// The bytes to publish: the payload with its place and whether it may have been sent before.
    pub fn encode(&self, seq: Seq, replayed: bool) -> Vec<u8> {
        let mut payload = self.payload.clone();
        payload.insert("seq".to_owned(), seq.into());
        payload.insert("replayed".to_owned(), replayed.into());
        serde_json::to_vec(&payload).expect("a JSON object can be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{EventId, Identity, TimePrecision};

    #[test]
    fn place_and_replay_are_added_when_sent() {
        #[derive(Serialize)]
        struct Body {
            value: u8,
        }
        let (id, now) = (EventId::derive(&["x"]), SystemTime::now());
        let envelope = Envelope::new(
            &Identity::new("mr-1", TimePrecision::default()),
            "s/1",
            id,
            now,
            Body { value: 3 },
        );
        let message = Message::new("topic".to_owned(), false, &envelope).unwrap();
        assert!(!message.payload.contains_key("seq"));
        let payload: Value = serde_json::from_slice(&message.encode(7, true)).unwrap();
        assert_eq!((&payload["seq"], &payload["replayed"]), (&7.into(), &true.into()));
        assert_eq!((&payload["value"], &payload["device"]), (&3.into(), &"mr-1".into()));
    }
}
