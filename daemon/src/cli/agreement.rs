//! `modicd agreement`: how well readers agree, without and with the map, and a report.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;

use crate::agreement::{By, Categories, Gradings, NotGradable, Report, Resampling, read};

/// Say how well readers agree, without and with the Modic map.
///
/// Reads gradings as a reading list exports them (columns study_ref, reader, session, endplate, grade, seconds, time) and
/// writes agreement.html and agreement.json: Cohen's kappa of each pair of readers, Fleiss' of all, the difference that the
/// map makes with its 95 % interval over studies and p-value, and the reading times.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tables of gradings; together they are the experiment.
    #[arg(value_name = "GRADINGS.csv", required = true)]
    gradings: Vec<PathBuf>,
    /// Where the report is written.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What readers agree on.
    #[arg(long, value_enum, default_value = "type")]
    by: By,
    /// What becomes of endplates that a reader couldn't grade.
    #[arg(long, value_enum, default_value = "exclude")]
    not_gradable: NotGradable,
    /// How many samples the intervals rest on.
    #[arg(long, value_name = "N", default_value_t = Resampling::default().samples)]
    samples: usize,
    /// Where the random numbers start; the same seed gives the same report.
    #[arg(long, value_name = "N", default_value_t = Resampling::default().seed)]
    seed: u64,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let mut rows = Vec::new();
    for path in &args.gradings {
        let failed = || format!("can't read {}", path.display());
        rows.extend(read(File::open(path).with_context(failed)?).with_context(failed)?);
    }
    let categories = Categories { by: args.by, not_gradable: args.not_gradable };
    let resampling = Resampling { samples: args.samples, seed: args.seed };
    let report = Report::new(&Gradings::new(rows)?, categories, resampling)?;
    report.write(&args.out)?;
    println!("{}", report.table());
    println!("report: {}", args.out.join("agreement.html").display());
    Ok(super::EXIT_OK)
}
