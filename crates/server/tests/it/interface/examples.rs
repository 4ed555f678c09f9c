//! The examples of the description.

use reqwest::Method;
use serde_json::{Value, json};

use super::{as_described, description, faults, resolved};
use crate::harness::{TestServer, reply};

/// Every part of the document that has an example of its own, and where it stands.
fn parts_with_examples<'a>(part: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    match part {
        Value::Object(members) => {
            if members.contains_key("example") || members.contains_key("examples") {
                found.push((place.to_owned(), part));
            }
            for (name, member) in
                members.iter().filter(|(name, _)| !["example", "examples"].contains(&name.as_str()))
            {
                parts_with_examples(member, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(elements) => {
            for (idx, element) in elements.iter().enumerate() {
                parts_with_examples(element, &format!("{place}/{idx}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The examples of a schema, a body or a parameter.
fn examples(part: &Value) -> Vec<&Value> {
    let named = part["examples"].as_object().into_iter().flat_map(|examples| examples.values());
    part.get("example").into_iter().chain(named.map(|example| &example["value"])).collect()
}

#[tokio::test]
async fn every_example_is_as_its_schema_says() {
    let server = TestServer::start().await;
    let description = description(&server).await;
    let mut parts = Vec::new();
    parts_with_examples(&description, "", &mut parts);

    for (place, part) in &parts {
        // Bodies and parameters have a schema beside their examples; other schemas have them inside.
        let schema = part.get("schema").unwrap_or(part);
        let examples = examples(part);
        assert!(!examples.is_empty(), "{place}");
        for example in examples {
            assert_eq!(faults(&description, schema, example), [""; 0], "{place}: {example}");
        }
    }
    assert!(100 < parts.len(), "{}", parts.len());
}

#[tokio::test]
async fn every_body_has_an_example() {
    let server = TestServer::start().await;
    let description = description(&server).await;

    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap().values();
            let bodies =
                responses.chain(operation.get("requestBody")).filter_map(|body| body["content"].as_object());
            for content in bodies.flat_map(|content| content.values()) {
                assert!(!examples(content).is_empty(), "{method} {path}: {content}");
            }
        }
    }
}

/// What the parts of paths stand for: a model made for this call, a portfolio of it, a rebalance of it.
struct World {
    model: String,
    portfolio: String,
    rebalance: String,
}

impl World {
    /// The model has what the operation wants to find, and not what it wants to add.
    async fn for_operation(server: &TestServer, description: &Value, operation: &str) -> Self {
        let create =
            &description["paths"]["/api/v1/models"]["post"]["requestBody"]["content"]["application/json"];
        let mut body = create["example"].clone();
        let portfolio = body["portfolios"][0].as_str().unwrap().to_owned();
        body["portfolios"] = json!([portfolio, "another"]);
        body["name"] = json!(format!("For {operation}"));
        if operation == "add_position" {
            body["positions"] = json!([]);
        }
        let created = server.post("/api/v1/models", &body).await.expect(201);
        let model = created["model_id"].as_str().unwrap().to_owned();

        let rebalance = if operation.contains("rebalance") {
            let done = server.rebalance_model(&model).await.expect(200);
            done[0]["rebalance_id"].as_str().unwrap().to_owned()
        } else {
            String::new()
        };
        Self { model, portfolio, rebalance }
    }

    fn path(&self, path: &str) -> String {
        let path = path.replace("{model_id}", &self.model).replace("{portfolio_id}", &self.portfolio);
        let path = path.replace("{rebalance_id}", &self.rebalance);
        assert!(!path.contains('{'), "this test does not know what to put into {path}");
        path
    }
}

#[tokio::test]
async fn every_example_of_a_request_gets_the_success_that_is_documented() {
    let server = TestServer::start().await;
    let description = description(&server).await;
    let mut sent = 0;

    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            let bodies =
                if body.is_null() { vec![None] } else { examples(body).into_iter().map(Some).collect() };
            for body in bodies {
                let name = operation["operationId"].as_str().unwrap();
                let world = World::for_operation(&server, &description, name).await;
                let verb: Method = method.to_uppercase().parse().unwrap();
                let url = format!("{}{}", server.url, world.path(path));
                let mut request =
                    server.client.request(verb, url).query(&query(&description, operation, &world));
                if let Some(body) = body {
                    request = request.json(body);
                }

                let reply = reply(request).await;

                let is_success = reply.status.is_success();
                assert!(is_success, "{name} with {body:?}: {}", reply.body);
                as_described(&description, method, path, reply);
                remove_all_models(&server).await;
                sent += 1;
            }
        }
    }
    assert!(20 < sent, "{sent}");
}

/// So that the next call finds no name taken.
async fn remove_all_models(server: &TestServer) {
    for model in server.get("/api/v1/models").await.expect(200).as_array().unwrap() {
        let (id, version) = (model["model_id"].as_str().unwrap(), &model["version"]);
        server.delete(&format!("/api/v1/model/{id}?version={version}")).await.expect(204);
    }
}

/// The examples of the query's parameters.
fn query(description: &Value, operation: &Value, world: &World) -> Vec<(String, String)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let in_query = parameters.filter(|parameter| parameter["in"] == "query");
    let example = |parameter: &Value| {
        let schema = resolved(description, &parameter["schema"]);
        let example = examples(parameter).into_iter().chain(examples(schema)).next()?;
        let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        let name = parameter["name"].as_str().unwrap().to_owned();
        Some(if name == "model_id" { (name, world.model.clone()) } else { (name, text) })
    };
    in_query.filter_map(example).collect()
}
