//! Shape and pose of the vertebrae and of the discs between them.
//!
//! Every vertebra has a frame of its own: x to the patient's left, y to the back, z to the head, origin in
//! the middle of the body, mm. All surfaces are closed formulas in that frame, so that any point of space
//! can be asked what it is, at any resolution.

use crate::domain::{EndplateSide, Level};

use super::random::{Draw, mix};

/// A point or direction, LPS or a vertebra's frame, mm.
pub(super) type Point = [f32; 3];

/// Thickness of the bony endplate and of the cortex of the walls, mm.
pub(super) const ENDPLATE_MM: f32 = 0.9;
const WALL_MM: f32 = 0.8;

/// A Schmorl's node: disc that bulges through the endplate.
#[derive(Debug, Clone, Copy)]
struct Schmorl {
    side: EndplateSide,
    at: [f32; 2],
    radius: f32,
    depth: f32,
}

/// One vertebra.
#[derive(Debug, Clone)]
pub(super) struct Vertebra {
    /// Its name; `None` for the sacral segments below S1.
    pub(super) level: Option<Level>,
    pub(super) centre: Point,
    axes: [Point; 3],
    /// Half of width (x), depth (y) and height (z) of the body.
    pub(super) half: Point,
    wedge: f32,
    taper: f32,
    waist: f32,
    roundness: f32,
    hollow: [f32; 2],
    osteophyte: [f32; 2],
    schmorl: Option<Schmorl>,
    /// What it adds to the patient's fat fraction of marrow.
    pub(super) fat_offset: f32,
    /// Half of the canal's depth behind this vertebra.
    pub(super) canal_half: f32,
}

/// What a vertebral body is at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum BodyPart {
    Outside,
    Cortex,
    Marrow,
    /// Entry of the basivertebral vein.
    Vein,
}

impl Vertebra {
    /// A point of the patient in this vertebra's frame.
    pub(super) fn to_local(&self, p: Point) -> Point {
        let d = [p[0] - self.centre[0], p[1] - self.centre[1], p[2] - self.centre[2]];
        self.axes.map(|a| a[0] * d[0] + a[1] * d[1] + a[2] * d[2])
    }

    /// A point of this vertebra's frame in the patient.
    pub(super) fn to_patient(&self, local: Point) -> Point {
        std::array::from_fn(|k| {
            self.centre[k] + (0..3).map(|a| local[a] * self.axes[a][k]).sum::<f32>()
        })
    }

    /// Direction of the vertebra's long axis.
    fn up(&self) -> Point {
        self.axes[2]
    }

    /// Distance from the axis in shares of the distance of the wall (1 on the wall), at a height given in
    /// shares of the half height.
    pub(super) fn radius(&self, q: Point, share: f32) -> f32 {
        let t = share.clamp(-1.0, 1.0);
        let front = (-q[1] / self.half[1]).clamp(0.0, 1.0);
        let rim = self.osteophyte[usize::from(t > 0.0)] * front * front;
        let t8 = (t * t) * (t * t) * (t * t) * (t * t);
        let scale = 1.0 + self.taper * t - self.waist * (1.0 - t * t) + rim * t8;
        let u = q[0] / (self.half[0] * scale);
        let mut v = q[1] / (self.half[1] * scale);
        if v > 0.0 {
            v *= 1.0 + 0.09 * (1.0 - 2.0 * u * u).max(-0.5); // the posterior wall is hollow
        }
        let (u2, v2) = (u * u, v * v);
        (u2 * u2 + v2 * v2 + self.roundness * u2 * v2).sqrt().sqrt()
    }

    /// Height of an endplate's surface over the middle of the body (negative for the lower one).
    pub(super) fn endplate(&self, side: EndplateSide, q: Point) -> f32 {
        let (u, v) = (q[0] / self.half[0], q[1] / self.half[1]);
        let rim = self.half[2] * (1.0 - self.wedge * v.clamp(-1.2, 1.2));
        let upper = side == EndplateSide::Superior;
        let inner = (1.0 - u * u - v * v * if v > 0.0 { 0.75 } else { 1.1 }).max(0.0);
        let mut z = rim - self.hollow[usize::from(upper)] * inner.sqrt();
        if let Some(node) = self.schmorl.filter(|n| n.side == side) {
            let (dx, dy) = (q[0] - node.at[0], q[1] - node.at[1]);
            let r2 = (dx * dx + dy * dy) / (node.radius * node.radius);
            z -= node.depth * (1.0 - r2 * r2).max(0.0);
        }
        if upper { z } else { -z }
    }

    /// Depth of a point below an endplate's surface, mm; negative outside the body.
    pub(super) fn depth(&self, side: EndplateSide, q: Point) -> f32 {
        match side {
            EndplateSide::Superior => self.endplate(side, q) - q[2],
            EndplateSide::Inferior => q[2] - self.endplate(side, q),
        }
    }

    /// What the body is at a point of its frame.
    pub(super) fn part(&self, q: Point) -> BodyPart {
        if q[2].abs() > self.half[2] * 1.35 {
            return BodyPart::Outside;
        }
        let radius = self.radius(q, q[2] / self.half[2]);
        if radius >= 1.0 {
            return BodyPart::Outside;
        }
        let below =
            self.depth(EndplateSide::Superior, q).min(self.depth(EndplateSide::Inferior, q));
        if below < 0.0 {
            return BodyPart::Outside;
        }
        let vein_half = 0.8 + 0.16 * (q[1] - 0.5 * self.half[1]);
        if q[1] > 0.5 * self.half[1]
            && q[0].abs() < 5.0
            && (q[2] - 0.05 * self.half[2]).abs() < vein_half
        {
            return BodyPart::Vein;
        }
        let wall = (1.0 - radius) * self.half[1];
        if below < ENDPLATE_MM || wall < WALL_MM { BodyPart::Cortex } else { BodyPart::Marrow }
    }
}

/// The disc above `bodies[index]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disc {
    /// Pfirrmann grade, 1 to 5, with fractions.
    pub(super) grade: f32,
    /// How far it bulges over the bodies' rims, in shares of their radius.
    pub(super) bulge: f32,
    /// A protrusion into the canal, mm.
    pub(super) protrusion: f32,
    /// Whether it is a real disc; between sacral segments there is only a remnant.
    pub(super) real: bool,
}

/// Height, depth, width (mm) of the bodies S3, S2, S1, L5 … T9.
const SIZES: [[f32; 3]; 12] = [
    [19.0, 13.0, 34.0],
    [23.0, 19.0, 40.0],
    [29.0, 29.0, 50.0],
    [27.5, 34.5, 50.0],
    [28.0, 34.5, 48.0],
    [28.0, 34.5, 46.0],
    [27.5, 34.0, 44.0],
    [26.5, 33.0, 42.0],
    [25.0, 31.5, 40.0],
    [23.5, 30.0, 37.0],
    [22.5, 29.0, 35.0],
    [22.0, 28.0, 34.0],
];
/// Height (mm) of a healthy disc above each of them, between the rims.
const DISC_GAPS: [f32; 12] = [1.8, 2.5, 9.0, 9.5, 8.8, 7.8, 7.0, 6.0, 4.8, 3.6, 3.2, 3.0];
/// Index of S1 in the lists above.
pub(super) const S1: usize = 2;

/// The chain of bodies from S3 up, and the disc above each.
#[derive(Debug, Clone)]
pub(super) struct Spine {
    pub(super) bodies: Vec<Vertebra>,
    pub(super) discs: Vec<Disc>,
}

impl Spine {
    /// Draws a spine. `age` runs from 0 (young) to 1 (old); `worn[i]` says that the disc above body `i` has
    /// lesions beside it and is degenerate.
    pub(super) fn draw(draw: &mut Draw, age: f32, worn: &[bool]) -> Spine {
        let size = draw.uniform(0.92, 1.08);
        let sacral_slope = draw.uniform(28.0, 50.0);
        let lordosis = draw.uniform(0.5, 1.25);
        let tilts = [
            sacral_slope + 24.0,
            sacral_slope + 10.0,
            sacral_slope - 2.0,
            sacral_slope * 0.62,
            sacral_slope * 0.28,
            sacral_slope * 0.06 - 2.0,
            -8.0 * lordosis,
            -12.0 * lordosis,
            -13.0 * lordosis,
            -11.0 * lordosis,
            -7.0 * lordosis,
            -3.0 * lordosis,
        ];
        let scoliosis = draw.normal(2.5);
        let twist = draw.normal(2.5);
        let canal = draw.uniform(6.2, 8.4);
        let discs: Vec<Disc> = (0..SIZES.len()).map(|i| draw_disc(draw, i, age, worn)).collect();

        let mut bodies: Vec<Vertebra> = Vec::new();
        for (i, (dims, tilt)) in SIZES.iter().zip(tilts).enumerate() {
            let height = i as f32 - 5.0;
            let lean = scoliosis * (height * 0.55).sin() + draw.normal(0.6);
            let axes = frame(
                (tilt + draw.normal(1.3)).to_radians(),
                lean.to_radians(),
                (twist * (height * 0.4).cos() + draw.normal(0.6)).to_radians(),
            );
            let mut body = draw_body(draw, i, dims.map(|d| d * size * 0.5), age);
            body.axes = axes;
            body.canal_half = canal
                * if i < S1 {
                    0.45
                } else if i == S1 {
                    0.75
                } else {
                    1.0
                };
            if let Some(below) = bodies.last() {
                let narrowing = 1.0 - 0.17 * (discs[i - 1].grade - 2.0).max(0.0).powf(1.2);
                let gap = DISC_GAPS[i - 1] * size * narrowing.max(0.28);
                body.centre = std::array::from_fn(|k| {
                    let between = 0.5 * (below.up()[k] + axes[2][k]);
                    below.centre[k]
                        + below.half[2] * below.up()[k]
                        + gap * between
                        + body.half[2] * axes[2][k]
                });
            }
            bodies.push(body);
        }
        Spine { bodies, discs }
    }

    /// Moves the whole spine.
    pub(super) fn shift(&mut self, by: Point) {
        for body in &mut self.bodies {
            for (c, d) in body.centre.iter_mut().zip(by) {
                *c += d;
            }
        }
    }
}

/// Axes of a frame tilted forwards, leaning to the left, turned about its long axis (radians).
fn frame(tilt: f32, lean: f32, turn: f32) -> [Point; 3] {
    let (st, ct) = tilt.sin_cos();
    let (sl, cl) = lean.sin_cos();
    let up = [sl, -st * cl, ct * cl];
    let (sr, cr) = turn.sin_cos();
    let hint = [cr, sr, 0.0];
    let along: f32 = (0..3).map(|k| hint[k] * up[k]).sum();
    let mut left: Point = std::array::from_fn(|k| hint[k] - along * up[k]);
    let norm = left.iter().map(|v| v * v).sum::<f32>().sqrt();
    left = left.map(|v| v / norm);
    let back = [
        up[1] * left[2] - up[2] * left[1],
        up[2] * left[0] - up[0] * left[2],
        up[0] * left[1] - up[1] * left[0],
    ];
    [left, back, up]
}

fn draw_disc(draw: &mut Draw, i: usize, age: f32, worn: &[bool]) -> Disc {
    let low = if (S1..S1 + 2).contains(&i) { 0.9 } else { 0.0 };
    let mut grade = mix(1.0, 3.3, age) + low * draw.uniform(0.0, 1.6) + draw.normal(0.5);
    if worn[i] {
        grade = grade.max(draw.uniform(3.2, 5.0));
    }
    let grade = grade.clamp(1.0, 5.0);
    let loose = ((grade - 2.0) / 3.0).max(0.0);
    let protrudes = i >= S1 && draw.chance(f64::from(0.35 * loose));
    Disc {
        grade,
        bulge: 0.02 + loose * draw.uniform(0.0, 0.10),
        protrusion: if protrudes { draw.uniform(2.0, 5.0) } else { 0.0 },
        real: i >= S1,
    }
}

fn draw_body(draw: &mut Draw, i: usize, dims: Point, age: f32) -> Vertebra {
    let sacral = i <= S1;
    let level = i.checked_sub(S1).and_then(Level::above_sacrum);
    let half = [
        dims[2] * draw.uniform(0.96, 1.04),
        dims[1] * draw.uniform(0.96, 1.04),
        dims[0] * draw.uniform(0.95, 1.04),
    ];
    let spurs = |draw: &mut Draw| {
        if !sacral && draw.chance(f64::from(0.15 + 0.45 * age)) {
            draw.uniform(0.04, 0.16)
        } else {
            0.02
        }
    };
    let schmorl = (!sacral && draw.chance(0.05)).then(|| Schmorl {
        side: if draw.chance(0.5) { EndplateSide::Superior } else { EndplateSide::Inferior },
        at: [draw.normal(4.0), draw.normal(4.0)],
        radius: draw.uniform(3.0, 6.0),
        depth: draw.uniform(2.0, 5.5),
    });
    let base_wedge = if i == S1 + 1 {
        0.05
    } else if i > 6 {
        -0.025
    } else {
        0.0
    };
    Vertebra {
        level,
        centre: [0.0; 3],
        axes: frame(0.0, 0.0, 0.0),
        half,
        wedge: if sacral { 0.03 } else { base_wedge + draw.normal(0.02) },
        taper: if sacral { 0.17 } else { 0.0 },
        waist: if sacral { 0.03 } else { draw.uniform(0.06, 0.12) },
        roundness: draw.uniform(0.7, 1.3),
        hollow: if sacral { [0.6; 2] } else { [draw.uniform(1.2, 3.2), draw.uniform(0.8, 2.4)] },
        osteophyte: [spurs(draw), spurs(draw)],
        schmorl,
        fat_offset: draw.normal(0.02),
        canal_half: 7.0,
    }
}
