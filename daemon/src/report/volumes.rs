//! The Modic map and the pictures that it lies on as NIfTI files.

use std::path::Path;

use ndarray::ArrayView3;
use nifti::writer::WriterOptions;
use nifti::{NiftiError, NiftiHeader};

use crate::domain::{Grid, Volume};

/// Powers of two between which the largest signal lies in a file: fine enough to be looked at, and small enough for `i16`.
const LARGEST_SIGNAL: std::ops::Range<f32> = 2048.0..32_768.0;

/// The factor from a volume's signal, which has no unit, to that in its file: a power of two, mostly 1.
pub(crate) fn scale(volume: &Volume) -> f32 {
    let largest = volume.data.iter().copied().fold(0.0, f32::max);
    if !largest.is_finite() || largest <= 0.0 {
        return 1.0;
    }
    let mut scale = 1.0;
    while largest * scale >= LARGEST_SIGNAL.end {
        scale /= 2.0;
    }
    while largest * scale < LARGEST_SIGNAL.start {
        scale *= 2.0;
    }
    scale
}

/// Writes the Modic map.
pub(crate) fn write_map(path: &Path, map: ArrayView3<u8>, grid: &Grid) -> Result<(), NiftiError> {
    let header = header(grid);
    WriterOptions::new(path).reference_header(&header).compress(true).write_nifti(&map.t())
}

/// Writes a volume's signal, times `scale` and rounded, compressed as fast as can be.
pub(crate) fn write_signal(path: &Path, volume: &Volume, scale: f32) -> Result<(), NiftiError> {
    let signal = volume.data.mapv(|signal| (signal * scale).round() as i16);
    let header = header(&volume.grid);
    WriterOptions::new(path).reference_header(&header).compress(true).write_nifti(&signal.t())
}

/// The grid's place in space.
///
/// The file's axes are column, row, slice; its world is RAS, DICOM's is LPS, so x and y change sign.
fn header(grid: &Grid) -> NiftiHeader {
    let mut rows = [[0.0f32; 4]; 3];
    for (world, row) in rows.iter_mut().enumerate() {
        let sign = if world < 2 { -1.0 } else { 1.0 };
        for (file_axis, grid_axis) in [2, 1, 0].into_iter().enumerate() {
            row[file_axis] = (sign * grid.axes[grid_axis][world] * grid.spacing[grid_axis]) as f32;
        }
        row[3] = (sign * grid.origin[world]) as f32;
    }
    let [slice_mm, row_mm, column_mm] = grid.spacing.map(|s| s as f32);
    const SCANNER_ANATOMICAL: i16 = 1;
    const MILLIMETRES: u8 = 2;
    NiftiHeader {
        pixdim: [1.0, column_mm, row_mm, slice_mm, 0.0, 0.0, 0.0, 0.0],
        sform_code: SCANNER_ANATOMICAL,
        srow_x: rows[0],
        srow_y: rows[1],
        srow_z: rows[2],
        xyzt_units: MILLIMETRES,
        ..NiftiHeader::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;
    use nifti::{IntoNdArray, NiftiObject, ReaderOptions};

    #[test]
    fn a_voxel_keeps_its_value_and_its_place() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]];
        let grid = Grid::new([3, 5, 4], [10.0, 20.0, 30.0], axes, [4.0, 0.5, 0.7]).unwrap();
        let mut map = Array3::<u8>::zeros((3, 5, 4));
        map[[2, 1, 3]] = 2;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.nii.gz");
        write_map(&path, map.view(), &grid).unwrap();

        let object = ReaderOptions::new().read_file(&path).unwrap();
        let header = object.header().clone();
        let back = object.into_volume().into_ndarray::<u8>().unwrap();
        assert_eq!(back[[3, 1, 2]], 2);
        let [x, y, z] = grid.to_patient([2.0, 1.0, 3.0]);
        let world = |row: [f32; 4]| row[0] * 3.0 + row[1] + row[2] * 2.0 + row[3];
        for (got, want) in
            [(world(header.srow_x), -x), (world(header.srow_y), -y), (world(header.srow_z), z)]
        {
            assert!((f64::from(got) - want).abs() < 1e-4, "{got} {want}");
        }
    }

    #[test]
    fn a_signal_fits_its_file_whatever_its_unit() {
        let grid = Grid::upright([1, 1, 3], [1.0; 3]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t1.nii.gz");
        for (largest, kept) in [(0.5, 2048), (4000.0, 4000), (60_000.0, 30_000), (0.0, 0)] {
            let data = Array3::from_shape_vec((1, 1, 3), vec![0.0, largest / 2.0, largest]);
            let volume = Volume::new(data.unwrap(), grid.clone());
            write_signal(&path, &volume, scale(&volume)).unwrap();
            let object = ReaderOptions::new().read_file(&path).unwrap();
            let back = object.into_volume().into_ndarray::<i16>().unwrap();
            assert_eq!(back.iter().copied().collect::<Vec<_>>(), [0, kept / 2, kept]);
        }
    }
}
