//! Two changes of one body that have grown together are taken apart.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::findings::Voxel;
use crate::domain::Grid;

/// A difference of 1 in the signal ratios is as far as this, mm: where the type changes, another change
/// begins sooner than where the signal stays.
const SIGNAL_MM: f64 = 8.0;
/// Costs are counted in whole thousandths of a mm, so that they have an order.
const PER_MM: f64 = 1000.0;

/// Gives each voxel of a candidate that touches both endplates to the superior or the inferior one: to the
/// endplate from which it is reached on the shorter way inside the candidate.
///
/// A voxel no farther than `contact_mm` from an endplate is where such a way begins.
pub(super) fn split(voxels: Vec<Voxel>, grid: &Grid, contact_mm: f64) -> [Vec<Voxel>; 2] {
    let index: BTreeMap<_, usize> = voxels.iter().enumerate().map(|(i, v)| (v.at, i)).collect();
    let mut owner: Vec<Option<usize>> = vec![None; voxels.len()];
    let mut open = BinaryHeap::new();
    for (i, voxel) in voxels.iter().enumerate() {
        for (side, distance) in voxel.distance.iter().enumerate() {
            if let Some(mm) = distance.filter(|mm| *mm <= contact_mm) {
                open.push(Reverse(((mm * PER_MM) as u64, side, i)));
            }
        }
    }
    while let Some(Reverse((cost, side, i))) = open.pop() {
        if owner[i].is_some() {
            continue;
        }
        owner[i] = Some(side);
        for (at, mm) in neighbours(voxels[i].at, grid) {
            let Some(&next) = index.get(&at).filter(|n| owner[**n].is_none()) else { continue };
            let [a, b] = [voxels[i].signal, voxels[next].signal];
            let jump = f64::from((a[0] - b[0]).abs() + (a[1] - b[1]).abs());
            open.push(Reverse((cost + ((mm + SIGNAL_MM * jump) * PER_MM) as u64, side, next)));
        }
    }
    let mut parts = [Vec::new(), Vec::new()];
    for (voxel, owner) in voxels.into_iter().zip(owner) {
        // A candidate is connected, so a way reaches every voxel of it.
        parts[owner.unwrap_or(0)].push(voxel);
    }
    parts
}

/// The voxels around one, as connected components know them, with their distances in mm.
fn neighbours(
    (s, r, c): (usize, usize, usize),
    grid: &Grid,
) -> impl Iterator<Item = ((usize, usize, usize), f64)> {
    let [slice_mm, row_mm, column_mm] = grid.spacing;
    let across = [s.wrapping_sub(1), s + 1].into_iter().map(move |s| ((s, r, c), slice_mm));
    let offsets = (-1isize..=1).flat_map(|dr| (-1isize..=1).map(move |dc| (dr, dc)));
    let within = offsets.filter(|o| *o != (0, 0)).map(move |(dr, dc)| {
        let at = (s, r.wrapping_add_signed(dr), c.wrapping_add_signed(dc));
        (at, (dr as f64 * row_mm).hypot(dc as f64 * column_mm))
    });
    across.chain(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column of one slice, superior endplate above row 0, inferior one below row 19.
    fn column(signal: impl Fn(usize) -> [f32; 2]) -> (Vec<Voxel>, Grid) {
        let grid = Grid::upright([1, 20, 1], [4.0, 1.0, 1.0]);
        let voxels = (0..20)
            .map(|r| Voxel {
                at: (0, r, 0),
                signal: signal(r),
                own_signal: signal(r),
                distance: [Some(r as f64 + 1.0), Some(20.0 - r as f64)],
                probability: 1.0,
            })
            .collect();
        (voxels, grid)
    }

    #[test]
    fn one_signal_is_divided_in_the_middle() {
        let (voxels, grid) = column(|_| [1.5, 1.3]);
        let [superior, inferior] = split(voxels, &grid, 3.0);
        assert_eq!((superior.len(), inferior.len()), (10, 10));
        assert!(superior.iter().all(|v| v.at.1 < 10));
    }

    #[test]
    fn a_change_of_signal_divides_before_the_middle_does() {
        let (voxels, grid) = column(|r| if r < 5 { [1.5, 1.3] } else { [0.6, 1.6] });
        let [superior, inferior] = split(voxels, &grid, 3.0);
        assert_eq!((superior.len(), inferior.len()), (5, 15));
    }
}
