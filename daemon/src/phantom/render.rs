//! From the patient to voxels: partial volume of thick slices, and the truth by majority.

use ndarray::Array3;

use crate::domain::Grid;

use super::scene::{Sample, Scene};
use super::tissue::Signal;
use super::truth::tissue_class;

/// Where a slice is sampled, in shares of its thickness and of a pixel's side. The in-plane corners
/// alternate between depths, so that four samples in depth and four in the plane cost eight.
const SAMPLES: [[f64; 3]; 8] = [
    [-0.375, -0.25, -0.25],
    [-0.375, 0.25, 0.25],
    [-0.125, -0.25, 0.25],
    [-0.125, 0.25, -0.25],
    [0.125, -0.25, -0.25],
    [0.125, 0.25, 0.25],
    [0.375, -0.25, 0.25],
    [0.375, 0.25, -0.25],
];

/// Noise-free images of one series, water and fat apart, in units of the spin-echo formula.
pub(super) struct Clean {
    pub(super) water: Array3<f32>,
    pub(super) fat: Array3<f32>,
}

/// Voxel maps of the truth.
pub(super) struct Maps {
    pub(super) tissue: Array3<u8>,
    pub(super) bodies: Array3<u8>,
    pub(super) discs: Array3<u8>,
    pub(super) modic: Array3<u8>,
    /// Index of the lesion plus 1.
    pub(super) lesion: Array3<u8>,
}

/// Samples the patient on a grid: both contrasts, and the truth.
pub(super) fn render(scene: &Scene, grid: &Grid, thickness_mm: f64) -> ([Clean; 2], Maps) {
    let dim = (grid.shape[0], grid.shape[1], grid.shape[2]);
    let clean = || Clean { water: Array3::zeros(dim), fat: Array3::zeros(dim) };
    let mut images = [clean(), clean()];
    let map = || Array3::<u8>::zeros(dim);
    let mut maps = Maps { tissue: map(), bodies: map(), discs: map(), modic: map(), lesion: map() };
    let share = 1.0 / SAMPLES.len() as f32;
    let in_slice = thickness_mm / grid.spacing[0];
    for s in 0..grid.shape[0] {
        for r in 0..grid.shape[1] {
            for c in 0..grid.shape[2] {
                let at = [s, r, c];
                let mut votes = Votes::default();
                let mut sum = Signal::default();
                for offset in SAMPLES {
                    let index = [
                        s as f64 + offset[0] * in_slice,
                        r as f64 + offset[1],
                        c as f64 + offset[2],
                    ];
                    let sample = scene.sample(grid.to_patient(index).map(|v| v as f32));
                    sum = sum.plus(sample.signal);
                    let Sample { tissue, body, disc, modic, lesion, .. } = sample;
                    votes.add([tissue, body, modic, lesion, disc]);
                }
                for (k, image) in images.iter_mut().enumerate() {
                    image.water[at] = share * sum.water[k];
                    image.fat[at] = share * sum.fat[k];
                }
                let [tissue, body, modic, lesion, disc] = votes.winners();
                maps.tissue[at] = tissue;
                maps.bodies[at] = body;
                maps.discs[at] = disc;
                maps.modic[at] = modic;
                maps.lesion[at] = lesion;
            }
        }
    }
    (images, maps)
}

/// The samples of one voxel: tissue, body, Modic type, lesion, disc.
#[derive(Default)]
struct Votes {
    cast: [[u8; 5]; SAMPLES.len()],
    count: usize,
}

impl Votes {
    fn add(&mut self, values: [u8; 5]) {
        self.cast[self.count] = values;
        self.count += 1;
    }

    /// The voxel's value in the five maps. The tissue is decided first, by majority; then the body or the disc,
    /// if the tissue is one; then whether it is a lesion (half of the samples), and only then which: a
    /// voxel of mixed types is a lesion all the same.
    fn winners(&self) -> [u8; 5] {
        if self.cast.iter().all(|v| *v == self.cast[0]) {
            return self.cast[0];
        }
        let tissue = self.commonest(0, |_| true);
        if ![tissue_class::VERTEBRA, tissue_class::S1].contains(&tissue) {
            return [tissue, 0, 0, 0, self.commonest(4, |v| v[0] == tissue)];
        }
        let body = self.commonest(1, |v| v[0] == tissue);
        let in_lesion = |v: &[u8; 5]| v[1] == body && v[2] > 0;
        if 2 * self.cast.iter().filter(|v| in_lesion(v)).count() < SAMPLES.len() {
            return [tissue, body, 0, 0, 0];
        }
        let lesion = self.commonest(3, in_lesion);
        let modic = self.commonest(2, |v| in_lesion(v) && v[3] == lesion);
        [tissue, body, modic, lesion, 0]
    }

    /// The commonest value of one map among the samples that count; of equals the larger.
    fn commonest(&self, map: usize, counts: impl Fn(&[u8; 5]) -> bool) -> u8 {
        let votes = |value: u8| self.cast.iter().filter(|v| counts(v) && v[map] == value).count();
        self.cast
            .iter()
            .filter(|v| counts(v))
            .map(|v| (votes(v[map]), v[map]))
            .max()
            .map_or(0, |(_, value)| value)
    }
}
