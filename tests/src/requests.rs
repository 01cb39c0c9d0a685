//! Requests over MQTT, by mosquitto_pub, and their answers.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::{Broker, Subscriber, eventually};

/// No request takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Asks with a request that expires in a minute; `fields` stand beside that.
pub fn ask(broker: &Broker, command: &str, id: &str, fields: &str, options: &[&str]) {
    let expires = SystemTime::now() + Duration::from_secs(60);
    let expires = modicd::deliver::TimePrecision::Second.format(expires);
    let payload = format!("{{\"expires\":\"{expires}\"{fields}}}");
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1"])
        .args(["-t", &format!("modic/v1/test/box/cmd/{command}/{id}"), "-m", &payload])
        .args(options)
        .status();
    assert!(status.is_ok_and(|s| s.success()), "mosquitto_pub asks");
}

/// States of a request so far, in order, and the last answer.
pub fn answers(subscriber: &Subscriber, command: &str, id: &str) -> (Vec<String>, Value) {
    let all = subscriber.on(&format!("/cmd/{command}/{id}/status"));
    let states = all.iter().map(|a| a["state"].as_str().unwrap_or_default().to_owned()).collect();
    (states, all.last().cloned().unwrap_or_default())
}

/// Waits for the end of a request; gives its states and its last answer.
pub fn end_of(subscriber: &Subscriber, command: &str, id: &str) -> (Vec<String>, Value) {
    eventually(LIMIT, &format!("the end of {command}/{id}"), || {
        let (states, last) = answers(subscriber, command, id);
        let ended = ["succeeded", "failed", "refused"];
        states.last().is_some_and(|s| ended.contains(&s.as_str())).then_some((states, last))
    })
}
