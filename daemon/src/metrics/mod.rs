//! Metrics: what the daemon counts and how the box is, as numbers for Prometheus and for the MQTT topic `metrics`.
//!
//! Owns every metric's name and the reading of disk, process, temperatures and certificates. Promises that both outlets
//! say the same, since both read [`Counts`] and a [`Reading`], and that a label's value is a code of ours or a name from
//! the configuration: nothing about a patient, nothing that a peer sent. So findings aren't counted here. Stages only
//! increase counts; they never read them.

mod certificates;
mod collector;
mod counts;
mod exporter;
mod flat;
mod names;
mod reading;
pub(crate) mod system;

pub use certificates::CertificateFile;
pub use counts::{Counts, STAGES};
pub use exporter::Exporter;
pub use reading::{Reading, Sources};

/// What every metric's name begins with, but those of the process itself.
const PREFIX: &str = "modicd";

/// Media type of the exposition: OpenMetrics 1.0 as text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
