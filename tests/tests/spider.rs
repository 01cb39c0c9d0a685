//! Real pairs of the SPIDER data set: how many levels are seen, and does "any Modic" agree with the gradings?
//!
//! Only the mid-sagittal slice of each patient is here while the gradings come from whole volumes, so a graded
//! change may lie outside what the program sees. Agreement is reported for patients that no network was
//! trained on (`models/training/splits.csv`), with bootstrap intervals over patients.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use modicd::analysis::Analyser;
use modicd::domain::Level;
use modicd::receive::regular_files;
use modicd::study;
use modicd_tests::{SpiderPatient, spider_pair, spider_patients};
use rand::{Rng, SeedableRng};

/// One disc: graded, found.
type Disc = (bool, bool);

#[test]
fn real_pairs_are_analysed_and_compared_with_their_gradings() {
    let Some(spider) = std::env::var_os("MODICD_SPIDER").map(PathBuf::from) else {
        println!("MODICD_SPIDER isn't set: no real data, nothing to do");
        return;
    };
    // With MODICD_PICTURES=FOLDER the overlays are kept there, to be looked at.
    let pictures = std::env::var_os("MODICD_PICTURES").map(PathBuf::from);
    let config = study::Config { min_slices: 1, ..Default::default() };
    let mut analyser = Analyser::new(None, config, Default::default()).unwrap();
    let held_out = held_out();

    let mut levels: BTreeMap<usize, usize> = BTreeMap::new();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    let mut discs: Vec<Vec<Disc>> = Vec::new();
    let (mut s1_seen, mut analysed) = (0, 0);
    for patient in spider_patients(&spider) {
        let folder = tempfile::tempdir().unwrap();
        spider_pair(&spider, &patient.patient, folder.path());
        let files = regular_files(folder.path()).unwrap();
        let verdict = match analyser.prepare(&files).unwrap() {
            Ok(prepared) => analyser.analyse(&prepared, &mut || {}).unwrap(),
            Err(refusal) => Err(refusal),
        };
        let analysis = match verdict {
            Ok(analysis) => analysis,
            Err(refusal) => {
                *refused.entry(refusal.reason.as_str()).or_default() += 1;
                continue;
            }
        };
        analysed += 1;
        let seen: Vec<Level> = analysis.body.levels.iter().map(|l| l.level).collect();
        *levels.entry(seen.len()).or_default() += 1;
        s1_seen += usize::from(seen.first() == Some(&Level::S1));
        if let Some(pictures) = &pictures {
            let out = pictures.join(&patient.patient);
            std::fs::create_dir_all(&out).unwrap();
            analysis.write_pictures(&out).unwrap();
        }
        if held_out.contains(&patient.patient) {
            let found: BTreeSet<&str> =
                analysis.body.discs.iter().map(|d| d.disc.as_str()).collect();
            discs.push(compare(&patient, &found));
        }
    }
    println!("{analysed} exams analysed, refused: {refused:?}; S1 seen in {s1_seen}");
    println!("vertebrae seen (S1 included): exams {levels:?}");
    assert!(analysed >= 140, "nearly every pair can be analysed");

    let of = |figure: fn(&[usize; 4]) -> f64| {
        let all: Vec<&Vec<Disc>> = discs.iter().collect();
        let mut random = rand_pcg::Pcg64::seed_from_u64(1);
        let mut resampled: Vec<f64> = (0..2000)
            .map(|_| {
                let drawn: Vec<&Vec<Disc>> =
                    (0..all.len()).map(|_| all[random.random_range(0..all.len())]).collect();
                figure(&table(&drawn))
            })
            .filter(|v| v.is_finite())
            .collect();
        resampled.sort_by(f64::total_cmp);
        let at = |q: f64| resampled[((resampled.len() - 1) as f64 * q) as usize];
        format!("{:.2} [{:.2}, {:.2}]", figure(&table(&all)), at(0.025), at(0.975))
    };
    println!(
        "{} held-out patients, discs [hit, missed, false, none]: {:?}",
        discs.len(),
        table(&discs.iter().collect::<Vec<_>>())
    );
    println!("sensitivity {}", of(|[hit, missed, _, _]| *hit as f64 / (hit + missed) as f64));
    println!("specificity {}", of(|[_, _, wrong, none]| *none as f64 / (wrong + none) as f64));
    println!("kappa {}", of(kappa));
}

/// The graded discs, from L5-S1 up, against those with a finding.
fn compare(patient: &SpiderPatient, found: &BTreeSet<&str>) -> Vec<Disc> {
    patient
        .grades
        .iter()
        .enumerate()
        .filter_map(|(n, grade)| {
            let lower = Level::above_sacrum(n)?;
            let disc = format!("{}-{lower}", lower.above()?);
            Some((*grade > 0, found.contains(disc.as_str())))
        })
        .collect()
}

/// Hit, missed, false, none.
fn table(patients: &[&Vec<Disc>]) -> [usize; 4] {
    let mut table = [0; 4];
    for (graded, found) in patients.iter().flat_map(|p| p.iter()) {
        table[match (graded, found) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }] += 1;
    }
    table
}

/// Cohen's kappa.
fn kappa([hit, missed, wrong, none]: &[usize; 4]) -> f64 {
    let [hit, missed, wrong, none] = [*hit, *missed, *wrong, *none].map(|n| n as f64);
    let n = hit + missed + wrong + none;
    let observed = (hit + none) / n;
    let expected = ((hit + missed) * (hit + wrong) + (wrong + none) * (missed + none)) / (n * n);
    (observed - expected) / (1.0 - expected)
}

/// The test patients of the training's split.
fn held_out() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/training/splits.csv");
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_suffix(",test"))
        .map(str::to_owned)
        .collect()
}
