//! What a phantom exam is drawn from: geometry of the acquisition and ranges of anatomy.

use serde::{Deserialize, Serialize};

/// How phantom exams are drawn. The default is the exam that the daemon's acceptance uses:
/// 2×15 slices of 384×384.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Sagittal slices in each series.
    pub slices: usize,
    /// Rows of a slice.
    pub rows: usize,
    /// Columns of a slice.
    pub columns: usize,
    /// Distance of neighbouring pixels on T1, mm.
    pub pixel_mm: f64,
    /// Thickness of a slice, mm.
    pub slice_thickness_mm: f64,
    /// Gap between two slices, mm.
    pub slice_gap_mm: f64,
    /// Largest angle by which the stack is turned about each patient axis, degrees.
    pub obliqueness_deg: f64,
    /// Draw a T2 grid that differs from T1's: another pixel size, a small shift within the plane.
    pub t2_own_grid: bool,
    /// Share of exams without any Modic change.
    pub healthy_share: f64,
    /// Most Modic changes in one exam.
    pub max_lesions: usize,
    /// Smallest and largest volume aimed at for a Modic change, mm³; drawn log-uniformly. Where the
    /// vertebral body ends, so does the lesion: the true volume is in the truth.
    pub lesion_mm3: [f64; 2],
    /// Standard deviation of the noise as a share of the marrow's signal, smallest and largest.
    pub noise: [f64; 2],
    /// How many times brighter the coil makes the back than the front, smallest and largest.
    pub shading: [f64; 2],
    /// Displacement of fat along the readout, pixels, smallest and largest.
    pub chemical_shift_px: [f64; 2],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            slices: 15,
            rows: 384,
            columns: 384,
            pixel_mm: 280.0 / 384.0,
            slice_thickness_mm: 4.0,
            slice_gap_mm: 0.4,
            obliqueness_deg: 4.0,
            t2_own_grid: true,
            healthy_share: 0.15,
            max_lesions: 6,
            lesion_mm3: [60.0, 8000.0],
            noise: [0.02, 0.10],
            shading: [1.5, 3.5],
            chemical_shift_px: [0.4, 1.6],
        }
    }
}
