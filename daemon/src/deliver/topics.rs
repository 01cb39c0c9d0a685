//! Every topic and schema name that leaves the box.
//!
//! Topics are `{root}/v1/{site}/{device}/{suffix}`; what each holds, with its quality of service and whether
//! it is retained, is in the table of the README. No identifier of a patient may become part of one.

use super::alarm::HealthReason;
use crate::bundles::Network;
use crate::domain::StudyRef;

/// Version of the topics and payloads as a whole.
const VERSION: &str = "v1";

/// Longest segment, characters.
const MAX_SEGMENT: usize = 64;

/// The values of the `schema` field.
pub mod schema {
    /// Body: [`Info`](crate::deliver::payload::Info).
    pub const INFO: &str = "modicd.info/1";
    /// Body: [`Health`](crate::deliver::payload::Health).
    pub const HEALTH: &str = "modicd.health/1";
    /// [`Metrics`](crate::deliver::payload::Metrics), which carries no envelope.
    pub const METRICS: &str = "modicd.metrics/1";
    /// Body: [`EventBody`](crate::deliver::payload::EventBody).
    pub const EVENT: &str = "modicd.event/1";
    /// Body: [`CommandStatus`](crate::deliver::commands::CommandStatus).
    pub const COMMAND_STATUS: &str = "modicd.command_status/1";
    /// Body: the finding document of the `report` stage.
    pub const FINDING: &str = "modicd.finding/1";
    /// Body: [`Alarm`](crate::deliver::alarm::Alarm).
    pub const ALARM: &str = "modicd.alarm/1";
    /// Body: [`BundleState`](crate::deliver::bundle::BundleState).
    pub const BUNDLE: &str = "modicd.bundle/1";
}

/// The values on [`Topics::availability`]: plain text, no JSON.
pub mod availability {
    /// Connected.
    pub const ONLINE: &str = "online";
    /// Shut down in good order.
    pub const STOPPED: &str = "stopped";
    /// Connection lost: the will.
    pub const OFFLINE: &str = "offline";
}

/// What happened, as it is written in topics and payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A study is complete and waits for analysis.
    StudyReceived,
    /// A study has a result.
    StudyCompleted,
    /// A study could not be analysed.
    StudyFailed,
    /// A study is outside of what is analysed.
    StudyRejected,
    /// Instances were refused.
    InstanceRejected,
}

impl EventType {
    /// All of them.
    pub const ALL: [EventType; 5] = [
        Self::StudyReceived,
        Self::StudyCompleted,
        Self::StudyFailed,
        Self::StudyRejected,
        Self::InstanceRejected,
    ];

    /// The name in topics and payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StudyReceived => "study.received",
            Self::StudyCompleted => "study.completed",
            Self::StudyFailed => "study.failed",
            Self::StudyRejected => "study.rejected",
            Self::InstanceRejected => "instance.rejected",
        }
    }
}

/// Why a topic was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "mqtt.{key} = {value:?} can't be part of a topic: 1 to {MAX_SEGMENT} characters, none of them \
     '+', '#', '/', a space or a control character, the first not '$'"
)]
pub struct TopicError {
    /// Which segment.
    pub key: &'static str,
    /// What was given.
    pub value: String,
}

/// The topics of one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    /// Checks the segments and joins them.
    pub fn new(root: &str, site: &str, device: &str) -> Result<Topics, TopicError> {
        for (key, value) in [("root", root), ("site", site), ("device", device)] {
            check_segment(key, value)?;
        }
        Ok(Topics { prefix: format!("{root}/{VERSION}/{site}/{device}") })
    }

    /// A filter for everything this box publishes.
    pub fn all(&self) -> String {
        self.under("#")
    }

    /// `online`, `stopped`, or the will `offline`; retained.
    pub fn availability(&self) -> String {
        self.under("availability")
    }

    /// Versions, bundles, limits; retained.
    pub fn info(&self) -> String {
        self.under("info")
    }

    /// Status and its reasons; retained.
    pub fn health(&self) -> String {
        self.under("health")
    }

    /// Numbers, every 30 s.
    pub fn metrics(&self) -> String {
        self.under("metrics")
    }

    /// An event of this type.
    pub fn event(&self, event: EventType) -> String {
        self.under(&format!("event/{}", event.as_str()))
    }

    /// A study's result.
    pub fn finding(&self, study_ref: &StudyRef) -> String {
        self.under(&format!("finding/{study_ref}"))
    }

    /// The newest result of any study; retained.
    pub fn latest_finding(&self) -> String {
        self.under("latest/finding")
    }

    /// An alarm, raised or cleared; retained.
    pub fn alarm(&self, alarm: HealthReason) -> String {
        self.under(&format!("alarm/{alarm}"))
    }

    /// Which bundles of a network are active, staged and previous; retained.
    pub fn bundle_state(&self, network: Network) -> String {
        self.under(&format!("bundle/{network}/state"))
    }

    /// A filter for the requests to this box.
    pub fn commands(&self) -> String {
        self.under("cmd/+/+")
    }

    /// Type and identifier of the request that a topic is for, if it is one to this box.
    pub fn command<'t>(&self, topic: &'t str) -> Option<(&'t str, &'t str)> {
        let request = topic.strip_prefix(&self.prefix)?.strip_prefix("/cmd/")?;
        request.split_once('/').filter(|(_, id)| !id.contains('/'))
    }

    /// Where a request stands.
    pub fn command_status(&self, command: &str, id: &str) -> String {
        self.under(&format!("cmd/{command}/{id}/status"))
    }

    fn under(&self, suffix: &str) -> String {
        format!("{}/{suffix}", self.prefix)
    }
}

/// MQTT 3.1.1, 4.7: no wildcard, separator or NUL in a level; `$` is the broker's own.
pub(super) fn check_segment(key: &'static str, value: &str) -> Result<(), TopicError> {
    let allowed = |c: char| !matches!(c, '+' | '#' | '/') && !c.is_control() && !c.is_whitespace();
    let length = value.chars().count();
    if (1..=MAX_SEGMENT).contains(&length) && value.chars().all(allowed) && !value.starts_with('$')
    {
        Ok(())
    } else {
        Err(TopicError { key, value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_those_of_the_design() {
        let topics = Topics::new("modic", "mercy", "mr-1").unwrap();
        let study_ref = StudyRef::try_from("0123456789abcdef".to_owned()).unwrap();
        let expected = [
            (topics.availability(), "availability"),
            (topics.info(), "info"),
            (topics.health(), "health"),
            (topics.metrics(), "metrics"),
            (topics.event(EventType::StudyCompleted), "event/study.completed"),
            (topics.finding(&study_ref), "finding/0123456789abcdef"),
            (topics.latest_finding(), "latest/finding"),
            (topics.alarm(HealthReason::OutboxFull), "alarm/outbox_full"),
            (topics.bundle_state(Network::Modic), "bundle/modic/state"),
        ];
        for (topic, suffix) in expected {
            assert_eq!(topic, format!("modic/v1/mercy/mr-1/{suffix}"));
        }
    }

    #[test]
    fn a_request_is_told_from_its_status_and_from_those_to_others() {
        let topics = Topics::new("modic", "mercy", "mr-1").unwrap();
        assert_eq!(topics.command("modic/v1/mercy/mr-1/cmd/self-test/7"), Some(("self-test", "7")));
        for other in [
            "modic/v1/mercy/mr-1/cmd/self-test/7/status",
            "modic/v1/mercy/mr-1/cmd/self-test",
            "modic/v1/mercy/mr-10/cmd/self-test/7",
            "modic/v1/mercy/mr-1/event/cmd/self-test/7",
        ] {
            assert_eq!(topics.command(other), None, "{other}");
        }
    }

    #[test]
    fn a_segment_never_changes_the_tree_of_topics() {
        let too_long = "x".repeat(MAX_SEGMENT + 1);
        for bad in ["", "a/b", "+", "a#", "$SYS", "a b", "a\0", "a\n", too_long.as_str()] {
            assert!(Topics::new("modic", bad, "mr").is_err(), "{bad:?}");
            assert_eq!(Topics::new("modic", "site", bad).unwrap_err().key, "device");
        }
        assert!(Topics::new("modic", "Universitätsklinik", "mr-1.5T_a").is_ok());
    }
}
