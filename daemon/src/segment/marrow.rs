//! The patient's own marrow as the reference signal.
//!
//! Surface coils shade the picture smoothly, so the reference is a field: the exponential of a quadratic
//! in the slice's plane plus a slope across slices, fitted to the logarithm of the signal inside the
//! vertebral bodies. Changed marrow is a minority and lies off the field; Cauchy weights take its pull
//! away. `models/training/preprocess.py` does the same to the training pictures.

use nalgebra::{SMatrix, SVector};
use ndarray::{Array2, Array3, ArrayView3, Axis};

use crate::domain::Volume;
use crate::quantile::median;

/// Terms: 1, y, x, y², xy, x², s.
const TERMS: usize = 7;
/// Which of them are held back a little, so that few bodies don't make the field swing.
const QUADRATIC: std::ops::Range<usize> = 3..6;
/// How much, as a share of the summed weights.
const RIDGE: f64 = 1e-3;
/// Rounds of re-weighting; it settles in fewer.
const ROUNDS: usize = 10;
/// Cauchy's constant for 95 % efficiency on normal residuals (Holland and Welsch 1977).
const CAUCHY: f64 = 2.385;
/// The least scale of log residuals, so that a noise-free picture doesn't divide by zero.
const MIN_SCALE: f64 = 0.02;
/// No more voxels than this enter the fit: it doesn't get better with more.
const MAX_SAMPLES: usize = 60_000;
/// Fewer voxels than this are no reference.
const MIN_SAMPLES: usize = 200;
/// Upper bound of a ratio.
const CEILING: f32 = 3.0;

/// Why a picture has no reference.
#[derive(Debug, thiserror::Error)]
pub enum MarrowError {
    /// The bodies are too small or black.
    #[error("only {found} voxels of marrow with signal, {MIN_SAMPLES} are needed")]
    TooLittle {
        /// Voxels found.
        found: usize,
    },
    /// The equations have no solution.
    #[error("the marrow's signal gives no stable field")]
    Unstable,
}

/// Marrow's reference signal over a volume.
#[derive(Debug)]
pub struct MarrowField {
    coefficients: SVector<f64, TERMS>,
    centre: [f64; 3],
    half: [f64; 3],
    /// Robust relative spread of normal marrow around the field.
    pub spread: f64,
}

impl MarrowField {
    /// Fits the field to the voxels of `marrow` (array axes as the volume's), which should lie 2 mm
    /// inside the cortex.
    ///
    /// # Errors
    /// There is too little marrow with any signal.
    pub fn fit(signal: &Volume, marrow: ArrayView3<bool>) -> Result<MarrowField, MarrowError> {
        let mut samples: Vec<([f64; 3], f64)> = marrow
            .indexed_iter()
            .zip(signal.data.iter())
            .filter(|((_, inside), value)| **inside && **value > 0.0)
            .map(|(((s, r, c), _), value)| ([s, r, c].map(|i| i as f64), f64::from(*value).ln()))
            .collect();
        if samples.len() < MIN_SAMPLES {
            return Err(MarrowError::TooLittle { found: samples.len() });
        }
        let stride = samples.len().div_ceil(MAX_SAMPLES);
        samples = samples.into_iter().step_by(stride).collect();

        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for (at, _) in &samples {
            for k in 0..3 {
                low[k] = low[k].min(at[k]);
                high[k] = high[k].max(at[k]);
            }
        }
        let centre = std::array::from_fn(|k| (low[k] + high[k]) / 2.0);
        let half = std::array::from_fn(|k| ((high[k] - low[k]) / 2.0).max(1.0));
        let mut field =
            MarrowField { coefficients: SVector::zeros(), centre, half, spread: f64::NAN };

        field.coefficients[0] =
            median(samples.iter().map(|(_, v)| *v)).expect("there are MIN_SAMPLES");
        for _ in 0..ROUNDS {
            field.spread = field.scale_of(&samples);
            field.coefficients = field.reweighted(&samples).ok_or(MarrowError::Unstable)?;
        }
        field.spread = field.scale_of(&samples);
        Ok(field)
    }

    /// The signal divided by the reference, bounded to 0…3.
    pub fn ratio(&self, signal: &Volume) -> Volume {
        let mut ratio = Array3::zeros(signal.data.dim());
        for (index, mut slice) in ratio.outer_iter_mut().enumerate() {
            slice.assign(&self.ratio_of_slice(signal, index));
        }
        Volume::new(ratio, signal.grid.clone())
    }

    /// One slice of [`MarrowField::ratio`], `[row, column]`.
    pub fn ratio_of_slice(&self, signal: &Volume, index: usize) -> Array2<f32> {
        let slice = signal.data.index_axis(Axis(0), index);
        Array2::from_shape_fn(slice.dim(), |(r, c)| {
            let reference = self.log_reference([index, r, c].map(|i| i as f64)).exp() as f32;
            (slice[[r, c]] / reference).clamp(0.0, CEILING)
        })
    }

    fn terms(&self, at: [f64; 3]) -> SVector<f64, TERMS> {
        let [s, y, x]: [f64; 3] = std::array::from_fn(|k| (at[k] - self.centre[k]) / self.half[k]);
        SVector::from([1.0, y, x, y * y, x * y, x * x, s])
    }

    fn log_reference(&self, at: [f64; 3]) -> f64 {
        self.terms(at).dot(&self.coefficients)
    }

    fn scale_of(&self, samples: &[([f64; 3], f64)]) -> f64 {
        const NORMAL: f64 = 1.4826; // median absolute deviation to standard deviation
        let deviations = samples.iter().map(|(at, v)| (v - self.log_reference(*at)).abs());
        (NORMAL * median(deviations).expect("there are MIN_SAMPLES")).max(MIN_SCALE)
    }

    /// One round: least squares with the weights that the present residuals ask for.
    fn reweighted(&self, samples: &[([f64; 3], f64)]) -> Option<SVector<f64, TERMS>> {
        let mut normal = SMatrix::<f64, TERMS, TERMS>::zeros();
        let mut right = SVector::<f64, TERMS>::zeros();
        let mut weights = 0.0;
        for (at, value) in samples {
            let terms = self.terms(*at);
            let residual = (value - terms.dot(&self.coefficients)) / (CAUCHY * self.spread);
            let weight = 1.0 / (1.0 + residual * residual);
            normal.ger(weight, &terms, &terms, 1.0);
            right.axpy(weight * value, &terms, 1.0);
            weights += weight;
        }
        for k in QUADRATIC {
            normal[(k, k)] += RIDGE * weights;
        }
        // A single slice says nothing about the slope across slices: hold every term in place a little.
        for k in 0..TERMS {
            normal[(k, k)] += 1e-9 * weights;
        }
        Some(normal.cholesky()?.solve(&right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Grid;

    fn shaded(lesion: f32) -> (Volume, Array3<bool>) {
        let grid = Grid::upright([3, 60, 40], [4.0, 1.0, 1.0]);
        let data = Array3::from_shape_fn((3, 60, 40), |(s, r, c)| {
            let shade = (0.01 * r as f32 + 0.02 * c as f32 + 0.05 * s as f32).exp();
            let changed = (35..48).contains(&r) && (10..30).contains(&c);
            100.0 * shade * if changed { lesion } else { 1.0 }
        });
        let marrow = Array3::from_elem((3, 60, 40), true);
        (Volume::new(data, grid), marrow)
    }

    #[test]
    fn normal_marrow_is_one_and_a_lesion_keeps_its_ratio_under_shading() {
        let (signal, marrow) = shaded(1.5);
        let ratio = MarrowField::fit(&signal, marrow.view()).unwrap().ratio(&signal);
        assert!((ratio.data[[1, 20, 10]] - 1.0).abs() < 0.03, "{}", ratio.data[[1, 20, 10]]);
        assert!((ratio.data[[1, 40, 20]] - 1.5).abs() < 0.05, "{}", ratio.data[[1, 40, 20]]);
    }

    #[test]
    fn black_bodies_are_no_reference() {
        let (mut signal, marrow) = shaded(1.0);
        signal.data.fill(0.0);
        assert!(matches!(
            MarrowField::fit(&signal, marrow.view()),
            Err(MarrowError::TooLittle { found: 0 })
        ));
    }

    #[test]
    fn one_slice_is_enough() {
        let (signal, mut marrow) = shaded(1.0);
        marrow.slice_mut(ndarray::s![1.., .., ..]).fill(false);
        let ratio = MarrowField::fit(&signal, marrow.view()).unwrap().ratio(&signal);
        assert!((ratio.data[[0, 20, 10]] - 1.0).abs() < 0.03);
    }
}
