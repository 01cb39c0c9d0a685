//! Figures of agreement and their uncertainty.

use serde::Serialize;

use crate::agreement::{Interval, Resampling, Weights, cohen_value, resample};

/// A figure with its 95 % interval (percentile bootstrap over patients).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Over all patients.
    pub value: f64,
    /// Where enough patients say something. In JSON its ends lie beside the value.
    #[serde(flatten)]
    pub interval: Option<Interval>,
}

/// A figure over patients; `None` where it isn't defined (nothing to count).
///
/// Patients are drawn with replacement, each with all of their discs, since these aren't independent. The same
/// patients give the same interval.
pub(super) fn bootstrap<T>(
    patients: &[T],
    figure: impl Fn(&[&T]) -> Option<f64>,
) -> Option<Estimate> {
    let all: Vec<&T> = patients.iter().collect();
    let value = figure(&all)?;
    let [samples] = resample(all.len(), Resampling::default(), |drawn| {
        let drawn: Vec<&T> = drawn.iter().map(|at| all[*at]).collect();
        [figure(&drawn)]
    });
    Some(Estimate { value, interval: samples.and_then(Interval::of) })
}

pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0usize), |(s, n), v| (s + v, n + 1));
    (count > 0).then(|| sum / count as f64)
}

/// How often what is there was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TwoByTwo {
    /// There and found.
    pub hit: usize,
    /// There and not found.
    pub missed: usize,
    /// Found and not there.
    pub wrong: usize,
    /// Neither.
    pub none: usize,
}

impl TwoByTwo {
    /// Counts (there, found).
    pub(super) fn count(pairs: impl IntoIterator<Item = (bool, bool)>) -> TwoByTwo {
        let mut table = TwoByTwo::default();
        for pair in pairs {
            *match pair {
                (true, true) => &mut table.hit,
                (true, false) => &mut table.missed,
                (false, true) => &mut table.wrong,
                (false, false) => &mut table.none,
            } += 1;
        }
        table
    }

    pub(super) fn sensitivity(self) -> Option<f64> {
        share(self.hit, self.hit + self.missed)
    }

    pub(super) fn specificity(self) -> Option<f64> {
        share(self.none, self.none + self.wrong)
    }

    pub(super) fn balanced_accuracy(self) -> Option<f64> {
        Some(0.5 * (self.sensitivity()? + self.specificity()?))
    }

    pub(super) fn kappa(self) -> Option<f64> {
        kappa(&[[self.none, self.wrong], [self.missed, self.hit]])
    }
}

pub(super) fn share(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// Cohen's kappa with linear weights (Cohen 1968); of two classes it is the plain one. Rows are the truth.
pub(super) fn kappa<const N: usize>(table: &[[usize; N]; N]) -> Option<f64> {
    let counts: Vec<f64> = table.iter().flatten().map(|count| *count as f64).collect();
    cohen_value(&counts, N, Weights::Linear)
}

/// Area under the ROC curve of (there, score): the chance that what is there scores higher.
pub(super) fn auc(scores: &[(bool, f64)]) -> Option<f64> {
    let of = |there: bool| scores.iter().filter(move |s| s.0 == there).map(|s| s.1);
    let pairs = of(true).count() * of(false).count();
    let wins: f64 = of(true)
        .flat_map(|a| of(false).map(move |b| if a > b { 1.0 } else { 0.5 * f64::from(a == b) }))
        .sum();
    (pairs > 0).then(|| wins / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_is_one_in_agreement_zero_by_chance_and_weighted_by_distance() {
        assert_eq!(kappa(&[[5, 0], [0, 7]]), Some(1.0));
        assert_eq!(kappa(&[[4, 4], [4, 4]]), Some(0.0));
        // Agreement 35 of 50, by chance 0.5.
        let plain = kappa(&[[20, 5], [10, 15]]).unwrap();
        assert!((plain - 0.4).abs() < 1e-12, "{plain}");
        let near = kappa(&[[5, 1, 0], [0, 5, 0], [0, 0, 5]]).unwrap();
        let far = kappa(&[[5, 0, 1], [0, 5, 0], [0, 0, 5]]).unwrap();
        assert!(near > far);
        assert_eq!(kappa(&[[3, 0], [0, 0]]), None);
    }

    #[test]
    fn rates_come_from_the_right_cells() {
        let pairs = [(true, true), (true, true), (true, false), (false, false), (false, true)];
        let table = TwoByTwo::count(pairs);
        assert_eq!(table, TwoByTwo { hit: 2, missed: 1, wrong: 1, none: 1 });
        assert_eq!(table.sensitivity(), Some(2.0 / 3.0));
        assert_eq!(table.specificity(), Some(0.5));
        assert_eq!(TwoByTwo::default().sensitivity(), None);
    }

    #[test]
    fn auc_counts_pairs_in_order() {
        assert_eq!(auc(&[(true, 0.9), (true, 0.4), (false, 0.4), (false, 0.1)]), Some(0.875));
        assert_eq!(auc(&[(true, 0.9)]), None);
    }

    #[test]
    fn an_interval_holds_its_value_and_narrows_with_patients() {
        let width = |n: usize| {
            let patients: Vec<f64> = (0..n).map(|i| (i % 2) as f64).collect();
            let Estimate { value, interval } =
                bootstrap(&patients, |p| mean(p.iter().map(|x| **x))).unwrap();
            let Interval { low, high } = interval.unwrap();
            assert!(low <= value && value <= high);
            high - low
        };
        assert!(width(10) > 1.5 * width(100));
    }

    #[test]
    fn too_little_gives_a_figure_without_an_interval() {
        let of = |patients: &[f64]| {
            bootstrap(patients, |p| mean(p.iter().map(|x| **x).filter(|x| *x > 0.0))).unwrap()
        };
        let one = of(&[0.7]);
        assert_eq!(one, Estimate { value: 0.7, interval: None });
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"value":0.7}"#);
        assert_eq!(of(&[0.7, 0.0, 0.0, 0.0]).interval, None, "a third of the samples lack it");
        let same = serde_json::to_string(&of(&[0.7, 0.7])).unwrap();
        assert_eq!(same, r#"{"value":0.7,"low":0.7,"high":0.7}"#);
    }
}
