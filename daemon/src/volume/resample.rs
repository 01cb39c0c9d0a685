//! From one grid to another through the patient's coordinates.

use ndarray::{Array3, ArrayView3, Axis};

use super::cubic::{self, Taps};
use crate::domain::{Grid, Volume};

/// Points an axis at which [`overlap_fraction`] looks, at most.
const OVERLAP_SAMPLES: usize = 16;

/// The volume's signal on another grid: cubic in the plane, linear between slices, not below 0; 0 outside. A voxel reaches
/// half its size beyond its centre, so the border voxels' outer halves still belong to the volume. Needs no memory beyond
/// the result.
pub fn resample_onto(volume: &Volume, grid: &Grid) -> Volume {
    let mut data = Array3::<f32>::zeros(grid.shape);
    // Both grids are affine: along a row, the position in the source moves by the same step.
    let start_of_all = volume.grid.to_index(grid.to_patient([0.0; 3]));
    let next = volume.grid.to_index(grid.to_patient([0.0, 0.0, 1.0]));
    let step: [f64; 3] = std::array::from_fn(|k| next[k] - start_of_all[k]);
    for ((s, r), mut row) in (0..grid.shape[0])
        .flat_map(|s| (0..grid.shape[1]).map(move |r| (s, r)))
        .zip(data.rows_mut())
    {
        let start = volume.grid.to_index(grid.to_patient([s as f64, r as f64, 0.0]));
        for (c, value) in row.iter_mut().enumerate() {
            let at = std::array::from_fn(|k| start[k] + c as f64 * step[k]);
            *value = interpolate(volume.data.view(), at);
        }
    }
    Volume::new(data, grid.clone())
}

/// The value at a position in voxels; 0 more than half a voxel outside.
fn interpolate(data: ArrayView3<f32>, at: [f64; 3]) -> f32 {
    if at.iter().zip(data.shape()).any(|(at, n)| !covers(*n, *at)) {
        return 0.0;
    }
    let [rows, columns] = [1, 2].map(|k| Taps::new(at[k], data.shape()[k]));
    let in_slice = |s: usize| cubic::value(data.index_axis(Axis(0), s), &rows, &columns);
    let last = data.shape()[0] - 1;
    let at = at[0].clamp(0.0, last as f64);
    let (low, f) = (at as usize, at.fract() as f32);
    let lower = in_slice(low);
    let value = if f == 0.0 { lower } else { lower + (in_slice(low + 1) - lower) * f };
    value.max(0.0)
}

/// Whether a position lies within `n` voxels, half of one at the border included.
fn covers(n: usize, at: f64) -> bool {
    (-0.5..=n as f64 - 0.5).contains(&at)
}

/// The labels of a volume on another grid: the nearest voxel's; 0 outside.
pub fn labels_onto(labels: &Volume, grid: &Grid) -> Array3<u8> {
    Array3::from_shape_fn(grid.shape, |(s, r, c)| {
        let at = labels.grid.to_index(grid.to_patient([s as f64, r as f64, c as f64]));
        let nearest = at.map(|x| (x + 0.5).floor());
        let inside = nearest.iter().zip(labels.grid.shape).all(|(x, n)| *x >= 0.0 && *x < n as f64);
        if inside { labels.data[nearest.map(|x| x as usize)] as u8 } else { 0 }
    })
}

/// Which voxels of `grid` have their centre within `other`, half voxels at the border included: where
/// [`resample_onto`] has a value to give.
pub fn covered(grid: &Grid, other: &Grid) -> Array3<bool> {
    Array3::from_shape_fn(grid.shape, |(s, r, c)| {
        reaches(other, grid.to_patient([s as f64, r as f64, c as f64]))
    })
}

/// Whether a point (mm) lies within a grid, half voxels at the border included.
fn reaches(grid: &Grid, point: [f64; 3]) -> bool {
    grid.to_index(point).into_iter().zip(grid.shape).all(|(at, n)| covers(n, at))
}

/// How much of `grid` lies within `other`, 0 to 1, half voxels at the border included. An estimate from a
/// regular sample of at most 16³ points.
pub fn overlap_fraction(grid: &Grid, other: &Grid) -> f64 {
    let [slices, rows, columns] = grid.shape.map(|n| {
        let count = n.min(OVERLAP_SAMPLES);
        (0..count).map(move |i| (i as f64 + 0.5) * n as f64 / count as f64 - 0.5)
    });
    let (mut inside, mut all) = (0usize, 0usize);
    for s in slices {
        for r in rows.clone() {
            for c in columns.clone() {
                all += 1;
                inside += usize::from(reaches(other, grid.to_patient([s, r, c])));
            }
        }
    }
    inside as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use nalgebra::{Rotation3, Vector3};
    use proptest::prelude::*;

    use super::*;

    fn grid(shape: [usize; 3], origin: [f64; 3], angle: f64, spacing: [f64; 3]) -> Grid {
        let (s, c) = angle.sin_cos();
        Grid::new(shape, origin, [[c, s, 0.0], [0.0, 0.0, -1.0], [-s, c, 0.0]], spacing).unwrap()
    }

    /// A volume whose value is a linear function of the patient's coordinates, which interpolation reproduces exactly.
    fn linear(p: [f64; 3]) -> f32 {
        (1000.0 + 2.0 * p[0] - 0.5 * p[1] + 0.25 * p[2]) as f32
    }

    fn filled(grid: Grid) -> Volume {
        let data = Array3::from_shape_fn(grid.shape, |(s, r, c)| {
            linear(grid.to_patient([s as f64, r as f64, c as f64]))
        });
        Volume::new(data, grid)
    }

    prop_compose! {
        /// Turned about all three axes, as stacks are.
        fn any_grid()(
            shape in (2..9usize, 2..24usize, 2..24usize),
            origin in prop::array::uniform3(-30.0..30.0f64),
            spacing in (2.0..8.0f64, 0.3..2.0f64, 0.3..2.0f64),
            turns in prop::array::uniform3(-0.5..0.5f64),
        ) -> Grid {
            let turned = Rotation3::from_euler_angles(turns[0], turns[1], turns[2]);
            let axis = |x, y, z| <[f64; 3]>::from(turned * Vector3::new(x, y, z));
            let axes = [axis(1.0, 0.0, 0.0), axis(0.0, 0.0, -1.0), axis(0.0, 1.0, 0.0)];
            Grid::new(shape.into(), origin, axes, spacing.into()).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_linear_field_survives_any_change_of_grid(from in any_grid(), to in any_grid()) {
            let volume = filled(from);
            let resampled = resample_onto(&volume, &to);
            let covered = covered(&to, &volume.grid);
            for ((s, r, c), value) in resampled.data.indexed_iter() {
                let patient = to.to_patient([s as f64, r as f64, c as f64]);
                let at = volume.grid.to_index(patient);
                let margins = at.iter().zip(volume.grid.shape).map(|(x, n)| x.min(n as f64 - 1.0 - x));
                let margin = margins.fold(f64::INFINITY, f64::min);
                if margin >= 0.0 {
                    let want = linear(patient);
                    prop_assert!((value - want).abs() < 1e-3, "{value} {want} at {s} {r} {c}");
                    prop_assert!(covered[[s, r, c]]);
                } else if margin < -0.5 - 1e-9 {
                    prop_assert_eq!(*value, 0.0);
                    prop_assert!(!covered[[s, r, c]]);
                }
            }
            prop_assert_eq!(resampled.grid, to);
        }

        #[test]
        fn positions_and_coordinates_are_inverse(grid in any_grid(), at in prop::array::uniform3(-50.0..500.0f64)) {
            let back = grid.to_index(grid.to_patient(at));
            for (got, want) in back.into_iter().zip(at) {
                prop_assert!((got - want).abs() < 1e-9, "{got} {want}");
            }
        }
    }

    #[test]
    fn outside_is_zero_but_half_a_voxel_still_counts() {
        let volume = filled(grid([2, 4, 4], [0.0; 3], 0.0, [4.0, 1.0, 1.0]));
        let around =
            resample_onto(&volume, &grid([6, 1, 1], [-3.9, 0.0, 0.0], 0.0, [2.0, 1.0, 1.0]));
        let is_zero: Vec<bool> = around.data.iter().map(|v| *v == 0.0).collect();
        assert_eq!(is_zero, [true, false, false, false, false, true]);
        let covered = covered(&around.grid, &volume.grid);
        assert!(covered.iter().zip(is_zero).all(|(covered, is_zero)| *covered != is_zero));
    }

    #[test]
    fn overlap_is_the_part_of_the_first_in_the_second() {
        let a = grid([10, 100, 100], [0.0; 3], 0.0, [4.0, 1.0, 1.0]);
        let half = grid([10, 50, 100], [0.0; 3], 0.0, [4.0, 1.0, 1.0]);
        assert_eq!(overlap_fraction(&a, &a), 1.0);
        assert_eq!(overlap_fraction(&a, &half), 0.5);
        assert_eq!(overlap_fraction(&half, &a), 1.0);
        let elsewhere = grid([10, 100, 100], [200.0, 0.0, 0.0], 0.0, [4.0, 1.0, 1.0]);
        assert_eq!(overlap_fraction(&a, &elsewhere), 0.0);
    }
}
