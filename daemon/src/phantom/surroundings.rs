//! Everything that isn't vertebra or disc: canal, fat, muscle, vessels, abdomen, skin.
//!
//! What depends on the height only (course of the canal, depth of the fascia and the skin) stands in
//! tables of one entry a millimetre.

use super::random::{Draw, Texture, mix};
use super::spine::{Point, S1, Spine};
use super::tissue::{Palette, Signal};

/// Lowest and highest z of the tables, mm.
const Z_RANGE: [f32; 2] = [-190.0, 190.0];
/// How far skin and fascia deviate from their tables, mm.
const SKIN_WAVE: f32 = 1.5;
const FASCIA_WAVE: f32 = 1.2;

/// The body's cross-section at one height. Depths are y in LPS, mm.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section {
    canal: [f32; 2],
    canal_half: [f32; 2],
    /// Cosine of the canal's slope: it makes a horizontal distance a perpendicular one.
    upright: f32,
    front: f32,
    fascia: f32,
    skin: f32,
    fat_behind_sac: f32,
}

/// The tissues around the spine.
pub(super) struct Surroundings {
    sections: Vec<Section>,
    conus_z: f32,
    bifurcation_z: f32,
    aorta: [f32; 2],
    cava: [f32; 2],
    belly: f32,
    belly_fat: f32,
    fatty_muscle: f32,
    bowel: f32,
}

/// What the spinal canal is at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Canal {
    Outside,
    Fluid,
    Cord,
    Root,
    /// Epidural fat, outside the sac.
    Fat,
    /// Dura and ligaments.
    Ligament,
}

impl Surroundings {
    /// Draws the surroundings of a spine.
    pub(super) fn draw(draw: &mut Draw, spine: &Spine, age: f32) -> Surroundings {
        let fat_mm = draw.log_within([8.0, 50.0]);
        let lumbar_depth = draw.uniform(34.0, 46.0);
        let mut knots: Vec<(f32, Section)> = Vec::new();
        for (i, body) in spine.bodies.iter().enumerate() {
            let radius = body.canal_half;
            for (share, tight) in [(-0.75, 0.95), (0.0, 1.0), (0.75, 0.95)] {
                let z = share * body.half[2];
                let taper = if i <= S1 { 1.0 + 0.17 * share } else { 1.0 };
                let p = body.to_patient([0.0, body.half[1] * taper + radius + 1.2, z]);
                let front = body.to_patient([0.0, -body.half[1] * taper, z]);
                let depth = if i > S1 { lumbar_depth } else { [11.0, 14.0, 24.0][i] };
                let section = Section {
                    canal: [p[0], p[1]],
                    canal_half: [radius * tight * 1.35, radius * tight],
                    upright: 1.0,
                    front: front[1],
                    fascia: p[1] + depth,
                    skin: 0.0,
                    fat_behind_sac: if share.abs() > 0.5 { 1.0 } else { 0.25 },
                };
                knots.push((p[2], section));
            }
        }
        knots.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = (Z_RANGE[1] - Z_RANGE[0]) as usize + 1;
        let raw: Vec<Section> =
            (0..count).map(|k| between(&knots, Z_RANGE[0] + k as f32)).collect();
        let mut sections = raw.clone();
        smooth(&mut sections, 7, |s| &mut s.canal[0]);
        smooth(&mut sections, 7, |s| &mut s.canal[1]);
        smooth(&mut sections, 5, |s| &mut s.canal_half[0]);
        smooth(&mut sections, 5, |s| &mut s.canal_half[1]);
        smooth(&mut sections, 9, |s| &mut s.front);
        smooth(&mut sections, 25, |s| &mut s.fascia);
        for s in &mut sections {
            s.skin = s.fascia + fat_mm;
        }
        smooth(&mut sections, 45, |s| &mut s.skin);
        for k in 0..count {
            let (a, b) = (sections[k.saturating_sub(3)], sections[(k + 3).min(count - 1)]);
            let slope = (b.canal[1] - a.canal[1]) / 6.0;
            let s = &mut sections[k];
            s.upright = 1.0 / (1.0 + slope * slope).sqrt();
            s.skin = s.skin.max(s.fascia + 5.0);
        }
        let l1 = &spine.bodies[S1 + 5];
        let l4 = &spine.bodies[S1 + 2];
        Surroundings {
            sections,
            conus_z: l1.centre[2] + draw.normal(10.0),
            bifurcation_z: l4.centre[2] + draw.normal(6.0),
            aorta: [draw.uniform(4.0, 12.0), draw.uniform(7.0, 10.0)],
            cava: [draw.uniform(-19.0, -12.0), draw.uniform(7.0, 11.0)],
            belly: draw.uniform(55.0, 130.0),
            belly_fat: draw.uniform(8.0, 30.0),
            fatty_muscle: mix(-0.1, 0.45, age) + draw.normal(0.08),
            bowel: draw.uniform(-0.05, 0.25),
        }
    }

    /// The cross-section at a height.
    pub(super) fn section(&self, z: f32) -> Section {
        let last = self.sections.len() - 1;
        let k = ((z - Z_RANGE[0]).clamp(0.0, last as f32 - 1e-3)) as usize;
        self.sections[k]
    }

    /// What the spinal canal is at a point; `dent` is how far a disc pushes into it, mm.
    pub(super) fn canal(&self, s: &Section, p: Point, dent: f32, texture: &Texture) -> Canal {
        let x = p[0] - s.canal[0];
        let y = (p[1] - s.canal[1]) * s.upright;
        if x.abs() > 2.0 * s.canal_half[0] || y.abs() > 2.5 * s.canal_half[1] {
            return Canal::Outside;
        }
        if y < -s.canal_half[1] + dent {
            return Canal::Outside;
        }
        let (u, v) = (x / s.canal_half[0], y / s.canal_half[1]);
        let r2 = u * u + v * v;
        if r2 < 1.0 {
            return self.inside_sac(p, x, y, s, texture);
        }
        let (inner, outer) = (1.0 + 0.12, 1.0 + 0.12 + 0.9 * s.fat_behind_sac);
        let r = r2.sqrt();
        if r < inner {
            return Canal::Ligament;
        }
        if v > 0.0 && r < outer && u.abs() < 0.8 {
            return Canal::Fat;
        }
        if u.abs() > 0.75 && r < 1.5 { Canal::Fat } else { Canal::Outside }
    }

    fn inside_sac(&self, p: Point, x: f32, y: f32, s: &Section, texture: &Texture) -> Canal {
        let over = p[2] - self.conus_z;
        if over > 0.0 {
            let size = (over / 18.0).min(1.0).sqrt();
            let (u, v) = (x / (4.8 * size), (y - 0.8) / (3.6 * size));
            if u * u + v * v < 1.0 {
                return Canal::Cord;
            }
        }
        // The roots of the cauda equina lie at the back, as strands along the canal.
        let low = (-over / 120.0).clamp(0.0, 1.0);
        let strands = texture.at([x, y, 0.02 * p[2]], 1.6);
        let back = y / s.canal_half[1];
        let dense =
            if over > 10.0 { 0.75 } else { 0.05 + 0.45 * low + 0.55 * (0.3 - back).max(0.0) };
        if strands > dense { Canal::Root } else { Canal::Fluid }
    }

    /// The signal of soft tissue at a point outside spine and canal.
    pub(super) fn soft(&self, s: &Section, p: Point, tex: &Texture, palette: &Palette) -> Signal {
        // Chance is asked for only where it can decide: most points lie clear of skin and fascia.
        if p[1] > s.skin - 2.0 - SKIN_WAVE {
            let skin = s.skin + SKIN_WAVE * tex.at(p, 60.0);
            if p[1] > skin {
                return Signal::default();
            }
            if p[1] > skin - 2.0 {
                return palette.muscle.scaled(0.7);
            }
        }
        if p[1] > s.fascia - FASCIA_WAVE && p[1] > s.fascia + FASCIA_WAVE * tex.at(p, 25.0) {
            let septum = tex.at([p[0], p[1], 3.0 * p[2]], 12.0).abs() < 0.02;
            return palette.fat.scaled(if septum { 0.75 } else { 1.0 });
        }
        if p[1] > s.canal[1] - 2.0 {
            return self.back_muscle(s, p, tex, palette);
        }
        let x = p[0] - s.canal[0];
        let psoas = [(x.abs() - 38.0) / 17.0, (p[1] - s.front - 16.0) / 22.0];
        if psoas[0] * psoas[0] + psoas[1] * psoas[1] < 1.0 {
            return palette.muscle;
        }
        if p[1] > s.front - 2.0 {
            return palette.fat.scaled(0.92);
        }
        self.abdomen(s, p, tex, palette)
    }

    fn back_muscle(&self, s: &Section, p: Point, tex: &Texture, palette: &Palette) -> Signal {
        let x = p[0] - s.canal[0];
        let middle = (1.0 - x.abs() / 7.0).max(0.0);
        let streaks = tex.at([p[0], p[1], 0.25 * p[2]], 4.5) + 0.5 * tex.at(p, 2.2);
        let fat = (streaks * 1.6 + self.fatty_muscle + 0.75 * middle - 0.35).clamp(0.0, 0.9);
        palette.muscle.mixed(palette.fat, fat)
    }

    fn abdomen(&self, s: &Section, p: Point, tex: &Texture, palette: &Palette) -> Signal {
        let over = (self.bifurcation_z - p[2]).max(0.0);
        let slim = 1.0 - 0.3 * (over / 20.0).min(1.0);
        for (vessel, side) in [(self.aorta, 1.0), (self.cava, -1.0)] {
            let radius = vessel[1] * slim;
            let x = p[0] - s.canal[0] - vessel[0] - side * 0.55 * over;
            let y = p[1] - (s.front - 3.0 - radius);
            let r = (x * x + y * y).sqrt();
            if r < radius {
                return if r > radius - 1.2 { palette.muscle.scaled(0.7) } else { palette.void };
            }
        }
        let wall = s.front - self.belly + 10.0 * (p[2] / 90.0).powi(2);
        if p[1] < wall - 10.0 {
            if p[1] < wall - 10.0 - self.belly_fat {
                return Signal::default();
            }
            return palette.fat;
        }
        if p[1] < wall {
            return palette.muscle;
        }
        let gut = tex.at(p, 21.0) + 0.35 * tex.at([p[2], p[0], p[1]], 9.0);
        if gut < self.bowel || p[1] > s.front - 8.0 {
            return palette.fat.scaled(0.85 + 0.1 * tex.at(p, 6.0));
        }
        if gut < self.bowel + 0.12 {
            return palette.muscle.scaled(0.9);
        }
        let filling = tex.at([p[1], p[2], p[0]], 33.0);
        match filling {
            f if f < -0.35 => palette.void,
            f if f > 0.35 => palette.muscle.mixed(palette.fluid, 0.5),
            f => palette.muscle.scaled(0.9 + 0.4 * f).mixed(palette.fat, 0.2),
        }
    }
}

impl Section {
    /// True where neither spine nor canal can be.
    pub(super) fn far_from_spine(&self, p: Point) -> bool {
        p[1] < self.front - 14.0 || p[1] > self.fascia + 4.0
    }
}

/// The section at height `z` between the knots next to it.
fn between(knots: &[(f32, Section)], z: f32) -> Section {
    let above = knots.partition_point(|k| k.0 < z).clamp(1, knots.len() - 1);
    let ((z0, a), (z1, b)) = (knots[above - 1], knots[above]);
    let t = ((z - z0) / (z1 - z0).max(0.1)).clamp(-3.0, 3.0);
    let near = t.clamp(0.0, 1.0);
    Section {
        canal: [mix(a.canal[0], b.canal[0], t), mix(a.canal[1], b.canal[1], t)],
        canal_half: [0, 1].map(|k| mix(a.canal_half[k], b.canal_half[k], near)),
        upright: 1.0,
        front: mix(a.front, b.front, t),
        fascia: mix(a.fascia, b.fascia, t),
        skin: 0.0,
        fat_behind_sac: mix(a.fat_behind_sac, b.fat_behind_sac, near),
    }
}

/// Running mean of one field over `2 * reach + 1` sections.
fn smooth(sections: &mut [Section], reach: usize, field: impl Fn(&mut Section) -> &mut f32) {
    let values: Vec<f32> = sections.iter_mut().map(|s| *field(s)).collect();
    for (k, section) in sections.iter_mut().enumerate() {
        let window = &values[k.saturating_sub(reach)..(k + reach + 1).min(values.len())];
        *field(section) = window.iter().sum::<f32>() / window.len() as f32;
    }
}
