//! The whole way with real peers: dcmtk sends, mosquitto distributes, mosquitto_sub listens.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use modicd::dataset::Dataset;
use modicd_tests::{Broker, Daemon, Exam, Subscriber, dataset_exam, echoscu, storescu};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_phantom_sent_by_storescu_becomes_a_finding_at_mosquitto_sub() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::start_with_second_look(folder.path(), broker.port, "", "");
    assert!(echoscu(daemon.dicom_port), "C-ECHO is answered");

    // One whose analysis takes most memory: a type hangs on little, so the networks run again without rounding.
    let exam = Exam::full(&folder.path().join("exam"), 17);
    let idle_kb = daemon.memory_kb("VmRSS");
    let sent = storescu(daemon.dicom_port, &[], &exam.folder);
    let answered = Instant::now();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));

    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    let at = subscriber.all().iter().find(|m| m.topic.ends_with("/latest/finding")).unwrap().at;
    println!(
        "from the last C-STORE response to the finding at the subscriber: {:.2} s, the quiet period \
         of 0.8 s in it",
        (at - answered).as_secs_f64()
    );
    assert_eq!(finding["schema"], "modicd.finding/1");
    assert_eq!(finding["research_use"], true);
    assert_eq!(finding["revision"], 1);
    let study = finding["study_ref"].as_str().unwrap().to_owned();
    subscriber.wait_for("/event/study.received", 1, LIMIT);
    let completed = subscriber.wait_for("/event/study.completed", 1, LIMIT);
    assert_eq!(completed["study_ref"], study.as_str());
    assert_eq!(subscriber.wait_for("/availability", 1, LIMIT), "online");
    assert_eq!(subscriber.wait_for("/health", 1, LIMIT)["status"], "ok");
    assert!(subscriber.wait_for("/info", 1, LIMIT)["bundles"]["modic"].is_string());
    let of_study = subscriber.wait_for(&format!("/finding/{study}"), 1, LIMIT);
    assert_eq!(of_study["event_id"], finding["event_id"]);

    let result = daemon.state.join("results").join(&study).join("r0001");
    for file in ["finding.json", "modic_map.nii.gz", "findings.png"] {
        assert!(result.join(file).is_file(), "{file}");
    }
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(result.join("finding.json")).unwrap()).unwrap();
    assert_eq!(kept["findings"], finding["findings"]);
    assert_eq!(kept["event_id"], finding["event_id"]);

    // The same exam again: nothing is computed, nothing new is said.
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    std::thread::sleep(Duration::from_secs(3));
    assert!(!daemon.state.join("results").join(&study).join("r0002").exists());

    let (peak_kb, after_kb) = (daemon.memory_kb("VmHWM"), daemon.memory_kb("VmRSS"));
    println!(
        "memory, MB: idle {}, peak {}, after {}",
        idle_kb / 1024,
        peak_kb / 1024,
        after_kb / 1024
    );
    println!("{}", daemon.log().lines().filter(|l| l.contains("stages")).collect::<String>());
    assert!(daemon.log().contains("the networks run again, without rounding"), "{}", daemon.log());
    let metrics = ureq::get(format!("http://127.0.0.1:{}/metrics", daemon.page_port)).call();
    let metrics = metrics.unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("\nmodicd_analyses_unrounded_total 1\n"), "{metrics}");
    assert!(peak_kb < 150 * 1024, "peak memory {peak_kb} kB");

    assert_eq!(daemon.stop(Duration::from_secs(30)), Some(0));
    assert_eq!(subscriber.on("/availability").last().unwrap(), "stopped");

    // Nothing of the patient in what was published and logged.
    let published = format!("{:?}{}", subscriber.all(), daemon.log());
    for secret in ["PHANTOM", "Phantom", "2.25."] {
        assert!(!published.contains(secret), "{secret} was published or logged");
    }
}

#[test]
fn without_a_second_look_a_type_that_hangs_on_little_is_marked_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let exam = Exam::small(&folder.path().join("exam"), 7);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert!(finding["quality"].as_array().unwrap().contains(&"borderline_type".into()));
    assert_eq!(finding["unrounded"], false);
    assert!(!daemon.log().contains("the networks run again"), "{}", daemon.log());
}

#[test]
fn a_late_slice_makes_a_new_revision() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let exam = Exam::of_slices(&folder.path().join("exam"), 11, 6);
    // The first slice of T1 stays back.
    let late = folder.path().join("late");
    std::fs::create_dir(&late).unwrap();
    let mut files = exam.files();
    files.sort();
    let held_back = files.iter().find(|f| f.parent().unwrap().ends_with("t1")).unwrap();
    std::fs::rename(held_back, late.join("slice.dcm")).unwrap();

    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let first = subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert!(storescu(daemon.dicom_port, &[], &late).status.success());
    let second = subscriber.wait_for("/latest/finding", 2, LIMIT);
    assert_eq!(first["study_ref"], second["study_ref"]);
    assert_eq!((&first["revision"], &second["revision"]), (&1.into(), &2.into()));
    assert_ne!(first["event_id"], second["event_id"]);
}

#[test]
fn a_real_pair_sent_by_storescu_becomes_a_finding() {
    let Some(spider) = std::env::var_os("MODICD_SPIDER").map(PathBuf::from) else {
        println!("MODICD_SPIDER isn't set: no real data, nothing to do");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let daemon = Daemon::start(folder.path(), broker.port, "[study]\nmin_slices = 1\n");
    let dataset = Dataset::open(&spider).unwrap();
    let exam = dataset_exam(&dataset, &dataset.patients[0], &folder.path().join("exam"));
    let sent = storescu(daemon.dicom_port, &[], &exam.folder);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert!(finding["levels"].as_array().unwrap().len() >= 5, "{finding}");
}
