//! `modicd evaluate`: on phantoms that it writes itself, and on real patients where they are.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::path::{Path, PathBuf};
use std::process::Command;

use modicd::analysis::Analyser;
use modicd::config::Config;
use modicd::dataset::Dataset;
use modicd::evaluate::{Report, evaluate};
use modicd_tests::Daemon;

fn program() -> Command {
    Command::new(Daemon::program())
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn figure(report: &serde_json::Value, group: &str, name: &str) -> f64 {
    let figures = report["figures"].as_array().unwrap();
    let one = figures.iter().find(|f| f["group"] == group && f["name"] == name);
    one.unwrap_or_else(|| panic!("no figure {group}: {name}"))["estimate"]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn a_phantom_data_set_becomes_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out] = ["data", "out"].map(|name| folder.path().join(name));
    // Seeds that end in 9 are the test split.
    succeed(
        program()
            .args(["phantom", "--seed", "900108", "--dataset", "3", "--slices", "9"])
            .arg("--out")
            .arg(&data),
    );
    let table = succeed(
        program()
            .arg("evaluate")
            .arg(&data)
            .args(["--split", "test"])
            .arg("--out")
            .arg(&out)
            .arg("--pictures")
            .arg(out.join("pictures")),
    );
    assert!(table.contains("Vertebral bodies") && table.contains("kappa"), "{table}");
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["exams"].as_array().unwrap().len(), 1);
    assert_eq!(report["exams"][0]["patient"], "900109");
    assert!(figure(&report, "Vertebral bodies", "Dice, bodies above S1") > 0.9);
    assert_eq!(figure(&report, "Levels", "exams without a wrong name"), 1.0);
    assert!(figure(&report, "Modic changes by endplate", "specificity") > 0.9);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("Gao et al."));
    assert!(out.join("pictures/900109.png").is_file());
}

#[test]
fn what_is_wrong_with_a_data_set_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = program().arg("evaluate").arg(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    assert!(refused(&["--out", out]).contains("images"));
    std::fs::create_dir(folder.path().join("images")).unwrap();
    assert!(refused(&["--out", out]).contains("images/PATIENT_t1.mha"));
    for series in ["t1", "t2"] {
        std::fs::write(folder.path().join(format!("images/7_{series}.mha")), "NDims = 3\n")
            .unwrap();
    }
    assert!(refused(&["--out", out, "--split", "test"]).contains("splits.csv"));
    assert!(refused(&["--out", out]).contains("7_t1.mha"));
}

/// The SPIDER data set in its own layout. Of the 8-bit renderings only the mid-sagittal slice of each patient is there,
/// while gradings come from whole volumes: a graded change may lie outside what the program sees.
#[test]
fn real_patients_are_analysed_and_those_held_out_compared_with_their_gradings() {
    let Some(spider) = std::env::var_os("MODICD_SPIDER").map(PathBuf::from) else {
        println!("MODICD_SPIDER isn't set: no real data, nothing to do");
        return;
    };
    let mut held_out = Dataset::open(&spider).unwrap();
    held_out.retain_split("test").unwrap();
    let mut others = Dataset::open(&spider).unwrap();
    others.patients.retain(|patient| !held_out.patients.contains(patient));
    let mut config = Config::with_state_dir(PathBuf::new());
    let mut analyser = Analyser::new(None, &config).unwrap();
    // Of the others nothing is asked that a second look might change.
    config.modic.second_look = false;
    let mut hasty = Analyser::new(None, &config).unwrap();
    let analysed = |dataset: &Dataset, analyser: &mut Analyser| {
        evaluate(dataset, analyser, None, Default::default(), &mut || {}).unwrap()
    };
    let (held_out, others) = std::thread::scope(|scope| {
        let others = scope.spawn(|| analysed(&others, &mut hasty));
        (analysed(&held_out, &mut analyser), others.join().unwrap())
    });
    let exams: Vec<_> = held_out.iter().chain(&others).collect();
    let refused = exams.iter().filter(|e| e.refused.is_some()).count();
    let s1_seen = exams
        .iter()
        .filter(|e| e.refused.is_none() && !e.quality.iter().any(|flag| flag == "s1_not_seen"));
    println!("{} exams, {refused} refused; S1 seen in {}", exams.len(), s1_seen.count());
    assert!(refused * 20 < exams.len(), "nearly every pair can be analysed");

    let report = Report::new(analyser.bundles(), Path::new("spider"), None, held_out);
    for figure in &report.figures {
        println!("{}: {}: {:.3?} of {}", figure.group, figure.name, figure.estimate, figure.of);
    }
    assert!(report.estimate("Modic changes by disc", "kappa").unwrap().value > 0.2);
}
