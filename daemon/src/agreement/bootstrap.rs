//! How uncertain a figure is that is made of sums over studies.
//!
//! Studies are drawn with replacement, each with all of its endplates, since those of one patient aren't independent; the
//! readers stay the same ones. So the intervals speak of other patients read by these readers, not of other readers.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::kappa::two_sided;
use crate::quantile::quantile;

/// Of fewer there is nothing to draw from: all samples would be the same.
const MIN_STUDIES: usize = 2;
/// A figure that isn't defined in more than this share of samples has no interval.
const MAX_UNDEFINED: f64 = 0.1;
/// What an interval leaves out on each side.
const TAIL: f64 = 0.025;

/// How samples are drawn: the same seed gives the same report.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Resampling {
    /// How many samples are drawn.
    pub samples: usize,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Resampling {
        Resampling { samples: 2000, seed: 1 }
    }
}

/// The 2.5th and the 97.5th percentile of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

impl Interval {
    /// Of a figure's values in samples.
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Interval> {
        samples.sort_by(f64::total_cmp);
        Some(Interval { low: quantile(&samples, TAIL)?, high: quantile(&samples, 1.0 - TAIL)? })
    }
}

/// With the map less without it.
///
/// Its standard error is the standard deviation of the samples (times the root of n / (n - 1) for n studies, by which
/// resampling makes it too small: so of a mean it is that of the t test), its test and interval those of Student's t with one
/// degree of freedom less than there are studies: Hotelling's T squared of two dependent kappas by clustered bootstrap
/// (Vanbelle and Albert 2008, Vanbelle 2017), which for two of them is this. So p < 0.05 exactly where the 95 % interval
/// leaves out 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// With the map less without it.
    pub value: f64,
    /// From the standard deviation of the samples' differences.
    pub standard_error: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end of it.
    pub high: f64,
    /// Two-sided, of no difference; `None` where the standard error is 0 and the difference isn't.
    pub p: Option<f64>,
}

/// What samples say of a figure without the map, of it with the map, and of their difference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bootstrap {
    pub(super) intervals: [Option<Interval>; 2],
    pub(super) difference: Option<Difference>,
}

/// The sum of what studies contribute; all of one length.
pub(super) fn add_up(terms: impl Iterator<Item = impl AsRef<[f64]>>) -> Vec<f64> {
    let mut sum = Vec::new();
    for term in terms {
        let term = term.as_ref();
        sum.resize(term.len(), 0.0);
        sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += term);
    }
    sum
}

/// The values of figures in samples of studies, which are drawn with replacement; `figures` gets the places of those drawn.
/// `None` where there are too few studies, or where too many samples lack the figure.
pub(crate) fn resample<const N: usize>(
    studies: usize,
    resampling: Resampling,
    figures: impl Fn(&[usize]) -> [Option<f64>; N],
) -> [Option<Vec<f64>>; N] {
    let mut random = Pcg64::seed_from_u64(resampling.seed);
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    let samples = if studies < MIN_STUDIES { 0 } else { resampling.samples };
    for _ in 0..samples {
        let drawn: Vec<usize> = (0..studies).map(|_| random.random_range(0..studies)).collect();
        for (values, value) in values.iter_mut().zip(figures(&drawn)) {
            values.extend(value);
        }
    }
    let enough = ((1.0 - MAX_UNDEFINED) * resampling.samples as f64).max(2.0);
    values.map(|values| (values.len() as f64 >= enough).then_some(values))
}

/// Draws samples of studies; `figures` makes of a sum the figure without the map and the one with it.
pub(super) fn bootstrap(
    studies: &[Vec<f64>],
    resampling: Resampling,
    figures: impl Fn(&[f64]) -> [Option<f64>; 2],
) -> Bootstrap {
    let with_less_without = |[blind, with_map]: [Option<f64>; 2]| Some(with_map? - blind?);
    let [blind, with_map, differences] = resample(studies.len(), resampling, |drawn| {
        let [blind, with_map] = figures(&add_up(drawn.iter().map(|at| &studies[*at])));
        [blind, with_map, with_less_without([blind, with_map])]
    });
    let difference = differences.and_then(|samples| {
        let value = with_less_without(figures(&add_up(studies.iter())))?;
        difference(value, &samples, studies.len())
    });
    Bootstrap { intervals: [blind, with_map].map(|samples| Interval::of(samples?)), difference }
}

/// Differences smaller than this are rounding.
const ROUNDING: f64 = 1e-12;

fn difference(value: f64, samples: &[f64], studies: usize) -> Option<Difference> {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    let degrees_of_freedom = studies as f64 - 1.0;
    let correction = studies as f64 / degrees_of_freedom;
    let standard_error = (correction * squares / (n - 1.0)).sqrt();
    let student = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    let reach = student.inverse_cdf(1.0 - TAIL) * standard_error;
    let p = match (standard_error > ROUNDING, value.abs() > ROUNDING) {
        (true, _) => two_sided(value / standard_error, degrees_of_freedom),
        (false, false) => Some(1.0),
        (false, true) => None,
    };
    Some(Difference { value, standard_error, low: value - reach, high: value + reach, p })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of the first numbers and of the second.
    fn means(sum: &[f64]) -> [Option<f64>; 2] {
        [Some(sum[1] / sum[0]), Some(sum[2] / sum[0])]
    }

    #[test]
    fn of_a_mean_it_is_what_the_t_test_says() {
        let studies: Vec<Vec<f64>> =
            (0..50).map(|i| vec![1.0, f64::from(i % 5), f64::from(i % 7) + 0.5]).collect();
        let resampling = Resampling { samples: 20_000, seed: 3 };
        let found = bootstrap(&studies, resampling, means).difference.unwrap();
        let differences: Vec<f64> = studies.iter().map(|s| s[2] - s[1]).collect();
        let mean = differences.iter().sum::<f64>() / 50.0;
        let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 49.0;
        assert!((found.value - mean).abs() < 1e-12);
        assert!((found.standard_error / (variance / 50.0).sqrt() - 1.0).abs() < 0.02);
        assert_eq!(found.p.unwrap() < 0.05, found.low > 0.0 || found.high < 0.0);
    }

    #[test]
    fn too_little_gives_no_interval_and_no_difference_is_no_evidence() {
        let none = bootstrap(&[vec![1.0, 2.0, 3.0]], Resampling::default(), means);
        assert!(none.difference.is_none() && none.intervals == [None, None]);
        let same: Vec<Vec<f64>> = (0..9).map(|i| vec![1.0, f64::from(i), f64::from(i)]).collect();
        let same = bootstrap(&same, Resampling::default(), means).difference.unwrap();
        assert_eq!((same.value, same.p), (0.0, Some(1.0)));
        // Always one more with the map: certain, but no test can say how certain.
        let more: Vec<Vec<f64>> =
            (0..9).map(|i| vec![1.0, f64::from(i), f64::from(i + 1)]).collect();
        let more = bootstrap(&more, Resampling::default(), means).difference.unwrap();
        assert_eq!((more.value, more.p), (1.0, None));
    }

    #[test]
    fn a_figure_that_most_samples_lack_has_no_interval() {
        let studies: Vec<Vec<f64>> = (0..9).map(|i| vec![f64::from(u8::from(i == 0))]).collect();
        let rare = |sum: &[f64]| [(sum[0] > 0.0).then_some(sum[0]), Some(1.0)];
        let found = bootstrap(&studies, Resampling::default(), rare);
        assert!(found.intervals[0].is_none() && found.difference.is_none());
        assert_eq!(found.intervals[1], Some(Interval { low: 1.0, high: 1.0 }));
    }
}
