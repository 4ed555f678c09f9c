//! A collector that is dead, deaf or broken costs telemetry, and nothing else.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::collector::By;
use super::desk::{Desk, sent};

/// What a collector may cost at most: twice the flush timeout below, and starting and ending a process.
const PATIENCE: Duration = Duration::from_secs(20);

fn variables(by: By, endpoint: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", if by == By::Grpc { "grpc" } else { "http/protobuf" }),
        // Everything is exported again and again while there are requests; an export waits for long.
        ("OTEL_METRIC_EXPORT_INTERVAL", "10"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "10"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ]
}

/// Requests are answered, and the process ends when asked to, well within the time that an export may take.
async fn goes_on(by: By, endpoint: &str, is_refused: bool) {
    let start = Instant::now();
    let mut desk = Desk::open(&variables(by, endpoint)).await;
    let model = desk.create_model().await;
    for _ in 0..20 {
        sent(desk.post(&format!("/api/v1/model/{model}/rebalance"), &json!({})), 200).await;
    }

    let lines = desk.stop().await;

    assert!(start.elapsed() < PATIENCE, "{by:?} {endpoint}: {:?}", start.elapsed());
    let complaints = lines.iter().filter(|line| line["message"].as_str().unwrap().contains("telemetry"));
    let complaints: Vec<_> = complaints.collect();
    // Once for each of the three, however often it happened, or at the end that the rest is lost.
    assert!((1..=5).contains(&complaints.len()), "{by:?} {endpoint}: {complaints:#?}");
    if is_refused {
        for signal in ["traces", "metrics", "logs"] {
            assert_eq!(
                complaints.iter().filter(|line| line["signal"] == signal).count(),
                1,
                "{complaints:#?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_refuses() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    tokio::join!(goes_on(By::Grpc, &closed, true), goes_on(By::Http, &closed, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_that_accepts_and_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let swallow = async {
        let mut swallowed = Vec::new();
        loop {
            swallowed.push(listener.accept().await.unwrap());
        }
    };
    let check =
        async { tokio::join!(goes_on(By::Grpc, &endpoint, false), goes_on(By::Http, &endpoint, false)) };
    tokio::select! {
        _ = check => {}
        () = swallow => unreachable!("it never ends"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_answers_with_errors() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(500)).mount(&server).await;

    goes_on(By::Http, &server.uri(), true).await;
    // It speaks no gRPC at all.
    goes_on(By::Grpc, &server.uri(), true).await;
}
