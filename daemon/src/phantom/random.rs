//! Random draws and smooth random fields, both reproducible from a seed.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// The phantom's source of chance.
pub(super) struct Draw(Pcg64);

impl Draw {
    /// A stream of draws; the same `seed` and `stream` give the same draws.
    pub(super) fn new(seed: u64, stream: u64) -> Draw {
        Draw(Pcg64::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream))
    }

    /// Uniform in `[low, high)`.
    pub(super) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// Uniform in `[range[0], range[1])`.
    pub(super) fn within(&mut self, range: [f64; 2]) -> f32 {
        self.uniform(range[0] as f32, range[1] as f32)
    }

    /// Log-uniform in `[range[0], range[1])`.
    pub(super) fn log_within(&mut self, range: [f64; 2]) -> f32 {
        self.uniform(range[0].ln() as f32, range[1].ln() as f32).exp()
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    /// A whole number in `[low, high]`.
    pub(super) fn whole(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low as u64..=high as u64) as usize
    }

    /// -1 or 1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// The index of one of `weights`, drawn in proportion to them.
    pub(super) fn weighted(&mut self, weights: &[f32]) -> usize {
        let mut left = self.uniform(0.0, weights.iter().sum());
        for (i, w) in weights.iter().enumerate() {
            if left < *w {
                return i;
            }
            left -= w;
        }
        weights.len() - 1
    }

    /// Two independent standard normal numbers (Box and Muller 1958).
    pub(super) fn normals(&mut self) -> (f32, f32) {
        let radius = (-2.0 * (1.0 - self.0.random::<f32>()).ln()).sqrt();
        let (s, c) = (std::f32::consts::TAU * self.0.random::<f32>()).sin_cos();
        (radius * c, radius * s)
    }

    /// One normal number.
    pub(super) fn normal(&mut self, sd: f32) -> f32 {
        self.normals().0 * sd
    }
}

/// Points along one edge of a [`Texture`]'s periodic lattice; a power of two.
const LATTICE: usize = 32;

/// A smooth random field over space, periodic, values in `[-1, 1]`.
pub(super) struct Texture(Vec<f32>);

impl Texture {
    /// Draws the lattice.
    pub(super) fn new(draw: &mut Draw) -> Texture {
        Texture((0..LATTICE.pow(3)).map(|_| draw.uniform(-1.0, 1.0)).collect())
    }

    /// The value at a position (mm), for structures of about `size` mm.
    pub(super) fn at(&self, p: [f32; 3], size: f32) -> f32 {
        let mut low = [0usize; 3];
        let mut part = [0.0f32; 3];
        for k in 0..3 {
            let q = p[k] / size;
            let floor = q.floor();
            // Two's complement makes the mask right for negative positions too.
            low[k] = (floor as i32 as usize) & (LATTICE - 1);
            let f = q - floor;
            part[k] = f * f * (3.0 - 2.0 * f);
        }
        let high = low.map(|i| (i + 1) & (LATTICE - 1));
        let row = |i: usize, j: usize| {
            let base = (i * LATTICE + j) * LATTICE;
            mix(self.0[base + low[2]], self.0[base + high[2]], part[2])
        };
        let near = mix(row(low[0], low[1]), row(low[0], high[1]), part[1]);
        let far = mix(row(high[0], low[1]), row(high[0], high[1]), part[1]);
        mix(near, far, part[0])
    }
}

/// Linear interpolation from `a` (share 0) to `b` (share 1).
pub(super) fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}
