//! `modicd phantom`: synthetic exams with their truth.

use std::path::PathBuf;

use crate::phantom::{Settings, generate, write_dataset, write_dicom, write_truth};

/// Write a synthetic lumbar-spine exam: two DICOM series in one study, and the exact truth beside them.
///
/// The same seed gives the same bytes. With --dataset COUNT a data set of COUNT exams is written instead, in
/// the layout of SPIDER, which models/training and `modicd evaluate` read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which exam; the first one with --dataset.
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Where it is written: dicom/t1, dicom/t2, truth.json, truth_*.nii.gz.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Slices of each series.
    #[arg(long, value_name = "N", conflicts_with = "wide")]
    slices: Option<usize>,
    /// Draw sizes, noise, shading, slices and scanners from wider ranges than those the networks are trained on.
    #[arg(long)]
    wide: bool,
    /// Write this many exams as a data set.
    #[arg(long, value_name = "COUNT")]
    dataset: Option<u64>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let usual = Settings::default();
    let slices = args.slices.unwrap_or(usual.slices);
    anyhow::ensure!((1..=256).contains(&slices), "--slices must be between 1 and 256");
    let usual = Settings { slices, ..usual };
    let settings = |seed| if args.wide { Settings::wide(seed) } else { usual.clone() };
    match args.dataset {
        Some(count) => {
            write_dataset(args.seed..args.seed.saturating_add(count), settings, &args.out)?;
        }
        None => {
            let exam = generate(args.seed, &settings(args.seed));
            write_dicom(&exam, args.seed, &args.out.join("dicom"))?;
            write_truth(&exam, &args.out)?;
        }
    }
    println!("{}", args.out.display());
    Ok(super::EXIT_OK)
}
