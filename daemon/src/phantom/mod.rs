//! A synthetic lumbar spine with exact truth.
//!
//! Owns: drawing a patient from a seed, imaging it as two sagittal series, writing both as DICOM or as a
//! data set, with the truth beside them. Promises that the same seed and settings give the same exam
//! on the same machine. Holds nothing of any person: all of it is formulas and chance.
//!
//! `spine` and `surroundings` say what lies where, `lesion` puts Modic changes into it, `tissue` gives
//! each its signal, `scene` joins them into one function of space, `render` samples that into voxels,
//! `imaging` adds what a scanner adds.

mod dicom_files;
mod error;
mod imaging;
mod lesion;
mod random;
mod render;
mod scene;
mod settings;
mod spine;
mod surroundings;
mod tissue;
mod truth;
mod truth_files;

use crate::domain::{Grid, Volume};

use imaging::{Coil, Disturbance};
use random::Draw;
use scene::Scene;

pub use dicom_files::{SeriesPair, write_dicom, write_pair};
pub use error::PhantomError;
pub use settings::{Protocols, Settings};
pub use tissue::{Protocol, Timing};
pub use truth::{OtherMarrowLesion, Truth, tissue_class};
pub use truth_files::{write_dataset, write_truth};

/// An exam: two series in one frame of reference, and what is in them.
#[derive(Debug, Clone)]
pub struct PhantomExam {
    /// T1-weighted series; whole numbers from 0 to 65535.
    pub t1: Volume,
    /// T2-weighted series, likewise.
    pub t2: Volume,
    /// What is in them, on T1's grid.
    pub truth: Truth,
    /// Field strength and timings.
    pub protocol: Protocol,
    /// Thickness of the slices, mm.
    pub slice_thickness_mm: f64,
}

/// Streams of chance of one seed: the patient, the acquisition and each series' noise stay the same when
/// another part changes.
mod stream {
    pub(super) const PATIENT: u64 = 1;
    pub(super) const ACQUISITION: u64 = 2;
    pub(super) const T1_NOISE: u64 = 3;
    pub(super) const T2_NOISE: u64 = 4;
}

/// Draws an exam.
pub fn generate(seed: u64, settings: &Settings) -> PhantomExam {
    let mut acquisition = Draw::new(seed, stream::ACQUISITION);
    let protocol = Protocol::draw(&mut acquisition, settings.protocols);
    let scene = Scene::draw(&mut Draw::new(seed, stream::PATIENT), settings, protocol);
    let [t1_grid, t2_grid] = draw_grids(&mut acquisition, settings);
    let coil = Coil::draw(&mut acquisition, settings);
    let marrow = scene.palette.marrow.total();
    let disturbances = marrow.map(|level| Disturbance::draw(&mut acquisition, settings, level));

    let thickness = settings.slice_thickness_mm;
    let ([t1, mut t2], maps) = render::render(&scene, &t1_grid, thickness);
    if t2_grid != t1_grid {
        let ([_, own], _) = render::render(&scene, &t2_grid, thickness);
        t2 = own;
    }
    let truth = Truth::measure(&scene, maps, &t1_grid);
    let volume = |image, grid: Grid, which: usize, stream| {
        let data = disturbances[which].apply(&mut Draw::new(seed, stream), image, &grid, &coil);
        Volume::new(data, grid)
    };
    PhantomExam {
        t1: volume(t1, t1_grid, 0, stream::T1_NOISE),
        t2: volume(t2, t2_grid, 1, stream::T2_NOISE),
        truth,
        protocol,
        slice_thickness_mm: thickness,
    }
}

/// The grids of T1 and T2: canonical, a little oblique, with one frame of reference and one set of planes.
fn draw_grids(draw: &mut Draw, settings: &Settings) -> [Grid; 2] {
    let limit = settings.obliqueness_deg as f32;
    let angles = [0; 3].map(|_| f64::from(draw.uniform(-limit, limit)).to_radians());
    let axes = turned(angles);
    let middle = [
        f64::from(draw.normal(1.5)),
        f64::from(draw.uniform(-3.0, 3.0)),
        f64::from(draw.uniform(-3.0, 3.0)),
    ];
    let zoom = f64::from(draw.uniform(0.9, 1.1));
    let offset = [f64::from(draw.uniform(-5.0, 5.0)), f64::from(draw.uniform(-5.0, 5.0))];
    let own = settings.t2_own_grid;
    let grid = |zoom: f64, offset: [f64; 2]| {
        let shape = [settings.slices, settings.rows, settings.columns];
        let pixel = settings.pixel_mm * zoom;
        let spacing = [settings.slice_thickness_mm + settings.slice_gap_mm, pixel, pixel];
        let mut origin = middle;
        for k in 0..3 {
            let half = 0.5 * (shape[k] as f64 - 1.0) * spacing[k];
            let along = if k == 0 { -half } else { offset[k - 1] - half };
            for (o, axis) in origin.iter_mut().zip(axes[k]) {
                *o += along * axis;
            }
        }
        Grid::new(shape, origin, axes, spacing)
            .expect("settings with positive spacings and a rotation make a valid grid")
    };
    let t2 = if own { grid(zoom, offset) } else { grid(1.0, [0.0; 2]) };
    [grid(1.0, [0.0; 2]), t2]
}

/// The canonical axes (slices to the left, rows to the feet, columns to the back) turned about the
/// patient's x, y and z (radians).
fn turned([about_x, about_y, about_z]: [f64; 3]) -> [[f64; 3]; 3] {
    let rotate = |v: [f64; 3], angle: f64, i: usize, j: usize| {
        let (s, c) = angle.sin_cos();
        let mut out = v;
        out[i] = c * v[i] - s * v[j];
        out[j] = s * v[i] + c * v[j];
        out
    };
    [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]].map(|axis| {
        let v = rotate(axis, about_x, 1, 2);
        let v = rotate(v, about_y, 2, 0);
        rotate(v, about_z, 0, 1)
    })
}

#[cfg(test)]
mod tests;
