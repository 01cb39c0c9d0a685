//! Do findings stay the same when the exam is turned, scaled, thinned out, mirrored or moved?

use ndarray::Axis;
use serde::Serialize;

use crate::analysis::Analyser;
use crate::domain::{Endplate, Grid, Volume};
use crate::modic::Finding;
use crate::segment::SegmentError;
use crate::volume::resample_onto;

/// A finding as it is compared.
pub(super) type Found = (Endplate, String);

/// What is done to an exam.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    /// Both series turned in the sagittal plane, degrees.
    Rotation(f64),
    /// Signals of T1 and of T2 multiplied.
    Intensity([f32; 2]),
    /// Every second slice left out.
    HalfTheSlices,
    /// Slices in the opposite order: left and right change places.
    Mirrored,
    /// T2 moved against T1 towards the feet and the back, mm.
    T2Shift([f64; 2]),
}

impl Disturbance {
    /// Those that are tried, with the name each figure has.
    pub const ALL: [(&'static str, Disturbance); 7] = [
        ("turned by 20°", Disturbance::Rotation(20.0)),
        ("turned by -20°", Disturbance::Rotation(-20.0)),
        ("T1 30 % brighter, T2 30 % darker", Disturbance::Intensity([1.3, 0.7])),
        ("T1 30 % darker, T2 30 % brighter", Disturbance::Intensity([0.7, 1.3])),
        ("half the slices", Disturbance::HalfTheSlices),
        ("mirrored stack", Disturbance::Mirrored),
        ("T2 shifted by 3 mm", Disturbance::T2Shift([2.1, 2.1])),
    ];

    /// Whether it would do nothing to an exam of a single slice.
    fn needs_a_stack(self) -> bool {
        matches!(self, Disturbance::HalfTheSlices | Disturbance::Mirrored)
    }

    /// The exam so disturbed; T1 and T2 each on its own grid.
    pub fn apply(self, t1: &Volume, t2: &Volume) -> [Volume; 2] {
        match self {
            Disturbance::Rotation(degrees) => {
                let middle = |v: &Volume| v.grid.shape.map(|n| (n as f64 - 1.0) / 2.0);
                let pivot = t1.grid.to_patient(middle(t1));
                [turned(t1, degrees, pivot), turned(t2, degrees, pivot)]
            }
            Disturbance::Intensity([a, b]) => [scaled(t1, a), scaled(t2, b)],
            Disturbance::HalfTheSlices => [halved(t1), halved(t2)],
            Disturbance::Mirrored => [mirrored(t1), mirrored(t2)],
            Disturbance::T2Shift(mm) => {
                let mut moved = t2.clone();
                for (axis, mm) in [1, 2].into_iter().zip(mm) {
                    for (o, direction) in moved.grid.origin.iter_mut().zip(t2.grid.axes[axis]) {
                        *o += mm * direction;
                    }
                }
                [t1.clone(), moved]
            }
        }
    }
}

/// The patient turned about the left-right line through `pivot`, on a grid so much larger that nothing is cut off: what a
/// cut takes away, S1 before all, would be lost upright too.
fn turned(volume: &Volume, degrees: f64, pivot: [f64; 3]) -> Volume {
    let turn = |degrees: f64, [x, y, z]: [f64; 3]| {
        let (sin, cos) = degrees.to_radians().sin_cos();
        [x, cos * y - sin * z, sin * y + cos * z]
    };
    let about_pivot = |degrees: f64, at: [f64; 3]| {
        let to = turn(degrees, std::array::from_fn(|k| at[k] - pivot[k]));
        std::array::from_fn(|k| pivot[k] + to[k])
    };
    let grid = around(&volume.grid, |corner| about_pivot(-degrees, corner));
    let looked_at = Grid {
        origin: about_pivot(degrees, grid.origin),
        axes: grid.axes.map(|axis| turn(degrees, axis)),
        ..grid.clone()
    };
    Volume::new(resample_onto(volume, &looked_at).data, grid)
}

/// The grid, in its plane as much larger as it takes to hold what it held where `moved` puts that.
fn around(grid: &Grid, moved: impl Fn([f64; 3]) -> [f64; 3]) -> Grid {
    let last = grid.shape.map(|n| n as f64 - 1.0);
    let corners = [[0.0, 0.0], [0.0, last[2]], [last[1], 0.0], [last[1], last[2]]]
        .map(|[row, column]| grid.to_index(moved(grid.to_patient([0.0, row, column]))));
    let mut around = grid.clone();
    let mut first = [0.0; 3];
    for axis in [1, 2] {
        let low = corners.iter().map(|corner| corner[axis]).fold(0.0, f64::min).floor();
        let high = corners.iter().map(|corner| corner[axis]).fold(last[axis], f64::max).ceil();
        first[axis] = low;
        around.shape[axis] = (high - low) as usize + 1;
    }
    around.origin = grid.to_patient(first);
    around
}

fn scaled(volume: &Volume, by: f32) -> Volume {
    Volume::new(volume.data.mapv(|v| v * by), volume.grid.clone())
}

fn halved(volume: &Volume) -> Volume {
    let mut grid = volume.grid.clone();
    grid.shape[0] = grid.shape[0].div_ceil(2);
    grid.spacing[0] *= 2.0;
    Volume::new(volume.data.slice(ndarray::s![..;2, .., ..]).to_owned(), grid)
}

fn mirrored(volume: &Volume) -> Volume {
    let mut data = volume.data.clone();
    data.invert_axis(Axis(0));
    Volume::new(data.as_standard_layout().into_owned(), volume.grid.clone())
}

/// The findings of two analyses of one exam, the first one as it was, side by side.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Robustness {
    /// At the same endplate with the same type.
    pub same: usize,
    /// At the same endplate with another type.
    pub retyped: usize,
    /// Only in the first.
    pub lost: usize,
    /// Only in the second.
    pub new: usize,
}

/// Tries every disturbance; `before` is what the exam itself gives. Nothing is counted where one would do nothing.
pub(super) fn measure(
    analyser: &mut Analyser,
    t1: &Volume,
    t2: &Volume,
    before: &[Found],
) -> Result<Vec<Robustness>, SegmentError> {
    let mut all = Vec::new();
    for (_, disturbance) in Disturbance::ALL {
        if disturbance.needs_a_stack() && t1.grid.shape[0] == 1 {
            all.push(Robustness::default());
            continue;
        }
        let [t1, t2] = disturbance.apply(t1, t2);
        let after = match analyser.examine(&t1, &t2) {
            Ok(examined) => by_endplate(&examined.result.findings),
            Err(SegmentError::NoVertebrae | SegmentError::Marrow { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        all.push(Robustness::compare(before, &after));
    }
    Ok(all)
}

/// The largest finding of each endplate: an extra small one beside it changes nothing that a reader acts on.
pub(super) fn by_endplate(findings: &[Finding]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    // Sorted by endplate, the largest first.
    for finding in findings {
        if found.last().is_none_or(|(endplate, _)| *endplate != finding.endplate) {
            found.push((finding.endplate, finding.pattern.clone()));
        }
    }
    found
}

impl Robustness {
    pub(super) fn compare(before: &[Found], after: &[Found]) -> Robustness {
        let mut outcome = Robustness::default();
        for (endplate, pattern) in before {
            match after.iter().find(|(e, _)| e == endplate) {
                Some((_, p)) if p == pattern => outcome.same += 1,
                Some(_) => outcome.retyped += 1,
                None => outcome.lost += 1,
            }
        }
        outcome.new = after.iter().filter(|(e, _)| before.iter().all(|(b, _)| b != e)).count();
        outcome
    }

    /// Findings of either exam.
    pub(super) fn all(&self) -> usize {
        self.same + self.retyped + self.lost + self.new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EndplateSide, Level};
    use ndarray::Array3;

    fn volume() -> Volume {
        let grid = Grid::upright([4, 40, 40], [4.0, 1.0, 1.0]);
        let data = Array3::from_shape_fn(grid.shape, |(s, r, c)| {
            let (r, c) = (r as f32 - 19.5, c as f32 - 25.5);
            100.0 * s as f32 + 50.0 * (-(r * r + c * c) / 20.0).exp()
        });
        Volume::new(data, grid)
    }

    #[test]
    fn a_turn_moves_what_lies_off_the_middle_and_back() {
        let [turned, _] = Disturbance::Rotation(90.0).apply(&volume(), &volume());
        assert_eq!(turned.grid.shape, [4, 40, 40]);
        // What lay 6 mm behind the middle lies 6 mm above or below it.
        let bright = |r: usize| turned.data[[0, r, 19]] + turned.data[[0, r, 20]];
        assert!(bright(25).max(bright(13)) > 80.0, "{} {}", bright(25), bright(13));
        let [back, _] = Disturbance::Rotation(-90.0).apply(&turned, &turned);
        assert!((back.data[[1, 20, 25]] - volume().data[[1, 20, 25]]).abs() < 1.0);
    }

    #[test]
    fn a_turn_cuts_nothing_off() {
        let mut corner = volume();
        corner.data.fill(0.0);
        corner.data.slice_mut(ndarray::s![.., ..3, ..3]).fill(1000.0);
        let sum = |v: &Volume| v.data.sum();
        for degrees in [20.0, -20.0] {
            let [turned, _] = Disturbance::Rotation(degrees).apply(&corner, &corner);
            let share = sum(&turned) / sum(&corner);
            assert!((0.9..1.1).contains(&share), "{degrees}: {share}");
        }
    }

    #[test]
    fn the_other_disturbances_do_what_they_say() {
        let one = volume();
        let [t1, t2] = Disturbance::Intensity([1.3, 0.7]).apply(&one, &one);
        assert_eq!(t1.data[[1, 0, 0]], 1.3 * one.data[[1, 0, 0]]);
        assert_eq!(t2.data[[1, 0, 0]], 0.7 * one.data[[1, 0, 0]]);
        let [half, _] = Disturbance::HalfTheSlices.apply(&one, &one);
        assert_eq!((half.grid.shape[0], half.grid.spacing[0]), (2, 8.0));
        assert_eq!(half.data[[1, 3, 3]], one.data[[2, 3, 3]]);
        let [mirror, _] = Disturbance::Mirrored.apply(&one, &one);
        assert_eq!(mirror.data[[0, 3, 3]], one.data[[3, 3, 3]]);
        let [_, moved] = Disturbance::T2Shift([3.0, 0.0]).apply(&one, &one);
        assert_eq!(moved.grid.to_patient([0.0; 3]), one.grid.to_patient([0.0, 3.0, 0.0]));
    }

    #[test]
    fn findings_are_compared_by_endplate_and_type() {
        let at = |level, pattern: &str| {
            (Endplate { level, side: EndplateSide::Superior }, pattern.to_owned())
        };
        let before = [at(Level::L5, "2"), at(Level::L4, "1"), at(Level::L3, "1")];
        let after = [at(Level::L5, "2"), at(Level::L4, "1-2"), at(Level::L1, "3")];
        let outcome = Robustness::compare(&before, &after);
        assert_eq!((outcome.same, outcome.retyped, outcome.lost, outcome.new), (1, 1, 1, 1));
    }
}
