//! Many boxes at one broker: nothing is lost, and nobody reads or writes what isn't theirs.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use modicd_tests::{
    Broker, Daemon, Received, ShippedBroker, Subscriber, eventually, shipped_settings,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const BOXES: usize = 100;

/// `modicd fleet` on a broker, with a report in `folder`.
fn fleet(broker: &Broker, folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(Daemon::program());
    command
        .args(["fleet", "--boxes", &BOXES.to_string(), "--exams-per-hour", "600"])
        .args(["--broker", &format!("127.0.0.1:{}", broker.port), "--out"])
        .arg(folder)
        .args(more)
        .stdout(Stdio::null());
    command
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("fleet.json")).unwrap()).unwrap()
}

/// Waits until every box said on `availability` what `state` is.
fn all_say(subscriber: &Subscriber, state: &str) {
    eventually(LIMIT, &format!("every box to say {state}"), || {
        let said = subscriber.all();
        let said = said.iter().filter(|m| m.topic.ends_with("/availability"));
        (said.filter(|m| m.payload == state).count() >= BOXES).then_some(())
    });
}

#[test]
fn a_broker_killed_in_the_midst_of_a_hundred_boxes_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with_settings(folder.path(), &shipped_settings(folder.path()));
    let more = ["--minutes", "0.4", "--drop-connections", "60"];
    let mut running = fleet(&broker, folder.path(), &more).spawn().unwrap();
    all_say(&Subscriber::start(&broker), "online");
    std::thread::sleep(Duration::from_secs(4));
    // The checking subscriber's session has to outlive the broker.
    broker.save(&folder.path().join("mosquitto.db"));
    std::thread::sleep(Duration::from_secs(2));
    broker.kill();
    std::thread::sleep(Duration::from_secs(3));
    broker.restart();
    let status = running.wait().unwrap();

    let report = report(folder.path());
    let messages = &report["messages"];
    let count = |name: &str| messages[name].as_u64().unwrap();
    assert!(status.success(), "{report:#}");
    assert!(count("enqueued") > 1000 && count("arrived") == count("enqueued"), "{report:#}");
    for fault in ["lost", "out_of_order", "contradictory", "unexplained"] {
        assert_eq!(count(fault), 0, "{fault}: {report:#}");
    }
    assert_eq!(report["outages"].as_array().unwrap().len(), 1, "{report:#}");
    assert!(report["outages"][0]["all_online_s"].is_number(), "{report:#}");
    assert!(report["dropped"].as_u64().unwrap() > 5, "{report:#}");
}

#[test]
fn a_broker_that_keeps_messages_to_itself_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    // It acknowledges the newest findings and hands them to nobody.
    let rules = folder.path().join("acl");
    std::fs::write(&rules, "topic readwrite #\ntopic deny modic/v1/+/+/latest/finding\n").unwrap();
    let settings = format!("persistence false\nacl_file {}", rules.display());
    let broker = Broker::start_with_settings(folder.path(), &settings);
    // Holds what boxes say against the contract.
    let _subscriber = Subscriber::start(&broker);
    let mut boxes = fleet(&broker, folder.path(), &["--minutes", "0.1"]);
    boxes.args(["--patience", "5"]).stderr(Stdio::null());
    let status = boxes.status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(report(folder.path())["messages"]["lost"].as_u64().unwrap() > 0);
}

const PEOPLE: [&str; 5] = ["dashboard", "operator", "archive", "mercy-dashboard", "mercy/mr-3"];

/// What came in, as `topic payload`.
fn lines(received: &[Received]) -> Vec<String> {
    let line = |m: &Received| format!("{} {}", m.topic, m.payload.as_str().unwrap());
    received.iter().map(line).collect()
}

#[test]
fn the_shipped_rules_keep_boxes_and_people_to_what_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let broker = ShippedBroker::start(folder.path(), &PEOPLE);
    let [one, two] = ["mercy/mr-1", "mercy/mr-2"].map(|name| broker.with_certificate(name));
    let three = broker.with_password("mercy/mr-3");
    let elsewhere = broker.with_certificate("grace/mr-1");
    let site_itself = broker.with_certificate("mercy");
    let [dashboard, operator, archive, mercy] =
        ["dashboard", "operator", "archive", "mercy-dashboard"].map(|n| broker.with_password(n));

    let seen = dashboard.subscribe("modic/v1/#");
    let seen_by_two = two.subscribe("#");
    let seen_by_mercy = mercy.subscribe("#");
    let seen_by_archive = archive.subscribe("modic/#");

    // Refused, though acknowledged, so that the box can't know: what mosquitto does with MQTT 3.1.1.
    assert!(one.publish("modic/v1/mercy/mr-2/event/study.completed", "another's", &[]));
    one.publish("modic/v1/grace/mr-1/event/study.completed", "another site's", &[]);
    one.publish("modic/v2/mercy/mr-1/event/study.completed", "another version's", &[]);
    three.publish("modic/v1/mercy/mr-1/finding/0123456789abcdef", "another's", &[]);
    dashboard.publish("modic/v1/mercy/mr-1/cmd/rerun/1", "by a dashboard", &[]);
    dashboard.publish("modic/v1/mercy/mr-1/availability", "by a dashboard", &[]);
    archive.publish("modic/v1/mercy/mr-1/cmd/rerun/1", "by the archive", &[]);
    operator.publish("modic/v1/mercy/mr-1/finding/0123456789abcdef", "by an operator", &[]);
    // Refused at the door.
    assert!(!broker.stranger().publish("modic/v1/mercy/mr-1/health", "by a stranger", &[]));

    // Allowed.
    one.publish("modic/v1/mercy/mr-1/event/study.completed", "own", &[]);
    one.publish("modic/v1/mercy/mr-1/finding/0123456789abcdef", "own", &[]);
    three.publish("modic/v1/mercy/mr-3/health", "own", &["-r"]);
    elsewhere.publish("modic/v1/grace/mr-1/event/study.completed", "own", &[]);
    operator.publish("modic/v1/mercy/mr-2/cmd/rerun/1", "please", &[]);
    operator.publish("modic/v1/mercy/mr-1/cmd/rerun/1", "please", &[]);
    two.publish("modic/v1/mercy/mr-2/cmd/rerun/1/status", "accepted", &[]);

    seen.wait_for("/status", 1, LIMIT);
    assert_eq!(
        lines(&seen.all()),
        [
            "modic/v1/mercy/mr-1/event/study.completed own",
            "modic/v1/mercy/mr-1/finding/0123456789abcdef own",
            "modic/v1/mercy/mr-3/health own",
            "modic/v1/grace/mr-1/event/study.completed own",
            "modic/v1/mercy/mr-2/cmd/rerun/1 please",
            "modic/v1/mercy/mr-1/cmd/rerun/1 please",
            "modic/v1/mercy/mr-2/cmd/rerun/1/status accepted",
        ]
    );
    assert_eq!(lines(&seen_by_two.all()), ["modic/v1/mercy/mr-2/cmd/rerun/1 please"]);
    seen_by_mercy.wait_for("/status", 1, LIMIT);
    assert!(seen_by_mercy.all().iter().all(|m| m.topic.starts_with("modic/v1/mercy/")));
    let archived = ["/event/", "/finding/"].map(|part| seen_by_archive.on(part).len());
    assert_eq!((archived, seen_by_archive.all().len()), ([2, 1], 3));

    // Retained state and the will reach who comes later. A name without "/" would own a site: never give one to a box.
    let late = dashboard.subscribe("modic/v1/mercy/mr-3/#");
    assert_eq!(late.wait_for("/health", 1, LIMIT), "own");
    site_itself.publish("modic/v1/mercy/mr-3/health", "the whole site's", &[]);
    late.wait_for("/health", 2, LIMIT);

    let mut leaving = Command::new("mosquitto_sub")
        .args(one.options())
        .args(["-t", "modic/v1/mercy/mr-1/cmd/+/+", "--will-topic"])
        .args(["modic/v1/mercy/mr-1/availability", "--will-payload", "offline"])
        .args(["--will-qos", "1", "--will-retain"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    leaving.kill().unwrap();
    leaving.wait().unwrap();
    assert_eq!(seen.wait_for("/availability", 1, LIMIT), "offline");
}

#[test]
fn consumers_of_a_shared_subscription_take_each_finding_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = ShippedBroker::start(folder.path(), &PEOPLE);
    let archive = broker.with_password("archive");
    let filter = "$share/archive/modic/v1/+/+/finding/+";
    let consumers = [archive.subscribe(filter), archive.subscribe(filter)];
    let seen = broker.with_password("dashboard").subscribe("modic/v1/+/+/finding/+");
    let box_1 = broker.with_certificate("mercy/mr-1");
    for n in 0..20 {
        let topic = format!("modic/v1/mercy/mr-1/finding/{n:016x}");
        assert!(box_1.publish(&topic, &format!("f{n}"), &[]));
    }
    seen.wait_for("/finding/", 20, LIMIT);
    let taken = eventually(LIMIT, "all findings", || {
        let taken = consumers.each_ref().map(|consumer| lines(&consumer.all()));
        (taken[0].len() + taken[1].len() >= 20).then_some(taken)
    });
    let mut all = taken.concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 20, "each once: {taken:?}");
    assert!(taken.iter().all(|part| part.len() >= 5), "both work: {taken:?}");
}
