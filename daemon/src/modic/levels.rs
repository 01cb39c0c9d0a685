//! The vertebrae, one by one, counted up from the sacrum.

use ndarray::{Array3, ArrayView3, Zip};

use super::QualityFlag;
use super::merged::divide_merged;
use crate::domain::{Grid, Level};
use crate::mask;
use crate::quantile::{median, quantile};
use crate::segment::{Segmentation, anatomy};

pub(super) type Vec3 = [f64; 3];

/// Bodies are parted where they are joined by a bridge narrower than twice this, mm.
const PART_MM: f64 = 3.0;
/// Notches and holes that a lesion leaves in a body are closed up to twice this width, mm.
const CLOSE_MM: f64 = 3.0;
/// A body's largest cut through a slice is at least this, mm².
const MIN_AREA_MM2: f64 = 150.0;
/// A body further off the neighbours' line than this is none, mm.
const MAX_OFF_LINE_MM: f64 = 25.0;
/// S1's centre lies no further from L5's than this, mm.
const MAX_STEP_MM: f64 = 70.0;
/// Parts nearer to each other within the sagittal plane than this multiple of the median distance are of one level.
const SAME_LEVEL_FACTOR: f64 = 0.4;
/// A distance of neighbours above this multiple of the median one hides a body between them.
const GAP_FACTOR: f64 = 1.6;
/// A disc's voxels tell its tilt when it is this much longer than high.
const DISC_ELONGATION: f64 = 1.6;

/// One vertebral body.
///
/// Positions and directions are in mm along the grid's own axes: across slices, down rows, along columns
/// to the back.
#[derive(Debug, Clone)]
pub struct Vertebra {
    /// Its name, by counting up from the sacrum.
    pub level: Level,
    /// Its value in [`Spine::labels`].
    pub label: u16,
    /// Its centre, mm.
    pub centre: Vec3,
    /// Unit direction out of the body through the superior endplate.
    pub superior: Vec3,
    /// Unit direction out of the body through the inferior endplate.
    pub inferior: Vec3,
    /// Unit direction from front to back, in the slice's plane.
    pub posterior: Vec3,
    /// Height through the middle, mm.
    pub height_mm: f64,
    /// Depth from front to back, mm.
    pub depth_mm: f64,
    /// Volume, mm³.
    pub volume_mm3: f64,
}

#[cfg(test)]
impl Vertebra {
    /// For tests: it stands on rows 10 to 29 and columns 0 to 29 of one slice, 1 mm each.
    pub(super) fn upright(level: Level, label: u16) -> Vertebra {
        Vertebra {
            level,
            label,
            centre: [0.0, 19.5, 15.0],
            superior: [0.0, -1.0, 0.0],
            inferior: [0.0, 1.0, 0.0],
            posterior: [0.0, 0.0, 1.0],
            height_mm: 20.0,
            depth_mm: 30.0,
            volume_mm3: 2400.0,
        }
    }
}

/// The vertebrae of one exam, from the lowest up.
#[derive(Debug)]
pub struct Spine {
    /// From S1, or the lowest seen, up.
    pub vertebrae: Vec<Vertebra>,
    /// Each voxel's vertebra, 0 for none, on T1's grid.
    pub labels: Array3<u16>,
    /// How far the numbering can be trusted, 0 to 1: lowered when S1 isn't seen or a body is missing.
    pub confidence: f32,
}

/// A part of the mask that may be a vertebra.
pub(super) struct Body {
    pub label: u16,
    pub voxels: usize,
    pub centre: Vec3,
    pub is_s1: bool,
}

impl Spine {
    /// That of a picture of this shape in which none is seen.
    pub(crate) fn none(shape: (usize, usize, usize)) -> Spine {
        Spine { vertebrae: Vec::new(), labels: Array3::zeros(shape), confidence: 0.0 }
    }

    /// Parts the bodies, orders them from the sacrum up and names them.
    pub fn find(segmentation: &Segmentation) -> (Spine, Vec<QualityFlag>) {
        let grid = &segmentation.t1_ratio.grid;
        let mut quality = Vec::new();
        let mut labels = part_bodies(segmentation.anatomy.view(), grid);
        let mut bodies = measure(&labels, segmentation.anatomy.view(), grid);
        if divide_merged(&mut labels, &bodies, grid) {
            quality.push(QualityFlag::BodiesDivided);
            bodies = measure(&labels, segmentation.anatomy.view(), grid);
        }
        bodies.sort_by(|a, b| b.centre[1].total_cmp(&a.centre[1]));
        let mut bodies = without_sacral_remains(bodies);
        // In this order: parts far off would set the measure for what lies beside what.
        drop_off_line(&mut bodies);
        drop_beside(&mut bodies);

        let s1_seen = bodies.first().is_some_and(|b| b.is_s1);
        let levels = name(&bodies, s1_seen, &mut quality);
        let mut confidence = 1.0;
        if !s1_seen {
            quality.push(QualityFlag::S1NotSeen);
            confidence *= 0.4;
        }
        if quality.contains(&QualityFlag::LevelGap) {
            confidence *= 0.6;
        }
        let above_sacrum = bodies.len() - usize::from(s1_seen);
        if above_sacrum < 5 {
            quality.push(QualityFlag::FewLevels);
            confidence *= 0.8;
        }

        let discs = segmentation.anatomy.mapv(|class| class == anatomy::DISC);
        let normals: Vec<Vec3> = bodies
            .windows(2)
            .map(|pair| disc_normal(&discs, pair[0].centre, pair[1].centre, grid))
            .collect();
        let vertebrae: Vec<Vertebra> = bodies
            .iter()
            .zip(&levels)
            .enumerate()
            .map(|(i, (body, level))| {
                let below = i.checked_sub(1).and_then(|k| normals.get(k)).copied();
                let above = normals.get(i).copied();
                let superior = above.or(below).unwrap_or([0.0, -1.0, 0.0]);
                let inferior = below.or(above).unwrap_or([0.0, -1.0, 0.0]).map(|x| -x);
                Vertebra::measure(body, *level, superior, inferior, &labels, grid)
            })
            .collect();
        keep_labels(&mut labels, &vertebrae);
        (Spine { vertebrae, labels, confidence }, quality)
    }
}

impl Vertebra {
    fn measure(
        body: &Body,
        level: Level,
        superior: Vec3,
        inferior: Vec3,
        labels: &Array3<u16>,
        grid: &Grid,
    ) -> Vertebra {
        let up = unit(std::array::from_fn(|k| superior[k] - inferior[k]));
        // At right angles to "up", in the slice's plane, towards larger columns.
        let posterior = unit([0.0, -up[2], up[1]]).map(|x| if up[1] < 0.0 { -x } else { x });
        let mut along = [Vec::new(), Vec::new()];
        for (at, label) in labels.indexed_iter() {
            if *label == body.label {
                let off = minus(position(at, grid), body.centre);
                along[0].push(dot(off, up));
                along[1].push(dot(off, posterior));
            }
        }
        let volume_mm3 = along[0].len() as f64 * grid.voxel_mm3();
        let pixel = grid.spacing[1].max(grid.spacing[2]);
        // 2nd to 98th percentile: endplates are concave and corners are worn.
        let [height_mm, depth_mm] = along.map(|values| spread(values, 0.02, 0.98) + pixel);
        Vertebra {
            level,
            label: body.label,
            centre: body.centre,
            superior,
            inferior,
            posterior,
            height_mm,
            depth_mm,
            volume_mm3,
        }
    }

    /// Height above the centre along the body's own axis, mm.
    pub(super) fn height_of(&self, at: Vec3) -> f64 {
        let up = unit(std::array::from_fn(|k| self.superior[k] - self.inferior[k]));
        dot(minus(at, self.centre), up)
    }

    /// Distance behind the centre, mm.
    pub(super) fn depth_of(&self, at: Vec3) -> f64 {
        dot(minus(at, self.centre), self.posterior)
    }
}

/// Labels each body: thin bridges are cut by shrinking, the parts grown back into the mask.
fn part_bodies(anatomy: ArrayView3<u8>, grid: &Grid) -> Array3<u16> {
    let pixel_mm = [grid.spacing[1], grid.spacing[2]];
    let class = |wanted: u8| {
        let mask = anatomy.mapv(|class| class == wanted);
        mask::close(mask.view(), CLOSE_MM, pixel_mm)
    };
    let mut labels = Array3::<u16>::zeros(anatomy.dim());
    let mut offset = 0;
    for wanted in [anatomy::VERTEBRA, anatomy::S1] {
        let mut mask = class(wanted);
        // Closing must not reach into what the network calls disc, canal or the other kind of body.
        Zip::from(&mut mask).and(anatomy).for_each(|set, class| {
            *set &= *class == wanted || *class == anatomy::BACKGROUND;
        });
        let core = mask::erode(mask.view(), PART_MM, pixel_mm);
        let (count, mut parts) = mask::components(core.view());
        let reach = (PART_MM / pixel_mm[0].min(pixel_mm[1])).ceil() as usize + 2;
        mask::spread(&mut parts, mask.view(), reach);
        Zip::from(&mut labels).and(&parts).for_each(|label, part| {
            if *part != 0 && *label == 0 {
                *label = part + offset;
            }
        });
        offset += count as u16;
    }
    labels
}

/// Centre of each labelled body that is large enough to be one.
pub(super) fn measure(labels: &Array3<u16>, anatomy: ArrayView3<u8>, grid: &Grid) -> Vec<Body> {
    let largest = usize::from(labels.iter().copied().max().unwrap_or(0));
    let mut sums = vec![([0.0; 3], 0usize, 0usize); largest + 1];
    let mut areas = vec![vec![0usize; grid.shape[0]]; largest + 1];
    for (at, label) in labels.indexed_iter().filter(|(_, l)| **l != 0) {
        let label = usize::from(*label);
        let (sum, count, s1) = &mut sums[label];
        for (sum, x) in sum.iter_mut().zip(position(at, grid)) {
            *sum += x;
        }
        *count += 1;
        *s1 += usize::from(anatomy[at] == anatomy::S1);
        areas[label][at.0] += 1;
    }
    let pixel_mm2 = grid.spacing[1] * grid.spacing[2];
    (1..=largest)
        .filter(|l| {
            let area = areas[*l].iter().copied().max().unwrap_or(0);
            area as f64 * pixel_mm2 >= MIN_AREA_MM2
        })
        .map(|l| {
            let (sum, count, s1) = sums[l];
            let centre = sum.map(|x| x / count as f64);
            Body { label: l as u16, voxels: count, centre, is_s1: 2 * s1 > count }
        })
        .collect()
}

/// Of the parts called S1 keeps the largest, if it lies at the spine's lower end, and drops whatever lies
/// below it: S2, or a blob in the pelvis.
///
/// Sorted from the lowest up.
fn without_sacral_remains(mut bodies: Vec<Body>) -> Vec<Body> {
    let largest = bodies.iter().filter(|b| b.is_s1).max_by_key(|b| b.voxels).map(|b| b.label);
    bodies.retain(|b| !b.is_s1 || Some(b.label) == largest);
    if let Some(s1) = bodies.iter().position(|b| b.is_s1) {
        let above = bodies.get(s1 + 1);
        if above.is_some_and(|b| norm(minus(b.centre, bodies[s1].centre)) < MAX_STEP_MM) {
            bodies.drain(..s1);
        } else {
            bodies.remove(s1);
        }
    }
    bodies
}

/// Of two parts that lie beside each other drops the smaller: a transverse process, the sacrum's wing.
fn drop_beside(bodies: &mut Vec<Body>) {
    while bodies.len() >= 3 {
        let steps: Vec<f64> = bodies
            .windows(2)
            .map(|pair| minus(pair[0].centre, pair[1].centre))
            .map(|[_, down, back]| down.hypot(back))
            .collect();
        let nearest = SAME_LEVEL_FACTOR * median(steps.iter().copied()).unwrap_or(0.0);
        let Some(at) = steps.iter().position(|step| *step < nearest) else { break };
        let smaller = if bodies[at].voxels < bodies[at + 1].voxels { at } else { at + 1 };
        bodies.remove(smaller);
    }
}

/// Drops parts far from the line through their neighbours, the smallest first: posterior elements, vessels.
fn drop_off_line(bodies: &mut Vec<Body>) {
    while bodies.len() >= 4 {
        let off = |i: usize| {
            let [a, b] = match i {
                0 => [1, 2],
                i if i + 1 == bodies.len() => [i - 2, i - 1],
                i => [i - 1, i + 1],
            }
            .map(|k| bodies[k].centre);
            let direction = unit(minus(b, a));
            let d = minus(bodies[i].centre, a);
            let along = dot(d, direction);
            norm(std::array::from_fn(|k| d[k] - along * direction[k]))
        };
        // S1 lies off the line by nature: the lumbosacral angle. Between two parts that are no bodies a body is as far off.
        let far = (1..bodies.len()).filter(|i| off(*i) > MAX_OFF_LINE_MM);
        match far.min_by_key(|i| bodies[*i].voxels) {
            Some(smallest) => drop(bodies.remove(smallest)),
            None => break,
        }
    }
}

/// Names the bodies upwards. A gap as wide as a body counts as one that was missed.
fn name(bodies: &[Body], s1_seen: bool, quality: &mut Vec<QualityFlag>) -> Vec<Level> {
    let steps: Vec<f64> =
        bodies.windows(2).map(|p| norm(minus(p[0].centre, p[1].centre))).collect();
    let typical = median(steps.iter().copied()).unwrap_or(0.0);
    let mut count = usize::from(!s1_seen);
    let mut levels = Vec::new();
    for i in 0..bodies.len() {
        if i > 0 {
            count += 1;
            if steps.len() >= 3 && steps[i - 1] > GAP_FACTOR * typical {
                count += 1;
                quality.push(QualityFlag::LevelGap);
            }
        }
        match Level::above_sacrum(count) {
            Some(level) => levels.push(level),
            None => break,
        }
    }
    levels
}

/// Direction at right angles to the disc between two bodies, upwards.
///
/// The disc's own outline tells its tilt best (S1's plateau leans far off the line of the centres);
/// without a disc to measure, the line of the centres stands in.
fn disc_normal(discs: &Array3<bool>, lower: Vec3, upper: Vec3, grid: &Grid) -> Vec3 {
    let line = unit(minus(upper, lower));
    let middle: Vec3 = std::array::from_fn(|k| (lower[k] + upper[k]) / 2.0);
    let reach = norm(minus(upper, lower)) / 2.0;
    let points: Vec<[f64; 2]> = discs
        .indexed_iter()
        .filter(|(_, set)| **set)
        .map(|(at, _)| minus(position(at, grid), middle))
        .filter(|d| dot(*d, line).abs() < reach && norm(*d) < 1.5 * reach)
        .map(|d| [d[1], d[2]])
        .collect();
    const ENOUGH: usize = 60;
    if points.len() < ENOUGH {
        return line;
    }
    let n = points.len() as f64;
    let mean = [0, 1].map(|k| points.iter().map(|p| p[k]).sum::<f64>() / n);
    let moment = |i: usize, j: usize| {
        points.iter().map(|p| (p[i] - mean[i]) * (p[j] - mean[j])).sum::<f64>() / n
    };
    let (yy, xx, xy) = (moment(0, 0), moment(1, 1), moment(0, 1));
    // Angle of the long axis against the columns, and both variances (2x2 eigenproblem).
    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
    let half_difference = ((xx - yy) / 2.0).hypot(xy);
    let (long, short) = ((xx + yy) / 2.0 + half_difference, (xx + yy) / 2.0 - half_difference);
    if long.sqrt() < DISC_ELONGATION * short.max(1e-6).sqrt() {
        return line;
    }
    let normal = [0.0, -angle.cos(), angle.sin()];
    let normal = if dot(normal, line) < 0.0 { normal.map(|x| -x) } else { normal };
    // A normal far off the line of the centres is a mistake of the segmentation.
    const MAX_TILT_COSINE: f64 = 0.64; // 50 degrees
    if dot(normal, line) > MAX_TILT_COSINE { normal } else { line }
}

/// Clears the labels of parts that got no name.
fn keep_labels(labels: &mut Array3<u16>, vertebrae: &[Vertebra]) {
    labels.mapv_inplace(|l| if vertebrae.iter().any(|v| v.label == l) { l } else { 0 });
}

/// A voxel's place in mm along the grid's axes.
pub(super) fn position(at: (usize, usize, usize), grid: &Grid) -> Vec3 {
    let index = [at.0, at.1, at.2];
    std::array::from_fn(|k| index[k] as f64 * grid.spacing[k])
}

pub(super) fn minus(a: Vec3, b: Vec3) -> Vec3 {
    std::array::from_fn(|k| a[k] - b[k])
}

pub(super) fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn norm(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

pub(super) fn unit(a: Vec3) -> Vec3 {
    let length = norm(a).max(1e-9);
    a.map(|x| x / length)
}

fn spread(mut values: Vec<f64>, low: f64, high: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = |q| quantile(&values, q).unwrap_or(0.0);
    at(high) - at(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_far_from_the_spine_take_no_body_with_them() {
        let body = |label, voxels, centre| Body { label, voxels, centre, is_s1: label == 1 };
        let mut bodies = vec![
            body(1, 900, [0.0, 235.0, 171.0]),
            body(2, 900, [0.0, 208.0, 160.0]),
            body(3, 90, [20.0, 191.0, 49.0]),
            body(4, 880, [0.0, 174.0, 154.0]),
            body(5, 500, [20.0, 156.0, 48.0]),
            body(6, 860, [0.0, 143.0, 153.0]),
            body(7, 840, [0.0, 112.0, 157.0]),
            body(8, 80, [20.0, 107.0, 61.0]),
            body(9, 800, [0.0, 84.0, 164.0]),
            body(10, 300, [0.0, 56.0, 174.0]),
        ];
        drop_off_line(&mut bodies);
        assert_eq!(bodies.iter().map(|b| b.label).collect::<Vec<_>>(), [1, 2, 4, 6, 7, 9, 10]);
    }

    #[test]
    fn a_part_beside_a_body_is_no_level_of_its_own() {
        let body = |label, voxels, centre| Body { label, voxels, centre, is_s1: label == 1 };
        let mut bodies = vec![
            body(1, 900, [0.0, 107.0, 38.0]),
            body(2, 40, [-25.0, 102.0, 34.0]),
            body(3, 900, [0.0, 72.0, 22.0]),
            body(4, 30, [22.0, 40.0, 15.0]),
            body(5, 900, [1.0, 38.0, 14.0]),
            body(6, 900, [0.0, 6.0, 12.0]),
        ];
        drop_beside(&mut bodies);
        assert_eq!(bodies.iter().map(|b| b.label).collect::<Vec<_>>(), [1, 3, 5, 6]);
        // Bodies of a spine bent to the side keep their levels.
        let mut bent: Vec<Body> = (0..6u16)
            .map(|i| body(i + 1, 900, [12.0 * f64::from(i % 2), 200.0 - 30.0 * f64::from(i), 0.0]))
            .collect();
        drop_beside(&mut bent);
        assert_eq!(bent.len(), 6);
    }
}
