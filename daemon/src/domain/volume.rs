//! A stack of parallel slices in the patient's coordinates.

use ndarray::Array3;

type Vec3 = [f64; 3];

/// Why a grid was refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GridError {
    /// A spacing is zero, negative or not a number.
    #[error("spacing {0:?} mm is not positive")]
    Spacing(Vec3),
    /// The three axes aren't unit vectors at right angles.
    #[error("axes {0:?} are not orthonormal")]
    Axes([Vec3; 3]),
}

/// Where a stack of slices lies: DICOM's patient coordinates (LPS, mm; PS3.3 C.7.6.2.1.1).
///
/// Array axes are `[slice, row, column]`. `axes[k]` is the unit direction in which index `k` grows,
/// `spacing[k]` the distance of neighbours along it, so voxel `[s, r, c]` has its centre at
/// `origin + s*spacing[0]*axes[0] + r*spacing[1]*axes[1] + c*spacing[2]*axes[2]`.
///
/// The `volume` stage makes every grid *canonical*: slices run from the patient's right to left, rows from
/// head to feet, columns from front to back, as near as the stack's obliqueness allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Number of slices, rows, columns.
    pub shape: [usize; 3],
    /// Centre of voxel `[0, 0, 0]`, mm.
    pub origin: Vec3,
    /// Unit directions of slices, rows, columns.
    pub axes: [Vec3; 3],
    /// Distance of neighbours along slices, rows, columns, mm.
    pub spacing: Vec3,
}

impl Grid {
    /// Checks spacing and axes.
    pub fn new(
        shape: [usize; 3],
        origin: Vec3,
        axes: [Vec3; 3],
        spacing: Vec3,
    ) -> Result<Grid, GridError> {
        if !spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(GridError::Spacing(spacing));
        }
        const TOLERANCE: f64 = 1e-3;
        for i in 0..3 {
            for j in i..3 {
                let expected = if i == j { 1.0 } else { 0.0 };
                let off = (dot(axes[i], axes[j]) - expected).abs();
                if off.is_nan() || off > TOLERANCE {
                    return Err(GridError::Axes(axes));
                }
            }
        }
        Ok(Grid { shape, origin, axes, spacing })
    }

    /// Patient coordinates (mm) of a position in voxels, fractions allowed.
    pub fn to_patient(&self, index: Vec3) -> Vec3 {
        let mut p = self.origin;
        for ((index, spacing), axis) in index.iter().zip(self.spacing).zip(self.axes) {
            for (x, direction) in p.iter_mut().zip(axis) {
                *x += index * spacing * direction;
            }
        }
        p
    }

    /// Position in voxels, with fractions, of patient coordinates (mm).
    pub fn to_index(&self, patient: Vec3) -> Vec3 {
        let d =
            [patient[0] - self.origin[0], patient[1] - self.origin[1], patient[2] - self.origin[2]];
        std::array::from_fn(|k| dot(d, self.axes[k]) / self.spacing[k])
    }

    /// Volume of one voxel, mm³.
    pub fn voxel_mm3(&self) -> f64 {
        self.spacing.iter().product()
    }
}

#[cfg(test)]
impl Grid {
    /// A grid along the patient's axes that begins at the origin.
    pub(crate) fn upright(shape: [usize; 3], spacing: Vec3) -> Grid {
        let axes = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]];
        Grid::new(shape, [0.0; 3], axes, spacing).unwrap()
    }
}

/// Scalar product.
fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Voxel values on a grid, array axes `[slice, row, column]`.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The values; the unit is the stage's that made it.
    pub data: Array3<f32>,
    /// Where they lie.
    pub grid: Grid,
}

impl Volume {
    /// Joins values and grid.
    ///
    /// # Panics
    /// When the array's shape isn't the grid's.
    pub fn new(data: Array3<f32>, grid: Grid) -> Volume {
        let (s, r, c) = data.dim();
        assert_eq!([s, r, c], grid.shape, "a volume's array must have its grid's shape");
        Volume { data, grid }
    }
}

#[cfg(test)]
impl Volume {
    /// What lies in a row and below it.
    pub(crate) fn below_row(&self, row: usize) -> Volume {
        let mut grid = self.grid.clone();
        grid.origin = grid.to_patient([0.0, row as f64, 0.0]);
        grid.shape[1] -= row;
        Volume::new(self.data.slice(ndarray::s![.., row.., ..]).to_owned(), grid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_patient_coordinates_are_inverse_on_an_oblique_grid() {
        let (s, c) = 0.3_f64.sin_cos();
        let axes = [[c, s, 0.0], [0.0, 0.0, -1.0], [-s, c, 0.0]];
        let grid =
            Grid::new([15, 384, 384], [-30.0, -90.0, 140.0], axes, [4.4, 0.73, 0.73]).unwrap();
        let back = grid.to_index(grid.to_patient([3.5, 17.0, 250.25]));
        for (got, want) in back.into_iter().zip([3.5, 17.0, 250.25]) {
            assert!((got - want).abs() < 1e-9, "{got} {want}");
        }
    }

    #[test]
    fn impossible_grids_are_refused() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]];
        assert!(Grid::new([1, 1, 1], [0.0; 3], axes, [0.0, 1.0, 1.0]).is_err());
        assert!(Grid::new([1, 1, 1], [0.0; 3], axes, [f64::NAN, 1.0, 1.0]).is_err());
        assert!(Grid::new([1, 1, 1], [0.0; 3], [[1.0, 0.0, 0.0]; 3], [1.0; 3]).is_err());
    }
}
