//! Whether a value is as a schema of the description says.

use serde_json::{Value, json};

/// Everything about a value that its schema does not allow, members that it does not mention included.
pub(super) fn faults(description: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut root = schema.clone();
    root["components"] = json!({ "schemas": description["components"]["schemas"] });
    close(&mut root);
    let validator = jsonschema::options().should_validate_formats(true).build(&root).unwrap();
    let faults = validator.iter_errors(value);
    faults.map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}

/// Lets no object have members that are not described.
fn close(schema: &mut Value) {
    if let Some(parts) = schema.get("allOf").cloned() {
        schema["unevaluatedProperties"] = json!(false);
        schema["allOf"] = parts;
        return;
    }
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_a_schema_does_not_say_is_a_fault() {
    let part = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "string", "pattern": "^a$" } } });
    let other = json!({ "type": "object", "properties": { "b": { "type": ["integer", "null"] } } });
    let both = json!({ "allOf": [part, { "$ref": "#/components/schemas/Other" }] });
    let description = json!({ "components": { "schemas": { "Other": other } } });

    for (schema, value, n_faults) in [
        (&part, json!({ "a": "a" }), 0),
        (&part, json!({ "a": "b" }), 1),
        (&part, json!({ "a": "a", "b": 1 }), 1),
        (&part, json!({}), 1),
    ] {
        assert_eq!(faults(&description, schema, &value).len(), n_faults, "{value}");
    }
    assert!(!faults(&description, &both, &json!({ "a": "b", "c": 1 })).is_empty());
}
