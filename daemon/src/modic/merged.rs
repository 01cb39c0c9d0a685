//! Vertebral bodies that have grown together in the segmentation are taken apart.

use std::ops::Range;

use ndarray::Array3;

use super::levels::{Body, Vec3, dot, minus, position, unit};
use crate::domain::Grid;
use crate::quantile::median;

/// A height above this multiple of the median one is more than one body.
const MERGED_FACTOR: f64 = 1.6;
/// What a cut leaves is at least this share of the median height.
const LEAST_SHARE: f64 = 0.6;
/// Steps along the spine, mm.
const STEP_MM: f64 = 1.0;

/// Divides bodies much higher than the median across the spine, where they are narrowest: what is left of a disc lies there.
/// True if any was.
pub(super) fn divide_merged(labels: &mut Array3<u16>, bodies: &[Body], grid: &Grid) -> bool {
    if bodies.len() < 3 {
        return false;
    }
    let mut bodies: Vec<&Body> = bodies.iter().collect();
    bodies.sort_by(|a, b| a.centre[1].total_cmp(&b.centre[1]));
    let profiles: Vec<Profile> = (0..bodies.len())
        .map(|i| {
            let [above, below] = [i.saturating_sub(1), (i + 1).min(bodies.len() - 1)];
            let down = unit(minus(bodies[below].centre, bodies[above].centre));
            Profile::of(bodies[i], down, labels, grid)
        })
        .collect();
    let typical = median(profiles.iter().map(|p| p.height_mm(0..p.areas.len()))).unwrap_or(0.0);
    let mut divided = false;
    for (body, profile) in bodies.into_iter().zip(profiles) {
        let cuts = if body.is_s1 { Vec::new() } else { profile.cuts(typical) };
        if cuts.is_empty() {
            continue;
        }
        divided = true;
        let largest = labels.iter().copied().max().unwrap_or(0);
        for (at, label) in labels.indexed_iter_mut().filter(|(_, label)| **label == body.label) {
            let step = profile.step(position(at, grid));
            match cuts.iter().filter(|cut| step >= **cut).count() {
                0 => {}
                part => *label = largest + part as u16,
            }
        }
    }
    divided
}

/// How much of a body lies where along the spine.
struct Profile {
    centre: Vec3,
    /// Along the spine.
    down: Vec3,
    /// Where the first step begins, mm from the centre.
    from_mm: f64,
    /// Voxels of each step and its neighbours.
    areas: Vec<usize>,
}

impl Profile {
    fn of(body: &Body, down: Vec3, labels: &Array3<u16>, grid: &Grid) -> Profile {
        let places = labels.indexed_iter().filter(|(_, label)| **label == body.label);
        let places: Vec<Vec3> = places.map(|(at, _)| position(at, grid)).collect();
        let mut profile = Profile { centre: body.centre, down, from_mm: 0.0, areas: Vec::new() };
        profile.from_mm = places.iter().map(|at| profile.along(*at)).fold(f64::INFINITY, f64::min);
        let mut counts = Vec::new();
        for at in &places {
            let step = profile.step(*at);
            counts.resize(counts.len().max(step + 1), 0);
            counts[step] += 1;
        }
        // Rows don't lie as far apart as steps: one holds more of them than the next.
        let count = |step: Option<usize>| step.and_then(|s| counts.get(s)).copied().unwrap_or(0);
        let area = |s: usize| count(s.checked_sub(1)) + 2 * count(Some(s)) + count(Some(s + 1));
        profile.areas = (0..counts.len()).map(area).collect();
        profile
    }

    fn along(&self, at: Vec3) -> f64 {
        dot(minus(at, self.centre), self.down)
    }

    fn step(&self, at: Vec3) -> usize {
        ((self.along(at) - self.from_mm) / STEP_MM) as usize
    }

    /// Of what lies in these steps, without the outermost twentieth at either end.
    fn height_mm(&self, steps: Range<usize>) -> f64 {
        let areas = &self.areas[steps];
        let all: usize = areas.iter().sum();
        let passed = areas.iter().scan(0, |sum, area| {
            *sum += area;
            Some(*sum)
        });
        passed.filter(|sum| 20 * sum > all && 20 * sum < 19 * all).count() as f64 * STEP_MM
    }

    /// The steps that begin a new body, for bodies of about this height.
    fn cuts(&self, typical_mm: f64) -> Vec<usize> {
        let least = ((LEAST_SHARE * typical_mm / STEP_MM) as usize).max(1);
        let whole = 0..self.areas.len();
        let (mut cuts, mut open) = (Vec::new(), vec![whole]);
        while let Some(part) = open.pop() {
            let middle = part.start.midpoint(part.end);
            let cut = (part.start + least..part.end.saturating_sub(least))
                .min_by_key(|step| (self.areas[*step], step.abs_diff(middle)))
                .filter(|_| self.height_mm(part.clone()) >= MERGED_FACTOR * typical_mm);
            if let Some(cut) = cut {
                cuts.push(cut);
                open.extend([part.start..cut, cut..part.end]);
            }
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::super::levels::measure;
    use super::*;

    /// Bodies of 20 rows, discs of 5; the upper ones (as many as `merged`) are joined behind `front` columns of disc.
    fn labels_after(merged: usize, front: usize, row_mm: f64) -> (Array3<u16>, bool) {
        let shape = [2, 6 * 25, 30];
        let grid = Grid::upright(shape, [4.0, row_mm, 1.0]);
        let mut labels = Array3::zeros(shape);
        for i in 0..6 {
            let label = if i < merged { 1 } else { i as u16 + 1 };
            labels.slice_mut(s![.., 25 * i..25 * i + 20, ..]).fill(label);
            if i + 1 < merged {
                labels.slice_mut(s![0, 25 * i + 20..25 * i + 25, front..]).fill(label);
            }
        }
        let anatomy = Array3::zeros(shape);
        let bodies = measure(&labels, anatomy.view(), &grid);
        let divided = divide_merged(&mut labels, &bodies, &grid);
        (labels, divided)
    }

    #[test]
    fn merged_bodies_are_divided_at_their_discs() {
        for (merged, front, row_mm) in [(2, 5, 1.0), (2, 25, 0.6), (3, 5, 0.8), (3, 15, 1.3)] {
            let (labels, divided) = labels_after(merged, front, row_mm);
            assert!(divided);
            let mut seen: Vec<u16> = (0..6)
                .map(|i| {
                    // Steps and rows don't end together.
                    let body = labels.slice(s![.., 25 * i + 1..25 * i + 19, ..]);
                    let label = body[[0, 0, 0]];
                    assert!(body.iter().all(|l| *l == label), "{merged} merged, body {i}");
                    label
                })
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 6, "{merged} merged");
        }
    }

    #[test]
    fn bodies_apart_are_left_alone() {
        assert!(!labels_after(1, 0, 1.0).1);
    }

    #[test]
    fn where_bodies_are_a_few_steps_high_cutting_ends() {
        let areas = vec![4; 12];
        let profile = Profile { centre: [0.0; 3], down: [0.0, 1.0, 0.0], from_mm: 0.0, areas };
        assert!(profile.cuts(STEP_MM).len() < 12);
    }
}
