//! What a study must be like to be analysed.

use serde::{Deserialize, Serialize};

/// Limits of the stage `study`. The defaults are the range the shipped networks were trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Fewest slices of a series; 1 admits single slices, whose thickness then stands for the distance.
    pub min_slices: usize,
    /// Most slices of a series.
    pub max_slices: usize,
    /// Most voxels of a series: bounds memory, 4 bytes each.
    pub max_voxels: usize,
    /// Most files of a study that are looked at.
    pub max_files: usize,
    /// Least distance of neighbouring slices' centres, mm.
    pub min_slice_distance_mm: f64,
    /// Greatest distance of neighbouring slices' centres, mm.
    pub max_slice_distance_mm: f64,
    /// Least distance of neighbouring pixels, mm.
    pub min_pixel_mm: f64,
    /// Greatest distance of neighbouring pixels, mm.
    pub max_pixel_mm: f64,
    /// How far the slices' normal may lie from the patient's left-right axis, degrees.
    pub max_obliqueness_deg: f64,
    /// How much of T1's region T2 must cover, 0 to 1.
    pub min_overlap: f64,
    /// Patients under this age are refused, years; 0 admits everybody.
    pub min_age_years: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            min_slices: 5,
            max_slices: 60,
            max_voxels: 24_000_000,
            max_files: 4096,
            min_slice_distance_mm: 2.0,
            max_slice_distance_mm: 10.0,
            min_pixel_mm: 0.2,
            max_pixel_mm: 2.0,
            max_obliqueness_deg: 30.0,
            min_overlap: 0.5,
            min_age_years: 18,
        }
    }
}
