//! Slices with square pixels of a network's size, and maps back on the slice's own matrix.

use ndarray::{Array2, ArrayView2};

/// Resamples a slice, whose rows and columns are `spacing_mm` apart, to square pixels of side `pixel_mm`.
///
/// The corner of the picture stays where it is: pixel `i` of the result has its centre at
/// `(i + 0.5) * pixel_mm` from it. Bilinear, edges replicated.
pub fn to_square_pixels(
    slice: ArrayView2<f32>,
    spacing_mm: [f64; 2],
    pixel_mm: f64,
) -> Array2<f32> {
    let (rows, columns) = slice.dim();
    let size = |n: usize, mm: f64| ((n as f64 * mm / pixel_mm).round() as usize).max(1);
    let shape = (size(rows, spacing_mm[0]), size(columns, spacing_mm[1]));
    bilinear(slice, shape, spacing_mm.map(|mm| pixel_mm / mm))
}

/// The way back: a map with square pixels onto a matrix of `shape` whose rows and columns are `spacing_mm`
/// apart.
pub fn from_square_pixels(
    map: ArrayView2<f32>,
    shape: (usize, usize),
    spacing_mm: [f64; 2],
    pixel_mm: f64,
) -> Array2<f32> {
    bilinear(map, shape, spacing_mm.map(|mm| mm / pixel_mm))
}

/// Takes pixel `i` of the result from `(i + 0.5) * step - 0.5` of the source, along both axes.
fn bilinear(source: ArrayView2<f32>, shape: (usize, usize), step: [f64; 2]) -> Array2<f32> {
    let rows = taps(shape.0, source.nrows(), step[0]);
    let columns = taps(shape.1, source.ncols(), step[1]);
    Array2::from_shape_fn(shape, |(r, c)| {
        let (r0, r1, fr) = rows[r];
        let (c0, c1, fc) = columns[c];
        let upper = source[[r0, c0]] * (1.0 - fc) + source[[r0, c1]] * fc;
        let lower = source[[r1, c0]] * (1.0 - fc) + source[[r1, c1]] * fc;
        upper * (1.0 - fr) + lower * fr
    })
}

/// For each index of the result: its two neighbours in the source and the second one's share.
fn taps(count: usize, available: usize, step: f64) -> Vec<(usize, usize, f32)> {
    let last = available.saturating_sub(1);
    (0..count)
        .map(|i| {
            let at = ((i as f64 + 0.5) * step - 0.5).clamp(0.0, last as f64);
            let low = at.floor() as usize;
            (low, (low + 1).min(last), (at - low as f64) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_stays_a_ramp_there_and_back() {
        let spacing = [0.7, 0.55];
        let ramp = Array2::from_shape_fn((80, 100), |(r, c)| (r as f32) * 0.7 + (c as f32) * 0.55);
        let square = to_square_pixels(ramp.view(), spacing, 1.0);
        assert_eq!(square.dim(), (56, 55));
        let back = from_square_pixels(square.view(), ramp.dim(), spacing, 1.0);
        for at in [[10, 10], [40, 50], [70, 90]] {
            assert!((back[at] - ramp[at]).abs() < 1e-3, "{} {}", back[at], ramp[at]);
        }
    }
}
