//! Traces, metrics and logs on a real collector.

use std::collections::BTreeSet;
use std::time::Duration;

use sandbox::Sandbox;
use serde_json::Value;

use super::collector::{By, Collector, Kept, Span};
use super::desk::{Desk, PORTFOLIOS, sent};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

const SUMMARY: &str = "GET /api/v1/portfolios/{portfolio_id}/summary";

fn variables(by: By, endpoint: &str) -> Vec<(&'static str, &str)> {
    let protocol = match by {
        By::Grpc => "grpc",
        By::Http => "http/protobuf",
    };
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20token"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("EXTERNAL_SERVICE_RETRIES", "20"),
    ]
}

/// The one span of this name in the trace.
#[track_caller]
fn the<'a>(kept: &'a Kept, name: &str) -> &'a Span {
    let spans: Vec<_> = all(kept, name).collect();
    assert_eq!(spans.len(), 1, "{name}: {:#?}", kept.spans);
    spans[0]
}

fn all<'a>(kept: &'a Kept, name: &str) -> impl Iterator<Item = &'a Span> {
    kept.spans.iter().filter(move |span| span.name == name && span.trace == TRACE)
}

async fn rebalance(by: By) -> (Collector, Desk, Vec<Value>) {
    let collector = Collector::start(by).await;
    let mut desk = Desk::open(&variables(by, &collector.endpoint)).await;
    let model = desk.create_model().await;
    // By the seed, some attempts fail; no call does.
    let unreachable = sandbox::Faults::sometimes(0.5, sandbox::Failure::status(503));
    desk.sandbox.accounting.inject(unreachable);
    let rebalance = desk
        .post(&format!("/api/v1/model/{model}/rebalance"), &serde_json::json!({}))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("x-correlation-id", "desk-1");
    sent(rebalance, 200).await;
    let lines = desk.stop().await;
    (collector, desk, lines)
}

fn check_trace(kept: &Kept) {
    let server = the(kept, "POST /api/v1/model/{model_id}/rebalance");
    assert_eq!((server.parent.as_str(), server.kind), (CALLER, 2));
    assert_eq!(server.attributes["http.request.method"], "POST");
    assert_eq!(server.attributes["http.route"], "/api/v1/model/{model_id}/rebalance");
    assert_eq!(server.attributes["http.response.status_code"], "200");
    assert_eq!(server.attributes["correlation_id"], "desk-1");
    assert!(server.attributes["url.path"].starts_with("/api/v1/model/"));

    let rebalance = the(kept, "rebalance model");
    assert_eq!(rebalance.parent, server.id);
    for (name, operation, collection) in
        [("find models", "find", "models"), ("record rebalances", "record", "rebalances")]
    {
        let command = the(kept, name);
        assert_eq!((&command.parent, command.kind), (&rebalance.id, 3), "{name}");
        assert_eq!(command.attributes["db.system.name"], "sqlite");
        assert_eq!(command.attributes["db.operation.name"], operation);
        assert_eq!(command.attributes["db.collection.name"], collection);
    }
    let solves: Vec<_> = all(kept, "solve").collect();
    assert_eq!(solves.len(), PORTFOLIOS.len());
    for solve in solves {
        assert_eq!(solve.parent, rebalance.id);
        assert_eq!(solve.attributes["optimizer.positions"], "2");
        assert_eq!(solve.attributes["optimizer.status"], "optimal");
        assert_eq!(solve.attributes["optimizer.method"], "own_best");
        assert_eq!(solve.attributes["optimizer.gap"], "0");
    }
    for span in kept.spans.iter().filter(|span| !span.name.starts_with("GET ")) {
        assert!(!span.is_error, "{span:#?}");
    }
}

/// Each attempt is a span of its own below the rebalance, and the neighbour was told of that very span.
fn check_attempts(kept: &Kept, desk: &Desk) {
    let rebalance = the(kept, "rebalance model");
    let attempts: Vec<_> =
        kept.spans.iter().filter(|it| it.attributes.contains_key("peer.service")).collect();
    for attempt in &attempts {
        assert_eq!(
            (&attempt.trace[..], &attempt.parent, attempt.kind),
            (TRACE, &rebalance.id, 3),
            "{attempt:#?}"
        );
        assert_eq!(
            attempt.is_error,
            attempt.attributes["http.response.status_code"] == "503",
            "{attempt:#?}"
        );
    }
    let summaries: Vec<_> = attempts.iter().filter(|it| it.name == SUMMARY).collect();
    let failed = summaries.iter().filter(|it| it.is_error).count();
    let repeated = summaries.iter().filter(|it| it.attributes.contains_key("http.request.resend_count"));
    assert!(0 < failed);
    assert_eq!((summaries.len() - failed, repeated.count()), (PORTFOLIOS.len(), failed));

    let Sandbox { accounting, security, pricing, portfolio, .. } = &desk.sandbox;
    let told = [
        accounting.traceparents(),
        security.traceparents(),
        pricing.traceparents(),
        portfolio.traceparents(),
    ];
    let told: BTreeSet<String> = told.concat().into_iter().collect();
    let expected: BTreeSet<String> = attempts.iter().map(|it| format!("00-{TRACE}-{}-01", it.id)).collect();
    assert_eq!(told, expected);
}

fn check_metrics(kept: &Kept) {
    let rebalanced = "{method=POST,path=/api/v1/model/{model_id}/rebalance,status=200}";
    for name in ["http_requests_total", "http_request_duration_milliseconds"] {
        assert_eq!(kept.figures.get(&format!("{name}{rebalanced}")), Some(&1.0), "{:#?}", kept.figures);
    }
    assert_eq!(kept.figures.get("optimizations_total{status=optimal}"), Some(&2.0));
    assert!(kept.figures.contains_key("process_resident_memory_bytes{}"));
}

fn check_logs(kept: &Kept, lines: &[Value]) {
    let of_the_trace: Vec<_> = kept.logs.iter().filter(|log| log.trace == TRACE).collect();
    assert!(!of_the_trace.is_empty(), "{:#?}", kept.logs);
    for log in of_the_trace {
        assert_eq!(log.attributes["correlation_id"], "desk-1");
    }
    assert!(kept.logs.iter().any(|log| log.message == "order generation has stopped"));
    // Whatever the export itself says is not exported.
    assert_eq!(kept.logs.len(), lines.len(), "{:#?}", kept.logs);

    let printed: Vec<_> = lines.iter().filter(|line| line["trace_id"] == TRACE).collect();
    assert!(!printed.is_empty(), "{lines:#?}");
    for line in printed {
        assert_eq!(line["correlation_id"], "desk-1");
        assert_eq!(line["method"], "POST");
        let span = line["span_id"].as_str().unwrap();
        assert!(kept.spans.iter().any(|it| it.id == span && it.trace == TRACE), "{line:#}");
    }
    for line in lines {
        assert_eq!(line["service"], "globeco-order-generation-service");
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    }
}

fn check_resources(kept: &Kept) {
    assert!(!kept.resources.is_empty());
    for resource in &kept.resources {
        assert_eq!(resource["service.name"], "globeco-order-generation-service");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(resource["service.instance.id"], kept.resources[0]["service.instance.id"]);
        assert_eq!(resource["deployment.environment.name"], "test");
    }
    assert!(kept.keys.iter().all(|key| key.as_deref() == Some("a token")), "{:?}", kept.keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_is_one_trace_by_grpc() {
    let (collector, desk, lines) = rebalance(By::Grpc).await;

    let kept = collector.kept();
    check_trace(&kept);
    check_attempts(&kept, &desk);
    check_metrics(&kept);
    check_logs(&kept, &lines);
    check_resources(&kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_is_one_trace_by_http() {
    let (collector, desk, lines) = rebalance(By::Http).await;

    let kept = collector.kept();
    check_trace(&kept);
    check_attempts(&kept, &desk);
    check_metrics(&kept);
    check_logs(&kept, &lines);
    check_resources(&kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_that_nobody_waits_for_stays_in_the_trace_of_who_asked_for_it() {
    let collector = Collector::start(By::Grpc).await;
    let mut desk = Desk::open(&variables(By::Grpc, &collector.endpoint)).await;
    let model = desk.create_model().await;
    desk.sandbox.accounting.inject(sandbox::Faults::latency(Duration::from_millis(100)));
    let start = desk
        .post(&format!("/api/v1/model/{model}/rebalance"), &serde_json::json!({}))
        .header("prefer", "respond-async")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("x-correlation-id", "desk-1");
    let record = desk.followed(sent(start, 202).await).await;
    assert_eq!(record["status"], "COMPLETED");
    let lines = desk.stop().await;

    let kept = collector.kept();
    let server = the(&kept, "POST /api/v1/model/{model_id}/rebalance");
    let run = the(&kept, "run");
    assert_eq!((&server.parent[..], &run.parent), (CALLER, &server.id));
    assert!(server.end < run.end, "the request is over before its rebalance");
    assert_eq!(run.attributes["rebalance_id"], record["rebalance_id"].as_str().unwrap());
    for name in ["append rebalances", "finish rebalances"] {
        assert_eq!(the(&kept, name).parent, run.id, "{name}");
    }
    for (name, count) in
        [("solve", PORTFOLIOS.len()), (SUMMARY, PORTFOLIOS.len()), ("GET /api/v1/price/{ticker}", 2)]
    {
        let spans: Vec<_> = all(&kept, name).collect();
        assert_eq!(spans.len(), count, "{name}");
        assert!(spans.iter().all(|span| span.parent == run.id), "{spans:#?}");
    }
    let summaries = all(&kept, SUMMARY).map(|span| format!("00-{TRACE}-{}-01", span.id));
    let told: BTreeSet<String> = desk.sandbox.accounting.traceparents().into_iter().collect();
    assert_eq!(told, summaries.collect());

    let end = lines.iter().rfind(|line| line["action"] == "rebalance-model").unwrap();
    assert_eq!(
        (&end["outcome"], &end["correlation_id"]),
        (&serde_json::json!("done"), &serde_json::json!("desk-1"))
    );
    assert_eq!((end["trace_id"].as_str(), end["span_id"].as_str()), (Some(TRACE), Some(run.id.as_str())));
}
