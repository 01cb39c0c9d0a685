//! The geometry of a series: parallel images become a stack on a canonical grid.

use ndarray::{ArrayViewMut2, Axis};

use super::header::SliceHeader;
use super::{Config, Reason};
use crate::domain::Grid;

type Vec3 = [f64; 3];

/// Patient directions (LPS) of the canonical grid's rows and columns.
const FEET: Vec3 = [0.0, 0.0, -1.0];
const BACK: Vec3 = [0.0, 1.0, 0.0];

/// How far direction cosines may be from unit length or right angles before they count as broken.
const COSINE_TOLERANCE: f64 = 0.02;
/// Images nearer than this lie at the same place, mm.
const SAME_PLACE_MM: f64 = 0.01;
/// How much distances of neighbours may differ from their mean: this much, or this part of it.
const DISTANCE_TOLERANCE_MM: f64 = 0.1;
const DISTANCE_TOLERANCE: f64 = 0.05;
/// How far a slice may be shifted within its plane against the first, mm.
const SHEAR_TOLERANCE_MM: f64 = 1.0;

/// How a stored matrix must be turned to become a canonical slice: first transposed, then flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Stored columns run from head to feet.
    pub transposed: bool,
    /// Canonical rows run against the stored order.
    pub flip_rows: bool,
    /// Canonical columns run against the stored order.
    pub flip_columns: bool,
}

impl Layout {
    /// Sees a canonical slice as the stored matrix: `[row, column]` as in the file. Serves both ways, to fill
    /// a canonical slice from a file and to bring a result back to the file's matrix.
    pub fn as_stored<'a, T>(&self, mut canonical: ArrayViewMut2<'a, T>) -> ArrayViewMut2<'a, T> {
        if self.flip_rows {
            canonical.invert_axis(Axis(0));
        }
        if self.flip_columns {
            canonical.invert_axis(Axis(1));
        }
        if self.transposed { canonical.reversed_axes() } else { canonical }
    }
}

/// Right-handed axes of an image, made exactly orthonormal, and how far its normal lies from left-right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orientation {
    row: Vec3,
    column: Vec3,
    normal: Vec3,
}

impl Orientation {
    /// `None` when the direction cosines are no pair of unit vectors at right angles.
    pub(super) fn of(slice: &SliceHeader) -> Option<Orientation> {
        let plane = slice.plane.as_ref()?;
        let is_unit = |v| (norm(v) - 1.0).abs() < COSINE_TOLERANCE;
        let (row, column) = (plane.row_cosines, plane.column_cosines);
        if !is_unit(row) || !is_unit(column) || dot(row, column).abs() > COSINE_TOLERANCE {
            return None;
        }
        let row = scaled(row, 1.0 / norm(row));
        let column = minus(column, scaled(row, dot(row, column)));
        let column = scaled(column, 1.0 / norm(column));
        Some(Orientation { row, column, normal: cross(row, column) })
    }

    /// The angle between the slices' normal and the patient's left-right axis, degrees: 0 is sagittal.
    pub(super) fn obliqueness_deg(&self) -> f64 {
        self.normal[0].abs().min(1.0).acos().to_degrees()
    }

    /// Whether images of both can belong to one stack: turned by less than about 1°.
    pub(super) fn same_as(&self, other: &Orientation) -> bool {
        const COS_1_DEG: f64 = 0.999_85;
        dot(self.row, other.row) > COS_1_DEG && dot(self.column, other.column) > COS_1_DEG
    }
}

/// Sorted slices on their grid.
#[derive(Debug)]
pub(super) struct Stack {
    /// From the patient's right to left.
    pub slices: Vec<SliceHeader>,
    pub grid: Grid,
    pub layout: Layout,
}

/// Sorts parallel sagittal images and checks that they are an even, straight stack within the limits.
pub(super) fn stack(slices: Vec<SliceHeader>, config: &Config) -> Result<Stack, Reason> {
    let first = slices.first().ok_or(Reason::TooFewSlices)?;
    let orientation = Orientation::of(first).ok_or(Reason::MissingTag)?;
    let plane = first.plane.as_ref().ok_or(Reason::MissingTag)?;
    let (matrix, pixel_mm) = ([first.rows, first.columns], plane.pixel_spacing_mm);
    if matrix.contains(&0) {
        return Err(Reason::MissingTag);
    }
    if pixel_mm.iter().any(|mm| *mm <= 0.0) {
        return Err(Reason::ZeroSpacing);
    }

    // Right to left, whichever way the images' normal points.
    let across = scaled(orientation.normal, orientation.normal[0].signum());
    let mut placed = slices
        .into_iter()
        .map(|s| s.plane.as_ref().map(|p| p.position).map(|position| (position, s)))
        .collect::<Option<Vec<_>>>()
        .ok_or(Reason::MissingTag)?;
    placed.sort_by(|(a, _), (b, _)| dot(*a, across).total_cmp(&dot(*b, across)));
    let positions: Vec<Vec3> = placed.iter().map(|(position, _)| *position).collect();
    let slices: Vec<SliceHeader> = placed.into_iter().map(|(_, slice)| slice).collect();

    if slices.len() < config.min_slices {
        return Err(Reason::TooFewSlices);
    }
    let voxels = slices.len() * usize::from(matrix[0]) * usize::from(matrix[1]);
    if slices.len() > config.max_slices || voxels > config.max_voxels {
        return Err(Reason::TooLarge);
    }
    let distance = match positions.len() {
        1 => slices[0].spacing_between_slices_mm.or(slices[0].thickness_mm).unwrap_or(0.0).abs(),
        _ => even_distance(&positions, across)?,
    };
    if distance <= SAME_PLACE_MM {
        return Err(Reason::ZeroSpacing);
    }
    let in_range = |mm: f64, least: f64, most: f64| (least..=most).contains(&mm);
    if !in_range(distance, config.min_slice_distance_mm, config.max_slice_distance_mm)
        || !pixel_mm.iter().all(|mm| in_range(*mm, config.min_pixel_mm, config.max_pixel_mm))
    {
        return Err(Reason::SpacingOutOfRange);
    }

    let (grid, layout) =
        canonical(orientation, across, positions[0], slices.len(), matrix, pixel_mm, distance)?;
    Ok(Stack { slices, grid, layout })
}

/// The distance of neighbours in a sorted stack, if it is the same everywhere and the stack is straight.
fn even_distance(positions: &[Vec3], across: Vec3) -> Result<f64, Reason> {
    let first = positions[0];
    let along: Vec<f64> = positions.iter().map(|p| dot(minus(*p, first), across)).collect();
    let steps = along.windows(2).map(|w| w[1] - w[0]);
    let mean = along[along.len() - 1] / steps.len() as f64;
    if mean <= SAME_PLACE_MM {
        return Err(Reason::ZeroSpacing);
    }
    if steps.clone().any(|step| step <= SAME_PLACE_MM) {
        return Err(Reason::DuplicatePositions);
    }
    let tolerance = (DISTANCE_TOLERANCE * mean).max(DISTANCE_TOLERANCE_MM);
    if steps.clone().any(|step| (step - mean).abs() > tolerance) {
        return Err(Reason::GapInStack);
    }
    let is_shifted = |(p, along): (&Vec3, &f64)| {
        norm(minus(minus(*p, first), scaled(across, *along))) > SHEAR_TOLERANCE_MM
    };
    if positions.iter().zip(&along).any(is_shifted) {
        return Err(Reason::ShearedStack);
    }
    Ok(mean)
}

/// Turns the stored axes into the canonical ones (see [`Grid`]).
fn canonical(
    Orientation { row, column, .. }: Orientation,
    across: Vec3,
    position: Vec3,
    slices: usize,
    [rows, columns]: [u16; 2],
    [row_mm, column_mm]: [f64; 2],
    distance: f64,
) -> Result<(Grid, Layout), Reason> {
    // Along each stored index: direction, spacing, count. PixelSpacing's first value is the rows' distance.
    let row_index = (column, row_mm, usize::from(rows));
    let column_index = (row, column_mm, usize::from(columns));
    let upright = dot(column, FEET).abs() + dot(row, BACK).abs();
    let lying = dot(row, FEET).abs() + dot(column, BACK).abs();
    let transposed = lying > upright;
    let (down, back) =
        if transposed { (column_index, row_index) } else { (row_index, column_index) };
    let (flip_rows, flip_columns) = (dot(down.0, FEET) < 0.0, dot(back.0, BACK) < 0.0);

    let mut origin = position;
    let mut axes = [across, down.0, back.0];
    for (axis, (direction, mm, count), flip) in [(1, down, flip_rows), (2, back, flip_columns)] {
        if flip {
            origin = plus(origin, scaled(direction, mm * (count - 1) as f64));
            axes[axis] = scaled(direction, -1.0);
        }
    }
    let grid = Grid::new([slices, down.2, back.2], origin, axes, [distance, down.1, back.1])
        .map_err(|_| Reason::MissingTag)?;
    Ok((grid, Layout { transposed, flip_rows, flip_columns }))
}

fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn plus(a: Vec3, b: Vec3) -> Vec3 {
    std::array::from_fn(|k| a[k] + b[k])
}

fn minus(a: Vec3, b: Vec3) -> Vec3 {
    std::array::from_fn(|k| a[k] - b[k])
}

fn scaled(v: Vec3, by: f64) -> Vec3 {
    v.map(|x| x * by)
}

fn norm(v: Vec3) -> f64 {
    dot(v, v).sqrt()
}
