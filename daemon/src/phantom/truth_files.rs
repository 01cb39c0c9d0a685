//! The truth of one exam as NIfTI and JSON; many exams as a data set.

use std::fs;
use std::path::Path;

use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use serde::Serialize;

use crate::dataset::{TruthLesion, mask_of, metaimage};
use crate::domain::{EndplateSide, Grid};

use super::error::PhantomError;
use super::settings::Settings;
use super::truth::{Truth, tissue_class};
use super::{PhantomExam, generate};

/// Writes `truth.json`, `truth_modic.nii.gz`, `truth_bodies.nii.gz` and `truth_tissue.nii.gz` into a folder.
pub fn write_truth(exam: &PhantomExam, out_dir: &Path) -> Result<(), PhantomError> {
    make_folder(out_dir)?;
    let Truth { tissue, bodies, modic, .. } = &exam.truth;
    for (name, map) in [("modic", modic), ("bodies", bodies), ("tissue", tissue)] {
        let path = out_dir.join(format!("truth_{name}.nii.gz"));
        let header = header(&exam.t1.grid);
        WriterOptions::new(&path)
            .reference_header(&header)
            .write_nifti(map)
            .map_err(|source| PhantomError::Nifti { path, source })?;
    }
    write_json(&exam.truth, &out_dir.join("truth.json"))
}

/// Writes the exams of some seeds as a data set (see [`crate::dataset`]), truth, gradings and splits included.
pub fn write_dataset(
    seeds: impl IntoIterator<Item = u64>,
    settings: impl Fn(u64) -> Settings,
    out_dir: &Path,
) -> Result<(), PhantomError> {
    for folder in ["images", "masks", "bodies", "modic", "lesions"] {
        make_folder(&out_dir.join(folder))?;
    }
    let mut gradings = Table::new(out_dir.join("radiological_gradings.csv"))?;
    let mut splits = Table::new(out_dir.join("splits.csv"))?;
    for seed in seeds {
        let exam = generate(seed, &settings(seed));
        let file = |folder: &str, series| out_dir.join(format!("{folder}/{seed}_{series}.mha"));
        for (series, volume) in [("t1", &exam.t1), ("t2", &exam.t2)] {
            let stored = volume.data.mapv(|v| v as u16);
            metaimage::write(&file("images", series), stored.view(), &volume.grid)?;
        }
        let Truth { tissue, bodies, discs, modic, lesions, .. } = &exam.truth;
        let canal = tissue.mapv(|class| class == tissue_class::CANAL);
        let mask = mask_of(bodies, discs, &canal);
        for (folder, map) in [("masks", &mask), ("bodies", bodies), ("modic", modic)] {
            metaimage::write(&file(folder, "t1"), map.view(), &exam.t1.grid)?;
        }
        write_json(&exam.truth, &out_dir.join(format!("lesions/{seed}.json")))?;
        for disc in 1..=GRADED_DISCS {
            gradings.row(&GradingRow { patient: seed, disc, modic: grade(disc, lesions) })?;
        }
        splits.row(&SplitRow { patient: seed, split: split_of(seed) })?;
    }
    gradings.finish()?;
    splits.finish()
}

/// Of every ten seeds, eight train, one validates, one tests.
fn split_of(seed: u64) -> &'static str {
    match seed % 10 {
        8 => "val",
        9 => "test",
        _ => "train",
    }
}

/// Discs from L5-S1 (1) up that the gradings list.
const GRADED_DISCS: usize = 8;

/// The type of the larger lesion beside a disc, or 0.
fn grade(disc: usize, lesions: &[TruthLesion]) -> u8 {
    let beside = |l: &&TruthLesion| {
        let body = l.endplate.level.count_above_sacrum();
        match l.endplate.side {
            EndplateSide::Superior => body + 1 == disc,
            EndplateSide::Inferior => body == disc,
        }
    };
    let largest =
        lesions.iter().filter(beside).max_by(|a, b| a.volume_mm3.total_cmp(&b.volume_mm3));
    largest.and_then(|l| l.pattern.bytes().next()).map_or(0, |first| first - b'0')
}

#[derive(Serialize)]
struct GradingRow {
    #[serde(rename = "Patient")]
    patient: u64,
    #[serde(rename = "IVD label")]
    disc: usize,
    #[serde(rename = "Modic")]
    modic: u8,
}

#[derive(Serialize)]
struct SplitRow {
    patient: u64,
    split: &'static str,
}

/// A table that is being written.
struct Table {
    path: std::path::PathBuf,
    rows: csv::Writer<fs::File>,
}

impl Table {
    fn new(path: std::path::PathBuf) -> Result<Table, PhantomError> {
        match csv::Writer::from_path(&path) {
            Ok(rows) => Ok(Table { path, rows }),
            Err(source) => Err(PhantomError::Table { path, source }),
        }
    }

    fn row(&mut self, row: &impl Serialize) -> Result<(), PhantomError> {
        self.rows
            .serialize(row)
            .map_err(|source| PhantomError::Table { path: self.path.clone(), source })
    }

    fn finish(mut self) -> Result<(), PhantomError> {
        self.rows.flush().map_err(|source| PhantomError::Io { path: self.path, source })
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

/// The header of a grid; NIfTI's axes are the array's: slice, row, column. Its world is RAS, DICOM's LPS: x
/// and y change their sign.
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
