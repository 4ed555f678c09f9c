//! An example of every body, made of those of its parts where it has none of its own.

use serde_json::{Map, Value, json};

use super::bodies::operations;

pub(super) fn describe(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for operation in operations(document) {
        let responses = operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
        responses.for_each(|response| of_content(response, &schemas));
        if let Some(request) = operation.get_mut("requestBody") {
            of_content(request, &schemas);
        }
    }
}

fn of_content(body: &mut Value, schemas: &Value) {
    let Some(content) = body.get_mut("content").and_then(Value::as_object_mut) else { return };
    for media_type in content.values_mut() {
        let has_one = ["example", "examples"].iter().any(|name| media_type.get(name).is_some());
        if !has_one {
            media_type["example"] = of(&media_type["schema"], schemas);
        }
    }
}

/// Null where nothing of the schema says what it may be, which a test would not accept.
fn of(schema: &Value, schemas: &Value) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return of(&schemas[name], schemas);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let choice = choices.iter().find(|choice| choice["type"] != "null");
        return choice.map_or(Value::Null, |choice| of(choice, schemas));
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(|part| of(part, schemas));
        let members = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return members.collect::<Map<_, _>>().into();
    }
    if let Some(word) = schema["enum"].get(0) {
        return word.clone();
    }
    let mut names =
        schema["type"].as_array().map_or_else(|| vec![&schema["type"]], |names| names.iter().collect());
    names.retain(|name| **name != "null");
    match names.first().and_then(|name| name.as_str()) {
        Some("object") => {
            let members = schema["properties"].as_object().into_iter().flatten();
            members.map(|(name, member)| (name.clone(), of(member, schemas))).collect()
        }
        Some("array") => json!([of(&schema["items"], schemas)]),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}
