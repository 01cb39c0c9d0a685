//! MQTT 5 with mosquitto: the same messages, and what only this version tells.

use std::time::Duration;

use modicd_tests::{Broker, Daemon, Exam, Subscriber, eventually, storescu};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_finding_arrives_and_the_will_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    // Fewer in flight than the box would send.
    let broker = Broker::start_with(folder.path(), "max_inflight_messages 2\n");
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::start(folder.path(), broker.port, "protocol = \"5\"");
    assert_eq!(subscriber.wait_for("/availability", 1, LIMIT), "online");
    let exam = Exam::small(&folder.path().join("exam"), 32);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert_eq!(finding["schema"], "modicd.finding/1");
    daemon.kill();
    assert_eq!(subscriber.wait_for("/availability", 2, LIMIT), "offline");
}

#[test]
fn what_the_broker_refuses_stays_in_the_outbox_and_holds_up_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let acl = folder.path().join("acl");
    std::fs::write(&acl, "topic readwrite #\ntopic deny modic/v1/test/box/event/study.received\n")
        .unwrap();
    // With unlimited queues mosquitto 2.0.11 closes the connection after each refusal.
    let lines = format!("max_queued_messages 1000\nacl_file {}\n", acl.display());
    let broker = Broker::start_with(folder.path(), &lines);
    let subscriber = Subscriber::start(&broker);
    let daemon = Daemon::start(folder.path(), broker.port, "protocol = \"5\"");
    let exam = Exam::small(&folder.path().join("exam"), 32);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    let waiting = || {
        let files = std::fs::read_dir(daemon.state.join("outbox")).expect("the outbox is there");
        files.flatten().filter(|f| f.file_name().to_string_lossy().ends_with(".json")).count()
    };
    eventually(LIMIT, "the refused message alone in the outbox", || (waiting() == 1).then_some(()));
    let log = daemon.log();
    assert!(log.contains("The MQTT broker refused a message") && log.contains("NotAuthorized"));
    assert!(subscriber.on("/event/study.received").is_empty());
}
