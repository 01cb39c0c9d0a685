//! The broker is away for the time of five exams.

use std::time::Duration;

use modicd_tests::{Broker, Daemon, Defect, Exam, Subscriber, eventually, storescu};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn findings_of_an_outage_arrive_afterwards_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    let daemon = Daemon::start(folder.path(), broker.port, "");
    broker.kill();
    let results = daemon.state.join("results");
    let count = || {
        std::fs::read_dir(&results)
            .map(|studies| {
                studies.flatten().filter(|s| s.path().join("r0001/finding.json").is_file()).count()
            })
            .unwrap_or(0)
    };
    let mut order = Vec::new();
    for seed in 0..5 {
        let exam = Exam::small(&folder.path().join(format!("exam{seed}")), 20 + seed);
        assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
        eventually(LIMIT, "the result of the exam", || (count() as u64 == seed + 1).then_some(()));
        let known: Vec<String> = std::fs::read_dir(&results)
            .unwrap()
            .flatten()
            .map(|s| s.file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.') && !order.contains(name))
            .collect();
        order.extend(known);
    }
    // The subscriber must be there before the daemon's next try, or nobody hears the broker's acknowledged messages.
    let subscriber = daemon.held(|| {
        broker.restart();
        Subscriber::start(&broker)
    });
    subscriber.wait_for("/latest/finding", 5, LIMIT);
    let arrived: Vec<String> = subscriber
        .on("/latest/finding")
        .iter()
        .map(|f| f["study_ref"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arrived, order);
}

#[test]
fn an_exam_that_the_outbox_has_no_room_for_is_analysed_once_and_told_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    let daemon = Daemon::start(folder.path(), broker.port, "outbox_max_messages = 16");
    broker.kill();
    let send =
        |exam: Exam| assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let results = |wanted: usize| {
        eventually(LIMIT, "the results", || (daemon.results().len() == wanted).then_some(()));
    };
    // Four messages each, and two of an exam that is refused: the last one finds room for two of its four.
    for seed in 0..3 {
        send(Exam::small(&folder.path().join(format!("exam{seed}")), 50 + seed));
        results(seed as usize + 1);
    }
    send(Exam::small(&folder.path().join("refused"), 53).spoil(Defect::T1Only));
    let outbox = || std::fs::read_dir(daemon.state.join("outbox")).unwrap().count();
    eventually(LIMIT, "the refusal in the outbox", || (outbox() >= 14).then_some(()));
    send(Exam::small(&folder.path().join("last"), 54));
    results(4);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(daemon.results().len(), 4, "it is analysed again and again");
    assert_eq!(outbox(), 16);

    let subscriber = daemon.held(|| {
        broker.restart();
        Subscriber::start(&broker)
    });
    subscriber.wait_for("/latest/finding", 4, LIMIT);
    subscriber.wait_for("/event/study.completed", 4, LIMIT);
    assert_eq!(daemon.results().len(), 4);
}
