//! What is read is more than what is written: the schemas of requests beside those of responses.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::scalars::{self, Place};

const SCHEMAS: &str = "#/components/schemas/";

/// Gives what is both sent and answered two schemas, that of requests under a name of its own, and says in
/// each what its values may be.
pub(super) fn describe(document: &mut Value) {
    let schemas = document["components"]["schemas"].take();
    let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for operation in operations(document) {
        note(&operation["requestBody"], &schemas, &mut sent);
        note(&operation["responses"], &schemas, &mut answered);
    }
    let twins = twins(&schemas, sent.intersection(&answered).cloned().collect());

    let mut described = Map::new();
    for name in &answered {
        described.insert(name.clone(), as_answered(schemas[name].clone()));
    }
    for name in &sent {
        let own_name = if twins.contains(name) { twin(name) } else { name.clone() };
        described.insert(own_name, as_sent(schemas[name].clone(), &twins));
    }
    for operation in operations(document) {
        if let Some(body) = operation.get_mut("requestBody") {
            *body = as_sent(body.take(), &twins);
        }
        operation["responses"] = as_answered(operation["responses"].take());
        if let Some(parameters) = operation.get_mut("parameters") {
            scalars::describe(parameters, Place::Parameter);
            note(parameters, &schemas, &mut answered);
        }
    }
    // Parameters alone may name what no body has.
    for name in answered {
        let describe = || as_answered(schemas[&name].clone());
        described.entry(name.clone()).or_insert_with(describe);
    }
    document["components"]["schemas"] = described.into();
}

pub(super) fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut)
}

/// The names of all schemas that a part of the document refers to, and that those refer to.
fn note(part: &Value, schemas: &Value, names: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            if let Some(name) =
                members.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix(SCHEMAS))
                && names.insert(name.to_owned())
            {
                note(&schemas[name], schemas, names);
            }
            members.values().for_each(|member| note(member, schemas, names));
        }
        Value::Array(elements) => elements.iter().for_each(|element| note(element, schemas, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Of the schemas that are both sent and answered, those that are not the same in both.
fn twins(schemas: &Value, mut both: BTreeSet<String>) -> BTreeSet<String> {
    loop {
        let differs =
            |name: &&String| as_sent(schemas[*name].clone(), &both) != as_answered(schemas[*name].clone());
        let twins: BTreeSet<String> = both.iter().filter(differs).cloned().collect();
        // Fewer twins make others equal that refer to them.
        if twins.len() == both.len() {
            return twins;
        }
        both = twins;
    }
}

/// `ModelPositionDTO` is read as a `ModelPositionInputDTO`, `TradingRules` as a `TradingRulesInput`.
fn twin(name: &str) -> String {
    name.strip_suffix("DTO").map_or_else(|| format!("{name}Input"), |stem| format!("{stem}InputDTO"))
}

fn as_sent(mut part: Value, twins: &BTreeSet<String>) -> Value {
    fn rename(part: &mut Value, twins: &BTreeSet<String>) {
        match part {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get_mut("$ref")
                    && let Some(name) = reference.strip_prefix(SCHEMAS)
                    && twins.contains(name)
                {
                    *reference = format!("{SCHEMAS}{}", twin(name));
                }
                members.values_mut().for_each(|member| rename(member, twins));
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| rename(element, twins)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    rename(&mut part, twins);
    scalars::describe(&mut part, Place::Request);
    part
}

fn as_answered(mut part: Value) -> Value {
    never_null_where_left_out(&mut part);
    scalars::describe(&mut part, Place::Response);
    part
}

/// A member that may be left out of an answer is left out rather than null.
fn never_null_where_left_out(part: &mut Value) {
    match part {
        Value::Object(members) => {
            let required = members.get("required").cloned().unwrap_or_else(|| json!([]));
            let is_required =
                |name: &str| required.as_array().is_some_and(|names| names.iter().any(|it| it == name));
            if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
                let optional = properties.iter_mut().filter(|(name, _)| !is_required(name));
                optional.for_each(|(_, schema)| without_null(schema));
            }
            members.values_mut().for_each(never_null_where_left_out);
        }
        Value::Array(elements) => elements.iter_mut().for_each(never_null_where_left_out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_null(schema: &mut Value) {
    if let Some(names) = schema["type"].as_array() {
        let others: Vec<Value> = names.iter().filter(|name| *name != "null").cloned().collect();
        schema["type"] = if let [one] = others.as_slice() { one.clone() } else { others.into() };
    }
    let Some(choices) = schema["oneOf"].as_array() else { return };
    let others: Vec<Value> = choices.iter().filter(|choice| choice["type"] != "null").cloned().collect();
    if let [one] = others.as_slice() {
        let mut one = one.clone();
        if let Some(description) = schema.get("description") {
            one["description"] = description.clone();
        }
        *schema = one;
    }
}
