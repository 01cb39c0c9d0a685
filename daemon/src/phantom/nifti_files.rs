//! Truth and training sets as NIfTI, JSON and CSV files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nifti::NiftiHeader;
use nifti::writer::WriterOptions;

use crate::domain::{EndplateSide, Grid};

use super::error::PhantomError;
use super::settings::Settings;
use super::truth::{Truth, TruthLesion};
use super::{PhantomExam, generate};

/// Writes `truth.json`, `truth_modic.nii.gz`, `truth_bodies.nii.gz` and `truth_tissue.nii.gz` into a folder.
pub fn write_truth(exam: &PhantomExam, out_dir: &Path) -> Result<(), PhantomError> {
    make_folder(out_dir)?;
    let Truth { tissue, bodies, modic, .. } = &exam.truth;
    for (name, map) in [("modic", modic), ("bodies", bodies), ("tissue", tissue)] {
        let path = out_dir.join(format!("truth_{name}.nii.gz"));
        write_nifti(&exam.t1.grid, &path, |file| file.write_nifti(map))?;
    }
    write_json(&exam.truth, &out_dir.join("truth.json"))
}

/// Writes a training set in the manner of SPIDER, T2 on T1's grid:
/// `images/{seed}_t1.nii.gz`, `images/{seed}_t2.nii.gz` (16 bit), `masks/{seed}_tissue.nii.gz`,
/// `masks/{seed}_bodies.nii.gz`, `masks/{seed}_modic.nii.gz` (8 bit), `lesions/{seed}.json`, `gradings.csv`.
pub fn write_dataset(
    seeds: impl IntoIterator<Item = u64>,
    settings: &Settings,
    out_dir: &Path,
) -> Result<(), PhantomError> {
    let settings = Settings { t2_own_grid: false, ..settings.clone() };
    for folder in ["images", "masks", "lesions"] {
        make_folder(&out_dir.join(folder))?;
    }
    let mut gradings = "Patient,IVD label,Modic\n".to_owned();
    for seed in seeds {
        let exam = generate(seed, &settings);
        for (name, volume) in [("t1", &exam.t1), ("t2", &exam.t2)] {
            let stored = volume.data.mapv(|v| v as u16);
            let path = out_dir.join(format!("images/{seed}_{name}.nii.gz"));
            write_nifti(&volume.grid, &path, |file| file.write_nifti(&stored))?;
        }
        let Truth { tissue, bodies, modic, lesions, .. } = &exam.truth;
        for (name, map) in [("tissue", tissue), ("bodies", bodies), ("modic", modic)] {
            let path = out_dir.join(format!("masks/{seed}_{name}.nii.gz"));
            write_nifti(&exam.t1.grid, &path, |file| file.write_nifti(map))?;
        }
        write_json(&exam.truth, &out_dir.join(format!("lesions/{seed}.json")))?;
        grade(&mut gradings, seed, lesions);
    }
    let path = out_dir.join("gradings.csv");
    fs::write(&path, gradings).map_err(|source| PhantomError::Io { path, source })
}

/// Discs from L5-S1 (1) up that the gradings list.
const GRADED_DISCS: usize = 8;

/// Adds one exam's rows: the type of the larger lesion beside each disc, or 0.
fn grade(csv: &mut String, seed: u64, lesions: &[TruthLesion]) {
    for disc in 1..=GRADED_DISCS {
        let beside = |l: &&TruthLesion| {
            let body = l.endplate.level.count_above_sacrum();
            match l.endplate.side {
                EndplateSide::Superior => body + 1 == disc,
                EndplateSide::Inferior => body == disc,
            }
        };
        let largest =
            lesions.iter().filter(beside).max_by(|a, b| a.volume_mm3.total_cmp(&b.volume_mm3));
        let grade = largest.map_or("0", |l| &l.pattern[..1]);
        writeln!(csv, "{seed},{disc},{grade}").expect("writing to a string doesn't fail");
    }
}

fn make_folder(path: &Path) -> Result<(), PhantomError> {
    fs::create_dir_all(path).map_err(|source| PhantomError::Io { path: path.to_owned(), source })
}

fn write_json(truth: &Truth, path: &Path) -> Result<(), PhantomError> {
    let text = serde_json::to_string_pretty(truth)
        .map_err(|source| PhantomError::Json { path: path.to_owned(), source })?;
    fs::write(path, text + "\n")
        .map_err(|source| PhantomError::Io { path: path.to_owned(), source })
}

/// Runs `write` with the options for a file whose sform is the grid; NIfTI's axes are the array's: slice,
/// row, column.
fn write_nifti(
    grid: &Grid,
    path: &Path,
    write: impl FnOnce(WriterOptions<'_>) -> nifti::Result<()>,
) -> Result<(), PhantomError> {
    let header = header(grid);
    write(WriterOptions::new(path).reference_header(&header))
        .map_err(|source| PhantomError::Nifti { path: path.to_owned(), source })
}

/// The header of a grid. NIfTI's world is RAS, DICOM's LPS: x and y change their sign.
fn header(grid: &Grid) -> NiftiHeader {
    let row = |k: usize, sign: f64| -> [f32; 4] {
        std::array::from_fn(|a| {
            let v = if a < 3 { grid.axes[a][k] * grid.spacing[a] } else { grid.origin[k] };
            (sign * v) as f32
        })
    };
    let spacing = grid.spacing.map(|s| s as f32);
    NiftiHeader {
        pixdim: [1.0, spacing[0], spacing[1], spacing[2], 0.0, 0.0, 0.0, 0.0],
        xyzt_units: 2, // mm
        sform_code: 1, // scanner coordinates
        srow_x: row(0, -1.0),
        srow_y: row(1, -1.0),
        srow_z: row(2, 1.0),
        ..NiftiHeader::default()
    }
}
