//! Segment: what lies where, and where a Modic change is likely.
//!
//! Owns the two networks and the intensities they are given: network 1 marks vertebral bodies, S1, discs
//! and canal on T1; the marrow found that way gives the patient's reference signal; network 2 marks Modic
//! changes on T1 and T2 divided by it (Gao et al. 2022, two networks in sequence). It doesn't know what a
//! level, an endplate or a Modic type is: that is the `modic` stage's.

mod axis;
mod config;
mod marrow;
mod networks;
mod normalise;

pub use config::{Config, MAX_THREADS};
pub use marrow::{MarrowError, MarrowField};
pub use networks::{LOOKS, Segmenter, check_contract};

use std::ops::ControlFlow;

use ndarray::Array3;

use crate::domain::Volume;

/// Classes of network 1's map.
pub mod anatomy {
    /// Nothing that is asked for.
    pub const BACKGROUND: u8 = 0;
    /// A vertebral body above S1.
    pub const VERTEBRA: u8 = 1;
    /// The body of S1.
    pub const S1: u8 = 2;
    /// An intervertebral disc.
    pub const DISC: u8 = 3;
    /// The spinal canal.
    pub const CANAL: u8 = 4;
}

/// What the networks say of one exam, on T1's grid.
#[derive(Debug)]
pub struct Segmentation {
    /// The class of each voxel, see [`anatomy`].
    pub anatomy: Array3<u8>,
    /// T2 on T1's grid, the patient where they lay during T1.
    pub t2: Volume,
    /// By how much T2 was moved for that towards the head and the front, mm; 0 where the patient lay still.
    pub moved_mm: [f64; 2],
    /// T1 divided by the marrow's reference signal: 1 is normal marrow.
    pub t1_ratio: Volume,
    /// T2 divided by the marrow's reference signal: 1 is normal marrow.
    pub t2_ratio: Volume,
    /// Probability of a Modic change, 0 to 1; 0 where network 2 was not asked.
    pub modic_probability: Array3<f32>,
    /// The probability from which a voxel counts, of network 2's manifest.
    pub threshold: f32,
}

/// Called for every look at a slice; a break ends the analysis with [`SegmentError::BrokenOff`].
pub type OnSlice<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// Why an exam couldn't be segmented.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The pictures don't show what the networks look for.
    #[error("no vertebral bodies found on T1")]
    NoVertebrae,
    /// A reference signal can't be had.
    #[error("no marrow reference on {series}")]
    Marrow {
        /// `T1` or `T2`.
        series: &'static str,
        /// Why not.
        #[source]
        source: MarrowError,
    },
    /// Whoever asked for it asked to end it.
    #[error("the analysis was broken off")]
    BrokenOff,
    /// A network failed.
    #[error(transparent)]
    Network(#[from] modic_models::BundleError),
}
