//! The shipped Node-RED flow: real boxes and brokers behind it, Chromium before it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use modicd::{modic, study};
use modicd_tests::{
    Broker, Daemon, Exam, NodeRed, Subscriber, eventually, node_red_dashboard, storescu,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

/// A small phantom of this seed has findings.
const SEED: u64 = 3;

#[test]
fn a_box_and_its_findings_are_on_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut node_red = NodeRed::start(folder.path(), &broker);
    let mut daemon = Daemon::start(folder.path(), broker.port, "");
    let exam = Exam::small(&folder.path().join("exam"), SEED);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    drop(subscriber);

    // Level, type and volume as they were published.
    let seen = node_red.dashboard(&["read"]);
    let expected = findings_in(&finding);
    assert!(!expected.is_empty(), "a phantom without findings shows nothing");
    assert_eq!(seen["findings"], json!(expected));
    assert_eq!(seen["boxes"][0]["availability"], "online");
    assert_eq!(seen["boxes"][0]["status"], "ok");
    assert_eq!(seen["notice"], "Research use, not for diagnosis");
    assert_eq!(seen["studies"], "1 studies, 1 of them with a finding");
    let matrix = &seen["matrix"];
    let counted: u64 = matrix.as_array().unwrap().iter().map(|c| c[2].as_u64().unwrap()).sum();
    assert_eq!(counted, expected.len() as u64);
    assert_eq!((&seen["foreign"], &seen["problems"]), (&json!([]), &json!([])));

    // Again, replayed, on its other topic, an older revision: nothing changes.
    let study = finding["study_ref"].as_str().unwrap();
    let of_study = format!("finding/{study}");
    publish(&broker, "latest/finding", &finding.to_string());
    publish(&broker, "latest/finding", &with(&finding, &[("replayed", json!(true))]));
    publish(&broker, &of_study, &finding.to_string());
    let older = [("revision", json!(0)), ("event_id", json!("older")), ("findings", json!([]))];
    publish(&broker, &of_study, &with(&finding, &older));
    // What can't be read is counted and changes nothing else.
    for (suffix, payload) in [
        ("health", "{not json"),
        ("health", "[1, 2]"),
        ("latest/finding", r#"{"study_ref":"../../x","findings":[]}"#),
        ("latest/finding", r#"{"study_ref":"0123456789abcdef","findings":[{"level":{}}]}"#),
        ("availability", "perhaps"),
    ] {
        publish(&broker, suffix, payload);
    }
    let after = eventually(LIMIT, "the malformed messages", || {
        let after = node_red.dashboard(&["read"]);
        (after["unreadable"] == 5).then_some(after)
    });
    for part in ["findings", "matrix", "studies"] {
        assert_eq!(after[part], seen[part], "{part}");
    }
    assert_eq!(after["boxes"][0]["availability"], "online");
    assert_eq!(after["boxes"].as_array().unwrap().len(), 1);

    // Killed, the box is offline, an alarm that can be acknowledged.
    publish_retained(&broker, "latest/finding", &finding.to_string());
    daemon.kill();
    let offline = || {
        let seen = node_red.dashboard(&["read"]);
        (seen["boxes"][0]["availability"] == "offline").then_some(seen)
    };
    let gone = eventually(LIMIT, "the box's will on the dashboard", offline);
    let standing = json!([{"alarm": "test/box offline", "acknowledged": false}]);
    assert_eq!(gone["alarms"], standing);
    let acknowledged = node_red.dashboard(&["acknowledge", "test/box offline"]);
    assert_eq!(acknowledged[0]["acknowledged"], true);

    // Node-RED without any memory knows from the broker what is retained.
    node_red.restart();
    let again = eventually(LIMIT, "the retained state", || {
        let seen = node_red.dashboard(&["read"]);
        (seen["boxes"][0]["availability"] == "offline" && seen["findings"] != json!([]))
            .then_some(seen)
    });
    assert_eq!(again["findings"], seen["findings"]);
    daemon.restart();
    eventually(LIMIT, "the box again", || {
        let seen = node_red.dashboard(&["read"]);
        (seen["boxes"][0]["availability"] == "online" && seen["alarms"] == json!([])).then_some(())
    });

    let pictures = node_red.dashboard(&["pictures", folder.path().to_str().unwrap()]);
    assert_eq!(pictures["problems"], json!([]));
    let serious = pictures["serious"].as_array().unwrap();
    let (ours, frame): (Vec<_>, Vec<_>) = serious.iter().partition(|s| s["ours"] == true);
    let rules: BTreeSet<_> = frame.iter().map(|s| s["id"].to_string()).collect();
    println!("axe, serious, in FlowFuse's own frame: {rules:?}");
    assert!(ours.is_empty(), "axe, serious: {ours:#?}");
}

#[test]
fn the_flow_is_what_its_source_says() {
    let assemble = node_red_dashboard().join("assemble.mjs");
    let checked = Command::new("node").arg(assemble).arg("--check").status();
    assert!(checked.is_ok_and(|s| s.success()), "run assemble.mjs");
}

#[test]
fn the_flow_has_words_for_every_doubt() {
    let words = std::fs::read_to_string(node_red_dashboard().join("source/words.js")).unwrap();
    let of_pair = study::QualityFlag::ALL.iter().map(|flag| flag.as_str());
    let of_result = modic::QualityFlag::ALL.iter().map(|flag| flag.as_str());
    for code in of_pair.chain(of_result) {
        assert!(words.contains(&format!("{code}: ")), "{code}");
    }
}

/// The findings of a document as the dashboard's table shows them.
fn findings_in(document: &Value) -> Vec<Value> {
    let findings = document["findings"].as_array().expect("a finding document has findings");
    let row = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().expect("a finding has it as text");
        let volume = finding["volume_mm3"].as_f64().expect("a finding has a volume").round() as u64;
        let volume = match volume {
            0..1000 => volume.to_string(),
            _ => format!("{},{:03}", volume / 1000, volume % 1000),
        };
        json!({
            "study": document["study_ref"],
            "endplate": format!("{} {}", text("level"), text("side")),
            "type": text("type"),
            "volume": format!("{volume} mm³"),
        })
    };
    findings.iter().map(row).collect()
}

/// The document with other fields.
fn with(document: &Value, fields: &[(&str, Value)]) -> String {
    let mut document = document.clone();
    for (key, value) in fields {
        document[key] = value.clone();
    }
    document.to_string()
}

fn publish(broker: &Broker, suffix: &str, payload: &str) {
    send(broker, suffix, payload, &[]);
}

fn publish_retained(broker: &Broker, suffix: &str, payload: &str) {
    send(broker, suffix, payload, &["-r"]);
}

fn send(broker: &Broker, suffix: &str, payload: &str, options: &[&str]) {
    let sent = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1"])
        .args(["-t", &format!("modic/v1/test/box/{suffix}"), "-m", payload])
        .args(options)
        .status();
    assert!(sent.is_ok_and(|s| s.success()), "mosquitto_pub publishes");
}
