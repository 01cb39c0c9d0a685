//! From the patient to voxels: partial volume of thick slices, and the truth by majority.

use ndarray::Array3;

use crate::domain::Grid;

use super::scene::Scene;

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
    let mut maps = Maps { tissue: map(), bodies: map(), modic: map(), lesion: map() };
    let share = 1.0 / SAMPLES.len() as f32;
    let in_slice = thickness_mm / grid.spacing[0];
    for s in 0..grid.shape[0] {
        for r in 0..grid.shape[1] {
            for c in 0..grid.shape[2] {
                let at = [s, r, c];
                let mut votes = Votes::default();
                for offset in SAMPLES {
                    let index = [
                        s as f64 + offset[0] * in_slice,
                        r as f64 + offset[1],
                        c as f64 + offset[2],
                    ];
                    let sample = scene.sample(grid.to_patient(index).map(|v| v as f32));
                    for (k, image) in images.iter_mut().enumerate() {
                        image.water[at] += share * sample.signal.water[k];
                        image.fat[at] += share * sample.signal.fat[k];
                    }
                    votes.add([sample.tissue, sample.body, sample.modic, sample.lesion]);
                }
                let [tissue, body, modic, lesion] = votes.winners();
                maps.tissue[at] = tissue;
                maps.bodies[at] = body;
                // A voxel keeps a lesion only where its majority also is a named body.
                maps.modic[at] = if body > 0 { modic } else { 0 };
                maps.lesion[at] = if maps.modic[at] > 0 { lesion } else { 0 };
            }
        }
    }
    (images, maps)
}

/// Counts the samples of one voxel in four maps at once.
#[derive(Default)]
struct Votes {
    cast: [[u8; SAMPLES.len()]; 4],
    count: usize,
}

impl Votes {
    fn add(&mut self, values: [u8; 4]) {
        for (map, value) in self.cast.iter_mut().zip(values) {
            map[self.count] = value;
        }
        self.count += 1;
    }

    /// The commonest value of each map; the larger of two equally common ones.
    fn winners(mut self) -> [u8; 4] {
        let modic = self.cast[2];
        let lesion_votes = modic.iter().filter(|m| **m > 0).count();
        std::array::from_fn(|k| {
            let mut votes = self.cast[k];
            // "Lesion or not" is decided first, then which; mixed voxels would lose otherwise.
            if k >= 2 {
                if 2 * lesion_votes < SAMPLES.len() {
                    return 0;
                }
                for (vote, kind) in votes.iter_mut().zip(modic) {
                    if kind == 0 {
                        *vote = 0;
                    }
                }
            }
            self.cast[k] = votes;
            commonest(&votes, k >= 2)
        })
    }
}

/// The commonest value, zeros left out if `skip_zero`.
fn commonest(values: &[u8], skip_zero: bool) -> u8 {
    let mut best = (0, 0);
    for &value in values.iter().filter(|v| !skip_zero || **v > 0) {
        let count = values.iter().filter(|v| **v == value).count();
        best = best.max((count, value));
    }
    best.1
}
