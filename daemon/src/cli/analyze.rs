//! `modicd analyze`: files in, results out, no server.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::table;
use crate::analysis::Analyser;
use crate::bundles;
use crate::config::Config;
use crate::receive::{InstanceStore, ingest_file, regular_files};
use crate::report::FINDING_FILE;

/// Study references of this command are derived with this key: its results stay where they are written, so
/// they need not be unlinkable, and the same exam gets the same folder every time.
const LOCAL_KEY: &[u8] = b"modicd analyze";

/// Analyse DICOM files or folders without any server.
///
/// Writes one folder per study: finding.json, modic_map.nii.gz (the Modic map on T1's grid), findings.png, and
/// DICOM objects and a FHIR report, which name the patient. A study that can't be analysed is named with its
/// reason; the others are done all the same, and the exit code is then 3.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// DICOM files, or folders that are searched for them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where results are written.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Take thresholds and limits from this configuration, and the networks that its daemon uses.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = Config::load_or_default(args.config.as_deref())?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("can't make {}", args.out.display()))?;
    let spool = tempfile::tempdir_in(&args.out).context("can't make a folder for the instances")?;
    let store = InstanceStore::open(spool.path(), LOCAL_KEY, config.receive.max_object_bytes)?;
    let mut refused_files = 0usize;
    for path in files_of(&args.paths)? {
        if let Err(refusal) = ingest_file(&store, &path) {
            eprintln!("{}: {}", path.display(), refusal.reason.sentence());
            refused_files += 1;
        }
    }

    let mut analyser = match args.config {
        Some(_) => bundles::analyser(&config)?,
        None => Analyser::new(None, &config)?,
    };
    let studies = store.list()?;
    let mut refused_studies = 0usize;
    for (study_ref, files) in &studies {
        println!("study {study_ref}");
        let folder = args.out.join(study_ref.as_str());
        if !analyse_one(&mut analyser, files, study_ref.as_str(), &folder)? {
            refused_studies += 1;
        }
    }
    if studies.is_empty() {
        anyhow::bail!("no MR instances among {refused_files} files that were looked at");
    }
    Ok(if refused_studies > 0 { super::EXIT_REFUSED } else { super::EXIT_OK })
}

/// Analyses one study into `folder`; false if it was refused.
fn analyse_one(
    analyser: &mut Analyser,
    files: &[PathBuf],
    study_ref: &str,
    folder: &Path,
) -> anyhow::Result<bool> {
    let verdict = match analyser.prepare(files)? {
        Ok(prepared) => {
            let style = ProgressStyle::with_template("  {bar:40} {percent} %, {eta} left")?;
            let steps = Analyser::steps(&prepared) as u64;
            let bar = ProgressBar::new(steps).with_style(style);
            let verdict = analyser.analyse(&prepared, &mut || {
                if bar.position() == steps {
                    bar.inc_length(steps); // it looks twice
                }
                bar.inc(1);
                ControlFlow::Continue(())
            })?;
            bar.finish_and_clear();
            verdict
        }
        Err(refused) => Err(refused),
    };
    match verdict {
        Ok(analysis) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("can't make {}", folder.display()))?;
            let mut document = serde_json::to_value(&analysis.body)?;
            document["study_ref"] = study_ref.into();
            document["research_use"] = true.into();
            let path = folder.join(FINDING_FILE);
            crate::store::write_atomically(&path, &serde_json::to_vec_pretty(&document)?)?;
            analysis.write_files(folder, 1)?;
            println!("{}\nresults: {}\n", table::findings(&analysis.body), folder.display());
            Ok(true)
        }
        Err(refused) => {
            println!("not analysed: {}: {}", refused.reason.as_str(), refused.reason.what_to_do());
            for series in &refused.refused_series {
                println!(
                    "  series {} ({}): {}",
                    series.series_number_in_study,
                    series.weighting,
                    series.reason.as_str()
                );
            }
            Ok(false)
        }
    }
}

/// The files themselves, and those below the folders.
fn files_of(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let about =
            std::fs::metadata(path).with_context(|| format!("can't read {}", path.display()))?;
        if about.is_dir() {
            files.extend(
                regular_files(path).with_context(|| format!("can't read {}", path.display()))?,
            );
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}
