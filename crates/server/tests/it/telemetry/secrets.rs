//! No secret is told to anyone: neither in log lines, nor in figures, reports or errors.

use serde_json::{Value, json};

use super::collector::{By, Collector};
use super::desk::Desk;

const SECRET: &str = "hunter2-correct-horse";

/// A URL with a password, where nobody listens.
fn with_password(scheme: &str) -> String {
    format!("{scheme}://user:{SECRET}@127.0.0.1:1")
}

async fn text(request: reqwest::RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    let headers = format!("{:?}", response.headers());
    headers + &response.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_every_setting_that_can_hold_one_is_told_nowhere() {
    let collector = Collector::start(By::Http).await;
    let (neighbour, store) = (with_password("http"), with_password("mongodb"));
    let headers = format!("authorization=Bearer%20{SECRET}");
    for (level, protocol) in [("debug", "http/protobuf"), ("trace", "grpc"), ("trace", "http/protobuf")] {
        let mut desk = Desk::open(&[
            ("LOG_LEVEL", level),
            ("PORTFOLIO_ACCOUNTING_SERVICE_URL", &neighbour),
            ("SECURITY_SERVICE_URL", &neighbour),
            ("PRICING_SERVICE_URL", &neighbour),
            ("PORTFOLIO_SERVICE_URL", &neighbour),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
        ])
        .await;
        let model = desk.create_model().await;

        let mut told = vec![
            text(desk.post(&format!("/api/v1/model/{model}/rebalance"), &json!({}))).await,
            text(desk.post("/api/v1/models", &Value::Null)).await,
            text(desk.get("/api/v1/model/nothing")).await,
            text(desk.get("/nothing")).await,
            text(desk.get("/health/detailed")).await,
            text(desk.get("/health/ready")).await,
            text(desk.get("/metrics")).await,
            text(desk.get("/openapi.json")).await,
        ];
        told.extend(desk.stop().await.iter().map(Value::to_string));

        for text in told {
            assert!(!text.contains(SECRET), "{level} {protocol}: {text}");
        }
    }
    // A store that is away, which every call of the API asks.
    let mut desk =
        Desk::open(&[("DATABASE_URL", &store), ("DATABASE_TIMEOUT_MS", "100"), ("LOG_LEVEL", "trace")]).await;
    let mut told = vec![text(desk.get("/api/v1/models")).await, text(desk.get("/health/detailed")).await];
    assert!(told[0].contains("store-unavailable"), "{told:?}");
    told.extend(desk.stop().await.iter().map(Value::to_string));

    for text in told {
        assert!(!text.contains(SECRET), "{text}");
    }
}
