//! From the instance files of one study to the series pair, or a refusal.
//!
//! Owns: reading headers, telling series apart by geometry and timing, choosing the sagittal T1w and T2w
//! series that belong together, and the list of reasons for refusing. Descriptions, in any language, are
//! hints only: they decide where numbers are missing or ambiguous.
//!
//! Promises: every series not taken has a [`Reason`], or is named as fat-suppressed beside a pair; the same
//! files give the same choice in any order; a damaged or hostile file can't crash the process or make it
//! allocate more than the file's own size.
//!
//! Must not: decode pixels (that is [`crate::volume`]), log or keep anything that identifies a patient.
//! [`SliceHeader`] holds UIDs and texts in memory for the other stages; it has no `Debug` output of them.

mod age;
mod attributes;
mod complete;
mod config;
pub(crate) mod file;
mod header;
mod hints;
mod pair;
mod quality;
mod refusal;
mod series;
mod stack;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod weighting;

pub use complete::{Completeness, completeness};
pub use config::Config;
pub use header::{Headers, PixelFormat, Plane, SliceHeader, Timing};
pub use pair::{Selection, SeriesPair, SeriesRefusal, select};
pub use quality::QualityFlag;
pub use refusal::Reason;
pub use series::Series;
pub use stack::Layout;
pub use weighting::Weighting;
