//! Does a probability of 0.7 mean seven in ten?

use serde::Serialize;

use super::Exam;

/// Equal widths from 0 to 1.
const BINS: usize = 10;

/// Probabilities against frequencies.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reliability {
    /// From 0 to 1 in equal steps.
    pub bins: [Bin; BINS],
}

/// Those with nearly the same probability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub count: usize,
    /// How many of them are changed in truth.
    pub changed: usize,
    /// Sum of their probabilities.
    pub probability_sum: f64,
}

impl Bin {
    /// Mean probability and frequency; `None` where there is nobody.
    pub fn point(&self) -> Option<(f64, f64)> {
        let n = self.count as f64;
        (self.count > 0).then(|| (self.probability_sum / n, self.changed as f64 / n))
    }
}

impl Reliability {
    pub(super) fn add(&mut self, probability: f64, changed: bool) {
        let bin = &mut self.bins[((probability * BINS as f64) as usize).min(BINS - 1)];
        bin.count += 1;
        bin.changed += usize::from(changed);
        bin.probability_sum += probability;
    }

    fn merge(&mut self, other: &Reliability) {
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            bin.count += more.count;
            bin.changed += more.changed;
            bin.probability_sum += more.probability_sum;
        }
    }

    fn merged<'a>(all: impl IntoIterator<Item = &'a Reliability>) -> Reliability {
        let mut sum = Reliability::default();
        all.into_iter().for_each(|r| sum.merge(r));
        sum
    }

    pub(super) fn count(&self) -> usize {
        self.bins.iter().map(|b| b.count).sum()
    }

    /// Expected calibration error (Naeini et al. 2015): mean distance of probability and frequency, by bins.
    pub(super) fn error(&self) -> Option<f64> {
        let off: f64 = self
            .bins
            .iter()
            .filter_map(|bin| bin.point().map(|(p, f)| bin.count as f64 * (p - f).abs()))
            .sum();
        (self.count() > 0).then(|| off / self.count() as f64)
    }
}

/// Of the voxels of these exams.
pub(super) fn of_voxels(exams: &[&Exam]) -> Reliability {
    Reliability::merged(exams.iter().map(|e| &e.voxels))
}

/// Of the graded discs of these exams that the program saw: their score against "any Modic change".
pub(super) fn of_discs(exams: &[&Exam]) -> Reliability {
    let mut sum = Reliability::default();
    for disc in exams.iter().flat_map(|e| &e.discs).filter(|d| d.seen) {
        if let Some(grade) = disc.grade {
            sum.add(disc.score, grade > 0);
        }
    }
    sum
}

/// What the report shows.
pub(super) fn of(exams: &[Exam]) -> Vec<(&'static str, Reliability)> {
    let all: Vec<&Exam> = exams.iter().collect();
    [("voxels of vertebral bodies", of_voxels(&all)), ("graded discs", of_discs(&all))]
        .into_iter()
        .filter(|(_, r)| r.count() > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_zero_when_frequencies_are_the_probabilities() {
        let mut good = Reliability::default();
        let mut bad = Reliability::default();
        for i in 0..100 {
            good.add(0.25, i % 4 == 0);
            bad.add(0.95, i % 4 == 0);
        }
        assert!(good.error().unwrap() < 1e-12);
        assert!((bad.error().unwrap() - 0.7).abs() < 1e-12);
        good.add(1.0, true);
        assert_eq!(good.bins[9].count, 1);
        assert_eq!(Reliability::default().error(), None);
    }
}
