//! `modicd agreement` before judges that others wrote (statsmodels, scikit-learn, irrCAC), and its intervals and p-values
//! over many experiments whose truth is known.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use modicd::agreement::{
    By, Categories, Gradings, NotGradable, Report, Resampling, Weights, cohen, fleiss, write,
};
use modicd_tests::{Daemon, SimulatedReader, python, simulate};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

/// Exams of the simulated experiment: as many as the paper had in all. How many its readers saw isn't known.
const EXAMS: usize = 75;

fn check(arguments: &[&Path]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/check_agreement.py");
    Command::new(python()).arg(script).args(arguments).output().expect("Python runs")
}

fn assert_agrees(arguments: &[&Path]) {
    let output = check(arguments);
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{out}{err}");
}

fn kappas(statistic: &str, rows: &[Vec<f64>]) -> Value {
    let mut said = json!({ "statistic": statistic, "counts": rows });
    for weights in Weights::ALL {
        let kappa = match statistic {
            "cohen" => cohen(&rows.concat(), rows.len(), weights),
            _ => fleiss(rows, weights),
        };
        said[weights.as_str()] = json!(kappa);
    }
    said
}

/// Random tables, many of them with empty rows and columns, one category, one endplate or perfect agreement.
fn random_tables(random: &mut Pcg64) -> Vec<Value> {
    let mut tables = Vec::new();
    for _ in 0..1500 {
        let size = random.random_range(2..=6);
        let (full, diagonal): (f64, f64) = (random.random(), random.random());
        let most: f64 = [1.0, 3.0, 20.0, 500.0][random.random_range(0..4)];
        let mut cell = |i: usize, j: usize| {
            let kept = random.random_bool(full) && (i == j || random.random_bool(diagonal));
            if kept { random.random_range(0.0..=most).round() } else { 0.0 }
        };
        let rows: Vec<Vec<f64>> =
            (0..size).map(|i| (0..size).map(|j| cell(i, j)).collect()).collect();
        tables.push(kappas("cohen", &rows));
    }
    for _ in 0..300 {
        let (categories, readers) = (random.random_range(2..=5), random.random_range(2..=6));
        let endplates = [1, 2, 3, 10, 60][random.random_range(0..5)];
        let (used, same) = (random.random_range(1..=categories), random.random::<f64>());
        let mut row = || {
            let mut counts = vec![0.0; categories];
            let first = random.random_range(0..used);
            for _ in 0..readers {
                let other = random.random_range(0..used);
                counts[if random.random_bool(same) { first } else { other }] += 1.0;
            }
            counts
        };
        let rows: Vec<Vec<f64>> = (0..endplates).map(|_| row()).collect();
        tables.push(kappas("fleiss", &rows));
    }
    tables
}

#[test]
fn kappa_is_what_statsmodels_scikit_learn_and_irrcac_compute() {
    let folder = tempfile::tempdir().unwrap();
    let tables = random_tables(&mut Pcg64::seed_from_u64(6));
    let undefined = tables.iter().filter(|table| table["unweighted"].is_null()).count();
    assert!((100..900).contains(&undefined), "{undefined} tables are degenerate");
    let lines = |tables: &[Value]| tables.iter().map(|t| format!("{t}\n")).collect::<String>();
    let file = folder.path().join("tables");
    std::fs::write(&file, lines(&tables)).unwrap();
    assert_agrees(&[Path::new("tables"), &file]);

    // The judge does judge.
    for (statistic, field) in [("cohen", "p"), ("fleiss", "standard_error")] {
        let has = |t: &&Value| t["statistic"] == statistic && t["linear"][field].is_number();
        let mut spoiled = tables.iter().find(has).unwrap().clone();
        spoiled["linear"][field] = json!(spoiled["linear"][field].as_f64().unwrap() + 1e-7);
        std::fs::write(&file, lines(&[spoiled])).unwrap();
        assert!(!check(&[Path::new("tables"), &file]).status.success(), "{statistic} {field}");
    }
}

fn agreement(arguments: &[&Path]) -> Output {
    let mut command = Command::new(Daemon::program());
    command.arg("agreement").args(arguments).output().expect("the program is built")
}

#[test]
fn the_command_computes_an_experiment_of_the_papers_size() {
    let folder = tempfile::tempdir().unwrap();
    let [table, out] = ["gradings.csv", "out"].map(|name| folder.path().join(name));
    let random = &mut Pcg64::seed_from_u64(2022);
    let readers = SimulatedReader::of_the_paper();
    let mut gradings = simulate(&readers, EXAMS, &|n| format!("{n:016x}"), random);
    // What happens in a real one: mixed and ungradable endplates, some never graded.
    for (i, grading) in gradings.iter_mut().enumerate() {
        match i % 53 {
            0 => grading.grade = "not gradable".parse().unwrap(),
            1 => grading.grade = "2-1".parse().unwrap(),
            _ => {}
        }
    }
    gradings.retain(|_| random.random_bool(0.995));
    write(&gradings, std::fs::File::create(&table).unwrap()).unwrap();
    let run = agreement(&[&table, Path::new("--out"), &out]);
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    println!("{text}");
    assert!(text.contains("junior, senior") && text.contains("quadratic"), "{text}");
    assert_agrees(&[Path::new("report"), &table, &out.join("agreement.json")]);
    let page = std::fs::read_to_string(out.join("agreement.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("junior, senior") && !page.contains("NaN"));

    // The same seed gives the same report.
    let first = std::fs::read(out.join("agreement.json")).unwrap();
    assert!(agreement(&[&table, Path::new("--out"), &out]).status.success());
    assert_eq!(std::fs::read(out.join("agreement.json")).unwrap(), first);
}

#[test]
fn what_cannot_be_compared_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let [table, out] = ["gradings.csv", "out"].map(|name| folder.path().join(name));
    let header = "study_ref,reader,session,endplate,grade,seconds,time\n";
    let row = |reader: &str, session: &str, endplate: &str, grade: &str| {
        format!("0123456789abcdef,{reader},{session},{endplate},{grade},,\n")
    };
    let run = |rows: &str| {
        std::fs::write(&table, format!("{header}{rows}")).unwrap();
        let run = agreement(&[&table, Path::new("--out"), &out]);
        let [said, error] = [run.stdout, run.stderr].map(|t| String::from_utf8(t).unwrap());
        (run.status.success(), said + &error)
    };
    for (rows, said) in [
        (String::new(), "needs two readers"),
        (row("A", "blind", "L4 inferior", "1"), "needs two readers"),
        (row("A", "blind", "L4 inferior", "5"), "\"5\" is no grade"),
        (row("A", "blind", "L4", "1"), "\"L4\" is no endplate"),
        (row("A", "blind", "L4 inferior", "1").repeat(2), "twice"),
    ] {
        let (done, text) = run(&rows);
        assert!(!done && text.contains(said), "{text}");
    }
    // No endplate in common, one category only, one session only: answers, none of them NaN.
    let apart = row("A", "blind", "L4 inferior", "1") + &row("B", "blind", "L5 superior", "1");
    let alike = row("A", "blind", "L4 inferior", "0") + &row("B", "blind", "L4 inferior", "0");
    for (rows, endplates) in [(apart, 0), (alike, 1)] {
        let (done, text) = run(&rows);
        assert!(done && text.contains("not defined"), "{text}");
        let report: Value =
            serde_json::from_slice(&std::fs::read(out.join("agreement.json")).unwrap()).unwrap();
        assert_eq!(report["comparisons"][0]["endplates"], endplates);
        assert!(report["comparisons"][0]["figures"][0]["blind"].is_null());
        assert!(report["comparisons"][0]["figures"][0]["difference"].is_null());
    }
}

/// How often, over `experiments`, the interval of the difference covers the truth and p is below 0.05, for each pair and for
/// all readers, by weights.
fn rates(readers: &[SimulatedReader; 3], experiments: u64) -> BTreeMap<String, [f64; 3]> {
    let mut rates: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for experiment in 0..experiments {
        let random = &mut Pcg64::seed_from_u64(1000 + experiment);
        let gradings = simulate(readers, EXAMS, &|n| n.to_string(), random);
        let categories = Categories { by: By::Type, not_gradable: NotGradable::Exclude };
        let resampling = Resampling { samples: 500, seed: experiment };
        let report =
            Report::new(&Gradings::new(gradings).unwrap(), categories, resampling).unwrap();
        for comparison in report.comparisons {
            let who: Vec<&SimulatedReader> =
                readers.iter().filter(|r| comparison.readers.iter().any(|n| n == r.name)).collect();
            // Fleiss' kappa is the mean of the pairs' where all readers use the categories as often.
            let pairs: Vec<(&SimulatedReader, &SimulatedReader)> = (0..who.len())
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| (who[i], who[j]))
                .collect();
            let truth = [0, 1].map(|session| {
                pairs.iter().map(|(a, b)| a.kappa(b, session)).sum::<f64>() / pairs.len() as f64
            });
            for figure in &comparison.figures {
                let difference = figure.difference.unwrap();
                let is = truth[1] - truth[0];
                let blind = figure.blind.unwrap().interval.unwrap();
                let name = format!("{}, {}", comparison.name(), figure.weights.as_str());
                let [covered, kappa_covered, rejected] = rates.entry(name).or_default();
                let share = 1.0 / experiments as f64;
                *covered += share * f64::from(difference.low <= is && is <= difference.high);
                *kappa_covered +=
                    share * f64::from(blind.low <= truth[0] && truth[0] <= blind.high);
                *rejected += share * f64::from(difference.p.unwrap() < 0.05);
            }
        }
    }
    rates
}

const EXPERIMENTS: u64 = 400;

#[test]
fn intervals_cover_the_known_kappas_of_readers_like_the_papers() {
    let readers = SimulatedReader::of_the_paper();
    assert!((readers[0].kappa(&readers[2], 0) - 0.52).abs() < 1e-12);
    assert!((readers[0].kappa(&readers[2], 1) - 0.58).abs() < 1e-12);
    for (who, [difference, kappa, rejected]) in rates(&readers, EXPERIMENTS) {
        println!(
            "{who}: difference covered {difference:.3}, kappa {kappa:.3}, p < 0.05 {rejected:.3}"
        );
        // Binomial spread of 400 experiments: 0.011.
        assert!((0.91..=0.985).contains(&difference) && (0.90..=0.985).contains(&kappa), "{who}");
    }
}

#[test]
fn without_a_difference_one_experiment_in_twenty_says_there_is_one() {
    let same = SimulatedReader::of_the_paper()
        .map(|reader| SimulatedReader { knows: [reader.knows[0]; 2], ..reader });
    for (who, [_, _, rejected]) in rates(&same, EXPERIMENTS) {
        println!("{who}: p < 0.05 in {rejected:.3} of the experiments");
        assert!((0.015..=0.09).contains(&rejected), "{who}: {rejected}");
    }
}
