//! What is kept and for how long: quotas with the broker away and back, kills in between, a disk that fills up.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modicd::receive::regular_files;
use modicd_tests::{
    Broker, Daemon, Exam, Page, SmallDisk, Subscriber, ask, echoscu, end_of, eventually, storescu,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;

/// The studies with a folder of instances, or of results.
fn studies(daemon: &Daemon, folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(daemon.state.join(folder)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// What the files below a folder take on the disk, bytes.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(metadata) = folder.symlink_metadata() else { return 0 };
    if metadata.is_file() {
        return metadata.blocks() * 512;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}

/// Sends an exam; gives its study.
fn send(daemon: &Daemon, exam: &Exam) -> String {
    let before = studies(daemon, "instances");
    let sent = storescu(daemon.dicom_port, &[], &exam.folder);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let new: Vec<String> = studies(daemon, "instances").difference(&before).cloned().collect();
    assert_eq!(new.len(), 1, "a study came in");
    new[0].clone()
}

/// The exams on the page: study and state, and whether it has a result that can be shown.
fn listed(daemon: &Daemon) -> Vec<(String, String, bool)> {
    let answer = Page::of(daemon).get_with_token("/api/exams");
    let list: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |exam: &Value, key: &str| exam[key].as_str().unwrap_or_default().to_owned();
    let exams = list["exams"].as_array().expect("a list").iter();
    exams.map(|e| (text(e, "study_ref"), text(e, "state"), e["result"].is_object())).collect()
}

/// The newest state of an alarm.
fn alarm(subscriber: &Subscriber, name: &str) -> String {
    let told = subscriber.on(&format!("/alarm/{name}"));
    told.last().and_then(|alarm| alarm["state"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn quotas_take_the_oldest_and_nothing_that_is_undelivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = Broker::start(folder.path());
    // An exam has some 0.9 MB of instances, so two of them stay; the results' least quota holds some of them.
    let sections = "[mqtt.commands]\nallow = [\"study.rerun\"]\n\
         [storage]\ninstances_max_bytes = 2097152\nresults_max_bytes = 16777216\nmin_free_bytes = 1048576\n";
    let keys = "max_object_bytes = 1048576\n";
    let mut daemon = Daemon::start_with_sections(folder.path(), broker.port, keys, sections);
    broker.kill();

    let exams: Vec<Exam> =
        (0..4).map(|n| Exam::small(&folder.path().join(format!("exam{n}")), 40 + n)).collect();
    let mut order = Vec::new();
    for exam in &exams {
        order.push(send(&daemon, exam));
        eventually(LIMIT, "the result", || (daemon.results().len() == order.len()).then_some(()));
    }
    // Instances of what is done may go while the broker is away; the oldest did. Results may not.
    eventually(LIMIT, "the instances within their quota", || {
        (bytes_below(&daemon.state.join("instances")) <= 2 * MIB).then_some(())
    });
    let kept = studies(&daemon, "instances");
    assert!(!kept.is_empty() && kept.is_subset(&order[1..].iter().cloned().collect()), "{kept:?}");
    // All results are more than their quota, and none is delivered.
    let mut fit: BTreeSet<String> = BTreeSet::new();
    let mut bytes = 0;
    for study in order.iter().rev() {
        bytes += bytes_below(&daemon.state.join("results").join(study));
        if bytes > 16 * MIB {
            break;
        }
        fit.insert(study.clone());
    }
    assert!((1..exams.len()).contains(&fit.len()), "{fit:?} of {order:?}, {bytes} bytes");
    daemon.kill();
    daemon.restart();
    eventually(LIMIT, "the alarm in the page's health", || {
        let health = Page::of(&daemon).get_with_token("/api/health").body;
        health.contains("storage_held").then_some(())
    });
    assert_eq!(daemon.results().len(), exams.len(), "nothing undelivered is removed");

    // The subscriber has to be there first.
    let subscriber = daemon.held(|| {
        broker.restart();
        Subscriber::start(&broker)
    });
    subscriber.wait_for("/event/study.completed", exams.len(), LIMIT);
    eventually(LIMIT, "the results within their quota", || {
        (bytes_below(&daemon.state.join("results")) <= 16 * MIB).then_some(())
    });
    eventually(LIMIT, "the end of the alarm", || {
        (alarm(&subscriber, "storage_held") == "cleared").then_some(())
    });
    let left = studies(&daemon, "results");
    assert_eq!(left, fit, "the newest stay");
    let on_page = listed(&daemon);
    assert_eq!(on_page.len(), left.len(), "{on_page:?}");
    assert!(
        on_page
            .iter()
            .all(|(study, state, result)| { left.contains(study) && state == "done" && *result })
    );

    ask(&broker, "study.rerun", "a", &format!(",\"study_ref\":\"{}\"", order[0]), &[]);
    assert_eq!(end_of(&subscriber, "study.rerun", "a").1["reason"], "unknown_study");

    // What was forgotten is new when it comes again.
    let again = send(&daemon, &exams[0]);
    assert_eq!(again, order[0]);
    let event = subscriber.wait_for("/event/study.completed", exams.len() + 1, LIMIT);
    assert_eq!((&event["cached"], &event["revision"]), (&false.into(), &1.into()));
}

#[test]
fn a_study_sent_again_after_its_instances_were_removed_gets_its_result_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let sections = "[mqtt.commands]\nallow = [\"study.rerun\"]\n\
         [storage]\ninstances_max_bytes = 1048576\nmin_free_bytes = 1048576\n";
    let keys = "max_object_bytes = 1048576\n";
    let mut daemon = Daemon::start_with_sections(folder.path(), broker.port, keys, sections);
    let exams = [0, 1].map(|n| Exam::small(&folder.path().join(format!("exam{n}")), 50 + n));
    let first = send(&daemon, &exams[0]);
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    let second = send(&daemon, &exams[1]);
    subscriber.wait_for("/event/study.completed", 2, LIMIT);
    eventually(LIMIT, "the removal of the first's instances", || {
        (!studies(&daemon, "instances").contains(&first)).then_some(())
    });
    assert_eq!(studies(&daemon, "results"), [first.clone(), second.clone()].into());

    ask(&broker, "study.rerun", "a", &format!(",\"study_ref\":\"{first}\""), &[]);
    let (states, last) = end_of(&subscriber, "study.rerun", "a");
    assert_eq!(states, ["accepted", "running", "failed"]);
    assert_eq!(last["reason"], "instances_removed");
    daemon.stop(LIMIT);
    daemon.restart();
    let states: BTreeSet<_> = listed(&daemon).into_iter().collect();
    let done = |study: &String| (study.clone(), "done".to_owned(), true);
    assert_eq!(states, [done(&first), done(&second)].into());

    assert!(storescu(daemon.dicom_port, &[], &exams[0].folder).status.success());
    let event = subscriber.wait_for("/event/study.completed", 3, LIMIT);
    assert_eq!(event["study_ref"], first.as_str());
    assert_eq!((&event["cached"], &event["revision"]), (&true.into(), &1.into()));
    assert!(subscriber.on("/event/study.failed").is_empty());
    assert!(subscriber.on("/event/study.rejected").is_empty());
}

#[test]
fn kills_during_removals_leave_studies_whole_or_gone() {
    const COPIES: usize = 60;
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let keys = "max_object_bytes = 1048576\n";
    let without = "[storage]\nmin_free_bytes = 1048576\n";
    let mut daemon = Daemon::start_with_sections(folder.path(), broker.port, keys, without);
    let exam = Exam::small(&folder.path().join("exam"), 60);
    let study = send(&daemon, &exam);
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    daemon.stop(LIMIT);
    // The same under other names: done at once, since the result of each is there.
    let [instances, results] = ["instances", "results"].map(|name| daemon.state.join(name));
    for n in 0..COPIES {
        for of in [&instances, &results] {
            let [from, to] = [of.join(&study), of.join(format!("{n:016x}"))];
            let copied = Command::new("cp").arg("-r").args([from, to]).status();
            assert!(copied.is_ok_and(|status| status.success()), "cp");
        }
    }
    daemon.restart();
    subscriber.wait_for("/event/study.completed", COPIES + 1, LIMIT);
    daemon.stop(LIMIT);

    let quotas = "instances_max_bytes = 1048576\nresults_max_bytes = 16777216\n";
    daemon.reconfigure(without, &format!("{without}{quotas}"));
    let files = |folder: PathBuf| regular_files(&folder).expect("the state is readable").len();
    let whole = [files(instances.join(&study)), files(results.join(&study))];
    let mut left = Vec::new();
    for pause_ms in [1, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400] {
        daemon.restart();
        std::thread::sleep(Duration::from_millis(pause_ms));
        daemon.kill();
        for (of, whole) in ["instances", "results"].into_iter().zip(whole) {
            for name in studies(&daemon, of) {
                let files = files(daemon.state.join(of).join(&name));
                assert_eq!(files, whole, "{of} of {name} after {pause_ms} ms");
            }
        }
        left.push(studies(&daemon, "instances").len());
    }
    println!("studies with instances after each kill: {left:?}");
    assert!(left.iter().any(|left| (2..=COPIES).contains(left)), "a kill came in between");
    daemon.restart();
    eventually(LIMIT, "the quotas", || {
        let [instances, results] = [&instances, &results].map(|folder| bytes_below(folder));
        (instances <= MIB && results <= 16 * MIB).then_some(())
    });
    let left = studies(&daemon, "results");
    assert!(!left.is_empty() && left.len() < COPIES, "{left:?}");
    eventually(LIMIT, "the same on the page", || {
        let on_page: BTreeSet<_> = listed(&daemon).into_iter().map(|(study, ..)| study).collect();
        (on_page == left).then_some(())
    });
    assert_eq!(subscriber.on("/event/study.completed").len(), COPIES + 1, "nothing is told again");
    assert!(subscriber.on("/event/study.failed").is_empty());
}

#[test]
fn a_full_disk_refuses_exams_loses_nothing_and_recovers_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(&folder.path().join("state"));
    let watched = folder.path().join("in");
    std::fs::create_dir(&watched).expect("the test's folder is writable");
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let keys = format!("watch_folder = {watched:?}\nwatch_interval_s = 1\n");
    let sections = format!("[storage]\nmin_free_bytes = {}\n", 16 * MIB);
    let mut daemon = Daemon::start_with_sections(folder.path(), broker.port, &keys, &sections);
    let exams: Vec<Exam> =
        (0..4).map(|n| Exam::small(&folder.path().join(format!("exam{n}")), 70 + n)).collect();
    let completed = |n| drop(subscriber.wait_for("/event/study.completed", n, LIMIT));
    let stands = |state: &str| {
        eventually(LIMIT, &format!("the alarm {state}"), || {
            (alarm(&subscriber, "disk_low") == state).then_some(())
        });
    };
    send(&daemon, &exams[0]);
    completed(1);
    stands("cleared");

    // It makes room before it has to refuse anything.
    disk.fill(18 * MIB);
    // The log says so once all of the space is given back, the result's too.
    eventually(LIMIT, "the removal of what is delivered", || {
        daemon.log().contains("A study was removed").then_some(())
    });
    assert!(studies(&daemon, "instances").is_empty());
    assert_eq!(alarm(&subscriber, "disk_low"), "cleared");

    disk.fill(12 * MIB);
    stands("raised");
    assert_eq!(Page::of(&daemon).get("/healthz").status, 503);
    let health = subscriber.on("/health").last().cloned().expect("health is told");
    assert_eq!((&health["status"], &health["reasons"][0]), (&"failing".into(), &"disk_low".into()));
    // One association, in which every instance is refused.
    let sent = storescu(daemon.dicom_port, &["-nh"], &exams[1].folder);
    let said =
        String::from_utf8_lossy(&sent.stderr).into_owned() + &String::from_utf8_lossy(&sent.stdout);
    let instances = exams[1].files().len();
    assert_eq!(said.matches("OutOfResources").count(), instances, "{said}");
    let refused = subscriber.wait_for("/event/instance.rejected", 1, LIMIT);
    assert_eq!(refused["reasons"], serde_json::json!({ "disk_low": instances }));
    let incoming = std::fs::read_dir(daemon.state.join("instances/.incoming"));
    assert_eq!(incoming.expect("it is there").count(), 0, "no partial file");
    let metrics = Page::of(&daemon).get("/metrics").body;
    let line = format!("modicd_instances_rejected_total{{reason=\"disk_low\"}} {instances}");
    assert!(metrics.contains(&line), "{metrics}");
    // What lies in the watched folder stays there.
    for (n, file) in exams[2].files().iter().enumerate() {
        std::fs::copy(file, watched.join(format!("{n}.dcm"))).expect("the folder is writable");
    }
    eventually(LIMIT, "the watched folder's try", || {
        daemon.log().contains("waits for the next scan").then_some(())
    });
    assert_eq!(regular_files(&watched).expect("readable").len(), exams[2].files().len());
    assert!(studies(&daemon, "instances").is_empty());

    disk.free();
    stands("cleared");
    completed(2);
    send(&daemon, &exams[1]);
    completed(3);

    // Received, and then there is no space for the result: it waits, also over a restart with no space at all.
    let waiting = send(&daemon, &exams[3]);
    disk.fill(4 * MIB);
    stands("raised");
    std::thread::sleep(Duration::from_secs(3));
    disk.fill(0);
    std::thread::sleep(Duration::from_secs(2));
    assert!(daemon.is_alive(), "{}", daemon.log());
    assert!(studies(&daemon, "instances").contains(&waiting));
    assert!(!studies(&daemon, "results").contains(&waiting));
    assert_eq!(subscriber.on("/event/study.completed").len(), 3);
    disk.free();
    completed(4);
    stands("cleared");
    assert!(subscriber.on("/event/study.failed").is_empty());
    assert!(daemon.is_alive());
}

#[test]
fn a_box_that_starts_on_a_full_disk_waits_for_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(folder.path());
    let disk = SmallDisk::mount(&folder.path().join("state"));
    let mut daemon = Daemon::prepare(folder.path(), broker.port, ["", "", "", ""]);
    disk.fill(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_secs(3));
            disk.free();
        });
        // Returns when the port is open.
        daemon.restart();
    });
    let log = daemon.log();
    assert_eq!(log.matches("the start waits for space").count(), 1, "{log}");
    assert!(echoscu(daemon.dicom_port) && daemon.is_alive());
}
