//! Phantoms that no network was trained on: is every lesion found, at its endplate, with its type?
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use modicd::analysis::Analyser;
use modicd::config::Config;
use modicd::domain::Endplate;
use modicd::modic::Finding;
use modicd::phantom::{PhantomExam, Settings, generate, write_dicom};
use modicd::receive::regular_files;

/// Far from the training set's seeds (100000 and on).
const FIRST_SEED: u64 = 900_001;
const EXAMS: u64 = 30;
/// Smaller lesions needn't be found.
const MIN_LESION_MM3: f64 = 100.0;

/// What became of one exam.
#[derive(Default)]
struct Score {
    lesions: usize,
    found: usize,
    right_type: usize,
    false_findings: usize,
    levels_right: bool,
    notes: Vec<String>,
}

fn analyse(analyser: &mut Analyser, exam: &PhantomExam, seed: u64) -> Score {
    let folder = tempfile::tempdir().unwrap();
    write_dicom(exam, seed, folder.path()).unwrap();
    let files: Vec<PathBuf> = regular_files(folder.path()).unwrap();
    let prepared = analyser.prepare(&files).unwrap().unwrap();
    let analysis = analyser.analyse(&prepared, &mut || ControlFlow::Continue(())).unwrap().unwrap();

    let mut findings: BTreeMap<Endplate, Vec<&Finding>> = BTreeMap::new();
    for finding in &analysis.body.findings {
        let endplate = Endplate { level: finding.level, side: finding.side };
        findings.entry(endplate).or_default().push(finding);
    }
    let mut score = Score { levels_right: levels_right(exam, &analysis), ..Score::default() };
    for lesion in &exam.truth.lesions {
        let at = findings.remove(&lesion.endplate).unwrap_or_default();
        if lesion.volume_mm3 < MIN_LESION_MM3 {
            continue;
        }
        score.lesions += 1;
        score.found += usize::from(!at.is_empty());
        let right = at.iter().any(|f| f.pattern == lesion.pattern);
        score.right_type += usize::from(right);
        if !right {
            let got: Vec<&str> = at.iter().map(|f| f.pattern.as_str()).collect();
            score.notes.push(format!(
                "{}{:?} {} {:.0} mm3 got {got:?}",
                lesion.endplate.level, lesion.endplate.side, lesion.pattern, lesion.volume_mm3
            ));
        }
    }
    for (endplate, rest) in findings {
        score.false_findings += rest.len();
        let volume = rest[0].volume_mm3;
        score.notes.push(format!("false {}{:?} {volume:.0} mm3", endplate.level, endplate.side));
    }
    score
}

/// True if every vertebra that was named has the name that the truth gives its centre.
fn levels_right(exam: &PhantomExam, analysis: &modicd::analysis::Analysis) -> bool {
    let spine = &analysis.result().spine;
    !spine.vertebrae.is_empty()
        && spine.vertebrae.iter().all(|v| {
            let index = [0, 1, 2].map(|k| (v.centre[k] / exam.t1.grid.spacing[k]).round() as usize);
            let truth = exam.truth.bodies.get(index).copied().unwrap_or(0);
            truth == 0 || usize::from(truth) == v.level.count_above_sacrum() + 1
        })
}

#[test]
fn lesions_of_unseen_phantoms_are_found_at_their_endplate_with_their_type() {
    let first = std::env::var("FIRST_SEED").map_or(FIRST_SEED, |s| s.parse().unwrap());
    let next = AtomicU64::new(first);
    let scores = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut analyser =
                    Analyser::new(None, &Config::with_state_dir(PathBuf::new())).unwrap();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + EXAMS {
                        break;
                    }
                    let exam = generate(seed, &Settings::default());
                    let score = analyse(&mut analyser, &exam, seed);
                    scores.lock().unwrap().insert(seed, score);
                }
            });
        }
    });

    let scores = scores.into_inner().unwrap();
    println!(
        "{:<8}{:>8}{:>7}{:>12}{:>7}{:>8}  notes",
        "seed", "lesions", "found", "right type", "false", "levels"
    );
    for (seed, s) in &scores {
        let levels = if s.levels_right { "right" } else { "WRONG" };
        println!(
            "{seed:<8}{:>8}{:>7}{:>12}{:>7}{levels:>8}  {}",
            s.lesions,
            s.found,
            s.right_type,
            s.false_findings,
            s.notes.join("; ")
        );
    }
    let sum = |of: fn(&Score) -> usize| scores.values().map(of).sum::<usize>();
    let (lesions, found, right) = (sum(|s| s.lesions), sum(|s| s.found), sum(|s| s.right_type));
    let named = sum(|s| usize::from(s.levels_right)) as f64 / EXAMS as f64;
    let false_per_exam = sum(|s| s.false_findings) as f64 / EXAMS as f64;
    let share = right as f64 / lesions as f64;
    println!(
        "{lesions} lesions >= {MIN_LESION_MM3} mm3: found {found}, found with the right type {right} \
         ({:.1} %); false findings an exam {false_per_exam:.2}",
        100.0 * share
    );
    assert!(lesions >= 30, "the phantoms hold lesions");
    assert!(named >= 0.95, "exams with every level right: {named:.3}, 0.95 is required");
    assert!(share >= 0.9, "found with the right type: {share:.3}, 0.9 is required");
    assert!(false_per_exam <= 0.2, "false findings an exam: {false_per_exam:.2}, 0.2 is allowed");
}
