//! No secret is told to anyone: neither in log lines, nor in figures, reports, errors or refusals to start.

use std::path::Path;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::collector::{By, Collector};
use super::desk::Desk;
use crate::process;

const SECRET: &str = "hunter2-correct-horse";

/// A URL with a password, where nobody listens.
fn with_password(scheme: &str) -> String {
    format!("{scheme}://user:{SECRET}@127.0.0.1:1")
}

/// What a command prints, on both of its outputs.
fn printed(arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> String {
    let output = process::run(arguments, folder, variables).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// An API key and its digest.
struct ApiKey {
    key: String,
    digest: String,
}

impl ApiKey {
    fn new(name: &str) -> Self {
        let said = printed(&["api-key", name], Path::new("."), &[]);
        let words: Vec<&str> = said.split_whitespace().collect();
        let key = words.iter().find(|word| word.starts_with("globeco_")).unwrap();
        let digest = words.iter().find_map(|word| word.strip_prefix(&format!("{name}:"))).unwrap();
        assert!(digest.len() == 64 && !key.contains(digest), "{said}");
        Self { key: (*key).to_owned(), digest: digest.to_owned() }
    }
}

async fn text(request: reqwest::RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    let headers = format!("{} {:?}", response.status(), response.headers());
    headers + &response.text().await.unwrap()
}

#[track_caller]
fn assert_told_nowhere(secrets: &[&str], told: &[String], about: &str) {
    for (text, secret) in told.iter().flat_map(|text| secrets.iter().map(move |secret| (text, secret))) {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{about}, {secret}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_every_setting_that_can_hold_one_is_told_nowhere() {
    let collector = Collector::start(By::Http).await;
    let (set, filed) = (ApiKey::new("desk"), ApiKey::new("night-desk"));
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("keys");
    std::fs::write(&key_file, format!("night-desk:{}\n", filed.digest)).unwrap();
    let key_file = key_file.to_str().unwrap();
    let api_keys = format!("desk:{}", set.digest);
    let (neighbour, store) = (with_password("http"), with_password("mongodb"));
    let headers = format!("authorization=Bearer%20{SECRET}");
    let secrets = [SECRET, &set.key, &set.digest, &filed.key, &filed.digest];

    let bearer = HeaderValue::from_str(&format!("Bearer {}", filed.key)).unwrap();
    let api_key = (HeaderName::from_static("x-api-key"), HeaderValue::from_str(&set.key).unwrap());
    for (level, protocol, header) in [
        ("debug", "http/protobuf", api_key.clone()),
        ("trace", "grpc", api_key),
        ("trace", "http/protobuf", (AUTHORIZATION, bearer)),
    ] {
        let variables = [
            ("LOG_LEVEL", level),
            ("API_KEYS", &api_keys),
            ("API_KEYS_FILE", key_file),
            ("API_KEYS_GUARD", "api"),
            ("PORTFOLIO_ACCOUNTING_SERVICE_URL", &neighbour),
            ("SECURITY_SERVICE_URL", &neighbour),
            ("PRICING_SERVICE_URL", &neighbour),
            ("PORTFOLIO_SERVICE_URL", &neighbour),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
        ];
        let mut desk = Desk::open_for(HeaderMap::from_iter([header]), &variables).await;
        let model = desk.create_model().await;
        let refused = text(desk.get("/api/v1/models").header("X-API-Key", format!("globeco_{SECRET}"))).await;
        assert!(refused.starts_with("401"), "{refused}");

        let mut told = vec![
            refused,
            text(desk.post(&format!("/api/v1/model/{model}/rebalance"), &json!({}))).await,
            text(desk.post("/api/v1/models", &Value::Null)).await,
            text(desk.get("/api/v1/model/nothing")).await,
            text(desk.get("/nothing")).await,
            text(desk.get("/health/detailed")).await,
            text(desk.get("/health/ready")).await,
            text(desk.get("/metrics")).await,
            text(desk.get("/openapi.json")).await,
            printed(&["config", "show", "order-generation"], folder.path(), &variables),
            printed(&["config", "check", "order-generation"], folder.path(), &variables),
        ];
        told.extend(desk.stop().await.iter().map(Value::to_string));

        assert!(
            told[9].contains("api_keys = \"***\"") && told[9].contains("headers = \"***\""),
            "{}",
            told[9]
        );
        assert_told_nowhere(&secrets, &told, &format!("{level} {protocol}"));
    }
    // A store that is away, which every call of the API asks.
    let variables =
        [("DATABASE_URL", store.as_str()), ("DATABASE_TIMEOUT_MS", "100"), ("LOG_LEVEL", "trace")];
    let mut desk = Desk::open(&variables).await;
    let mut told = vec![
        text(desk.get("/api/v1/models")).await,
        text(desk.get("/health/detailed")).await,
        printed(&["config", "show", "order-generation"], folder.path(), &variables),
        printed(&["migrate", "order-generation"], folder.path(), &variables),
    ];
    assert!(told[0].contains("store-unavailable"), "{told:?}");
    assert!(told[2].contains("mongodb://***@127.0.0.1:1"), "{told:?}");
    told.extend(desk.stop().await.iter().map(Value::to_string));

    assert_told_nowhere(&secrets, &told, "a store that is away");
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys"), format!("desk:{SECRET}\n")).unwrap();
    for (variable, value) in [
        ("API_KEYS", SECRET.to_owned()),
        ("API_KEYS", format!("desk:{SECRET}")),
        ("API_KEYS", format!("{SECRET}:{}", "0".repeat(64)).replace('-', "/")),
        ("API_KEYS_FILE", "keys".to_owned()),
        ("DATABASE_URL", format!("postgres://user:{SECRET}@db")),
        ("DATABASE_URL", format!("mongodb://user:{SECRET}@")),
        ("DATABASE_URL", format!("mongodb://user:{SECRET}/@db")),
        ("DATABASE_URL", format!("mongodb://user:{SECRET}@db:port")),
        ("DATABASE_URL", format!("mongodb://user:{SECRET}@db/?authMechanism=none")),
        ("DATABASE_URL", format!("mongodb+srv://user:{SECRET}@")),
        ("MONGODB_URL", format!("user:{SECRET}@db")),
        ("PRICING_SERVICE_URL", format!("ftp://user:{SECRET}@prices")),
        ("PRICING_SERVICE_URL", format!("http://user:{SECRET}@")),
        ("SECURITY_SERVICE_URL", format!("http://user:{SECRET}@host:port")),
        ("PORTFOLIO_SERVICE_URL", format!("http://host/?token={SECRET}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", SECRET.to_owned()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("api key={SECRET}")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://user:{SECRET}@collector")),
        ("OTEL_COLLECTOR_GRPC_ENDPOINT", format!("user:{SECRET}@collector:4317")),
    ] {
        let variables = [("PORT", "0"), (variable, value.as_str())];
        for command in [&["config", "check"][..], &["config", "show"], &["serve"], &["migrate"]] {
            let said = printed(&[command, &["order-generation"]].concat(), folder.path(), &variables);
            let told = said.to_lowercase().replace('/', "-");
            assert!(!told.contains(SECRET), "{variable}={value}, {command:?}: {said}");
            if command != ["config", "show"] {
                assert!(said.contains(variable), "{variable}={value}, {command:?}: {said}");
            }
        }
    }
}
