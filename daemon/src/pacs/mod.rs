//! PACS delivery: the DICOM objects of results, sent to storage providers (C-STORE, PS3.4 B) and DICOMweb servers
//! (STOW-RS, PS3.18 10.5).
//!
//! Owns the destinations' configuration, a queue on disk for each and the connections. Promises that an object that was
//! enqueued is sent until the destination has answered Success and, where storage commitment is configured, has
//! committed itself to keep it, however often either restarts; sent twice, it is the same instance. A destination that
//! is down disturbs no other, an object that is refused neither. Must never put anything about a patient into the log.

mod config;
mod connection;
mod delivery;
mod queue;
mod scu;
mod stow;

pub(crate) use config::validate;
pub use config::{Config, ConfigError, Destination, Dicom, Web};
pub use connection::{Connection, SendError, echo};
pub use delivery::{Backlog, Pacs, PacsError};
pub(crate) use delivery::{check_files, send_files};
