//! What a phantom exam is drawn from: geometry of the acquisition and ranges of anatomy.

use serde::{Deserialize, Serialize};

use super::random::Draw;

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
    /// Which scanners and timings there are.
    pub protocols: Protocols,
}

/// Ranges of field strengths and timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocols {
    /// 1.5 T and 3 T with the usual timings of lumbar protocols.
    Usual,
    /// 0.3 T to 3 T with timings beyond the usual ones.
    Wide,
}

#[cfg(test)]
impl Settings {
    /// For tests: the usual field of view in few pixels.
    pub(crate) fn small(slices: usize) -> Settings {
        let (rows, pixel_mm) = (192, 280.0 / 192.0);
        Settings { slices, rows, columns: rows, pixel_mm, ..Settings::default() }
    }
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
            protocols: Protocols::Usual,
        }
    }
}

impl Settings {
    /// The exam of a seed from ranges wider than the default's, which the networks are trained on: sizes, noise,
    /// shading, slices and their thickness, scanners. The matrix covers the same 280 mm.
    pub fn wide(seed: u64) -> Settings {
        let mut draw = Draw::new(seed, WIDE_STREAM);
        let pixel_mm = f64::from(draw.uniform(0.6, 1.1));
        let side = (280.0 / pixel_mm).round() as usize;
        let slice_thickness_mm = f64::from(draw.uniform(3.0, 6.0));
        let slice_gap_mm = f64::from(draw.uniform(0.0, 1.0));
        // Enough slices for a vertebra's width, whatever their thickness.
        let slices = (66.0 / (slice_thickness_mm + slice_gap_mm)).round() as usize;
        Settings {
            slices,
            rows: side,
            columns: side,
            pixel_mm,
            slice_thickness_mm,
            slice_gap_mm,
            obliqueness_deg: 8.0,
            max_lesions: 8,
            lesion_mm3: [60.0, 12_000.0],
            noise: [0.01, 0.15],
            shading: [1.0, 5.0],
            chemical_shift_px: [0.0, 2.2],
            protocols: Protocols::Wide,
            ..Settings::default()
        }
    }
}

/// Stream of chance of [`Settings::wide`], apart from those that an exam is drawn from.
const WIDE_STREAM: u64 = 5;
