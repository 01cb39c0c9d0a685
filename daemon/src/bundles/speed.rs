//! Whether a network is fast enough: beside the one in use, on this box, at this moment.

use std::time::{Duration, Instant};

use modic_models::{Bundle, BundleError};
use ndarray::Array3;

/// Side of the field of view, mm: that of a lumbar exam.
const FIELD_MM: f64 = 280.0;
/// Slices that each runs. They take turns, so that what else the box does falls on both.
const RUNS: usize = 15;

/// How many times as long `new` takes for a slice of an exam as `old` does, each at its fastest: what else the box does can
/// only make a run slower.
///
/// # Errors
/// One of them fails.
pub(super) fn slowdown(new: &mut Bundle, old: &mut Bundle) -> Result<f64, BundleError> {
    let [new_slice, old_slice] = [&*new, &*old].map(slice);
    // Planning isn't measured: an exam does it once.
    time(new, &new_slice)?;
    time(old, &old_slice)?;
    let mut fastest = [f64::INFINITY; 2];
    for _ in 0..RUNS {
        fastest[0] = fastest[0].min(time(new, &new_slice)?.as_secs_f64());
        fastest[1] = fastest[1].min(time(old, &old_slice)?.as_secs_f64());
    }
    let [new_s, old_s] = fastest;
    Ok(new_s / old_s)
}

/// A slice of nothing with the bundle's own pixels.
fn slice(bundle: &Bundle) -> Array3<f32> {
    let input = &bundle.manifest().input;
    let side = (FIELD_MM / input.pixel_mm).ceil() as usize;
    Array3::zeros((input.channels.len(), side, side))
}

fn time(bundle: &mut Bundle, slice: &Array3<f32>) -> Result<Duration, BundleError> {
    let began = Instant::now();
    bundle.run(slice.view())?;
    Ok(began.elapsed())
}
