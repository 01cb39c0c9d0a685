//! Vertebral bodies against their truth: overlap, distance of surfaces, bodies missed or merged.

use std::collections::BTreeMap;

use ndarray::{Array3, ArrayView3};
use serde::Serialize;

use super::statistics::mean;
use crate::dataset::UNKNOWN;
use crate::domain::{Grid, Level};
use crate::modic::Spine;
use crate::quantile::{median, quantile};

/// A body of the truth counts when it is at least this part of the exam's median one: a sliver at the edge of
/// the picture is none.
const WHOLE_BODY: f64 = 0.5;
/// A body is found by the one that covers at least this part of it.
const COVERED: f64 = 0.5;

/// All bodies of an exam.
#[derive(Debug, Clone, Serialize)]
pub struct Bodies {
    /// Dice of all bodies above S1 together.
    pub dice: f64,
    /// Dice of S1, where the truth marks it.
    pub s1_dice: Option<f64>,
    /// One by one, S1 included where the truth marks it.
    pub each: Vec<Body>,
}

/// One body of the truth.
#[derive(Debug, Clone, Serialize)]
pub struct Body {
    /// Its name in the truth.
    pub level: Level,
    /// The name the program gives it; none if it was missed.
    pub named: Option<Level>,
    /// With the program's body that covers most of it.
    pub dice: f64,
    /// Mean distance of the two surfaces, both ways, mm.
    pub surface_mm: Option<f64>,
    /// 95th percentile of that distance (HD95), mm.
    pub hausdorff95_mm: Option<f64>,
    /// The program's body covers most of another one too.
    pub merged: bool,
}

/// Compares the program's bodies with the truth's (1 is S1, 2 is L5, …), on one grid.
pub(super) fn compare(truth: ArrayView3<u8>, spine: &Spine, grid: &Grid) -> Bodies {
    let known = |at| truth[at] != UNKNOWN;
    let s1 = spine.vertebrae.iter().find(|v| v.level == Level::S1).map(|v| v.label);
    let dice_of = |is_truth: &dyn Fn(u8) -> bool, is_found: &dyn Fn(u16) -> bool| {
        let (mut both, mut sum) = (0usize, 0usize);
        for (at, truth) in truth.indexed_iter().filter(|(at, _)| known(*at)) {
            let (a, b) = (is_truth(*truth), is_found(spine.labels[at]));
            both += usize::from(a && b);
            sum += usize::from(a) + usize::from(b);
        }
        2.0 * both as f64 / sum.max(1) as f64
    };
    let marks_s1 = truth.iter().any(|t| *t == 1);
    let dice = dice_of(&|t| t > 1, &|f| f != 0 && Some(f) != s1);
    let s1_dice = marks_s1.then(|| dice_of(&|t| t == 1, &|f| f != 0 && Some(f) == s1));

    let mut overlaps: BTreeMap<u8, BTreeMap<u16, usize>> = BTreeMap::new();
    for (at, value) in truth.indexed_iter().filter(|(at, t)| **t != 0 && known(*at)) {
        *overlaps.entry(*value).or_default().entry(spine.labels[at]).or_default() += 1;
    }

    let covering = |value: u8| {
        let by_label = &overlaps[&value];
        let size: usize = by_label.values().sum();
        let (label, voxels) =
            by_label.iter().filter(|(label, _)| **label != 0).max_by_key(|(_, voxels)| **voxels)?;
        (*voxels as f64 >= COVERED * size as f64).then_some(*label)
    };
    let whole = whole_bodies(truth);
    let found: Vec<Option<u16>> = whole.iter().map(|value| covering(*value)).collect();
    let each = whole
        .iter()
        .zip(&found)
        .filter_map(|(value, label)| {
            let level = Level::above_sacrum(usize::from(*value) - 1)?;
            let merged = label.is_some() && found.iter().filter(|f| *f == label).count() > 1;
            let name = |label: u16| spine.vertebrae.iter().find(|v| v.label == label);
            let surfaces = label.and_then(|label| {
                surface_distances(
                    &truth.mapv(|t| t == *value),
                    &spine.labels.mapv(|l| l == label),
                    grid,
                )
            });
            Some(Body {
                level,
                named: label.and_then(name).map(|v| v.level),
                dice: label.map_or(0.0, |label| dice_of(&|t| t == *value, &|f| f == label)),
                surface_mm: surfaces.as_ref().and_then(|d| mean(d.iter().copied())),
                hausdorff95_mm: surfaces.and_then(|d| quantile(&d, 0.95)),
                merged,
            })
        })
        .collect();
    Bodies { dice, s1_dice, each }
}

/// The truth's bodies that count, from the lowest up.
pub(super) fn whole_bodies(truth: ArrayView3<u8>) -> Vec<u8> {
    let mut sizes: BTreeMap<u8, f64> = BTreeMap::new();
    for value in truth.iter().filter(|t| **t != 0 && **t != UNKNOWN) {
        *sizes.entry(*value).or_default() += 1.0;
    }
    let least = WHOLE_BODY * median(sizes.values().copied()).unwrap_or(0.0);
    sizes.into_iter().filter(|(_, size)| *size >= least).map(|(value, _)| value).collect()
}

/// Distance of every surface voxel of either mask to the other's nearest one, mm, sorted; `None` where one is
/// empty. The picture's edge is no surface.
fn surface_distances(a: &Array3<bool>, b: &Array3<bool>, grid: &Grid) -> Option<Vec<f64>> {
    let [a, b] = [a, b].map(|mask| surface(mask, grid));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let nearest = |from: &[f64; 3], to: &[[f64; 3]]| {
        let squared = |q: &[f64; 3]| (0..3).map(|k| (from[k] - q[k]).powi(2)).sum::<f64>();
        to.iter().map(squared).fold(f64::INFINITY, f64::min).sqrt()
    };
    let mut distances: Vec<f64> =
        a.iter().map(|p| nearest(p, &b)).chain(b.iter().map(|p| nearest(p, &a))).collect();
    distances.sort_by(f64::total_cmp);
    Some(distances)
}

/// Voxels of a mask with a neighbour in their slice outside it, mm. Slices are several times thicker than
/// pixels are wide, so the surface between slices isn't measured.
fn surface(mask: &Array3<bool>, grid: &Grid) -> Vec<[f64; 3]> {
    let (_, rows, columns) = mask.dim();
    mask.indexed_iter()
        .filter(|(_, set)| **set)
        .filter(|((s, r, c), _)| {
            let outside = |r: usize, c: usize| !mask[[*s, r, c]];
            (*r > 0 && outside(r - 1, *c))
                || (r + 1 < rows && outside(r + 1, *c))
                || (*c > 0 && outside(*r, c - 1))
                || (c + 1 < columns && outside(*r, c + 1))
        })
        .map(|((s, r, c), _)| {
            let at = [s, r, c].map(|x| x as f64);
            std::array::from_fn(|k| at[k] * grid.spacing[k])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modic::Vertebra;
    use ndarray::s;

    fn spine(labels: Array3<u16>, levels: &[(Level, u16)]) -> Spine {
        let vertebra = |(level, label): &(Level, u16)| Vertebra {
            level: *level,
            label: *label,
            centre: [0.0; 3],
            superior: [0.0, -1.0, 0.0],
            inferior: [0.0, 1.0, 0.0],
            posterior: [0.0, 0.0, 1.0],
            height_mm: 10.0,
            depth_mm: 20.0,
            volume_mm3: 1000.0,
        };
        Spine { vertebrae: levels.iter().map(vertebra).collect(), labels, confidence: 1.0 }
    }

    /// Three bodies of ten rows: S1 at the bottom, L5, L4.
    fn truth() -> Array3<u8> {
        let mut truth = Array3::zeros((2, 50, 30));
        for (value, row) in [(1, 36), (2, 20), (3, 4)] {
            truth.slice_mut(s![.., row..row + 10, 5..25]).fill(value);
        }
        truth
    }

    fn grid() -> Grid {
        Grid::upright([2, 50, 30], [4.0, 1.0, 1.0])
    }

    #[test]
    fn the_truth_itself_agrees_in_everything() {
        let labels = truth().mapv(u16::from);
        let named = [(Level::S1, 1), (Level::L5, 2), (Level::L4, 3)];
        let found = compare(truth().view(), &spine(labels, &named), &grid());
        assert_eq!((found.dice, found.s1_dice, found.each.len()), (1.0, Some(1.0), 3));
        for body in &found.each {
            assert_eq!((body.named, body.surface_mm), (Some(body.level), Some(0.0)));
            assert!(!body.merged);
        }
    }

    #[test]
    fn a_shifted_body_is_as_far_off_as_it_was_shifted() {
        let mut labels = Array3::zeros((2, 50, 30));
        labels.slice_mut(s![.., 22..32, 5..25]).fill(9u16);
        let found = compare(truth().view(), &spine(labels, &[(Level::L5, 9)]), &grid());
        let body = |level| found.each.iter().find(|b| b.level == level).unwrap();
        assert_eq!(body(Level::L4).named, None);
        assert_eq!(body(Level::L5).dice, 0.8);
        let off = body(Level::L5).surface_mm.unwrap();
        assert!(off > 0.5 && off < 2.0, "{off}");
        assert_eq!(body(Level::L5).hausdorff95_mm, Some(2.0));
    }

    #[test]
    fn slivers_are_no_bodies() {
        let mut bodies = Array3::zeros((1, 40, 10));
        for (value, rows) in [(1, 0..10), (2, 10..20), (3, 20..30), (4, 30..32), (UNKNOWN, 32..40)]
        {
            bodies.slice_mut(s![.., rows, ..]).fill(value);
        }
        assert_eq!(whole_bodies(bodies.view()), [1, 2, 3]);
    }

    #[test]
    fn one_body_over_two_is_merged_and_unknown_voxels_count_for_nothing() {
        let mut truth = truth();
        truth.slice_mut(s![.., 30..36, ..]).fill(UNKNOWN);
        let mut labels = truth.mapv(|t| if t == UNKNOWN { 3 } else { u16::from(t) });
        labels.mapv_inplace(|l| if l == 3 { 2 } else { l });
        let named = [(Level::S1, 1), (Level::L5, 2)];
        let found = compare(truth.view(), &spine(labels, &named), &grid());
        assert_eq!(found.dice, 1.0);
        assert_eq!(found.each.iter().filter(|b| b.merged).count(), 2);
    }
}
