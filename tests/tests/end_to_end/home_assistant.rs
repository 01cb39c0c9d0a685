//! The announcement to Home Assistant, as a broker keeps it.

use std::process::Command;
use std::time::Duration;

use modicd_tests::{Broker, Daemon, eventually};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_box_announces_itself_and_takes_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let daemon = Daemon::start(folder.path(), broker.port, "[mqtt.home_assistant]\n");
    let announced = eventually(LIMIT, "the announcement", || retained(&broker).pop());
    let (topic, payload) = announced.split_once(' ').unwrap();
    assert!(topic.starts_with("homeassistant/device/modicd_test_box_"), "{topic}");

    // What Home Assistant requires (schemas.py, DEVICE_DISCOVERY_SCHEMA), and that every topic is one that is published.
    let payload: Value = serde_json::from_str(payload).unwrap();
    assert!(payload["device"]["identifiers"][0].is_string());
    assert_eq!(payload["origin"]["name"], "modicd");
    for (key, component) in payload["components"].as_object().unwrap() {
        let platform = component["platform"].as_str().unwrap();
        assert!(["sensor", "binary_sensor"].contains(&platform), "{key}: {platform}");
        let suffix = component["state_topic"].as_str().unwrap().strip_prefix("modic/v1/test/box/");
        let known = ["availability", "info", "health", "metrics", "latest/finding"];
        assert!(known.contains(&suffix.unwrap()), "{key}: {suffix:?}");
    }
    drop(daemon);

    let off = "[mqtt.home_assistant]\nenabled = false\n";
    let _daemon = Daemon::start(folder.path(), broker.port, off);
    eventually(LIMIT, "its end", || retained(&broker).is_empty().then_some(()));
}

/// What the broker keeps for Home Assistant: topic and payload.
fn retained(broker: &Broker) -> Vec<String> {
    let output = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-W", "1"])
        .args(["-t", "homeassistant/#", "--retained-only", "-v"])
        .output()
        .expect("mosquitto_sub is installed (tests/run installs it)");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
