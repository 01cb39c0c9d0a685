//! The contract of the MQTT topics: a JSON Schema and an example for every document that is published.
//!
//! Schemas come from the very types that are sent, their descriptions from the documentation in the code. What is
//! checked in below `daemon/contract/` is this, written by `modicd schema --out`; a test holds both together.
//! Subscribers ignore fields that they don't know: new ones may come within a version.

mod examples;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::deliver::Envelope;
use crate::deliver::payload::Metrics;
use crate::deliver::topics::schema;

/// What is published on the topics of one kind.
pub struct Document {
    /// Its name: `finding`.
    pub name: &'static str,
    /// Name and version in the documents' field `schema`.
    pub schema_name: &'static str,
    /// The topics' part after `{root}/v1/{site}/{device}/`, with placeholders.
    pub topics: &'static [&'static str],
    /// The JSON Schema, draft 2020-12.
    pub schema: Value,
    /// A whole document.
    pub example: Value,
}

/// A document as a subscriber gets it.
#[derive(Serialize, JsonSchema)]
struct Published<B> {
    #[serde(flatten)]
    envelope: Envelope<B>,
    /// Position in this box's order of messages, from 1; absent on `info`, `health`, `alarm` and `bundle`, which tell a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// Whether it was, or may have been, sent before.
    replayed: bool,
}

/// Every kind of document. `availability` isn't among them: it is a plain word.
pub fn documents() -> Vec<Document> {
    use examples as x;
    vec![
        Document::enveloped("info", schema::INFO, &["info"], x::state(schema::INFO, x::info())),
        Document::enveloped(
            "health",
            schema::HEALTH,
            &["health"],
            x::state(schema::HEALTH, x::health()),
        ),
        Document {
            name: "metrics",
            schema_name: schema::METRICS,
            topics: &["metrics"],
            schema: schema_of::<Metrics>(schema::METRICS),
            example: value(&x::metrics()),
        },
        Document::enveloped(
            "event",
            schema::EVENT,
            &["event/{type}"],
            x::event(x::study_completed()),
        ),
        Document::enveloped(
            "finding",
            schema::FINDING,
            &["finding/{study_ref}", "latest/finding"],
            x::finding(),
        ),
        Document::enveloped(
            "alarm",
            schema::ALARM,
            &["alarm/{alarm}"],
            x::state(schema::ALARM, x::alarm()),
        ),
        Document::enveloped(
            "bundle",
            schema::BUNDLE,
            &["bundle/{name}/state"],
            x::state(schema::BUNDLE, x::bundle()),
        ),
        request("command.study.rerun", &["cmd/study.rerun/{id}"], &x::study_rerun()),
        request("command.self-test", &["cmd/self-test/{id}"], &x::self_test()),
        request("command.log.level", &["cmd/log.level/{id}"], &x::log_level()),
        request("command.bundle.stage", &["cmd/bundle.stage/{id}"], &x::bundle_stage()),
        request("command.bundle.activate", &["cmd/bundle.activate/{id}"], &x::bundle_activate()),
        request("command.bundle.rollback", &["cmd/bundle.rollback/{id}"], &x::bundle_rollback()),
        request("command.support-bundle", &["cmd/support-bundle/{id}"], &x::support_bundle()),
        Document::enveloped(
            "command_status",
            schema::COMMAND_STATUS,
            &["cmd/{type}/{id}/status"],
            x::answer(x::command_status()),
        ),
    ]
}

/// A request, which comes without envelope.
fn request<R: Serialize + JsonSchema>(
    name: &'static str,
    topics: &'static [&'static str],
    example: &R,
) -> Document {
    let schema_name = "modicd.command/1";
    let mut schema = schema_of::<R>(schema_name);
    schema["title"] = name.into();
    schema["$id"] = format!("urn:modicd:{}:1", name.replace('.', ":")).into();
    Document { name, schema_name, topics, schema, example: value(example) }
}

/// The document that is published under a topic's part after `{root}/v1/{site}/{device}/`, if it is one.
pub fn document_on(suffix: &str) -> Option<Document> {
    let matches = |pattern: &&str| {
        let (mut pattern, mut suffix) = (pattern.split('/'), suffix.split('/'));
        loop {
            match (pattern.next(), suffix.next()) {
                (None, None) => return true,
                (Some(part), Some(given)) if part == given || part.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    documents().into_iter().find(|document| document.topics.iter().any(&matches))
}

impl Document {
    /// The names and texts of the files that hold its schema and its example.
    pub fn files(&self) -> [(String, String); 2] {
        [("schema", &self.schema), ("example", &self.example)]
            .map(|(kind, json)| (format!("{}.{kind}.json", self.name), format!("{json:#}\n")))
    }

    fn enveloped<B: Serialize + JsonSchema>(
        name: &'static str,
        schema_name: &'static str,
        topics: &'static [&'static str],
        example: Published<B>,
    ) -> Document {
        let mut schema = schema_of::<Published<B>>(schema_name);
        schema["properties"]["schema"]["const"] = schema_name.into();
        schema["properties"]["research_use"]["const"] = true.into();
        Document { name, schema_name, topics, schema, example: value(&example) }
    }
}

fn schema_of<T: JsonSchema>(schema_name: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), format!("urn:{}", schema_name.replace(['.', '/'], ":")).into());
    schema.insert("title".to_owned(), json!(schema_name));
    schema.into()
}

fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("a document of ours can be written as JSON")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_checked_in_is_what_the_program_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
        for document in documents() {
            for (name, text) in document.files() {
                let checked_in = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
                assert_eq!(checked_in, text, "{name}: modicd schema --out writes it anew");
            }
        }
    }

    #[test]
    fn descriptions_are_for_those_who_have_no_code() {
        for document in documents() {
            let text = document.schema.to_string();
            assert!(!text.contains("[`"), "{} links into the code: {text}", document.name);
        }
    }

    #[test]
    fn every_topic_has_its_document() {
        for (suffix, name) in [
            ("event/study.received", "event"),
            ("latest/finding", "finding"),
            ("finding/0123456789abcdef", "finding"),
            ("alarm/outbox_full", "alarm"),
            ("bundle/modic/state", "bundle"),
            ("cmd/log.level/x", "command.log.level"),
            ("cmd/reboot/x/status", "command_status"),
        ] {
            assert_eq!(document_on(suffix).unwrap().name, name);
        }
        for suffix in ["availability", "event", "event/a/b"] {
            assert!(document_on(suffix).is_none(), "{suffix}");
        }
    }
}
