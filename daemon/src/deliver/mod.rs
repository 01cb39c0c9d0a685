//! Delivery: what the box knows, out over MQTT.
//!
//! Owns the topics ([`topics`]), the payloads ([`payload`]), the [`outbox`] on disk and the connection to
//! the broker ([`mqtt`], the only module that knows rumqttc). Promises that every message in the outbox
//! reaches the broker at least once and in order, however often either of them restarts. Must never put
//! anything about a patient into a topic, a payload or the log.

pub mod alarm;
pub mod bundle;
pub mod commands;
pub mod config;
pub mod home_assistant;
mod message;
pub mod mqtt;
pub mod outbox;
pub mod payload;
mod time;
pub mod topics;

pub use alarm::HealthReason;
pub use config::{Config, ConfigError};
pub use message::{Message, Seq};
pub use mqtt::{Delivery, DeliveryError};
pub(crate) use mqtt::{Probed, check_files, probe};
pub use outbox::{Outbox, OutboxError};
pub use payload::{Envelope, EventId, Identity};
pub use time::TimePrecision;
pub use topics::{EventType, Topics};
