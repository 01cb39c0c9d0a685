//! The signals that are typed: a candidate's own, quieted, without its dark rim.

use ndarray::{Array3, Zip};

use super::Spine;
use crate::mask;
use crate::segment::Segmentation;

/// Voxels nearer to the body's surface than this are a mixture with cortex: they take their signal from
/// the candidate's inner neighbours, mm.
const RIM_MM: f64 = 1.3;
/// Reach of the mean that quiets noise before typing, mm. Wider, and the two types of a mixed change
/// blur into one.
const SMOOTH_MM: f64 = 0.7;
/// Reach where a rim voxel's inner neighbours are looked for, mm.
const WIDE_MM: f64 = 2.0;

/// T1 and T2 ratios at the candidates, each the mean over the candidates' inner voxels nearby: noise is
/// quieted and the dark rim of cortex doesn't pass for sclerosis.
pub(super) fn quieted(
    segmentation: &Segmentation,
    spine: &Spine,
    candidates: &Array3<u16>,
) -> [Array3<f32>; 2] {
    let grid = &segmentation.t1_ratio.grid;
    let pixel_mm = [grid.spacing[1], grid.spacing[2]];
    let bodies = spine.labels.mapv(|l| l != 0);
    let mut inner = mask::erode(bodies.view(), RIM_MM, pixel_mm);
    Zip::from(&mut inner).and(candidates).for_each(|inner, c| *inner &= *c != 0);
    let reach = pixel_mm.map(|p| (SMOOTH_MM / p).ceil() as usize);
    let wide = pixel_mm.map(|p| (WIDE_MM / p).ceil() as usize);
    let (_, rows, columns) = candidates.dim();
    let mean_around = |ratio: &Array3<f32>, (s, r, c): (usize, usize, usize), reach: [usize; 2]| {
        let (mut sum, mut count) = (0.0, 0);
        for r in r.saturating_sub(reach[0])..(r + reach[0] + 1).min(rows) {
            for c in c.saturating_sub(reach[1])..(c + reach[1] + 1).min(columns) {
                if inner[[s, r, c]] {
                    sum += ratio[[s, r, c]];
                    count += 1;
                }
            }
        }
        (count > 0).then(|| sum / count as f32)
    };
    [&segmentation.t1_ratio.data, &segmentation.t2_ratio.data].map(|ratio| {
        let mut quiet = ratio.clone();
        for (at, _) in candidates.indexed_iter().filter(|(_, c)| **c != 0) {
            let around = mean_around(ratio, at, reach).or_else(|| mean_around(ratio, at, wide));
            if let Some(mean) = around {
                quiet[at] = mean;
            }
        }
        quiet
    })
}
