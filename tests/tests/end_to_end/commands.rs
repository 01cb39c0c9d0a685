//! What is asked for over MQTT, by mosquitto_pub, and how it is answered.

use std::process::Command;
use std::time::Duration;

use modicd_tests::{Broker, Daemon, Exam, Subscriber, answers, ask, end_of, eventually, storescu};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn what_is_allowed_is_done_once_and_everything_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let allow = "[mqtt.commands]\nallow = [\"study.rerun\", \"self-test\", \"support-bundle\"]";
    let mut daemon = Daemon::start(folder.path(), broker.port, allow);
    subscriber.wait_for("/availability", 1, LIMIT);
    let exam = Exam::small(&folder.path().join("exam"), 31);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let first = subscriber.wait_for("/event/study.completed", 1, LIMIT);
    let study_ref = first["study_ref"].as_str().unwrap();

    let fields = format!(",\"study_ref\":\"{study_ref}\"");
    ask(&broker, "study.rerun", "a", &fields, &[]);
    let (states, _) = end_of(&subscriber, "study.rerun", "a");
    assert_eq!(states, ["accepted", "running", "succeeded"]);
    let again = subscriber.wait_for("/event/study.completed", 2, LIMIT);
    assert_eq!((&again["study_ref"], &again["cached"]), (&first["study_ref"], &true.into()));
    assert_ne!(again["event_id"], first["event_id"], "it is another event");

    ask(&broker, "self-test", "b", "", &[]);
    let (_, done) = end_of(&subscriber, "self-test", "b");
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_eq!(done["checks"].as_array().map(Vec::len), Some(3));

    ask(&broker, "support-bundle", "s", "", &[]);
    let (_, done) = end_of(&subscriber, "support-bundle", "s");
    assert_eq!(done["state"], "succeeded", "{done}");
    let archives = std::fs::read_dir(daemon.state.join("support")).unwrap();
    let archive = archives.flatten().next().expect("an archive").path();
    let journal = Command::new("tar")
        .args(["-xzOf"])
        .arg(&archive)
        .arg("modicd-support/journal.txt")
        .output()
        .unwrap();
    let journal = String::from_utf8_lossy(&journal.stdout);
    assert!(journal.contains("modicd"), "{journal}");

    for (command, id, fields, options, reason) in [
        ("log.level", "c", ",\"level\":\"debug\",\"for_s\":60", &[][..], "not_allowed"),
        ("reboot", "d", "", &[], "unknown_command"),
        ("self-test", "e", ",\"shell\":\"rm\"", &[], "malformed"),
        ("study.rerun", "f", ",\"study_ref\":\"../../../../etc\"", &[], "malformed"),
    ] {
        ask(&broker, command, id, fields, options);
        let (states, last) = end_of(&subscriber, command, id);
        assert_eq!((states, last["reason"].as_str()), (vec!["refused".to_owned()], Some(reason)));
    }
    ask(&broker, "study.rerun", "g", ",\"study_ref\":\"0123456789abcdef\"", &[]);
    assert_eq!(end_of(&subscriber, "study.rerun", "g").1["reason"], "unknown_study");

    // The same request again, also after a restart, is no second one.
    ask(&broker, "self-test", "b", "", &[]);
    daemon.kill();
    daemon.restart();
    subscriber.wait_for("/availability", 3, LIMIT);
    ask(&broker, "self-test", "b", "", &[]);
    ask(&broker, "self-test", "h", "", &[]);
    end_of(&subscriber, "self-test", "h");
    let states = answers(&subscriber, "self-test", "b").0;
    assert_eq!(states.iter().filter(|s| *s == "running").count(), 1, "{states:?}");

    // One that the broker kept would come at every connection.
    daemon.kill();
    ask(&broker, "self-test", "i", "", &["-r"]);
    daemon.restart();
    assert_eq!(end_of(&subscriber, "self-test", "i").1["reason"], "retained");
}

#[test]
fn without_permission_the_box_subscribes_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::start(folder.path(), broker.port, "");
    subscriber.wait_for("/availability", 1, LIMIT);
    ask(&broker, "self-test", "a", "", &[]);
    subscriber.wait_for("/cmd/self-test/a", 1, LIMIT);
    // In good order, so that whatever would be said of it comes before what is said at the end.
    daemon.stop(LIMIT);
    assert_eq!(subscriber.wait_for("/availability", 2, LIMIT), "stopped");
    assert!(answers(&subscriber, "self-test", "a").0.is_empty());
}

#[test]
fn the_log_says_more_for_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let allow = "[mqtt.commands]\nallow = [\"log.level\"]";
    let daemon = Daemon::start(folder.path(), broker.port, allow);
    subscriber.wait_for("/availability", 1, LIMIT);
    ask(&broker, "log.level", "a", ",\"level\":\"debug\",\"for_s\":1", &[]);
    assert_eq!(end_of(&subscriber, "log.level", "a").1["state"], "succeeded");
    let said = |what: &str| daemon.log().contains(what).then_some(());
    eventually(LIMIT, "the change in the log", || said("The log's level is changed"));
    eventually(LIMIT, "the way back", || said("the configured one again"));
}
