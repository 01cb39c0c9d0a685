//! Findings against what is known of endplates and discs.

use ndarray::Array3;
use serde::Serialize;

use super::bodies::whole_bodies;
use super::statistics::share;
use crate::dataset::{Disc, Truth, TruthLesion, UNKNOWN};
use crate::domain::{Endplate, EndplateSide, Grid, Level};
use crate::modic::{Finding, ModicResult, Spine, Vertebra};
use crate::segment::Segmentation;

/// Smaller lesions are neither wanted nor wrong, mm³.
pub const MIN_LESION_MM3: f64 = 100.0;
/// A disc's score is the mean of the highest probabilities in this much marrow beside it, mm³.
const SCORED_MM3: f64 = 50.0;
/// A disc is the program's when the middle between two of its bodies is this near, mm.
const NEAR_MM: f64 = 14.0;

/// One endplate whose truth is known.
#[derive(Debug, Clone, Serialize)]
pub struct EndplateOutcome {
    /// Which.
    pub endplate: Endplate,
    /// What is there.
    pub truth: Option<Change>,
    /// What was found.
    pub found: Option<Change>,
}

/// A Modic change at an endplate, all findings there taken together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// `1`, `2`, `3`, mixed as `1-2`, or `indeterminate`: the largest one's.
    pub pattern: String,
    /// Shares of types 1, 2, 3, %: the largest one's.
    pub composition_percent: [f64; 3],
    /// mm³, of all.
    pub volume_mm3: f64,
    /// % of the body's height, the largest one's.
    pub height_percent: f64,
}

/// One disc that is graded or whose place is known. One that the program doesn't see counts all the same.
#[derive(Debug, Clone, Serialize)]
pub struct DiscOutcome {
    /// Counted up from L5-S1, which is 1.
    pub number: usize,
    /// 0, or the type that a radiologist saw; `None` where only its place is known.
    pub grade: Option<u8>,
    /// Whether the program saw this disc, that is both bodies beside it.
    pub seen: bool,
    /// The largest finding's pattern at its two endplates.
    pub found: Option<String>,
    /// Mean of the highest probabilities of a change beside it, 0 to 1; 0 where the disc wasn't seen.
    pub score: f64,
    /// The number that the program gives to the disc at this place; `None` where the place isn't known or the
    /// program sees no disc there.
    pub counted: Option<usize>,
    /// Whether its place is known.
    pub placed: bool,
}

/// Every endplate of the bodies that the truth shows, if it knows all Modic changes.
pub(super) fn endplates(truth: &Truth, findings: &[Finding]) -> Vec<EndplateOutcome> {
    let (Some(bodies), Some(lesions)) = (&truth.bodies, &truth.lesions) else { return Vec::new() };
    whole_bodies(bodies.view())
        .into_iter()
        .filter_map(|value| Level::above_sacrum(usize::from(value) - 1))
        .flat_map(|level| {
            let both = [EndplateSide::Superior, EndplateSide::Inferior];
            both.map(|side| Endplate { level, side })
        })
        .filter(|e| (e.level, e.side) != (Level::S1, EndplateSide::Inferior))
        .map(|endplate| EndplateOutcome {
            endplate,
            truth: of_lesions(lesions.iter().filter(|l| l.endplate == endplate)),
            found: of_findings(findings.iter().filter(|f| f.endplate == endplate)),
        })
        .collect()
}

/// Other endplates than those of `outcomes` with a finding where the truth has no change: of bodies that the picture cuts,
/// or of what is no body. Where nobody knows what there is, nothing is false. `numbers` is each voxel's finding, from 1.
pub(super) fn false_beyond(
    truth: &Truth,
    outcomes: &[EndplateOutcome],
    findings: &[Finding],
    numbers: &Array3<u16>,
) -> Vec<Endplate> {
    let (Some(bodies), Some(lesions)) = (&truth.bodies, &truth.lesions) else { return Vec::new() };
    let may_be_changed = |at: (usize, usize, usize)| {
        bodies[at] == UNKNOWN || truth.modic.as_ref().is_some_and(|modic| modic[at] != 0)
    };
    let is_false = |(number, finding): &(u16, &Finding)| {
        outcomes.iter().all(|outcome| outcome.endplate != finding.endplate)
            && lesions.iter().all(|lesion| lesion.endplate != finding.endplate)
            && !numbers.indexed_iter().any(|(at, of)| of == number && may_be_changed(at))
    };
    let mut beyond: Vec<Endplate> =
        (1..).zip(findings).filter(is_false).map(|(_, finding)| finding.endplate).collect();
    beyond.dedup();
    beyond
}

/// Dice of changed voxels, of whatever type; `None` where there are none.
pub(super) fn dice(truth: &Array3<u8>, found: &Array3<u8>) -> Option<f64> {
    let changed = |of: &Array3<u8>| of.iter().filter(|kind| **kind != 0).count();
    let both = truth.iter().zip(found).filter(|(a, b)| **a != 0 && **b != 0).count();
    share(2 * both, changed(truth) + changed(found))
}

fn of_lesions<'a>(lesions: impl Iterator<Item = &'a TruthLesion>) -> Option<Change> {
    let mut lesions: Vec<&TruthLesion> = lesions.collect();
    lesions.sort_by(|a, b| b.volume_mm3.total_cmp(&a.volume_mm3));
    let largest = lesions.first()?;
    Some(Change {
        pattern: largest.pattern.clone(),
        composition_percent: largest.composition_percent,
        volume_mm3: lesions.iter().map(|l| l.volume_mm3).sum(),
        height_percent: largest.height_percent,
    })
}

fn of_findings<'a>(findings: impl Iterator<Item = &'a Finding>) -> Option<Change> {
    let mut findings: Vec<&Finding> = findings.collect();
    findings.sort_by(|a, b| b.volume_mm3.total_cmp(&a.volume_mm3));
    let largest = findings.first()?;
    let composition = &largest.composition_percent;
    Some(Change {
        pattern: largest.pattern.clone(),
        composition_percent: [composition.type_1, composition.type_2, composition.type_3]
            .map(f64::from),
        volume_mm3: findings.iter().map(|f| f64::from(f.volume_mm3)).sum(),
        height_percent: f64::from(largest.height_percent),
    })
}

/// Every disc that is graded or whose place is known; of a refused exam, which has no result, none is seen.
pub(super) fn discs(
    truth: &Truth,
    seen: Option<(&Segmentation, &ModicResult)>,
) -> Vec<DiscOutcome> {
    let mut numbers: Vec<usize> = truth.gradings.iter().map(|g| g.disc).collect();
    numbers.extend(truth.discs.iter().map(|d| d.number));
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|number| {
            let place = truth.discs.iter().find(|d| d.number == number);
            let grading = truth.gradings.iter().find(|g| g.disc == number);
            let mut outcome = DiscOutcome {
                number,
                grade: grading.and_then(|g| g.modic),
                seen: false,
                found: None,
                score: 0.0,
                counted: None,
                placed: place.is_some(),
            };
            if let Some((segmentation, result)) = seen {
                let grid = &segmentation.t1_ratio.grid;
                if let Some(pair) = neighbours(&result.spine, number) {
                    outcome.seen = true;
                    outcome.score = score(segmentation, &result.spine, pair);
                }
                outcome.found = found_at(&result.findings, number);
                outcome.counted = place.and_then(|disc| counted(&result.spine, disc, grid));
            }
            outcome
        })
        .collect()
}

/// The bodies below and above a disc.
fn neighbours(spine: &Spine, number: usize) -> Option<[&Vertebra; 2]> {
    let named = |above_sacrum: usize| {
        spine.vertebrae.iter().find(|v| v.level.count_above_sacrum() == above_sacrum)
    };
    Some([named(number.checked_sub(1)?)?, named(number)?])
}

fn found_at(findings: &[Finding], number: usize) -> Option<String> {
    let lower = Level::above_sacrum(number.checked_sub(1)?)?;
    let name = Endplate { level: lower, side: EndplateSide::Superior }.disc()?;
    let at = findings.iter().filter(|f| f.disc.as_ref() == Some(&name));
    at.max_by(|a, b| a.volume_mm3.total_cmp(&b.volume_mm3)).map(|f| f.pattern.clone())
}

/// Mean of the highest probabilities in the halves of both bodies that face the disc.
fn score(segmentation: &Segmentation, spine: &Spine, [lower, upper]: [&Vertebra; 2]) -> f64 {
    let grid = &segmentation.t1_ratio.grid;
    let mut values: Vec<f64> = spine
        .labels
        .indexed_iter()
        .filter(|(at, label)| {
            let row_mm = at.1 as f64 * grid.spacing[1];
            (**label == lower.label && row_mm <= lower.centre[1])
                || (**label == upper.label && row_mm >= upper.centre[1])
        })
        .map(|(at, _)| f64::from(segmentation.modic_probability[at]))
        .collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate((SCORED_MM3 / grid.voxel_mm3()).ceil() as usize);
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The number that the program gives to the disc at a place.
fn counted(spine: &Spine, disc: &Disc, grid: &Grid) -> Option<usize> {
    let index = grid.to_index(disc.middle);
    let at = [1, 2].map(|k| index[k] * grid.spacing[k]);
    let distance = |pair: &[Vertebra]| {
        let middle = [1, 2].map(|k| (pair[0].centre[k] + pair[1].centre[k]) / 2.0);
        (at[0] - middle[0]).hypot(at[1] - middle[1])
    };
    let (pair, off) = spine
        .vertebrae
        .windows(2)
        .map(|pair| (pair, distance(pair)))
        .min_by(|a, b| a.1.total_cmp(&b.1))?;
    (off <= NEAR_MM).then(|| pair[0].level.count_above_sacrum() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Grading;
    use crate::modic::Composition;
    use ndarray::s;

    #[test]
    fn beyond_whole_bodies_a_finding_is_false_unless_the_truth_has_or_may_have_a_change() {
        let shape = (1, 40, 10);
        // L5 and L4; L3, which the border cuts; above it nobody knows.
        let mut bodies = Array3::zeros(shape);
        for (value, rows) in [(2, 24..38), (3, 10..24), (4, 6..10), (UNKNOWN, 0..6)] {
            bodies.slice_mut(s![.., rows, ..]).fill(value);
        }
        let mut numbers = Array3::zeros(shape);
        for (number, rows) in [(1, 12..14), (2, 8..10), (3, 3..5)] {
            numbers.slice_mut(s![.., rows, ..]).fill(number);
        }
        let composition_percent =
            Composition { type_1: 0.0, type_2: 100.0, type_3: 0.0, indeterminate: 0.0 };
        let finding = |(level, side)| Finding {
            number: 0,
            level,
            side,
            disc: None,
            pattern: "2".to_owned(),
            composition_percent,
            volume_mm3: 200.0,
            area_mm2: 50.0,
            height_percent: 20.0,
            height_grade: 'A',
            place: Vec::new(),
            t1_ratio: 1.3,
            t2_ratio: 1.2,
            probability: 0.9,
            slice: 0,
            endplate: Endplate { level, side },
        };
        let findings = [
            (Level::L4, EndplateSide::Superior),
            (Level::L3, EndplateSide::Inferior),
            (Level::L2, EndplateSide::Inferior),
        ]
        .map(finding);
        let lesions = Some(Vec::new());
        let mut truth = Truth { bodies: Some(bodies), lesions, ..Truth::default() };
        let beyond =
            |truth: &Truth| false_beyond(truth, &endplates(truth, &findings), &findings, &numbers);
        assert_eq!(beyond(&truth), [findings[1].endplate]);
        let mut modic = Array3::<u8>::zeros(shape);
        modic[[0, 9, 5]] = 2;
        truth.modic = Some(modic);
        assert_eq!(beyond(&truth), []);
    }

    #[test]
    fn where_nothing_is_found_dice_is_0_if_there_is_a_change_at_all() {
        let mut truth = Array3::<u8>::zeros((1, 4, 4));
        let nothing = truth.clone();
        assert_eq!(dice(&truth, &nothing), None);
        truth[[0, 1, 1]] = 2;
        assert_eq!([dice(&truth, &nothing), dice(&truth, &truth)], [Some(0.0), Some(1.0)]);
    }

    #[test]
    fn in_a_refused_exam_graded_discs_count_as_not_found() {
        let disc = Disc { number: 2, middle: [0.0; 3] };
        let grading = Grading { disc: 3, modic: Some(2) };
        let truth = Truth { discs: vec![disc], gradings: vec![grading], ..Truth::default() };
        let outcomes = discs(&truth, None);
        assert_eq!(outcomes.iter().map(|o| o.grade).collect::<Vec<_>>(), [None, Some(2)]);
        assert_eq!(outcomes.iter().map(|o| o.placed).collect::<Vec<_>>(), [true, false]);
        for outcome in outcomes {
            assert!(!outcome.seen && outcome.score == 0.0);
            assert_eq!((outcome.found, outcome.counted), (None, None));
        }
    }

    #[test]
    fn lesions_at_one_endplate_are_taken_together() {
        let endplate = Endplate { level: Level::L4, side: EndplateSide::Superior };
        let lesion = |pattern: &str, volume_mm3| TruthLesion {
            endplate,
            pattern: pattern.to_owned(),
            composition_percent: [0.0, 100.0, 0.0],
            volume_mm3,
            height_percent: 30.0,
            place: crate::dataset::Place::Central,
        };
        let both = [lesion("1", 50.0), lesion("2", 80.0)];
        let change = of_lesions(both.iter()).unwrap();
        assert_eq!((change.pattern.as_str(), change.volume_mm3), ("2", 130.0));
        assert_eq!(of_lesions(both[..0].iter()), None);
    }
}
