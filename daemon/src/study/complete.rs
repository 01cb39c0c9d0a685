//! Whether a study can be analysed before its quiet period is over.

use std::collections::HashSet;

use super::header::{Headers, SliceHeader};
use super::{Config, Series, select};

/// What is known of a study that may still be arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Both series of the pair are whole.
    Complete,
    /// Something is missing, or it can't be told: the quiet period decides.
    Waiting,
}

/// Judges by what senders say of their series, never by guessing: a series is whole when it is multi-frame
/// (one object holds the stack), or when as many of its images have come as Images in Acquisition
/// (0020,1002) announces.
pub fn completeness(headers: &Headers, config: &Config) -> Completeness {
    let is_whole = |series: &Series| {
        let first = &series.slices[0];
        let arrived = || headers.slices.iter().filter(|s| s.series_uid == first.series_uid);
        // With several echoes or acquisitions in a series the greatest number announced counts.
        let announced = arrived().filter_map(|s: &SliceHeader| s.images_in_acquisition).max();
        let instances: HashSet<_> = arrived().map(|s| &s.sop_instance_uid).collect();
        first.frame_count > 1 || announced.is_some_and(|n| n > 0 && instances.len() >= n)
    };
    match select(headers, config).outcome {
        Ok(pair) if is_whole(&pair.t1) && is_whole(&pair.t2) => Completeness::Complete,
        _ => Completeness::Waiting,
    }
}
