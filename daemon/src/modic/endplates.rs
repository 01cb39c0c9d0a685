//! How far a voxel lies from the endplates of its vertebra.

use ndarray::Array3;

use super::Vertebra;
use super::levels::position;
use crate::domain::{EndplateSide, Grid, Level};

/// Step along the ray, mm.
const STEP_MM: f64 = 0.5;
/// An endplate lies in this outer share of a body's half height; a ray that leaves elsewhere left through
/// the waist.
const OUTER_SHARE: f64 = 0.4;

/// Distance from a voxel to the body's surface along an endplate's direction, mm; `None` where that way
/// leads out through the front, the back or the waist, and for the lower surface of S1, which has grown
/// together with S2 and is no endplate.
pub fn distance_to(
    side: EndplateSide,
    at: (usize, usize, usize),
    vertebra: &Vertebra,
    labels: &Array3<u16>,
    grid: &Grid,
) -> Option<f64> {
    let direction = match side {
        EndplateSide::Superior => vertebra.superior,
        EndplateSide::Inferior if vertebra.level == Level::S1 => return None,
        EndplateSide::Inferior => vertebra.inferior,
    };
    let start = position(at, grid);
    let steps = (1.5 * vertebra.height_mm / STEP_MM) as usize;
    for step in 1..=steps {
        let travelled = step as f64 * STEP_MM;
        let here: [f64; 3] = std::array::from_fn(|k| start[k] + travelled * direction[k]);
        // The ray stays in its slice: slices are far apart and the spine is nearly in their plane.
        let index = [at.0 as f64, here[1] / grid.spacing[1], here[2] / grid.spacing[2]];
        let label = index
            .iter()
            .all(|i| *i > -0.5)
            .then(|| labels.get(index.map(|i| i.round() as usize)))
            .flatten();
        if label != Some(&vertebra.label) {
            let height = vertebra.height_of(here);
            let outward = if side == EndplateSide::Superior { height } else { -height };
            return (outward > OUTER_SHARE * vertebra.height_mm / 2.0).then_some(travelled);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_surfaces_of_a_body_are_endplates_but_s1_has_only_the_upper_one() {
        let grid = Grid::upright([1, 40, 30], [4.0, 1.0, 1.0]);
        let mut labels = Array3::zeros(grid.shape);
        labels.slice_mut(ndarray::s![.., 10..30, ..]).fill(7);
        let distances = |level| {
            let vertebra = Vertebra::upright(level, 7);
            [EndplateSide::Superior, EndplateSide::Inferior]
                .map(|side| distance_to(side, (0, 20, 15), &vertebra, &labels, &grid))
        };
        assert_eq!(distances(Level::L5), [Some(11.0), Some(9.5)]);
        assert_eq!(distances(Level::S1), [Some(11.0), None]);
    }
}
