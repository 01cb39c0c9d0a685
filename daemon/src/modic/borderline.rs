//! Findings whose type hangs on little.

use super::findings::{Shift, find};
use super::{Config, Finding, Spine};
use crate::segment::Segmentation;

/// By how much the networks' logits are shifted up and down. Rounding to integers shifts the mean of a finding by less
/// than 0.8 in 95 of 100 (models/training/README.md).
const LOGIT: f32 = 1.2;
/// By which factor signals are; rounding changes them by less than 3 %, since the marrow's reference changes.
const SIGNAL: f32 = 1.06;

/// Whether one of `findings` would have another type if all probabilities, all signals of T1 or all of T2 were somewhat
/// higher or lower. Of several at one endplate the largest counts.
pub(super) fn any_is_borderline(
    findings: &[Finding],
    segmentation: &Segmentation,
    spine: &Spine,
    config: &Config,
) -> bool {
    let signals = [1.0 / SIGNAL, SIGNAL];
    let signals = signals.into_iter().flat_map(|t1| signals.map(|t2| [t1, t2]));
    let mut shifts =
        signals.flat_map(|signal| [-LOGIT, LOGIT].map(|logit| Shift { logit, signal }));
    !findings.is_empty()
        && shifts.any(|shift| {
            let found = find(segmentation, spine, config, shift).findings;
            let mut seen = None;
            findings.iter().any(|finding| {
                // Sorted by endplate, the largest first.
                let is_largest = seen.replace(finding.endplate) != Some(finding.endplate);
                let after = found.iter().find(|(f, _)| f.endplate == finding.endplate);
                is_largest && after.is_some_and(|(f, _)| f.pattern != finding.pattern)
            })
        })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::*;
    use crate::domain::{Grid, Level, Volume};
    use crate::modic::Vertebra;

    /// A change under the upper endplate of a body, of this T1 signal, bright on T2; the probability of `weak` more
    /// rows beyond it is just below the threshold, and their T1 signal is low.
    fn is_borderline(t1: f32, weak: usize) -> bool {
        let shape = [1, 40, 30];
        let grid = Grid::upright(shape, [4.0, 1.0, 1.0]);
        let of = |value: f32| Volume::new(Array3::from_elem(shape, value), grid.clone());
        let (mut t1_ratio, mut t2_ratio) = (of(1.0), of(1.0));
        let mut modic_probability = Array3::zeros(shape);
        let change = s![.., 10..16, 5..25];
        t1_ratio.data.slice_mut(change).fill(t1);
        modic_probability.slice_mut(change).fill(0.9);
        let beyond = s![.., 16..16 + weak, 5..25];
        t1_ratio.data.slice_mut(beyond).fill(0.5);
        modic_probability.slice_mut(beyond).fill(0.4);
        t2_ratio.data.slice_mut(s![.., 10..16 + weak, 5..25]).fill(1.6);
        let mut labels = Array3::zeros(shape);
        labels.slice_mut(s![.., 10..30, ..]).fill(7);
        let vertebrae = vec![Vertebra::upright(Level::L5, 7)];
        let spine = Spine { vertebrae, labels, confidence: 1.0 };
        let segmentation = Segmentation {
            anatomy: Array3::zeros(shape),
            t2: of(1.0),
            moved_mm: [0.0; 2],
            t1_ratio,
            t2_ratio,
            modic_probability,
            threshold: 0.5,
        };
        let config = Config { grow_to_probability: 0.5, ..Config::default() };
        let findings = find(&segmentation, &spine, &config, Shift::NONE).findings;
        let findings: Vec<Finding> = findings.into_iter().map(|(finding, _)| finding).collect();
        assert_eq!(findings.len(), 1);
        any_is_borderline(&findings, &segmentation, &spine, &config)
    }

    #[test]
    fn a_signal_near_a_threshold_is_borderline() {
        assert!(!is_borderline(1.5, 0));
        assert!(is_borderline(1.17, 0));
        assert!(is_borderline(1.13, 0));
        assert!(!is_borderline(1.0, 0));
    }

    #[test]
    fn so_is_a_second_type_just_below_the_probability_that_counts() {
        assert!(is_borderline(1.5, 4));
    }
}
