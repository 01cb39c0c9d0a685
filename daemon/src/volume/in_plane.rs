//! One slice on square pixels of a given size, as the networks want it, and a result back on its own matrix.

use ndarray::{Array2, ArrayView2};

/// Bilinear resampling of a slice `[row, column]` to square pixels of `pixel_mm`. `spacing_mm` is the distance
/// of rows, then of columns. The result has `round(n * spacing / pixel)` pixels a side, at least 1; pixel `i`
/// has its centre `(i + 0.5) * pixel_mm` from the slice's outer edge, which both matrices share.
pub fn in_plane(slice: ArrayView2<f32>, spacing_mm: [f64; 2], pixel_mm: f64) -> Array2<f32> {
    let (rows, columns) = slice.dim();
    let side = |n: usize, mm: f64| ((n as f64 * mm / pixel_mm).round() as usize).max(1);
    let shape = [side(rows, spacing_mm[0]), side(columns, spacing_mm[1])];
    bilinear(slice, shape, spacing_mm.map(|mm| pixel_mm / mm))
}

/// The way back from [`in_plane`]: a map on square pixels on the original matrix of `shape` rows and columns.
pub fn from_square_pixels(
    map: ArrayView2<f32>,
    pixel_mm: f64,
    shape: [usize; 2],
    spacing_mm: [f64; 2],
) -> Array2<f32> {
    bilinear(map, shape, spacing_mm.map(|mm| mm / pixel_mm))
}

/// `scale`: the size of a pixel of the result in pixels of the source. The border's values reach outwards.
fn bilinear(source: ArrayView2<f32>, shape: [usize; 2], scale: [f64; 2]) -> Array2<f32> {
    let (rows, columns) = source.dim();
    let row_at = neighbours(shape[0], scale[0], rows);
    let column_at = neighbours(shape[1], scale[1], columns);
    Array2::from_shape_fn(shape, |(r, c)| {
        let ([r0, r1], fr) = row_at[r];
        let ([c0, c1], fc) = column_at[c];
        let lerp = |a: f32, b: f32, f: f32| a + (b - a) * f;
        let above = lerp(source[[r0, c0]], source[[r0, c1]], fc);
        let below = lerp(source[[r1, c0]], source[[r1, c1]], fc);
        lerp(above, below, fr)
    })
}

/// For each of `count` pixels: the two source pixels of `n` around its centre, and the way between them.
fn neighbours(count: usize, scale: f64, n: usize) -> Vec<([usize; 2], f32)> {
    let last = n.saturating_sub(1);
    (0..count)
        .map(|i| {
            let at = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
            let low = at as usize;
            ([low, (low + 1).min(last)], (at - low as f64) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_pixel_size_changes_nothing() {
        let slice = Array2::from_shape_fn((7, 5), |(r, c)| (r * 10 + c) as f32);
        assert_eq!(in_plane(slice.view(), [0.8, 0.8], 0.8), slice);
    }

    #[test]
    fn a_point_keeps_its_place_in_millimetres() {
        // A ramp in mm from the outer edge, on pixels of 0.5 x 1.0 mm.
        let slice = Array2::from_shape_fn((64, 32), |(r, c)| {
            ((r as f64 + 0.5) * 0.5 * 100.0 + (c as f64 + 0.5)) as f32
        });
        let square = in_plane(slice.view(), [0.5, 1.0], 0.8);
        assert_eq!(square.dim(), (40, 40));
        for (r, c) in [(3, 4), (20, 20), (35, 30)] {
            let want = (r as f64 + 0.5) * 0.8 * 100.0 + (c as f64 + 0.5) * 0.8;
            assert!((f64::from(square[[r, c]]) - want).abs() < 0.01, "{} {want}", square[[r, c]]);
        }
        let back = from_square_pixels(square.view(), 0.8, [64, 32], [0.5, 1.0]);
        for (r, c) in [(10, 8), (32, 16), (50, 25)] {
            assert!((back[[r, c]] - slice[[r, c]]).abs() < 0.01);
        }
    }
}
