//! What is audited.

use std::net::IpAddr;

use crate::domain::{AeTitle, StudyRef};
use crate::receive::{Arrivals, Origin};
use crate::store::index::Part;

/// Something that a site must be able to trace. Each is one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The daemon has started.
    Started,
    /// The daemon stops.
    Stopped,
    /// The daemon goes on with a changed configuration.
    Reconfigured,
    /// Instances of a study came in, in one association or one scan of the watched folder.
    Received {
        /// From where.
        origin: Origin,
        /// The study.
        study: StudyRef,
        /// How many, by what they changed.
        instances: Arrivals,
    },
    /// Results of a study were sent to a PACS, which answered Success for each.
    Sent {
        /// The destination's name in the configuration.
        destination: String,
        /// The study.
        study: StudyRef,
        /// How many DICOM objects.
        objects: u64,
    },
    /// Somebody opened an exam on the page, or took a file of it.
    Opened {
        /// From where.
        address: IpAddr,
        /// Who, where that is known: a reader of a reading list.
        reader: Option<String>,
        /// The study.
        study: StudyRef,
        /// The file; without it, the findings.
        file: Option<String>,
    },
    /// A study was removed to stay within `[storage]`.
    Removed {
        /// The study.
        study: StudyRef,
        /// What of it.
        part: Part,
    },
    /// A DICOM peer was turned away.
    TurnedAway {
        /// Its address.
        peer: IpAddr,
        /// The title that it called with, when it is a valid one.
        calling_ae: Option<AeTitle>,
        /// The code of the reason.
        reason: &'static str,
    },
    /// Somebody showed a token to the page.
    SignedIn {
        /// From where.
        address: IpAddr,
        /// Whether it was the right one.
        accepted: bool,
    },
    /// Something was asked of the box over MQTT, and was refused or has come to its end.
    Commanded {
        /// The command's name, of letters, digits, `-`, `_` and `.`.
        command: String,
        /// Whether it was carried out.
        succeeded: bool,
    },
}
