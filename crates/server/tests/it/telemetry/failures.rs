//! A rebalance that fails leaves one line: what failed, about what, and why, with all causes.

use std::time::Duration;

use sandbox::{Failure, Faults, Malformed};
use serde_json::{Value, json};

use super::collector::{By, Collector};
use super::desk::{Desk, PORTFOLIOS, sent};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Each way to fail, and the end of the chain of causes.
fn failures() -> [(&'static str, Faults, &'static str); 8] {
    [
        ("gone", Faults::outage(), "connection closed before message completed"),
        ("broken-off", Faults::always(Failure::BrokenOff), "end of file before message length reached"),
        (
            "broken",
            Faults::always(Failure::status(500)),
            "after 3 attempts: it answered 500 Internal Server Error",
        ),
        ("busy", Faults::always(Failure::status(429)), "after 3 attempts: it answered 429 Too Many Requests"),
        ("forbidden", Faults::always(Failure::status(403)), "it answered 403 Forbidden"),
        ("cut", Faults::always(Failure::Malformed(Malformed::Truncated)), "column"),
        (
            "a-page",
            Faults::always(Failure::Malformed(Malformed::WrongContentType)),
            "expected value at line 1 column 1",
        ),
        ("slow", Faults::latency(Duration::from_secs(5)), "operation timed out"),
    ]
}

/// Of a neighbour, whichever it is.
async fn set(neighbour: &str, faults: &Faults) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let set = client.put(format!("{neighbour}/sandbox/faults")).json(faults);
    assert!(set.send().await.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_rebalance_is_one_line_that_says_it_all() {
    let collector = Collector::start(By::Grpc).await;
    let mut desk = Desk::open(&[
        ("EXTERNAL_SERVICE_TIMEOUT", "1"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "0"),
        ("TICKER_CACHE_TTL", "0"),
        ("PRICE_CACHE_TTL", "0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
    ])
    .await;
    let model = desk.create_model().await;
    let securities = ["A", "B"].map(|ticker| desk.sandbox.security.id_of(ticker).unwrap());
    let neighbours = [
        (
            "portfolio-accounting-service",
            desk.sandbox.accounting.url(),
            PORTFOLIOS.map(|id| format!("portfolio {id}: GET /api/v1/portfolios/{id}/summary")),
        ),
        (
            "security-service",
            desk.sandbox.security.url(),
            securities.map(|id| format!("ticker of security {id}: GET /api/v1/security/{id}")),
        ),
        (
            "pricing-service",
            desk.sandbox.pricing.url(),
            ["A", "B"].map(|ticker| format!("price of {ticker}: GET /api/v1/price/{ticker}")),
        ),
    ];
    let mut expected = Vec::new();
    for (service, neighbour, about) in neighbours {
        for (kind, faults, cause) in failures() {
            let id = format!("{service}-{kind}");
            set(&neighbour, &faults).await;
            let request = desk.post(&format!("/api/v1/model/{model}/rebalance"), &json!({}));
            let request = request.header("X-Correlation-ID", &id);
            let request = request.header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
            sent(request, 503).await;
            set(&neighbour, &Faults::default()).await;
            expected.push((id, service, about.clone(), cause));
        }
    }

    let lines = desk.stop().await;

    for (id, service, about, cause) in expected {
        let loud = |line: &&Value| {
            line["correlation_id"] == id && ["WARN", "ERROR"].iter().any(|level| line["level"] == *level)
        };
        let lines: Vec<&Value> = lines.iter().filter(loud).collect();
        assert_eq!(lines.len(), 1, "{id}: {lines:#?}");
        let line = lines[0];
        assert_eq!(line["level"], "ERROR", "{id}");
        assert_eq!(line["code"], "external-service-unavailable", "{id}");
        assert_eq!(line["path"], format!("/api/v1/model/{model}/rebalance"), "{id}");
        assert_eq!(
            (&line["trace_id"], &line["caller"]),
            (&json!(TRACE), &json!("address:127.0.0.1")),
            "{id}"
        );
        let error = line["error"].as_str().unwrap();
        assert!(error.starts_with(&format!("{service} ")), "{id}: {error}");
        let plain = error.replace(" with something that makes no sense", "");
        assert!(about.iter().any(|about| plain.contains(about.as_str())), "{id}: {error}");
        assert!(error.contains(cause), "{id}: {error}");
    }
}
