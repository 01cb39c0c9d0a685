//! `modicd evaluate`: the shipped way over a labelled data set, and a report.

use std::path::PathBuf;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::analysis::Analyser;
use crate::bundles;
use crate::config::Config;
use crate::dataset::Dataset;
use crate::evaluate::{Estimate, Options, Report, evaluate};

/// Measure the program on a labelled data set in the layout of SPIDER.
///
/// Writes report.html and report.json: bodies, levels, Modic changes by endplate and by disc, each figure with its
/// 95 % interval over patients. Only what the data set's labels allow is reported. `modicd phantom --dataset`
/// writes such a data set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data set: images/, masks/, radiological_gradings.csv, …
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    /// Where the report is written.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only the patients of this split of DATASET/splits.csv (train, val, test).
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Take thresholds from this configuration, and the networks that its daemon uses unless --bundles names others.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use the bundles of this folder, which holds vertebrae/ and modic/.
    #[arg(long, value_name = "DIR")]
    bundles: Option<PathBuf>,
    /// Compare with what the bundles of this folder make of each exam, such as the float networks.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Analyse each exam also turned, scaled, thinned out, mirrored and with T2 moved, and say which findings stay the
    /// same: takes eight times as long.
    #[arg(long)]
    robustness: bool,
    /// Draw each result there, as PATIENT.png: pictures of the patients, so keep them where the data is.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = Config::load_or_default(args.config.as_deref())?;
    let mut analyser = match (&args.bundles, &args.config) {
        (None, Some(_)) => bundles::analyser(&config)?,
        (folder, _) => Analyser::new(folder.as_deref(), &config)?,
    };
    let other = args.against.as_deref();
    let mut other = other.map(|folder| Analyser::new(Some(folder), &config)).transpose()?;
    let mut dataset = Dataset::open(&args.dataset)?;
    if let Some(split) = &args.split {
        dataset.retain_split(split)?;
    }
    if let Some(folder) = &args.pictures {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
    }
    let options = Options { pictures: args.pictures.as_deref(), robustness: args.robustness };
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} exams, {eta} left")?;
    let bar = ProgressBar::new(dataset.patients.len() as u64).with_style(style);
    let exams = evaluate(&dataset, &mut analyser, other.as_mut(), options, &mut || bar.inc(1))?;
    bar.finish_and_clear();

    let mut report = Report::new(analyser.bundles(), &args.dataset, args.split, exams);
    report.against = other.map(|other| other.bundles());
    report.write(&args.out)?;
    let mut group = "";
    for figure in &report.figures {
        if figure.group != group {
            group = figure.group;
            println!("{group}");
        }
        let Estimate { value, interval } = figure.estimate;
        let interval =
            interval.map_or_else(String::new, |i| format!("[{:.3}, {:.3}]", i.low, i.high));
        println!("  {:<50} {value:.3} {interval}  {}", figure.name, figure.of);
    }
    println!("report: {}", args.out.join("report.html").display());
    Ok(super::EXIT_OK)
}
