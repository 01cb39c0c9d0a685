//! The first stage: DICOM instances come in and stand safely on disk.
//!
//! Owns the DICOM port (C-ECHO and C-STORE, PS3.4 Annexes A and B, and the reports on storage commitment, Annex J,
//! over the upper layer of PS3.8), the watched folder, and the instance files. An instance takes one way, whatever door it came through:
//!
//! ```text
//! association --\
//! folder ---------> spool::Incoming --> dataset::identify --> fsync, rename --> InstanceSink::stored
//! ingest_file --/
//! ```
//!
//! Promises: a peer hears Success only after its instance is on disk, fsynced, and taken by the
//! [`InstanceSink`]; nobody is read whom no rule admits, and none of the rest takes more places than its share; no name on disk comes from a peer; memory per association is bounded by
//! [`Config::max_pdu_bytes`] and a fixed write buffer, whatever the peer declares; a refused instance gets
//! a status and a [`Reason`], and the association goes on.
//!
//! Must not: look at pixels, judge whether an instance is of use (the `study` stage does), or write a UID or
//! any other data of a patient to a log.

mod access;
mod arrivals;
mod association;
mod command;
mod commitment;
mod config;
mod dataset;
mod file_meta;
mod folder;
pub(crate) mod fuzzing;
mod ingest;
mod limits;
mod message;
mod negotiation;
mod refusal;
mod rejection;
mod server;
mod sink;
mod sop;
mod spool;
mod transport;
mod upload;

#[cfg(test)]
mod testing;

pub use access::{InvalidNetwork, Network, Peer};
pub use arrivals::Arrivals;
pub(crate) use command::response_status;
pub use commitment::CommitmentReport;
pub use config::{Config, ConfigError, Tls};
pub use file_meta::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
pub use folder::{FolderWatcher, regular_files, watch_folder};
pub use ingest::ingest_file;
pub use refusal::{Origin, Reason, Refusal, RefusedInstances};
pub(crate) use rejection::Rejection;
pub use server::{ServeError, Server};
pub use sink::{CommitmentSink, InstanceSink, SinkError};
pub use spool::{Change, InstanceStore, SpoolError, StoredInstance};
