//! Discovery by Home Assistant: one retained message that makes the box a device there.
//!
//! Owns the section `[mqtt.home_assistant]` and that message's topic and payload (device discovery, Home Assistant
//! 2024.12 and later; home-assistant.io/integrations/mqtt). It names the topics of [`Topics`] and templates that
//! pick values from their payloads; it publishes no value itself. Since it is retained, it needs no answer to Home
//! Assistant's birth message.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{config::Config, payload::Info, topics::Topics};
use crate::hex::hex;

/// The table `mqtt.home_assistant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomeAssistant {
    /// Whether the box is announced. False takes an earlier announcement back.
    pub enabled: bool,
    /// Home Assistant's discovery prefix.
    pub prefix: String,
}

impl Default for HomeAssistant {
    fn default() -> HomeAssistant {
        HomeAssistant { enabled: true, prefix: "homeassistant".to_owned() }
    }
}

/// Topic and payload of the discovery message; an empty payload deletes the device. `None` without the table.
pub fn discovery(config: &Config, topics: &Topics, info: &Info) -> Option<(String, Vec<u8>)> {
    let HomeAssistant { enabled, prefix } = config.home_assistant.as_ref()?;
    let id = object_id(&config.site, &config.device);
    let payload =
        if *enabled { device(config, topics, info, &id).to_string() } else { String::new() };
    Some((format!("{prefix}/device/{id}/config"), payload.into_bytes()))
}

/// Letters, digits, `_` and `-` are all that Home Assistant takes. What is written differently stays unique by a digest.
fn object_id(site: &str, device: &str) -> String {
    let name = format!("modicd_{site}_{device}");
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let digest = Sha256::digest(format!("{site}/{device}"));
    let digest = hex(&digest[..4]);
    format!("{plain}_{digest}")
}

fn device(config: &Config, topics: &Topics, info: &Info, id: &str) -> Value {
    let components: serde_json::Map<String, Value> = components(topics)
        .into_iter()
        .map(|(key, mut component)| {
            component["unique_id"] = format!("{id}_{key}").into();
            // Whether it is there must be told while it isn't.
            if key != "connectivity" {
                component["availability_topic"] = topics.availability().into();
                component["availability_template"] = ONLINE_OR_OFFLINE.into();
            }
            (key.to_owned(), component)
        })
        .collect();
    json!({
        "device": {
            "identifiers": [id],
            "name": format!("modicd {} {}", config.site, config.device),
            "manufacturer": "modicd",
            "model": "Modic changes in lumbar-spine MRI (research use)",
            "sw_version": info.version,
        },
        "origin": { "name": "modicd", "sw_version": info.version },
        "qos": 1,
        "components": components,
    })
}

/// A box that `stopped` isn't available either, and Home Assistant knows two words only.
const ONLINE_OR_OFFLINE: &str = "{{ 'online' if value == 'online' else 'offline' }}";

/// The entities: key, and what is special to each.
fn components(topics: &Topics) -> [(&'static str, Value); 14] {
    let (health, finding, metrics) = (topics.health(), topics.latest_finding(), topics.metrics());
    let sensor = |name: &str, topic: &str, template: &str| {
        json!({
            "platform": "sensor",
            "name": name,
            "state_topic": topic,
            "value_template": format!("{{{{ {template} }}}}"),
        })
    };
    let diagnostic = |component| with(component, json!({ "entity_category": "diagnostic" }));
    let number = |component, unit| {
        with(component, json!({ "state_class": "measurement", "unit_of_measurement": unit }))
    };
    let seconds = |component| with(number(component, "s"), json!({ "device_class": "duration" }));
    [
        (
            "connectivity",
            diagnostic(json!({
                "platform": "binary_sensor",
                "name": "Connection",
                "device_class": "connectivity",
                "state_topic": topics.availability(),
                "value_template": ONLINE_OR_OFFLINE,
                "payload_on": "online",
                "payload_off": "offline",
            })),
        ),
        (
            "problem",
            json!({
                "platform": "binary_sensor",
                "name": "Problem",
                "device_class": "problem",
                "state_topic": health,
                "value_template": "{{ 'OFF' if value_json.status == 'ok' else 'ON' }}",
                "json_attributes_topic": health,
                "json_attributes_template": "{{ {'reasons': value_json.reasons} | tojson }}",
            }),
        ),
        ("status", sensor("Status", &health, "value_json.status")),
        (
            "reasons",
            sensor("Reasons", &health, "(value_json.reasons | join(', '))[:255] or 'none'"),
        ),
        ("queue", number(sensor("Studies waiting", &health, "value_json.queue"), "studies")),
        (
            "outbox_messages",
            diagnostic(number(sensor("Outbox", &health, "value_json.outbox.messages"), "messages")),
        ),
        (
            "outbox_oldest_age",
            diagnostic(seconds(sensor("Outbox age", &health, "value_json.outbox.oldest_age_s"))),
        ),
        (
            "finding_count",
            with(
                number(sensor("Findings", &finding, "value_json.finding_count"), "findings"),
                json!({
                    "json_attributes_topic": finding,
                    "json_attributes_template": "{{ {'study_ref': value_json.study_ref, 'revision': value_json.revision, \
                        'discs': value_json.discs, 'quality': value_json.quality, 'limits': value_json.limits} | tojson }}",
                }),
            ),
        ),
        (
            "finding_type",
            sensor("Largest finding, type", &finding, "value_json.largest_type or 'none'"),
        ),
        (
            "finding_endplate",
            sensor(
                "Largest finding, endplate",
                &finding,
                "value_json.largest_level ~ ' ' ~ value_json.largest_side if value_json.largest_level else 'none'",
            ),
        ),
        (
            "finding_volume",
            number(
                sensor("Largest finding, volume", &finding, "value_json.largest_volume_mm3 or 0"),
                "mm³",
            ),
        ),
        (
            "finding_time",
            with(
                sensor("Last result", &finding, "value_json.time"),
                json!({ "device_class": "timestamp" }),
            ),
        ),
        (
            "analysis_time",
            diagnostic(seconds(sensor("Last analysis", &metrics, "value_json.last_analysis_s"))),
        ),
        ("version", diagnostic(sensor("Version", &topics.info(), "value_json.version"))),
    ]
}

/// The component with more keys.
fn with(mut component: Value, keys: Value) -> Value {
    if let (Value::Object(component), Value::Object(keys)) = (&mut component, keys) {
        component.extend(keys);
    }
    component
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn config(table: Option<HomeAssistant>) -> Config {
        Config { home_assistant: table, ..Config::default() }
    }

    fn message(config: &Config) -> Option<(String, Vec<u8>)> {
        discovery(config, &config.topics().unwrap(), &Info::default())
    }

    #[test]
    fn a_box_is_announced_only_on_request_and_can_be_taken_back() {
        assert_eq!(message(&config(None)), None);
        let (topic, payload) = message(&config(Some(HomeAssistant::default()))).unwrap();
        let off = HomeAssistant { enabled: false, ..HomeAssistant::default() };
        assert_eq!(message(&config(Some(off))), Some((topic, Vec::new())));
        assert!(!payload.is_empty());
    }

    #[test]
    fn the_topic_holds_what_home_assistant_takes_and_is_each_boxs_own() {
        let mut topics = HashSet::new();
        for (site, device) in
            [("a", "b_c"), ("a_b", "c"), ("Universitätsklinik", "mr.1"), ("a", "b-c")]
        {
            let table = Some(HomeAssistant::default());
            let config = Config { site: site.into(), device: device.into(), ..config(table) };
            let (topic, _) = message(&config).unwrap();
            let id = topic.strip_prefix("homeassistant/device/").unwrap();
            let id = id.strip_suffix("/config").unwrap().to_owned();
            assert!(
                id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
                "{id}"
            );
            assert!(topics.insert(id));
        }
    }

    #[test]
    fn every_entity_has_an_identifier_of_its_own_and_a_topic_of_the_box() {
        let (_, payload) = message(&config(Some(HomeAssistant::default()))).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let components = payload["components"].as_object().unwrap();
        let ids: HashSet<_> = components.values().map(|c| c["unique_id"].to_string()).collect();
        assert_eq!(ids.len(), components.len());
        for component in components.values() {
            assert!(
                component["state_topic"].as_str().unwrap().starts_with("modic/v1/site/modicd/")
            );
        }
    }
}
