//! What the scanner does to an image: chemical shift, blur, motion, coil shading, noise.

use ndarray::{Array3, ArrayViewMut2, Axis};

use crate::domain::Grid;

use super::random::{Draw, mix};
use super::render::Clean;
use super::settings::Settings;

/// The coil's sensitivity over space: bright at the back, fading to the front and to both ends.
pub(super) struct Coil {
    ratio: f32,
    middle_z: f32,
    length: f32,
    tilt: f32,
}

impl Coil {
    /// Draws a coil; both series of an exam see the same one.
    pub(super) fn draw(draw: &mut Draw, settings: &Settings) -> Coil {
        Coil {
            ratio: draw.within(settings.shading),
            middle_z: draw.normal(30.0),
            length: draw.uniform(150.0, 350.0),
            tilt: draw.normal(0.08),
        }
    }

    /// Sensitivity at a point (LPS, mm), about 1 in the middle of the field of view.
    fn gain(&self, p: [f64; 3]) -> f32 {
        let (y, z) = (p[1] as f32, p[2] as f32 - self.middle_z);
        let depth = (y - 20.0) / 140.0; // about -1 at the belly, 1 behind the back
        let along = (-(z / self.length).powi(2)).exp() * (1.0 + self.tilt * z / 140.0);
        self.ratio.powf(depth.clamp(-1.4, 1.4)) * along
    }
}

/// How one series was disturbed.
pub(super) struct Disturbance {
    shift_px: f32,
    shift_rows: bool,
    blur_px: f32,
    ghost: f32,
    ghost_px: usize,
    band: Option<(f32, f32)>,
    noise: f32,
    scale: f32,
}

impl Disturbance {
    /// Draws the disturbances of one series.
    pub(super) fn draw(draw: &mut Draw, settings: &Settings, marrow: f32) -> Disturbance {
        let level = draw.uniform(250.0, 900.0);
        Disturbance {
            shift_px: draw.within(settings.chemical_shift_px) * draw.sign(),
            shift_rows: draw.chance(0.6),
            blur_px: draw.uniform(0.35, 0.75),
            ghost: if draw.chance(0.35) { draw.uniform(0.01, 0.05) } else { 0.0 },
            ghost_px: draw.whole(20, settings.rows.max(60) / 3),
            band: draw.chance(0.5).then(|| (draw.uniform(-75.0, -35.0), draw.uniform(0.1, 0.5))),
            noise: draw.log_within(settings.noise) * level,
            scale: level / marrow,
        }
    }

    /// The image as the scanner would store it: whole numbers, 0 to 65535.
    pub(super) fn apply(
        &self,
        draw: &mut Draw,
        clean: Clean,
        grid: &Grid,
        coil: &Coil,
    ) -> Array3<f32> {
        let Clean { water: mut image, mut fat } = clean;
        for (mut slice, mut fat) in image.axis_iter_mut(Axis(0)).zip(fat.axis_iter_mut(Axis(0))) {
            self.shift(&mut fat);
            slice += &fat;
            self.blur(&mut slice);
            self.ghost(&mut slice);
        }
        for ((s, r, c), value) in image.indexed_iter_mut() {
            let p = grid.to_patient([s as f64, r as f64, c as f64]);
            let saturated = self.band.map_or(1.0, |(edge, left)| {
                mix(left, 1.0, ((p[1] as f32 - edge) / 15.0).clamp(0.0, 1.0))
            });
            let signal = *value * self.scale * coil.gain(p) * saturated;
            // Magnitude of a complex signal with noise in both channels: Rician.
            let (real, imaginary) = draw.normals();
            let magnitude = (signal + self.noise * real).hypot(self.noise * imaginary);
            *value = magnitude.round().min(f32::from(u16::MAX));
        }
        image
    }

    /// Moves fat along the readout by a fraction of pixels.
    fn shift(&self, fat: &mut ArrayViewMut2<'_, f32>) {
        let lanes = Axis(usize::from(!self.shift_rows));
        for mut lane in fat.lanes_mut(lanes) {
            let old = lane.to_vec();
            let at = |i: f32| old[(i.max(0.0) as usize).min(old.len() - 1)];
            for (i, value) in lane.iter_mut().enumerate() {
                let from = i as f32 - self.shift_px;
                let low = from.floor();
                *value = mix(at(low), at(low + 1.0), from - low);
            }
        }
    }

    /// Point spread of the acquisition and small motion: three taps in each direction.
    fn blur(&self, slice: &mut ArrayViewMut2<'_, f32>) {
        let side = (-0.5 / (self.blur_px * self.blur_px)).exp();
        let taps = [side / (1.0 + 2.0 * side), 1.0 / (1.0 + 2.0 * side)];
        for axis in [Axis(0), Axis(1)] {
            for mut lane in slice.lanes_mut(axis) {
                let old = lane.to_vec();
                for (i, value) in lane.iter_mut().enumerate() {
                    let (before, after) = (i.saturating_sub(1), (i + 1).min(old.len() - 1));
                    *value = taps[0] * (old[before] + old[after]) + taps[1] * old[i];
                }
            }
        }
    }

    /// A faint copy of the image along the phase encoding, as breathing leaves it.
    fn ghost(&self, slice: &mut ArrayViewMut2<'_, f32>) {
        if self.ghost == 0.0 {
            return;
        }
        for mut lane in slice.lanes_mut(Axis(usize::from(self.shift_rows))) {
            let old = lane.to_vec();
            for (i, value) in lane.iter_mut().enumerate() {
                *value += self.ghost * old[(i + self.ghost_px) % old.len()];
            }
        }
    }
}
