//! Holds every published document against the contract.

use std::collections::HashMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use modicd::contract::{document_on, documents};
use serde_json::Value;

/// What is wrong with a document by the schema of its topic, nothing if it is right. Here, unlike at a subscriber,
/// a field that the schema doesn't name is wrong too.
pub(crate) fn violations(topic: &str, payload: &Value) -> Vec<String> {
    // {root}/v1/{site}/{device}/...
    let Some(suffix) = topic.splitn(5, '/').nth(4) else {
        return vec![format!("{topic} is none of our topics")];
    };
    if suffix == "availability" {
        let words = ["online", "stopped", "offline"];
        let known = payload.as_str().is_some_and(|word| words.contains(&word));
        return if known { Vec::new() } else { vec![format!("{topic}: {payload}")] };
    }
    let Some(document) = document_on(suffix) else {
        return vec![format!("{topic} has no schema")];
    };
    let errors = VALIDATORS[document.name].iter_errors(payload);
    errors.map(|error| format!("{topic}, at {}: {error}", error.instance_path)).collect()
}

static VALIDATORS: LazyLock<HashMap<&str, Validator>> = LazyLock::new(|| {
    let compiled = documents().into_iter().map(|mut document| {
        close(&mut document.schema);
        let definitions = document.schema.get_mut("$defs").and_then(Value::as_object_mut);
        definitions.into_iter().flat_map(|d| d.values_mut()).for_each(close);
        let validator = jsonschema::validator_for(&document.schema).expect("a schema of ours");
        (document.name, validator)
    });
    compiled.collect()
});

/// Allows no field beside those named.
fn close(schema: &mut Value) {
    if schema.get("properties").is_some() {
        schema["unevaluatedProperties"] = false.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_valid_and_a_changed_one_is_not() {
        for document in documents() {
            let topic = format!("modic/v1/site/box/{}", document.topics[0]);
            assert_eq!(violations(&topic, &document.example), Vec::<String>::new());
            let fields = document.example.as_object().expect("an object");
            let mut more = document.example.clone();
            more["patient_name"] = "DOE".into();
            assert!(!violations(&topic, &more).is_empty(), "{}: a field more", document.name);
            for field in fields.keys() {
                let mut wrong = document.example.clone();
                wrong[field] = serde_json::json!([[null]]);
                assert!(!violations(&topic, &wrong).is_empty(), "{}: {field}", document.name);
            }
        }
    }
}
