//! The signals that are typed: a candidate's own and quieted ones, without its dark rim.

use ndarray::{Array3, Zip};

use super::Spine;
use super::findings::Place;
use super::typing::Signal;
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

/// T1 and T2 ratios at the candidates: noise is quieted by the mean over the candidates' inner voxels nearby, and the dark
/// rim of cortex doesn't pass for sclerosis.
pub(super) struct Signals<'a> {
    ratios: [&'a Array3<f32>; 2],
    /// The candidates without their rim.
    inner: Array3<bool>,
    /// How many rows and columns away counts as near, and where nothing inner is near.
    reaches: [[usize; 2]; 2],
}

impl<'a> Signals<'a> {
    pub(super) fn new(
        segmentation: &'a Segmentation,
        spine: &Spine,
        candidates: &Array3<u16>,
    ) -> Signals<'a> {
        let Segmentation { t1_ratio, t2_ratio, .. } = segmentation;
        let pixel_mm = [t1_ratio.grid.spacing[1], t1_ratio.grid.spacing[2]];
        let bodies = spine.labels.mapv(|l| l != 0);
        let mut inner = mask::erode(bodies.view(), RIM_MM, pixel_mm);
        Zip::from(&mut inner).and(candidates).for_each(|inner, c| *inner &= *c != 0);
        let reaches = [SMOOTH_MM, WIDE_MM].map(|mm| pixel_mm.map(|p| (mm / p).ceil() as usize));
        Signals { ratios: [&t1_ratio.data, &t2_ratio.data], inner, reaches }
    }

    /// What a voxel of a candidate itself has; none on the rim, where cortex is mixed into it.
    pub(super) fn own(&self, place: Place) -> Option<Signal> {
        self.inner[place].then(|| self.ratios.map(|ratio| ratio[place]))
    }

    /// The mean around a voxel of a candidate.
    pub(super) fn quieted(&self, place: Place) -> Signal {
        self.ratios.map(|ratio| {
            let mut means = self.reaches.iter().filter_map(|reach| self.mean(ratio, place, *reach));
            means.next().unwrap_or(ratio[place])
        })
    }

    /// Over the inner voxels around a place; none where there are none.
    fn mean(&self, ratio: &Array3<f32>, (s, r, c): Place, reach: [usize; 2]) -> Option<f32> {
        let (_, rows, columns) = ratio.dim();
        let (mut sum, mut count) = (0.0, 0);
        for r in r.saturating_sub(reach[0])..(r + reach[0] + 1).min(rows) {
            for c in c.saturating_sub(reach[1])..(c + reach[1] + 1).min(columns) {
                if self.inner[[s, r, c]] {
                    sum += ratio[[s, r, c]];
                    count += 1;
                }
            }
        }
        (count > 0).then(|| sum / count as f32)
    }
}
