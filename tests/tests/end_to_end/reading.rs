//! The reader experiment as a mode of the page: over HTTP with simulated readers of the paper's size, and in Chromium with
//! real exams.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modicd::agreement::{Grading, Session};
use modicd_tests::{
    Broker, Daemon, Exam, SimulatedReader, endplates, eventually, python, simulate, storescu,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);
/// Exams of the simulated experiment: as many as the paper had in all. How many its readers saw isn't known.
const EXAMS: usize = 75;

/// The page, asked with a token.
struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
}

impl Client {
    fn new(port: u16, token: &str) -> Client {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let base = format!("http://{}", SocketAddr::from(([127, 0, 0, 1], port)));
        Client { agent: config.into(), base, token: token.to_owned() }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let bearer = format!("Bearer {}", self.token);
        let asked = self.agent.get(format!("{}{path}", self.base)).header("authorization", bearer);
        let mut answer = asked.call().expect("the page answers");
        let body = answer.body_mut().read_to_vec().expect("a body");
        (answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    fn post(&self, path: &str, kind: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {}", self.token);
        let asked = self.agent.post(format!("{}{path}", self.base));
        let asked = asked.header("authorization", bearer).header("content-type", kind);
        let mut answer = asked.send(body).expect("the page answers");
        (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
    }

    fn post_json(&self, path: &str, body: &Value) -> (u16, String) {
        self.post(path, "application/json", &body.to_string())
    }
}

/// A daemon with its page, and exams in it.
struct Site {
    _broker: Broker,
    daemon: Daemon,
    page: Client,
    studies: Vec<String>,
}

impl Site {
    fn with_exams(folder: &Path, count: u64) -> Site {
        let broker = Broker::start(folder);
        let daemon = Daemon::start(folder, broker.port, "");
        for seed in 1..=count {
            let exam = Exam::small(&folder.join(format!("exam{seed}")), seed);
            assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
        }
        let results = eventually(LIMIT, "the results", || {
            let results = daemon.results();
            (results.len() as u64 == count).then_some(results)
        });
        let token = std::fs::read_to_string(daemon.state.join("page.token")).expect("a token");
        let study = |result: &PathBuf| {
            result
                .parent()
                .and_then(Path::file_name)
                .expect("a study")
                .to_string_lossy()
                .into_owned()
        };
        let studies = results.iter().map(study).collect();
        Site { _broker: broker, page: Client::new(daemon.page_port, &token), daemon, studies }
    }

    fn reader(&self, link: &str) -> Client {
        Client::new(
            self.daemon.page_port,
            link.rsplit_once("token=").expect("a token in the link").1,
        )
    }

    /// Makes a list; gives a client for each reader.
    fn make_list(
        &self,
        name: &str,
        studies: &[String],
        readers: &[&str],
        days: u32,
    ) -> Vec<Client> {
        let list = json!({
            "name": name, "studies": studies, "readers": readers, "washout_days": days, "seed": 3,
        });
        let (status, body) = self.page.post_json("/api/readings", &list);
        assert_eq!(status, 201, "{body}");
        let links: Vec<Value> = serde_json::from_str(&body).expect("links");
        links.iter().map(|link| self.reader(link["link"].as_str().expect("a link"))).collect()
    }
}

/// `modicd agreement` over a table.
fn agreement(folder: &Path, csv: &str) -> Value {
    let [table, out] = ["gradings.csv", "agreement"].map(|name| folder.join(name));
    std::fs::write(&table, csv).expect("written");
    let mut command = Command::new(Daemon::program());
    let run = command.arg("agreement").args([&table, Path::new("--out"), &out]).output();
    let run = run.expect("the program is built");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    println!("{}", String::from_utf8_lossy(&run.stdout));
    let report = out.join("agreement.json");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/check_agreement.py");
    let mut judge = Command::new(python());
    let judged = judge.arg(script).args([Path::new("report"), &table, &report]).output();
    let judged = judged.expect("Python runs");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a result").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// What a simulated reader says of an exam, as the page takes it.
fn said(gradings: &[Grading], reader: &str, session: Session, study: &str) -> Value {
    let of = |g: &&Grading| g.reader == reader && g.session == session && g.study_ref == study;
    let grades: BTreeMap<String, String> =
        gradings.iter().filter(of).map(|g| (g.endplate.to_string(), g.grade.to_string())).collect();
    let seconds = gradings.iter().find(of).and_then(|g| g.seconds).expect("simulated");
    json!({ "grades": grades, "seconds": seconds })
}

#[test]
fn an_experiment_of_the_papers_size_runs_over_http_from_list_to_kappa() {
    let folder = tempfile::tempdir().unwrap();
    let mut on = Site::with_exams(folder.path(), 1);
    // 75 studies that share a phantom's result: here only grades matter.
    let result = on.daemon.results()[0].clone();
    let studies: Vec<String> = (0..EXAMS).map(|n| format!("{n:016x}")).collect();
    for study in &studies {
        copy(&result, &on.daemon.state.join("results").join(study).join("r0001"));
    }
    let simulated = SimulatedReader::of_the_paper();
    let names: Vec<&str> = simulated.iter().map(|reader| reader.name).collect();
    let readers = on.make_list("paper", &studies, &names, 0);
    let random = &mut Pcg64::seed_from_u64(1204);
    let gradings = simulate(&simulated, EXAMS, &|n| studies[n].clone(), random);

    for (reader, name) in readers.iter().zip(&names) {
        let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            let now = reader.json("/api/reading/paper");
            assert_eq!(now["reader"], **name);
            if now["state"] == "done" {
                break;
            }
            let [session, study] = ["session", "study_ref"].map(|key| now[key].as_str().unwrap());
            let order = orders.entry(session.to_owned()).or_default();
            assert_eq!(now["done"], order.len());
            let of: Session = serde_json::from_value(now["session"].clone()).unwrap();
            let exam = format!("/api/reading/paper/{study}/{session}");
            let said = said(&gradings, name, of, study);
            let (status, body) = reader.post_json(&exam, &said);
            assert_eq!(status, 204, "{body}");
            assert_eq!(reader.post_json(&exam, &said).0, 403, "what was handed in stays");
            order.push(study.to_owned());
        }
        assert_eq!(orders["blind"].len(), EXAMS);
        assert_eq!(orders["with_map"].len(), EXAMS);
        assert_ne!(orders["blind"], orders["with_map"]);
        // Killed and started again, nothing is lost.
        on.daemon.kill();
        on.daemon.restart();
    }
    let progress = on.page.json("/api/readings/paper");
    assert!(progress["readers"].as_array().unwrap().iter().all(|r| r["with_map"] == EXAMS));

    let (_, csv) = on.page.get("/api/readings/paper/gradings.csv");
    assert_eq!(csv.lines().count(), 1 + 3 * 2 * EXAMS * endplates().len());
    let report = agreement(folder.path(), &csv);
    assert_eq!(on.page.json("/api/readings/paper/agreement.json"), report);
    let pair = report["comparisons"].as_array().unwrap().iter();
    let pair = pair.clone().find(|c| c["readers"] == json!(["junior", "senior"])).unwrap();
    let figure = &pair["figures"][0];
    for (session, is) in [("blind", 0.52), ("with_map", 0.58)] {
        let [low, high] =
            ["low", "high"].map(|end| figure[session]["interval"][end].as_f64().unwrap());
        assert!(low < is && is < high, "{session}: {low} to {high}, in the population {is}");
    }
    let difference = &figure["difference"];
    let [low, high, p] = ["low", "high", "p"].map(|key| difference[key].as_f64().unwrap());
    assert!(low < 0.06 && 0.06 < high && (0.0..=1.0).contains(&p), "{difference}");
    let (status, page) = on.page.get("/api/readings/paper/agreement.html?by=change");
    assert!(status == 200 && page.contains("<svg") && page.contains("junior, senior"));

    // What is exported can be imported elsewhere, once.
    on.make_list("copy", &studies, &names, 28);
    for new in [2 * 3 * EXAMS, 0] {
        let (status, body) = on.page.post("/api/readings/copy/gradings.csv", "text/csv", &csv);
        assert_eq!((status, body), (200, format!("{{\"new\":{new}}}")));
    }
    assert_eq!(on.page.get("/api/readings/copy/gradings.csv").1, csv);
}

#[test]
fn a_blind_reader_gets_the_pictures_of_the_open_exam_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let on = Site::with_exams(folder.path(), 2);
    let readers = on.make_list("pilot", &on.studies, &["A", "B"], 14);
    on.make_list("other", &on.studies, &["A"], 14);
    let [reader, nobody] = [&readers[0], &Client::new(on.daemon.page_port, "no token at all")];
    let now = reader.json("/api/reading/pilot");
    assert_eq!(now["session"], "blind");
    let open = now["study_ref"].as_str().unwrap();
    let closed = on.studies.iter().find(|study| *study != open).unwrap();
    let exam = |study: &str, session: &str| format!("/api/reading/pilot/{study}/{session}");

    for name in ["t1.nii", "t2.nii"] {
        let path = format!("{}/{name}", exam(open, "blind"));
        assert_eq!(reader.get(&path).0, 200);
        assert_eq!(nobody.get(&path).0, 401);
        assert_eq!(on.page.get(&path).0, 401, "the page's token is no reader's");
    }
    let shown = reader.json(&exam(open, "blind"));
    assert_eq!(shown["findings"], Value::Null);
    for list in ["vertebrae", "findings", "other_marrow_lesions"] {
        assert_eq!(shown["scene"][list], json!([]));
    }
    // Nothing of the program's, of another exam, of the other session.
    for name in [
        "modic_map.nii",
        "modic_map.nii.gz",
        "findings.png",
        "finding.json",
        "report.pdf",
        "map.seg.dcm",
        "report.sr.dcm",
        "scene.json",
        "t1.nii.gz",
    ] {
        for session in ["blind", "with_map"] {
            assert_eq!(reader.get(&format!("{}/{name}", exam(open, session))).0, 403, "{name}");
        }
    }
    for path in [
        exam(open, "with_map"),
        exam(closed, "blind"),
        exam(closed, "with_map"),
        format!("{}/t1.nii", exam(closed, "blind")),
        format!("{}/t1.nii", exam(open, "with_map")),
        exam("0123456789abcdef", "blind"),
    ] {
        assert_eq!(reader.get(&path).0, 403, "{path}");
    }
    // Half an exam, grades that are none, and grades for another exam or session aren't taken.
    let whole: BTreeMap<String, &str> = endplates().iter().map(|e| (e.to_string(), "0")).collect();
    let mut half = whole.clone();
    half.remove("L4 inferior");
    let mut odd = whole.clone();
    odd.insert("L4 inferior".to_owned(), "4");
    let said = |grades| json!({ "grades": grades, "seconds": 3.5 });
    assert_eq!(reader.post_json(&exam(open, "blind"), &said(&half)).0, 422);
    assert_eq!(reader.post_json(&exam(open, "blind"), &said(&odd)).0, 422);
    assert_eq!(reader.post_json(&exam(open, "with_map"), &said(&whole)).0, 403);
    assert_eq!(reader.post_json(&exam(closed, "blind"), &said(&whole)).0, 403);

    assert_eq!(reader.post_json(&exam(open, "blind"), &said(&whole)).0, 204);
    assert_eq!(reader.get(&exam(open, "blind")).0, 403, "it is over");
    assert_eq!(reader.post_json(&exam(closed, "blind"), &said(&whole)).0, 204);
    // The washout: nothing is open.
    assert_eq!(reader.json("/api/reading/pilot")["state"], "washout");
    for session in ["blind", "with_map"] {
        assert_eq!(reader.get(&exam(open, session)).0, 403);
        assert_eq!(reader.post_json(&exam(open, session), &said(&whole)).0, 403);
    }
    // A new link ends the old one.
    assert_eq!(on.page.post_json("/api/readings/pilot/readers/A/link", &json!({})).0, 200);
    assert_eq!(reader.get("/api/reading/pilot").0, 401);
    // Nothing of the page or of another list; last, since the page makes who brings a wrong token wait.
    let other = &readers[1];
    for path in [
        "/api/exams",
        "/api/readings",
        "/api/readings/pilot",
        "/api/readings/pilot/gradings.csv",
        "/api/readings/pilot/agreement.json",
        "/api/readings/pilot/agreement.html",
        "/api/health",
        "/api/events",
        "/api/logs",
        "/api/reading/other",
        "/api/reading/nothing",
        &format!("/api/exams/{open}"),
        &format!("/api/exams/{open}/1"),
        &format!("/api/exams/{open}/1/modic_map.nii"),
        &format!("/api/exams/{open}/1/findings.png"),
    ] {
        assert!([401, 429].contains(&other.get(path).0), "{path}");
    }
    for path in
        ["/api/readings", "/api/readings/pilot/gradings.csv", "/api/readings/pilot/readers/B/link"]
    {
        assert!([401, 429].contains(&other.post_json(path, &json!({})).0), "{path}");
    }
    let log = on.daemon.log();
    assert!(!log.contains(&other.token) && !log.contains(&on.page.token), "no token is logged");
}

#[test]
fn the_reading_time_stands_still_a_minute_after_the_last_sign_of_life() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let module = tests.join("../daemon/src/page/assets/js/reading/stopwatch.js");
    let run = Command::new("node").arg(tests.join("browser/stopwatch.mjs")).arg(module).output();
    let run = run.expect("node is installed (tests/run installs it)");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn two_readers_read_real_exams_in_chromium_from_list_to_kappa() {
    let folder = tempfile::tempdir().unwrap();
    let on = Site::with_exams(folder.path(), 3);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/reading.mjs");
    let pictures = std::env::var_os("MODICD_PICTURES").map(PathBuf::from);
    let mut command = Command::new("node");
    command.arg(script).args([&on.page.base, &on.page.token]).args(pictures);
    let run = command.output().expect("node is installed (tests/run installs it)");
    let [out, err] = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(run.status.success(), "{out}{err}");
    let read: Value = serde_json::from_str(out.lines().last().unwrap()).expect("what was read");
    println!("{}", read["seen"]);

    // What the readers pressed is what is exported.
    let csv = read["csv"].as_str().unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 2 * 3 * 12);
    let mut pressed = read["pressed"].as_object().unwrap().clone();
    for row in csv.lines().skip(1) {
        let [study, reader, session, endplate, grade, seconds, time] =
            row.split(',').collect::<Vec<_>>()[..]
        else {
            panic!("{row}")
        };
        let said = pressed.remove(&format!("{reader} {session} {study} {endplate}"));
        assert_eq!(said.as_ref().and_then(Value::as_str), Some(grade), "{row}");
        assert!(seconds.parse::<f64>().unwrap() > 0.0 && time.ends_with('Z'), "{row}");
    }
    assert!(pressed.is_empty());
    // And kappa is that of a direct computation, by the page, by the command and by the judges in Python.
    let report = agreement(folder.path(), csv);
    // As text, since JavaScript writes 1.0 as 1.
    let by_page: Value = serde_json::from_str(read["agreement"].as_str().unwrap()).unwrap();
    assert_eq!(report, by_page);
    for session in ["blind", "with_map"] {
        let kappa = report["comparisons"][0]["figures"][0][session]["value"].as_f64().unwrap();
        let direct = direct_kappa(csv, session);
        assert!((kappa - direct).abs() < 1e-12, "{session}: {kappa}, directly {direct}");
    }
}

/// Unweighted kappa of readers A and B by type, from the definition.
fn direct_kappa(csv: &str, session: &str) -> f64 {
    let mut pairs: BTreeMap<String, BTreeMap<&str, char>> = BTreeMap::new();
    for row in csv.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        if cells[2] == session && cells[4] != "not gradable" {
            let endplate = format!("{} {}", cells[0], cells[3]);
            let first = cells[4].chars().next().unwrap();
            pairs.entry(endplate).or_default().insert(cells[1], first);
        }
    }
    // Left out where a reader couldn't grade it in the other session.
    for row in csv.lines().skip(1).filter(|row| row.contains("not gradable")) {
        let cells: Vec<&str> = row.split(',').collect();
        pairs.remove(&format!("{} {}", cells[0], cells[3]));
    }
    let both: Vec<(char, char)> = pairs.values().map(|by| (by["A"], by["B"])).collect();
    let n = both.len() as f64;
    let share =
        |of: &dyn Fn(&(char, char)) -> bool| both.iter().filter(|p| of(p)).count() as f64 / n;
    let observed = share(&|(a, b)| a == b);
    let chance = |g: char| share(&|(a, _)| *a == g) * share(&|(_, b)| *b == g);
    let expected: f64 = "0123".chars().map(chance).sum();
    (observed - expected) / (1.0 - expected)
}
