//! Marrow left out of its body: sclerosis beside an endplate is as dark on T1 as cortex and disc, and
//! network 1, which sees T1 alone, may take it for them.

use super::Spine;
use crate::mask;
use crate::segment::Segmentation;

/// How far outside a body network 2 is believed, mm.
const REACH_MM: f64 = 2.0;

/// Gives changed voxels just outside a body to that body.
pub(super) fn claim(spine: &mut Spine, segmentation: &Segmentation) {
    let [_, row_mm, column_mm] = segmentation.t1_ratio.grid.spacing;
    let changed = segmentation.modic_probability.mapv(|p| p >= segmentation.threshold);
    let steps = (REACH_MM / row_mm.max(column_mm)).round() as usize;
    mask::spread(&mut spine.labels, changed.view(), steps);
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::*;
    use crate::domain::{Grid, Volume};

    #[test]
    fn changed_voxels_near_a_body_become_part_of_it() {
        let grid = Grid::upright([1, 20, 10], [4.0, 1.0, 1.0]);
        let ones = Volume::new(Array3::ones((1, 20, 10)), grid);
        let mut modic_probability = Array3::zeros((1, 20, 10));
        modic_probability.slice_mut(s![.., 8..15, 3..6]).fill(0.9);
        let segmentation = Segmentation {
            anatomy: Array3::zeros((1, 20, 10)),
            t2: ones.clone(),
            moved_mm: [0.0; 2],
            t1_ratio: ones.clone(),
            t2_ratio: ones,
            modic_probability,
            threshold: 0.5,
        };
        let mut labels = Array3::zeros((1, 20, 10));
        labels.slice_mut(s![.., ..10, ..]).fill(7);
        let mut spine = Spine { vertebrae: Vec::new(), labels, confidence: 1.0 };
        claim(&mut spine, &segmentation);
        let claimed = spine.labels.slice(s![.., 10.., ..]);
        assert_eq!(claimed.iter().filter(|l| **l == 7).count(), 2 * 3);
        assert!(claimed.slice(s![.., ..2, 3..6]).iter().all(|l| *l == 7));
    }
}
