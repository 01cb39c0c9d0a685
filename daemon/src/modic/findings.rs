//! Findings: connected changes at an endplate, typed, measured and placed.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array3, Zip};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endplates::distance_to;
use super::levels::position;
use super::signals::Signals;
use super::split::split;
use super::typing::{Sample, Signal, T1, T2, type_voxels};
use super::{Composition, Config, Spine, Vertebra};
use crate::domain::{Endplate, EndplateSide, Grid, Level};
use crate::mask;
use crate::segment::Segmentation;

/// A third of the body's depth counts as affected from this share of the finding's voxels.
const THIRD_SHARE: f64 = 0.25;

/// A third of the body's depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Third {
    /// The front.
    Anterior,
    /// The middle.
    Central,
    /// The back.
    Posterior,
}

/// One connected Modic change at one endplate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its number in this result, from 1; the same in the DICOM objects.
    #[serde(default)]
    pub number: usize,
    /// The vertebra.
    pub level: Level,
    /// Its surface.
    pub side: EndplateSide,
    /// The disc it borders, `L4-L5`; the last named vertebra's upper disc has none.
    pub disc: Option<String>,
    /// `1`, `2`, `3`, mixed as `1-2` (mostly 1), or `indeterminate`.
    #[serde(rename = "type")]
    pub pattern: String,
    /// How much of it each type has, %.
    pub composition_percent: Composition,
    /// Volume, mm³.
    pub volume_mm3: f32,
    /// Area of the endplate that is affected, seen along the body's axis, mm².
    pub area_mm2: f32,
    /// How far it reaches from the endplate into the body, % of the body's height.
    pub height_percent: f32,
    /// That as grade: A below 25 %, B up to 50 %, C above.
    pub height_grade: char,
    /// Thirds of the body's depth that hold at least a quarter of it.
    pub place: Vec<Third>,
    /// Mean T1 signal as a share of normal marrow.
    pub t1_ratio: f32,
    /// Mean T2 signal as a share of normal marrow.
    pub t2_ratio: f32,
    /// Mean probability of the likelier half of its voxels, 0 to 1.
    pub probability: f32,
    /// The slice that shows most of it, counted from 0 at the patient's right.
    pub slice: usize,
    /// Which endplate, as one value.
    #[serde(skip, default = "no_endplate")]
    pub endplate: Endplate,
}

/// Stands in where a finding is read back from a document.
fn no_endplate() -> Endplate {
    Endplate { level: Level::S1, side: EndplateSide::Superior }
}

/// A marrow change that touches no endplate (haemangioma, metastasis …): reported apart, never as Modic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OtherMarrowLesion {
    /// The vertebra.
    pub level: Level,
    /// Volume, mm³.
    pub volume_mm3: f32,
    /// Mean T1 signal as a share of normal marrow.
    pub t1_ratio: f32,
    /// Mean T2 signal as a share of normal marrow.
    pub t2_ratio: f32,
    /// Mean probability of the likelier half of its voxels, 0 to 1.
    pub probability: f32,
    /// Slice, row and column of its voxels; not in documents.
    #[serde(skip)]
    pub voxels: Vec<(usize, usize, usize)>,
}

pub(super) struct Found {
    pub map: Array3<u8>,
    /// With the places of its voxels.
    pub findings: Vec<(Finding, Vec<Place>)>,
    pub others: Vec<OtherMarrowLesion>,
}

/// Slice, row, column.
pub(super) type Place = (usize, usize, usize);

/// One voxel of a candidate with all that is asked of it.
pub(super) struct Voxel {
    pub(super) at: Place,
    /// T1 and T2 as shares of normal marrow, quieted.
    pub(super) signal: Signal,
    /// The same as measured; on the body's rim quieted all the same.
    pub(super) own_signal: Signal,
    /// Distance to the superior and to the inferior endplate, mm.
    pub(super) distance: [Option<f64>; 2],
    pub(super) probability: f32,
}

const SIDES: [EndplateSide; 2] = [EndplateSide::Superior, EndplateSide::Inferior];

/// By how much all that is seen is moved before findings are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    /// Added to the network's logits.
    pub logit: f32,
    /// Multiplies the signals of T1 and T2.
    pub signal: [f32; 2],
}

impl Shift {
    /// As it is.
    pub const NONE: Shift = Shift { logit: 0.0, signal: [1.0; 2] };

    /// What becomes of a probability.
    fn probability(&self, probability: f32) -> f32 {
        if self.logit == 0.0 {
            return probability;
        }
        let odds = probability * self.logit.exp();
        odds / (odds + (1.0 - probability))
    }

    /// What a threshold for probabilities is to those that were not shifted.
    fn threshold(&self, probability: f32) -> f32 {
        Shift { logit: -self.logit, ..*self }.probability(probability)
    }
}

pub(super) fn find(
    segmentation: &Segmentation,
    spine: &Spine,
    config: &Config,
    shift: Shift,
) -> Found {
    let grid = &segmentation.t1_ratio.grid;
    let threshold = shift.threshold(segmentation.threshold);
    let grow_to = shift.threshold(config.grow_to_probability).min(threshold);
    let candidates = candidates(segmentation, spine, [grow_to, threshold]);
    let signals = Signals::new(segmentation, spine, &candidates);

    let mut by_candidate: BTreeMap<u16, (&Vertebra, Vec<Voxel>)> = BTreeMap::new();
    for (at, candidate) in candidates.indexed_iter().filter(|(_, c)| **c != 0) {
        let label = spine.labels[at];
        let Some(vertebra) = spine.vertebrae.iter().find(|v| v.label == label) else { continue };
        let shifted = |signal: Signal| std::array::from_fn(|k| signal[k] * shift.signal[k]);
        let quieted = signals.quieted(at);
        let (_, voxels) = by_candidate.entry(*candidate).or_insert((vertebra, Vec::new()));
        voxels.push(Voxel {
            at,
            signal: shifted(quieted),
            own_signal: shifted(signals.own(at).unwrap_or(quieted)),
            probability: shift.probability(segmentation.modic_probability[at]),
            distance: SIDES.map(|side| distance_to(side, at, vertebra, &spine.labels, grid)),
        });
    }
    let mut found =
        Found { map: Array3::zeros(candidates.dim()), findings: Vec::new(), others: Vec::new() };
    for (vertebra, voxels) in by_candidate.into_values() {
        found.take(voxels, vertebra, grid, config);
    }
    found.findings.sort_by(|(a, _), (b, _)| {
        (a.level, a.side).cmp(&(b.level, b.side)).then(b.volume_mm3.total_cmp(&a.volume_mm3))
    });
    for (number, (finding, _)) in (1..).zip(&mut found.findings) {
        finding.number = number;
    }
    found
}

/// Connected voxels of one vertebral body that may belong to a change, numbered from 1: all have one probability,
/// and at least one of them has the other. 0 elsewhere.
fn candidates(
    segmentation: &Segmentation,
    spine: &Spine,
    [grow_to, threshold]: [f32; 2],
) -> Array3<u16> {
    let probability = &segmentation.modic_probability;
    let likely = Zip::from(&spine.labels)
        .and(probability)
        .map_collect(|label, p| if *p >= grow_to { *label } else { 0 });
    let (count, mut candidates) = mask::components(likely.view());
    let mut certain = vec![false; count + 1];
    for (candidate, p) in candidates.iter().zip(probability) {
        certain[usize::from(*candidate)] |= *p >= threshold;
    }
    certain[0] = false;
    candidates.mapv_inplace(|c| if certain[usize::from(c)] { c } else { 0 });
    candidates
}

impl Found {
    /// Sorts one connected candidate into findings or other lesions.
    fn take(&mut self, voxels: Vec<Voxel>, vertebra: &Vertebra, grid: &Grid, config: &Config) {
        let touches = [0, 1].map(|k| {
            voxels.iter().any(|v| v.distance[k].is_some_and(|d| d <= config.endplate_contact_mm))
        });
        let parts: Vec<(Option<EndplateSide>, Vec<Voxel>)> = match touches {
            [false, false] => vec![(None, voxels)],
            [true, false] => vec![(Some(EndplateSide::Superior), voxels)],
            [false, true] => vec![(Some(EndplateSide::Inferior), voxels)],
            [true, true] => {
                let [superior, inferior] = split(voxels, grid, config.endplate_contact_mm);
                vec![
                    (Some(EndplateSide::Superior), superior),
                    (Some(EndplateSide::Inferior), inferior),
                ]
            }
        };
        for (side, voxels) in parts {
            let volume = voxels.len() as f64 * grid.voxel_mm3();
            if voxels.is_empty() || volume < config.min_volume_mm3 {
                continue;
            }
            let Some(side) = side else {
                self.others.push(OtherMarrowLesion {
                    level: vertebra.level,
                    volume_mm3: volume as f32,
                    t1_ratio: mean(&voxels, T1),
                    t2_ratio: mean(&voxels, T2),
                    probability: probability(&voxels),
                    voxels: voxels.iter().map(|voxel| voxel.at).collect(),
                });
                continue;
            };
            let (kinds, composition) = type_voxels(&samples(&voxels), config);
            for (voxel, kind) in voxels.iter().zip(&kinds) {
                self.map[voxel.at] = kind.voxel_value();
            }
            let finding = finding(&voxels, composition, side, vertebra, grid, config);
            self.findings.push((finding, voxels.iter().map(|voxel| voxel.at).collect()));
        }
    }
}

/// What is asked of a finding's voxels when they are typed.
fn samples(voxels: &[Voxel]) -> Vec<Sample> {
    let places: BTreeSet<_> = voxels.iter().map(|v| v.at).collect();
    voxels
        .iter()
        .map(|v| {
            let (s, r, c) = v.at;
            let neighbours = [
                (s, r.wrapping_sub(1), c),
                (s, r + 1, c),
                (s, r, c.wrapping_sub(1)),
                (s, r, c + 1),
            ];
            let is_inside = neighbours.iter().all(|n| places.contains(n));
            Sample { signal: v.signal, own: v.own_signal, probability: v.probability, is_inside }
        })
        .collect()
}

/// Measures one finding; `voxels` is not empty.
fn finding(
    voxels: &[Voxel],
    composition: Composition,
    side: EndplateSide,
    vertebra: &Vertebra,
    grid: &Grid,
    config: &Config,
) -> Finding {
    let endplate = Endplate { level: vertebra.level, side };
    let index = usize::from(side == EndplateSide::Inferior);
    let mut depths: Vec<f64> = voxels.iter().filter_map(|v| v.distance[index]).collect();
    depths.sort_by(f64::total_cmp);
    // The 95th percentile: one stray voxel is no height.
    let reach = depths.get((depths.len().saturating_sub(1)) * 95 / 100).copied().unwrap_or(0.0);
    let height_percent = (100.0 * reach / vertebra.height_mm).min(100.0) as f32;

    // Narrower ones than the pixels are would stay empty in part.
    let column_mm = grid.spacing[1].max(grid.spacing[2]);
    let mut columns = BTreeSet::new();
    let mut thirds = [0usize; 3];
    let mut slices: BTreeMap<usize, usize> = BTreeMap::new();
    for voxel in voxels {
        let depth = vertebra.depth_of(position(voxel.at, grid));
        columns.insert((voxel.at.0, (depth / column_mm).round() as i64));
        let third = (3.0 * (depth / vertebra.depth_mm + 0.5)).floor().clamp(0.0, 2.0) as usize;
        thirds[third] += 1;
        *slices.entry(voxel.at.0).or_default() += 1;
    }
    let place = [Third::Anterior, Third::Central, Third::Posterior]
        .into_iter()
        .zip(thirds)
        .filter(|(_, n)| *n as f64 >= THIRD_SHARE * voxels.len() as f64)
        .map(|(third, _)| third)
        .collect();
    Finding {
        number: 0, // given when all are known
        level: vertebra.level,
        side,
        disc: endplate.disc(),
        pattern: composition.pattern(config),
        composition_percent: composition,
        volume_mm3: (voxels.len() as f64 * grid.voxel_mm3()) as f32,
        area_mm2: (columns.len() as f64 * column_mm * grid.spacing[0]) as f32,
        height_percent,
        height_grade: match height_percent {
            h if h < 25.0 => 'A',
            h if h <= 50.0 => 'B',
            _ => 'C',
        },
        place,
        t1_ratio: mean(voxels, T1),
        t2_ratio: mean(voxels, T2),
        probability: probability(voxels),
        slice: slices.into_iter().max_by_key(|(_, n)| *n).map_or(0, |(slice, _)| slice),
        endplate,
    }
}

/// Mean of the likelier half: the border, where any network is in doubt, doesn't count.
fn probability(voxels: &[Voxel]) -> f32 {
    let mut values: Vec<f32> = voxels.iter().map(|v| v.probability).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate(values.len().div_ceil(2));
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

/// Mean signal on T1 (0) or T2 (1).
fn mean(voxels: &[Voxel], series: usize) -> f32 {
    voxels.iter().map(|v| v.signal[series]).sum::<f32>() / voxels.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_gives_way_to_a_shift_of_logits() {
        let shift = Shift { logit: 3f32.ln(), ..Shift::NONE };
        assert!((shift.threshold(0.75) - 0.5).abs() < 1e-6);
        assert!((shift.probability(0.5) - 0.75).abs() < 1e-6);
        assert_eq!([0.0, 1.0].map(|p| shift.threshold(p)), [0.0, 1.0]);
        assert_eq!(Shift::NONE.threshold(0.15), 0.15);
    }

    #[test]
    fn an_area_is_that_of_its_columns_whichever_side_of_a_pixel_is_longer() {
        for (row_mm, column_mm) in [(0.5, 0.9), (0.9, 0.5), (0.7, 0.7)] {
            let grid = Grid::upright([1, 80, 60], [4.0, row_mm, column_mm]);
            let columns = (9.0 / column_mm) as usize;
            let voxel = |k| Voxel {
                at: (0, 20 + k / columns, 10 + k % columns),
                signal: [1.5, 1.5],
                own_signal: [1.5, 1.5],
                distance: [Some(1.0), None],
                probability: 0.9,
            };
            let voxels: Vec<Voxel> = (0..5 * columns).map(voxel).collect();
            let config = Config::default();
            let (_, composition) = type_voxels(&samples(&voxels), &config);
            let vertebra = Vertebra::upright(Level::L5, 1);
            let side = EndplateSide::Superior;
            let area = finding(&voxels, composition, side, &vertebra, &grid, &config).area_mm2;
            let truth = (columns as f64 * column_mm * 4.0) as f32;
            assert!((area - truth).abs() < 4.1, "{row_mm} {column_mm}: {area} {truth}");
        }
    }
}
