//! `modicd phantom`: synthetic exams with their truth.

use std::path::PathBuf;

use crate::phantom::{Settings, generate, write_dataset, write_dicom, write_truth};

/// Write a synthetic lumbar-spine exam: two DICOM series in one study, and the exact truth beside them.
///
/// The same seed gives the same bytes. With --dataset COUNT a training set of COUNT exams is written
/// instead, in the layout that models/training reads.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which exam; the first one with --dataset.
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Where it is written: dicom/t1, dicom/t2, truth.json, truth_*.nii.gz.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Slices of each series.
    #[arg(long, value_name = "N", default_value_t = Settings::default().slices)]
    slices: usize,
    /// Write this many exams as a training set.
    #[arg(long, value_name = "COUNT")]
    dataset: Option<u64>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    anyhow::ensure!((1..=256).contains(&args.slices), "--slices must be between 1 and 256");
    let settings = Settings { slices: args.slices, ..Settings::default() };
    match args.dataset {
        Some(count) => {
            write_dataset(args.seed..args.seed.saturating_add(count), &settings, &args.out)?;
        }
        None => {
            let exam = generate(args.seed, &settings);
            write_dicom(&exam, args.seed, &args.out.join("dicom"))?;
            write_truth(&exam, &args.out)?;
        }
    }
    println!("{}", args.out.display());
    Ok(super::EXIT_OK)
}
