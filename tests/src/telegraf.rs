//! What telegraf.conf makes of a message.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use serde_json::Value;

/// What telegraf.conf says of a message on `topic`, in the line protocol. Telegraf has no package: this reads the few
/// settings that the file uses, and shows that its names are those of the payload and of the dashboards. It doesn't
/// show that Telegraf reads the file so.
///
/// # Panics
/// The configuration names something that the payload doesn't have, or no input takes the topic.
pub fn as_telegraf_would(config: &toml::Table, topic: &str, payload: &Value) -> String {
    let inputs = config["inputs"]["mqtt_consumer"].as_array().expect("inputs");
    let takes = |input: &&toml::Value| list(&input["topics"]).iter().any(|t| matches(t, topic));
    let input = inputs.iter().find(takes).unwrap_or_else(|| panic!("an input takes {topic}"));
    let mut tags = String::new();
    let places = text(&input["topic_parsing"][0]["tags"]).split('/');
    for (name, part) in places.zip(topic.split('/')).filter(|(name, _)| *name != "_") {
        write!(tags, ",{name}={part}").expect("a String takes it");
    }
    if text(&input["data_format"]) == "json" {
        let numbers = payload.as_object().expect("an object").iter();
        let fields: Vec<_> = numbers.map(|(key, value)| format!("{key}={value}")).collect();
        return format!("{}{tags} {}\n", text(&input["name_override"]), fields.join(","));
    }
    let time = payload_at(payload, "time");
    let time = humantime::parse_rfc3339(time.as_str().expect("text")).expect("RFC 3339");
    let time = time.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let mut lines = String::new();
    for parser in input["json_v2"].as_array().expect("parsers") {
        assert_eq!(text(&parser["timestamp_path"]), "time");
        let measurement = text(&parser["measurement_name"]);
        if let Some(fields) = parser.get("field").and_then(toml::Value::as_array) {
            let field = |field: &toml::Value| {
                let (path, kind) = (text(&field["path"]), text(&field["type"]));
                format!("{path}={}", typed(&payload_at(payload, path), kind))
            };
            let fields: Vec<_> = fields.iter().map(field).collect();
            writeln!(lines, "{measurement}{tags} {} {time}", fields.join(",")).expect("written");
        }
        for object in parser.get("object").and_then(toml::Value::as_array).into_iter().flatten() {
            for one in payload_at(payload, text(&object["path"])).as_array().expect("an array") {
                let own = list(&object["tags"]);
                let tag = |key: &&str| {
                    format!(",{key}={}", payload_at(one, key).to_string().trim_matches('"'))
                };
                let own_tags: String = own.iter().map(tag).collect();
                let included = list(&object["included_keys"]);
                let included = included.iter().filter(|key| !own.contains(key));
                let field = |key: &&str| {
                    let kind = text(&object["fields"][*key]);
                    format!("{key}={}", typed(&payload_at(one, key), kind))
                };
                let fields: Vec<_> = included.map(field).collect();
                writeln!(lines, "{measurement}{tags}{own_tags} {} {time}", fields.join(","))
                    .expect("written");
            }
        }
    }
    lines
}

fn text(value: &toml::Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is text"))
}

fn list(value: &toml::Value) -> Vec<&str> {
    value.as_array().unwrap_or_else(|| panic!("{value} is a list")).iter().map(text).collect()
}

fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<_>, Vec<_>) =
        (filter.split('/').collect(), topic.split('/').collect());
    filter.len() == topic.len() && filter.iter().zip(topic).all(|(f, t)| *f == "+" || *f == t)
}

fn typed(value: &Value, kind: &str) -> String {
    match kind {
        "int" => format!("{}i", value.as_i64().unwrap_or_else(|| panic!("{value} is an integer"))),
        "float" => format!("{}", value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))),
        "string" => format!("{:?}", value.as_str().unwrap_or_else(|| panic!("{value} is text"))),
        other => panic!("no type {other}"),
    }
}

fn payload_at(payload: &Value, key: &str) -> Value {
    payload.get(key).unwrap_or_else(|| panic!("no {key} in {payload}")).clone()
}
