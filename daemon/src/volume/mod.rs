//! From a series to voxels on a canonical grid, and from one grid to another.
//!
//! Owns: decoding pixels, assembling a stack slice by slice, resampling through patient coordinates,
//! telling whether the patient moved between two series, and slices on the networks' square pixels.
//!
//! Promises: a [`Volume`](crate::domain::Volume) made here shows an upright patient who faces left, whatever
//! the stored order; its grid is exact in the patient's coordinates; values are the rescaled ones
//! (PS3.3 C.11.1). Nothing is allocated that a file merely claims to need.
//!
//! Must not: choose series (that is [`crate::study`]) or change intensities beyond the modality's rescale.

mod assemble;
mod codestream;
mod cubic;
pub(crate) mod fuzzing;
mod jpeg_2000;
mod jpeg_ls;
mod pixels;
mod register;
mod resample;
mod rle;
mod square;

pub use assemble::{AssembleError, assemble};
pub use register::moved_mm;
pub use resample::{covered, labels_onto, overlap_fraction, resample_onto};
pub use square::View;
