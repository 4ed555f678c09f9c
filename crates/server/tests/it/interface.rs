//! The description of the interface, and its page.

mod examples;
mod validation;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::HeaderName;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, events_in, position, reply};
use crate::problems::RESOURCES;
use validation::faults;

/// Other names of a described route, and the description itself.
const NOT_DESCRIBED: [&str; 3] = ["/health/health", "/health", "/openapi.json"];

/// What HTTP itself asks for, and what protects browsers.
const OF_EVERY_RESPONSE: [&str; 14] = [
    "access-control-expose-headers",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

async fn description(server: &TestServer) -> Value {
    server.get("/openapi.json").await.expect(200)
}

fn resolved<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let found = description.pointer(reference.trim_start_matches('#'));
            resolved(description, found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => schema,
    }
}

/// The reply, once it is as the description has it for this operation and this status.
#[track_caller]
fn as_described(description: &Value, method: &str, path: &str, reply: Reply) -> Value {
    let status = reply.status.as_u16().to_string();
    let response = &description["paths"][path][method]["responses"][&status];
    assert!(response.is_object(), "{method} {path} is not described to answer {status}: {}", reply.body);
    let described = response["headers"].as_object().unwrap();
    for (name, header) in described {
        let told = reply.headers.get(name).map(|value| value.to_str().unwrap());
        assert!(
            told.is_some() || header["required"] != true,
            "{method} {path} {status}: {name} is not there"
        );
        if let Some(told) = told {
            let typed = told.parse().map_or(json!(told), |number: u64| json!(number));
            assert_eq!(
                faults(description, &header["schema"], &typed),
                [""; 0],
                "{method} {path} {status}: {name}"
            );
        }
    }
    let is_described = |name: &str| described.keys().any(|known| known.eq_ignore_ascii_case(name));
    for name in reply.headers.keys().map(HeaderName::as_str) {
        let is_of_all = OF_EVERY_RESPONSE.contains(&name);
        assert!(is_of_all || is_described(name), "{method} {path} {status}: {name} is not described");
    }
    let Some(content) = response.get("content") else {
        assert_eq!(reply.body, Value::Null, "{method} {path} {status}");
        return Value::Null;
    };
    let media_type = reply.headers["content-type"].to_str().unwrap();
    let schema = &content[media_type.split(';').next().unwrap()]["schema"];
    assert!(!schema.is_null(), "{method} {path} {status} is not described to be {media_type}");
    if media_type == "text/event-stream" {
        let progress = &description["components"]["schemas"]["RebalanceProgress"];
        let events = events_in(reply.body.as_str().unwrap());
        assert!(!events.is_empty(), "{}", reply.body);
        for (event, data) in events {
            assert_eq!(faults(description, progress, &data), [""; 0], "{event} of {path}");
            let event = json!({ "event": event, "data": data.to_string() });
            assert_eq!(faults(description, schema, &event), [""; 0], "{method} {path} {status}");
        }
    } else {
        assert_eq!(faults(description, schema, &reply.body), [""; 0], "{method} {path} {status}");
    }
    reply.body
}

#[tokio::test]
async fn the_description_names_every_route_and_method_that_is_served() {
    let server = TestServer::start().await;

    let reply = server.get("/openapi.json").await;

    assert_eq!(reply.headers["content-type"], "application/json");
    let description = reply.expect(200);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(description["info"]["title"], "GlobeCo Order Generation Service");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described: BTreeMap<&str, BTreeSet<String>> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            (path.as_str(), item.as_object().unwrap().keys().map(|it| it.to_uppercase()).collect())
        })
        .collect();
    let expected: BTreeMap<&str, BTreeSet<String>> = RESOURCES
        .iter()
        .filter(|(path, _)| !NOT_DESCRIBED.contains(path))
        .map(|(path, methods)| (*path, methods.split(", ").map(str::to_owned).collect()))
        .collect();
    assert_eq!(described, expected);
}

#[tokio::test]
async fn the_description_has_the_schemas_that_clients_are_made_of() {
    let server = TestServer::start().await;

    let description = description(&server).await;

    let schemas = description["components"]["schemas"].as_object().unwrap();
    for name in [
        "ModelDTO",
        "ModelPostDTO",
        "ModelPutDTO",
        "ModelPortfolioDTO",
        "ModelPositionDTO",
        "RebalanceDTO",
        "TransactionDTO",
        "DriftDTO",
        "TransactionType",
        "RebalanceResultDTO",
        "RebalancePortfolioDTO",
        "RebalancePositionDTO",
        "PortfolioWithPositionsDTO",
        "PositionDTO",
        "RebalancesByPortfoliosRequestDTO",
        "Problem",
    ] {
        assert!(schemas.contains_key(name), "{name}");
    }
    let operations: Vec<&Value> = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .collect();
    let ids: BTreeSet<&str> = operations.iter().map(|it| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
    let tags: BTreeSet<&str> = operations.iter().map(|it| it["tags"][0].as_str().unwrap()).collect();
    assert_eq!(tags, BTreeSet::from(["health", "models", "rebalance", "rebalances"]));
}

#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let server = TestServer::start().await;
    let description = description(&server).await;

    let mut left = vec![&description];
    let mut references = 0;
    while let Some(value) = left.pop() {
        if value.get("$ref").is_some() {
            assert!(resolved(&description, value).is_object());
            references += 1;
        }
        left.extend(value.as_array().into_iter().flatten());
        left.extend(value.as_object().into_iter().flat_map(|members| members.values()));
    }

    assert!(50 < references, "{references}");
}

#[tokio::test]
async fn replies_are_as_the_description_has_them() {
    let server = TestServer::start().await;
    let description = description(&server).await;
    let described = |method, path, reply| as_described(&description, method, path, reply);
    let (held, wanted) = (server.security("AAPL"), server.security("MSFT"));
    server.sandbox.accounting.fund("p1", Decimal::from(100_000), &[(&held, Decimal::from(10))]);
    // More debts than holdings: there is nothing to buy with.
    server.sandbox.accounting.fund("p2", Decimal::from(-100_000), &[]);
    let rules = json!({
        "minimum_cash": "1.50", "lot_size": { "per_security": { &wanted: 1 } }, "do_not_buy": [held],
        "trade_only_outside_band": true, "ticket_fee": 0.5, "maximum_positions": 50, "maximum_turnover": 2,
        "group_limits": [{ "name": "All", "securities": [wanted], "maximum": 1 }],
    });
    let body = json!({
        "name": "Balanced", "portfolios": ["p1", "p2"], "positions": [position(&wanted, "0.5", "0.05", "0.05")],
        "trading_rules": rules,
    });

    let models = "/api/v1/models";
    let created = described("post", models, server.post(models, &body).await);
    described("post", models, server.post(models, &body).await);
    described("post", models, server.post(models, &json!({})).await);
    let keyed = |key: &'static str, name: &str| {
        let body = json!({ "name": name, "portfolios": ["p9"] });
        reply(
            server.client.post(format!("{}{models}", server.url)).header("Idempotency-Key", key).json(&body),
        )
    };
    described("post", models, keyed("once", "Keyed").await);
    let again = keyed("once", "Keyed").await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let keyed_model = described("post", models, again);
    described("post", models, keyed("once", "Other").await);
    let id = keyed_model["model_id"].as_str().unwrap();
    server.delete(&format!("/api/v1/model/{id}?version=1")).await.expect(204);
    described("get", models, server.get(models).await);
    described("get", models, server.get("/api/v1/models?limit=x").await);
    described("get", models, server.get(&format!("/api/v1/models?{}", "x".repeat(9000))).await);

    let model = "/api/v1/model/{model_id}";
    let own = format!("/api/v1/model/{}", created["model_id"].as_str().unwrap());
    described("get", model, server.get(&own).await);
    described("get", model, server.get("/api/v1/model/x").await);
    described("put", model, server.put(&own, &created).await);

    let rebalance = "/api/v1/model/{model_id}/rebalance";
    let done = server.post(&format!("{own}/rebalance"), &Value::Null).await;
    let done = described("post", rebalance, done);
    assert_eq!((&done[0]["status"], &done[1]["status"]), (&json!("REBALANCED"), &json!("FAILED")));
    let in_time = format!("{}{own}/rebalance", server.url);
    let accepted = reply(server.client.post(in_time).header("Prefer", "respond-async")).await;
    assert_eq!(accepted.headers["preference-applied"], "respond-async");
    described("post", rebalance, accepted);
    let single = "/api/v1/portfolio/{portfolio_id}/rebalance";
    described("post", single, server.rebalance_portfolio("p1").await);
    described("post", single, server.rebalance_portfolio("p2").await);
    described("post", single, server.rebalance_portfolio("stranger").await);
    described("post", single, server.post("/api/v1/portfolio/p1/rebalance", &json!({ "gap": 2 })).await);

    let record = "/api/v1/rebalance/{rebalance_id}";
    let kept = format!("/api/v1/rebalance/{}", done[0]["rebalance_id"].as_str().unwrap());
    described("get", record, server.get(&kept).await);
    let portfolios = "/api/v1/rebalance/{rebalance_id}/portfolios";
    described("get", portfolios, server.get(&format!("{kept}/portfolios")).await);
    let positions = "/api/v1/rebalance/{rebalance_id}/portfolio/{portfolio_id}/positions";
    described("get", positions, server.get(&format!("{kept}/portfolio/p1/positions")).await);
    described("get", positions, server.get(&format!("{kept}/portfolio/stranger/positions")).await);
    described("get", "/api/v1/rebalances", server.get("/api/v1/rebalances").await);
    let of_p1 = json!({ "portfolios": ["p1"] });
    let containing = "/api/v1/rebalances/portfolios";
    described("post", containing, server.post(containing, &of_p1).await);
    described("delete", record, server.delete(&format!("{kept}?version=2")).await);
    described("delete", record, server.delete(&format!("{kept}?version=1")).await);
    described("delete", model, server.delete(&format!("{own}?version=1")).await);
}

#[tokio::test]
async fn the_page_needs_nothing_from_outside() {
    let server = TestServer::start().await;
    // The client follows the redirect, as a browser does.
    let page = server.client.get(format!("{}/docs", server.url)).send().await.unwrap();

    assert_eq!(page.url().path(), "/docs/");
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("http"), "{policy}");
    let page = page.text().await.unwrap();
    let links: Vec<&str> = page
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("src=\"").or_else(|| word.strip_prefix("href=\"")))
        .filter_map(|word| word.split('"').next())
        .collect();
    assert!(5 <= links.len(), "{links:?}");
    for link in links {
        assert!(!link.contains("//"), "{link}");
        let asset = server.client.get(format!("{}/docs/{}", server.url, link.trim_start_matches("./")));
        let asset = asset.send().await.unwrap();
        assert_eq!(asset.status(), 200, "{link}");
        assert!(!asset.bytes().await.unwrap().is_empty(), "{link}");
    }
    let start = reply(server.client.get(format!("{}/docs/swagger-initializer.js", server.url))).await;
    let start = start.body.as_str().unwrap().to_owned();
    assert!(start.contains("\"/openapi.json\"") && !start.contains("https://"), "{start}");
}

#[tokio::test]
async fn replies_are_compressed_for_those_who_can_read_it() {
    let server = TestServer::start().await;
    let url = format!("{}/openapi.json", server.url);

    let plain = server.client.get(&url).send().await.unwrap();
    let compressed = server.client.get(&url).header("accept-encoding", "gzip").send().await.unwrap();

    assert!(!plain.headers().contains_key("content-encoding"));
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    let (plain, compressed) = (plain.bytes().await.unwrap(), compressed.bytes().await.unwrap());
    assert!(3 * compressed.len() < plain.len(), "{} {}", plain.len(), compressed.len());
}
