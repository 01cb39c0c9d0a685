//! The whole patient as a function of space: ask any point what it is.

use crate::domain::{EndplateSide, Level};

use super::lesion::{self, Haemangioma, Lesion};
use super::random::{Draw, Texture};
use super::settings::Settings;
use super::spine::{BodyPart, Point, S1, Spine, Vertebra};
use super::surroundings::{Canal, Section, Surroundings};
use super::tissue::{Palette, Protocol, Signal};
use super::truth::tissue_class;

/// What one point of the patient is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) signal: Signal,
    /// Class of the tissue map.
    pub(super) tissue: u8,
    /// Value of the map of bodies.
    pub(super) body: u8,
    /// Value of the map of discs.
    pub(super) disc: u8,
    /// Value of the Modic map.
    pub(super) modic: u8,
    /// Index of its lesion plus 1, or 0.
    pub(super) lesion: u8,
}

/// How far, in y and z (LPS, mm), a body with its discs lies from the body's middle.
const BODY_BOX: [[f32; 2]; 2] = [[-36.0, 36.0], [-38.0, 38.0]];
/// Likewise its arch and processes.
const POSTERIOR_BOX: [[f32; 2]; 2] = [[-20.0, 80.0], [-60.0, 60.0]];

/// Whether a point is in a box around a vertebra: a cheap way to skip most of them.
fn near(body: &Vertebra, p: Point, [y, z]: [[f32; 2]; 2]) -> bool {
    let (dy, dz) = (p[1] - body.centre[1], p[2] - body.centre[2]);
    y[0] < dy && dy < y[1] && z[0] < dz && dz < z[1]
}

/// A patient.
pub(super) struct Scene {
    pub(super) spine: Spine,
    pub(super) lesions: Vec<Lesion>,
    pub(super) haemangiomas: Vec<Haemangioma>,
    pub(super) palette: Palette,
    around: Surroundings,
    texture: Texture,
}

impl Scene {
    /// Draws a patient; L3 lies near the origin.
    pub(super) fn draw(draw: &mut Draw, settings: &Settings, protocol: Protocol) -> Scene {
        let age = draw.uniform(0.0, 1.0);
        let plans = lesion::plan(draw, settings);
        let mut worn = [false; 12];
        for plan in &plans {
            worn[plan.disc()] = true;
        }
        let mut spine = Spine::draw(draw, age, &worn);
        let l3 = spine.bodies[S1 + 3].centre;
        let height = draw.uniform(-20.0, 12.0) - if draw.chance(0.08) { 22.0 } else { 0.0 };
        let wanted = [draw.normal(2.0), draw.uniform(5.0, 32.0), height];
        spine.shift([wanted[0] - l3[0], wanted[1] - l3[1], wanted[2] - l3[2]]);

        let marrow_fat = (0.33 + 0.22 * age + draw.normal(0.05)).clamp(0.25, 0.6);
        let palette = Palette::new(protocol, marrow_fat);
        let lesions = plans
            .iter()
            .filter_map(|p| Lesion::shape(draw, p, &spine.bodies[p.body], &palette))
            .collect::<Vec<_>>();
        let mut haemangiomas = Vec::new();
        if draw.chance(0.25) {
            let index = draw.whole(S1 + 1, S1 + 6);
            let alone = lesions.iter().all(|l| l.body != index);
            let ball = Haemangioma::draw(draw, index, &spine.bodies[index], &palette);
            haemangiomas.extend(ball.filter(|_| alone));
        }
        let around = Surroundings::draw(draw, &spine, age);
        let texture = Texture::new(draw);
        Scene { spine, lesions, haemangiomas, palette, around, texture }
    }

    /// What lies at a point (LPS, mm).
    pub(super) fn sample(&self, p: Point) -> Sample {
        let section = self.around.section(p[2]);
        if section.far_from_spine(p) {
            return self.soft(&section, p);
        }
        let mut dent = 0.0;
        let mut lower: Option<(usize, Point)> = None;
        for (i, body) in self.spine.bodies.iter().enumerate() {
            if !near(body, p, BODY_BOX) {
                continue;
            }
            let q = body.to_local(p);
            if q[0].abs() > 1.4 * body.half[0] || q[1].abs() > 1.4 * body.half[1] {
                continue;
            }
            match body.part(q) {
                BodyPart::Outside => {}
                part => return self.in_body(i, q, part),
            }
            if let Some((k, below)) = lower.filter(|(k, _)| k + 1 == i)
                && let Some(sample) = self.in_disc(k, below, q, &mut dent)
            {
                return sample;
            }
            lower = (q[2] > 0.0).then_some((i, q));
        }
        match self.around.canal(&section, p, dent, &self.texture) {
            Canal::Outside => {}
            Canal::Fat => return Sample { signal: self.palette.fat, ..Sample::default() },
            Canal::Ligament => return Sample { signal: self.palette.cortex, ..Sample::default() },
            inside => return self.in_canal(inside),
        }
        let posterior = self
            .spine
            .bodies
            .iter()
            .filter(|b| near(b, p, POSTERIOR_BOX))
            .find_map(|b| self.posterior_element(b, b.to_local(p)));
        match posterior {
            Some(signal) => Sample { signal, ..Sample::default() },
            None => self.soft(&section, p),
        }
    }

    fn soft(&self, section: &Section, p: Point) -> Sample {
        let signal = self.around.soft(section, p, &self.texture, &self.palette);
        Sample { signal, ..Sample::default() }
    }

    fn in_canal(&self, part: Canal) -> Sample {
        let signal = match part {
            Canal::Cord => self.palette.cord,
            Canal::Root => self.palette.csf.mixed(self.palette.cord, 0.55),
            _ => self.palette.csf,
        };
        Sample { signal, tissue: tissue_class::CANAL, ..Sample::default() }
    }

    fn in_body(&self, index: usize, q: Point, part: BodyPart) -> Sample {
        let body = &self.spine.bodies[index];
        let mut sample = Sample::default();
        if let Some(level) = body.level {
            sample.body = level.count_above_sacrum() as u8 + 1;
            sample.tissue =
                if level == Level::S1 { tissue_class::S1 } else { tissue_class::VERTEBRA };
        }
        sample.signal = match part {
            BodyPart::Cortex => self.palette.cortex,
            BodyPart::Vein => self.palette.vein.mixed(self.palette.fat, 0.35),
            _ => self.marrow(body, q),
        };
        if part != BodyPart::Marrow {
            return sample;
        }
        for ball in self.haemangiomas.iter().filter(|h| h.body == index) {
            if let Some(signal) = ball.at(q, &self.texture) {
                sample.signal = signal;
            }
        }
        for (k, lesion) in self.lesions.iter().enumerate().filter(|(_, l)| l.body == index) {
            if let Some(kind) = lesion.at(body, q, &self.texture) {
                sample.signal = lesion.signal(kind, q, &self.texture);
                sample.modic = kind.voxel_value();
                sample.lesion = k as u8 + 1;
                break;
            }
        }
        sample
    }

    /// Normal marrow: fat in patches, more of it around the vein's entry.
    fn marrow(&self, body: &Vertebra, q: Point) -> Signal {
        let shifted = [q[0] + 3.0 * body.centre[2], q[1], q[2]];
        let patches = 0.05 * self.texture.at(shifted, 7.0) + 0.14 * self.texture.at(shifted, 2.6);
        let hilum = (1.0 - (q[2] / 5.0).abs()).max(0.0) * (q[1] / body.half[1]).max(0.0);
        let fat = self.palette.marrow_fat + body.fat_offset + patches + 0.06 * hilum;
        self.palette.marrow_of(fat)
    }

    /// The disc above body `k`: `below` and `above` are the point in the frames of its neighbours.
    fn in_disc(&self, k: usize, below: Point, above: Point, dent: &mut f32) -> Option<Sample> {
        let disc = &self.spine.discs[k];
        let (lower, upper) = (&self.spine.bodies[k], &self.spine.bodies[k + 1]);
        let over = -lower.depth(EndplateSide::Superior, below);
        let under = -upper.depth(EndplateSide::Inferior, above);
        if over < 0.0 || under < 0.0 || over + under > 25.0 {
            return None;
        }
        let middle = |v: f32, half: f32| v / half;
        let radius = 0.5 * (lower.radius(below, 1.0) + upper.radius(above, -1.0));
        let t = over / (over + under).max(0.1);
        let bow = 4.0 * t * (1.0 - t);
        let x = middle(below[0], lower.half[0]);
        let back = middle(below[1], lower.half[1]);
        let reach = if back > 0.6 {
            disc.protrusion * (1.0 - 6.0 * x * x).max(0.0) / lower.half[1]
        } else {
            0.0
        };
        let limit = 1.0 + (disc.bulge + reach) * bow;
        if back > 0.3 {
            *dent = (disc.bulge + reach) * bow * lower.half[1] - 1.5;
        }
        if radius > limit {
            return None;
        }
        let (tissue, number) = match k.checked_sub(S1) {
            Some(above_s1) if disc.real => (tissue_class::DISC, above_s1 as u8 + 1),
            _ => (tissue_class::BACKGROUND, 0),
        };
        let wet = ((4.6 - disc.grade) / 3.6).clamp(0.0, 1.0);
        let old = self.palette.nucleus_old;
        let nucleus = old.mixed(self.palette.nucleus_young, wet * wet);
        let centre = [radius / 0.78, (t - 0.5) / 0.42];
        let r = (centre[0].powi(4) + centre[1] * centre[1]).sqrt();
        let mut signal = if r < 1.0 {
            let cleft = wet < 0.85 && (t - 0.5).abs() < 0.07 && radius < 0.6;
            nucleus.scaled(if cleft { 0.8 } else { 1.0 })
        } else {
            nucleus.mixed(self.palette.annulus, ((r - 1.0) * 3.0).min(1.0))
        };
        if radius > 0.93 * limit {
            signal = self.palette.cortex;
        }
        let grain = 1.0 + 0.08 * self.texture.at(below, 2.5);
        Some(Sample { signal: signal.scaled(grain), tissue, disc: number, ..Sample::default() })
    }

    /// Arch, processes and joints of a vertebra: marrow with a dark rim; `None` outside them.
    fn posterior_element(&self, body: &Vertebra, q: Point) -> Option<Signal> {
        let sacral = body.level.is_none_or(|l| l == Level::S1);
        let back = body.half[1] + 2.0 * body.canal_half + 3.0;
        let x = q[0].abs();
        let y = q[1] - back;
        if y < -2.0 * body.canal_half - 6.0 || y > 36.0 || x > 30.0 {
            return None;
        }
        let length = if sacral { 4.0 } else { 14.0 };
        let spinous = [q[0] / 4.0, (y - length) / length, (q[2] + 5.0 + 0.3 * y) / (9.0 + 0.1 * y)];
        let lamina = [x / 15.0, (y - 2.0 + 0.35 * x) / 4.2, (q[2] + 5.0) / 10.0];
        let pedicle = [
            (x - 12.5) / 5.0,
            (y + body.canal_half) / (body.canal_half + 5.0),
            (q[2] - 0.35 * body.half[2]) / 7.0,
        ];
        let joint = [(x - 17.5) / 7.0, (y + 1.0) / 7.5, (q[2] + 4.0) / 17.0];
        let mut rim = f32::INFINITY;
        for (shape, least) in [(spinous, 4.0), (lamina, 4.2), (pedicle, 5.0), (joint, 7.0)] {
            let squares = shape.map(|v| (v * v) * (v * v));
            let r = (squares[0] + squares[1] + squares[2]).sqrt().sqrt();
            if r < 1.0 {
                rim = rim.min(1.0 / ((1.0 - r) * least));
            }
        }
        if rim == f32::INFINITY {
            let nerve = [(q[1] - body.half[1] - 5.0) / 3.0, (q[2] + 0.25 * body.half[2]) / 3.4];
            let crosses = x > 10.0 && nerve[0] * nerve[0] + nerve[1] * nerve[1] < 1.0;
            if crosses {
                return Some(self.palette.cord.scaled(0.85));
            }
            let foramen = x > 8.0 && x < 24.0 && q[1] > body.half[1] * 0.8 && y < -3.0;
            return foramen.then_some(self.palette.fat);
        }
        let cortex = rim > 1.0 / 1.1;
        Some(if cortex { self.palette.cortex } else { self.marrow(body, q) })
    }
}
