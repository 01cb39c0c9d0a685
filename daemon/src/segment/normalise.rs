//! Intensities for network 1: each pixel divided by the mean of its surroundings.
//!
//! Surface coils shade a picture by a factor of two and more. Before anything in it is known, only its own
//! local mean can take that away. `models/training/preprocess.py` does the same to the training pictures.

use ndarray::{Array2, ArrayView2, Axis};

/// Reach of the local mean: standard deviation of the Gaussian, mm.
const SIGMA_MM: f64 = 25.0;
/// The Gaussian is cut off at this many standard deviations.
const TRUNCATE: f64 = 3.0;
/// Share of the slice's mean added to the local mean, so that air isn't blown up.
const FLOOR: f32 = 0.1;
/// Upper bound of the result.
const CEILING: f32 = 3.0;

/// `x / (local mean + 0.1 mean)`, bounded to 0…3; pixels are square with side `pixel_mm`.
pub fn local(slice: ArrayView2<f32>, pixel_mm: f64) -> Array2<f32> {
    let kernel = gaussian(SIGMA_MM / pixel_mm);
    let mean = slice.mean().unwrap_or(0.0);
    let mut result = blur_columns(blur_columns(slice, &kernel).t(), &kernel).reversed_axes();
    ndarray::Zip::from(&mut result).and(slice).for_each(|blurred, x| {
        let ratio = x / (*blurred + FLOOR * mean);
        *blurred = if ratio.is_finite() { ratio.clamp(0.0, CEILING) } else { 0.0 };
    });
    result
}

/// Half of a normalised Gaussian: the centre first.
fn gaussian(sigma: f64) -> Vec<f32> {
    let radius = (TRUNCATE * sigma + 0.5) as usize;
    let weights: Vec<f64> =
        (0..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.into_iter().map(|w| (w / sum) as f32).collect()
}

/// Convolves each column, edges replicated.
fn blur_columns(picture: ArrayView2<f32>, kernel: &[f32]) -> Array2<f32> {
    let rows = picture.nrows();
    let mut blurred = Array2::zeros(picture.dim());
    for (r, mut out) in blurred.axis_iter_mut(Axis(0)).enumerate() {
        out.scaled_add(kernel[0], &picture.row(r));
        for (i, weight) in kernel.iter().enumerate().skip(1) {
            out.scaled_add(*weight, &picture.row(r.saturating_sub(i)));
            out.scaled_add(*weight, &picture.row((r + i).min(rows - 1)));
        }
    }
    blurred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_picture_becomes_the_same_everywhere_whatever_its_scale() {
        for level in [3.0, 3000.0] {
            let result = local(Array2::from_elem((80, 60), level).view(), 1.0);
            assert!(result.iter().all(|v| (v - 1.0 / 1.1).abs() < 1e-3), "{:?}", result[[0, 0]]);
        }
    }

    #[test]
    fn shading_is_taken_away_and_detail_stays() {
        let shaded = Array2::from_shape_fn((120, 120), |(r, c)| {
            let detail = if (r / 6) % 2 == 0 { 1.3 } else { 0.7 };
            detail * (0.5 + c as f32 / 60.0)
        });
        let result = local(shaded.view(), 1.0);
        let (left, right) = (result[[63, 30]], result[[63, 90]]);
        assert!((left / right - 1.0).abs() < 0.15, "{left} {right}");
        assert!(
            result[[63, 60]] / result[[69, 60]] > 1.6 || result[[69, 60]] / result[[63, 60]] > 1.6
        );
    }

    #[test]
    fn an_empty_picture_stays_empty() {
        assert!(local(Array2::zeros((32, 32)).view(), 1.0).iter().all(|v| *v == 0.0));
    }
}
