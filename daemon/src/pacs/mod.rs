//! PACS delivery: the DICOM objects of results, sent to storage providers (C-STORE, PS3.4 B).
//!
//! Owns the destinations' configuration, a queue on disk for each and the association as requestor. Promises that an
//! object that was enqueued is sent until the destination has answered Success, however often either restarts; sent
//! twice, it is the same instance. A destination that is down disturbs no other, an object that is refused neither. Must
//! never put anything about a patient into the log.

mod config;
mod delivery;
mod queue;
mod scu;

pub(crate) use config::validate;
pub use config::{Config, ConfigError, Destination};
pub use delivery::Pacs;
pub(crate) use delivery::send_files;
pub use scu::{Association, ScuError};
