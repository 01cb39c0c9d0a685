//! PACS delivery: the DICOM objects of results, sent to storage providers (C-STORE, PS3.4 B).
//!
//! Owns the destinations' configuration, a queue on disk for each and the association as requestor. Promises that what
//! was enqueued is sent until the destination has answered Success for every object of it, however often either
//! restarts; sent twice, it is the same instances. One destination that is down or refuses disturbs no other. Must
//! never put anything about a patient into the log.

mod config;
mod delivery;
mod queue;
mod scu;

pub(crate) use config::validate;
pub use config::{Config, ConfigError, Destination, Object};
pub use delivery::Pacs;
pub(crate) use delivery::send_files;
pub use scu::{Association, ScuError};
