//! Modic changes and haemangiomas: where they lie, what they consist of.
//!
//! The daemon types a voxel by its signal over the patient's normal marrow, r1 on T1w and r2 on T2w: type 1
//! has r1 < 0.85 and r2 > 1.15, type 2 r1 > 1.15 and r2 >= 0.85, type 3 both < 0.85. The ratios drawn here
//! keep clear of these thresholds ([`RATIOS`]), so that before partial volume and noise every voxel of a
//! lesion obeys the rule.

use crate::domain::{Endplate, EndplateSide, ModicType};

use super::random::{Draw, Texture};
use super::settings::Settings;
use super::spine::{ENDPLATE_MM, Point, S1, Vertebra};
use super::tissue::{Palette, Signal};

/// Ranges of r1 and r2 of the types 1, 2, 3, before the texture of [`TEXTURE`].
pub(super) const RATIOS: [[[f32; 2]; 2]; 3] =
    [[[0.45, 0.72], [1.35, 2.0]], [[1.32, 1.9], [1.08, 1.6]], [[0.22, 0.65], [0.2, 0.62]]];
/// Share of a lesion's signal that comes from fat, by type.
const FAT_SHARE: [f32; 3] = [0.1, 0.9, 0.15];
/// Largest relative deviation of a lesion's signal from place to place.
pub(super) const TEXTURE: f32 = 0.07;
/// Kinds of lesion that are drawn (main type, other type) and how often, roughly as in the literature.
const KINDS: [([usize; 2], f32); 9] = [
    ([2, 2], 40.0),
    ([1, 1], 24.0),
    ([1, 2], 11.0),
    ([2, 1], 10.0),
    ([3, 3], 8.0),
    ([2, 3], 2.5),
    ([3, 2], 1.5),
    ([1, 3], 1.5),
    ([3, 1], 1.5),
];

/// A lesion before there is a spine to put it in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Index of the body in the chain of the spine.
    pub(super) body: usize,
    side: EndplateSide,
    kind: [usize; 2],
    volume_mm3: f32,
    anterior: bool,
}

impl Plan {
    /// Index of the disc it borders (the body below that disc).
    pub(super) fn disc(&self) -> usize {
        match self.side {
            EndplateSide::Superior => self.body,
            EndplateSide::Inferior => self.body - 1,
        }
    }
}

/// Draws which endplates get a lesion.
pub(super) fn plan(draw: &mut Draw, settings: &Settings) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    if settings.max_lesions == 0 || draw.chance(settings.healthy_share) {
        return plans;
    }
    let wanted = draw.whole(1, settings.max_lesions);
    const TRIES: usize = 40;
    for _ in 0..TRIES {
        if plans.len() >= wanted {
            break;
        }
        // Two thirds lie at L4-L5 and L5-S1; the others get rarer towards the head.
        let above = draw.weighted(&[34.0, 33.0, 13.0, 9.0, 6.0, 3.5, 1.5]);
        let disc = S1 + above;
        let kind = KINDS[draw.weighted(&KINDS.map(|k| k.1))].0;
        let high = above >= 3;
        let range = if high {
            [settings.lesion_mm3[0], 900.0_f64.min(settings.lesion_mm3[1])]
        } else {
            settings.lesion_mm3
        };
        let volume_mm3 = draw.log_within(range);
        let anterior = high && draw.chance(0.8);
        let both = draw.chance(if high { 0.3 } else { 0.6 });
        let first = draw.chance(0.5);
        for (superior, wanted_here) in [(true, both || first), (false, both || !first)] {
            let (body, side) = if superior {
                (disc, EndplateSide::Superior)
            } else {
                (disc + 1, EndplateSide::Inferior)
            };
            let taken = plans.iter().any(|p| p.body == body && p.side == side);
            if wanted_here && !taken && plans.len() < wanted {
                let volume_mm3 = volume_mm3 * draw.uniform(0.6, 1.4);
                plans.push(Plan { body, side, kind, volume_mm3, anterior });
            }
        }
    }
    plans
}

/// How the two types of a mixed lesion share its place.
#[derive(Debug, Clone, Copy)]
enum Split {
    /// The second type fills the core, up to this distance.
    Core(f32),
    /// The second type lies beyond a plane in this direction, at this distance.
    Side([f32; 2], f32),
}

/// A Modic change in its vertebra's frame: half an ellipsoid on the endplate with an irregular border.
#[derive(Debug, Clone)]
pub(super) struct Lesion {
    pub(super) body: usize,
    pub(super) endplate: Endplate,
    at: [f32; 2],
    axes: Point,
    ragged: f32,
    kind: [usize; 2],
    split: Split,
    signals: [Signal; 3],
}

impl Lesion {
    /// Shapes a planned lesion for the body it lies in; `None` if that body has no name.
    pub(super) fn shape(
        draw: &mut Draw,
        plan: &Plan,
        body: &Vertebra,
        palette: &Palette,
    ) -> Option<Lesion> {
        let endplate = Endplate { level: body.level?, side: plan.side };
        let round = (plan.volume_mm3 * 1.5 / std::f32::consts::PI).cbrt();
        let depth = (round * draw.uniform(0.5, 1.25)).clamp(2.6, 1.8 * body.half[2]);
        let spread = (plan.volume_mm3 * 1.5 / (std::f32::consts::PI * depth)).sqrt();
        let aspect = draw.uniform(0.85, 1.4);
        let axes = [
            (spread * aspect).clamp(3.5, 1.3 * body.half[0]),
            (spread / aspect).clamp(3.0, 1.3 * body.half[1]),
            depth,
        ];
        let place = if plan.anterior { 0 } else { draw.weighted(&[0.42, 0.28, 0.30]) };
        let reach = (body.half[1] - 0.6 * axes[1]).max(0.0);
        let y = [-1.0, 0.0, 1.0][place] * reach * draw.uniform(0.75, 1.0)
            + if place == 1 { draw.normal(2.0) } else { 0.0 };
        let x = draw.uniform(-0.6, 0.6) * (body.half[0] - 0.5 * axes[0]).max(0.0);
        let share = draw.uniform(0.3, 0.45);
        let split = if draw.chance(0.55) {
            // A core of this radius holds `share` of a half ball, whichever type is the core.
            Split::Core(share.cbrt())
        } else {
            let angle = draw.uniform(0.0, std::f32::consts::TAU);
            Split::Side([angle.cos(), angle.sin()], (0.5 - share) * draw.uniform(0.4, 1.0))
        };
        Some(Lesion {
            body: plan.body,
            endplate,
            at: [x, y],
            axes,
            ragged: draw.uniform(0.12, 0.35),
            kind: plan.kind,
            split,
            signals: draw_signals(draw, palette),
        })
    }

    /// The type of this lesion at a point of its vertebra's marrow, or `None` outside it.
    pub(super) fn at(&self, body: &Vertebra, q: Point, texture: &Texture) -> Option<ModicType> {
        // The bony endplate itself is the lesion's lid, so that every lesion reaches it.
        let depth = (body.depth(self.endplate.side, q) - ENDPLATE_MM).max(0.0);
        let d = [
            (q[0] - self.at[0]) / self.axes[0],
            (q[1] - self.at[1]) / self.axes[1],
            depth / self.axes[2],
        ];
        let r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        if r2 > 2.0 {
            return None;
        }
        let noise = texture.at(q, 4.5) + 0.6 * texture.at([q[1], q[2], q[0]], 2.2);
        let r = r2.sqrt() * (1.0 + self.ragged * noise);
        if r >= 1.0 {
            return None;
        }
        let second = match self.split {
            Split::Core(limit) => r < limit,
            Split::Side(n, limit) => n[0] * d[0] + n[1] * d[1] > limit,
        };
        Some(ModicType::ALL[self.kind[usize::from(second)] - 1])
    }

    /// The signal of one of its types at a point.
    pub(super) fn signal(&self, kind: ModicType, q: Point, texture: &Texture) -> Signal {
        let gain = 1.0 + TEXTURE * texture.at(q, 1.7);
        self.signals[usize::from(kind.voxel_value()) - 1].scaled(gain)
    }
}

/// Draws the signals of the three types in one lesion.
fn draw_signals(draw: &mut Draw, palette: &Palette) -> [Signal; 3] {
    // Marrow can't become brighter than fat.
    let brightest = palette.fat.total()[0] / palette.marrow.total()[0];
    std::array::from_fn(|k| {
        let [mut r1, r2] = RATIOS[k];
        if k == 1 {
            r1[1] = r1[1].min(brightest).max(r1[0] + 0.05);
        }
        let ratio = [draw.uniform(r1[0], r1[1]), draw.uniform(r2[0], r2[1])];
        Signal::of_ratio(palette.marrow, ratio, FAT_SHARE[k])
    })
}

/// A haemangioma: a ball in the marrow, bright on T1w and T2w, that touches no endplate.
#[derive(Debug, Clone)]
pub(super) struct Haemangioma {
    pub(super) body: usize,
    pub(super) centre: Point,
    pub(super) radius: f32,
    signal: Signal,
}

impl Haemangioma {
    /// Least distance from the endplates' surfaces, mm.
    const CLEARANCE_MM: f32 = 3.0;

    /// Draws one in body `index`, or `None` if there is no room clear of the endplates (a low or wedged
    /// body, a Schmorl's node).
    pub(super) fn draw(
        draw: &mut Draw,
        index: usize,
        body: &Vertebra,
        palette: &Palette,
    ) -> Option<Haemangioma> {
        const TRIES: usize = 8;
        (0..TRIES)
            .map(|_| Self::anywhere(draw, index, body, palette))
            .find(|ball| ball.clearance(body) > Self::CLEARANCE_MM)
    }

    fn anywhere(draw: &mut Draw, index: usize, body: &Vertebra, palette: &Palette) -> Haemangioma {
        let room = (body.half[2] - 2.5 - Self::CLEARANCE_MM).max(3.5);
        let radius = draw.uniform(3.0, room);
        let z = draw.uniform(-1.0, 1.0) * (room - radius);
        let y = draw.uniform(-0.5, 0.4) * (body.half[1] - radius).max(0.0);
        let x = draw.uniform(-0.5, 0.5) * (body.half[0] - radius).max(0.0);
        let ratio = [draw.uniform(1.25, 1.75), draw.uniform(1.3, 1.9)];
        let signal = Signal::of_ratio(palette.marrow, ratio, 0.7);
        Haemangioma { body: index, centre: [x, y, z], radius, signal }
    }

    /// Its least distance, along the body's axis, from the endplates' surfaces; mm.
    pub(super) fn clearance(&self, body: &Vertebra) -> f32 {
        const STEPS: i32 = 6;
        let mut least = f32::INFINITY;
        for (i, j) in (-STEPS..=STEPS).flat_map(|i| (-STEPS..=STEPS).map(move |j| (i, j))) {
            let [u, v] = [i, j].map(|n| n as f32 / STEPS as f32);
            let Some(w) = Some(1.0 - u * u - v * v).filter(|w| *w >= 0.0).map(f32::sqrt) else {
                continue;
            };
            for (side, sign) in [(EndplateSide::Superior, 1.0), (EndplateSide::Inferior, -1.0)] {
                let offset = [u, v, sign * w].map(|d| d * self.radius);
                let q = std::array::from_fn(|k| self.centre[k] + offset[k]);
                least = least.min(body.depth(side, q));
            }
        }
        least
    }

    /// Its signal at a point of its vertebra, or `None` outside it.
    pub(super) fn at(&self, q: Point, texture: &Texture) -> Option<Signal> {
        let d2: f32 = (0..3).map(|k| (q[k] - self.centre[k]).powi(2)).sum();
        if d2 > self.radius * self.radius {
            return None;
        }
        // Thick vertical trabeculae run through it.
        let trabeculae = texture.at([q[0], q[1], 0.1 * q[2]], 1.6);
        Some(self.signal.scaled(1.0 + 0.2 * trabeculae))
    }
}
