//! `GET /metrics` after known requests.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use rust_decimal_macros::dec;
use sandbox::Faults;
use serde_json::{Value, json};

use crate::harness::{TestServer, position, reply, sandbox_of};

const PORTFOLIO: &str = "683b6d88a29ee10e8b499643";

/// What `GET /metrics` says.
pub(crate) struct Figures {
    /// From the name of a family to its type.
    pub(crate) families: BTreeMap<String, String>,
    /// From a series, labels and all, to its value.
    pub(crate) series: BTreeMap<String, String>,
}

impl Figures {
    pub(crate) async fn of(server: &TestServer) -> Self {
        let reply = server.get("/metrics").await;
        assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let body = reply.expect(200);
        Self::read(body.as_str().unwrap())
    }

    pub(crate) fn read(text: &str) -> Self {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
        Self {
            families: types.map(|(name, of)| (name.to_owned(), of.to_owned())).collect(),
            series: samples.map(|(series, value)| (series.to_owned(), value.to_owned())).collect(),
        }
    }

    /// Zero for a series that there is not.
    #[track_caller]
    pub(crate) fn count(&self, series: &str) -> u64 {
        self.series.get(series).map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) fn amount(&self, series: &str) -> Option<f64> {
        self.series.get(series)?.parse().ok()
    }

    /// The series of a family, and of its parts if it is a histogram.
    fn of_family(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.series.iter().filter_map(move |(series, value)| {
            let rest = series.strip_prefix(name)?;
            let is_part = ["", "{", "_bucket{", "_sum", "_count"].iter().any(|it| rest.starts_with(it));
            is_part.then_some((series.as_str(), value.as_str()))
        })
    }

    /// The values of a label.
    fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let named = format!("{label}=\"");
        let values = self.series.keys().filter_map(|series| {
            let (_, rest) = series.split_once(&named)?;
            Some(rest.split_once('"')?.0)
        });
        values.collect()
    }
}

async fn send(server: &TestServer, method: &str, path: &str) -> u16 {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    reply(server.client.request(method, format!("{}{path}", server.url))).await.status.as_u16()
}

#[tokio::test]
async fn requests_are_counted_by_method_route_and_status() {
    let server = TestServer::start().await;
    let model = server.create_model("Balanced", &[], &[PORTFOLIO]).await;
    for _ in 0..3 {
        server.get(&format!("/api/v1/model/{model}")).await.expect(200);
    }
    server.get("/api/v1/model/0123456789abcdef01234567").await.expect(404);
    server.post("/api/v1/models", &json!({ "name": "Balanced" })).await.expect(422);
    server.delete(&format!("/api/v1/model/{model}?version=9")).await.expect(409);
    server.get(&format!("/api/v1/model/{model}/")).await.expect(200);

    let figures = Figures::of(&server).await;

    let expected = [
        ("GET", "/api/v1/model/{model_id}", 200, 4),
        ("GET", "/api/v1/model/{model_id}", 404, 1),
        ("DELETE", "/api/v1/model/{model_id}", 409, 1),
        ("POST", "/api/v1/models", 201, 1),
        ("POST", "/api/v1/models", 422, 1),
    ];
    for (method, path, status, count) in expected {
        let labels = format!("{{method=\"{method}\",path=\"{path}\",status=\"{status}\"}}");
        assert_eq!(figures.count(&format!("http_requests_total{labels}")), count, "{labels}");
        let durations = format!("http_request_duration_milliseconds_count{labels}");
        assert_eq!(figures.count(&durations), count, "{labels}");
    }
    let all: u64 = figures.of_family("http_requests_total").map(|(series, _)| figures.count(series)).sum();
    assert_eq!(all, 8);
    assert_eq!(figures.count("http_requests_in_flight"), 1, "the one that asks");
    // The next one finds this one counted.
    let asked = "http_requests_total{method=\"GET\",path=\"/metrics\",status=\"200\"}";
    assert_eq!(Figures::of(&server).await.count(asked), 1);
}

#[tokio::test]
async fn neither_unknown_paths_nor_unknown_methods_add_label_values() {
    let server = TestServer::start().await;
    for n in 0..1000 {
        let path = match n % 4 {
            0 => format!("/{n}"),
            1 => format!("/api/v1/model/{n}/nothing"),
            2 => format!("/health/{n}"),
            _ => format!("/api/v1/rebalance/{n}/{n}/{n}"),
        };
        assert_eq!(send(&server, "GET", &path).await, 404, "{path}");
    }
    for n in 0..20 {
        assert_eq!(send(&server, &format!("VERB{n}"), "/api/v1/models").await, 405);
    }

    let figures = Figures::of(&server).await;

    assert_eq!(figures.values_of("path"), BTreeSet::from(["unmatched", "/api/v1/models"]));
    assert_eq!(figures.values_of("method"), BTreeSet::from(["GET", "_OTHER"]));
    let unmatched = "http_requests_total{method=\"GET\",path=\"unmatched\",status=\"404\"}";
    assert_eq!(figures.count(unmatched), 1000);
    let other = "http_requests_total{method=\"_OTHER\",path=\"/api/v1/models\",status=\"405\"}";
    assert_eq!(figures.count(other), 20);
}

#[tokio::test]
async fn without_request_figures_there_is_everything_else() {
    let server = TestServer::start_with(|config| config.telemetry.count_requests = false).await;
    server.create_model("Balanced", &[], &[PORTFOLIO]).await;

    let figures = Figures::of(&server).await;

    assert!(!figures.families.keys().any(|name| name.starts_with("http_")), "{:?}", figures.families);
    let insert = "{collection=\"models\",operation=\"insert\",status=\"ok\"}";
    assert_eq!(figures.count(&format!("database_operations_total{insert}")), 1);
}

#[tokio::test]
async fn two_services_of_one_process_count_for_themselves() {
    let (first, second) = tokio::join!(TestServer::start(), TestServer::start());
    first.create_model("Balanced", &[], &[PORTFOLIO]).await;

    let created = "http_requests_total{method=\"POST\",path=\"/api/v1/models\",status=\"201\"}";
    assert_eq!(Figures::of(&first).await.count(created), 1);
    assert_eq!(Figures::of(&second).await.count(created), 0);
}

/// Two securities, and a portfolio with cash for them.
pub(super) async fn desk() -> (TestServer, String) {
    let sandbox = sandbox_of(&[("A", dec!(100)), ("B", dec!(50))]).await;
    let server = TestServer::start_on(sandbox, |_| {}).await;
    let positions = ["A", "B"].map(|ticker| position(&server.security(ticker), "0.45", "0.05", "0.05"));
    server.sandbox.accounting.fund(PORTFOLIO, dec!(10_000), &[]);
    let model = server.create_model("Balanced", &positions, &[PORTFOLIO]).await;
    (server, model)
}

#[tokio::test]
async fn every_family_is_there_with_its_type() {
    let (server, model) = desk().await;
    server.rebalance_model(&model).await.expect(200);
    server.get("/health/live").await.expect(200);
    // The share of the processor is told from the second time on, a second later.
    Figures::of(&server).await;

    let figures = Figures::of(&server).await;

    let expected = [
        ("cache_entries", "gauge"),
        ("cache_requests_total", "counter"),
        ("circuit_breaker_state", "gauge"),
        ("database_connections", "gauge"),
        ("database_operation_duration_seconds", "histogram"),
        ("database_operations_total", "counter"),
        ("external_service_duration_seconds", "histogram"),
        ("external_service_requests_total", "counter"),
        ("http_request_duration_milliseconds", "histogram"),
        ("http_requests_in_flight", "gauge"),
        ("http_requests_total", "counter"),
        ("memory_usage_bytes", "gauge"),
        ("optimization_duration_seconds", "histogram"),
        ("optimizations_total", "counter"),
        ("process_cpu_seconds_total", "counter"),
        ("process_max_fds", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("process_threads", "gauge"),
        ("process_virtual_memory_bytes", "gauge"),
        ("rebalance_portfolio_drift", "histogram"),
        ("rebalance_portfolios_total", "counter"),
        ("rebalance_stage_duration_seconds", "histogram"),
        ("rebalances_total", "counter"),
        ("requests_turned_away_total", "counter"),
        ("target_info", "gauge"),
    ];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(name, of)| (name.to_owned(), of.to_owned())).collect();
    let mut found = figures.families.clone();
    found.remove("cpu_usage_percent");
    assert_eq!(found, expected);
    assert!(!figures.series.keys().any(|series| series.contains("otel_scope")));
    for name in expected.keys().filter(|name| name.starts_with("process_") || name.starts_with("memory_")) {
        assert!(figures.amount(name).is_some_and(|amount| 0.0 < amount), "{name}");
    }
}

#[tokio::test]
async fn a_rebalance_counts_in_the_store_and_the_optimiser() {
    let (server, model) = desk().await;
    server.rebalance_model(&model).await.expect(200);
    // What a health report solves is no portfolio.
    server.get("/health/live").await.expect(200);

    let figures = Figures::of(&server).await;

    for (collection, operation, count) in
        [("models", "insert", 1), ("models", "find", 1), ("rebalances", "record", 1)]
    {
        let labels = format!("collection=\"{collection}\",operation=\"{operation}\"");
        let total = format!("database_operations_total{{{labels},status=\"ok\"}}");
        assert_eq!(figures.count(&total), count, "{total}");
        let durations = format!("database_operation_duration_seconds_count{{{labels}}}");
        assert_eq!(figures.count(&durations), count, "{durations}");
    }
    for (service, endpoint, count) in [
        ("portfolio-accounting-service", "/api/v1/portfolios/{portfolio_id}/summary", 1),
        ("portfolio-service", "/api/v1/portfolio/{portfolio_id}", 1),
        ("pricing-service", "/api/v1/price/{ticker}", 2),
        ("security-service", "/api/v1/security/{security_id}", 2),
    ] {
        let labels = format!("endpoint=\"{endpoint}\",service=\"{service}\"");
        let durations = format!("external_service_duration_seconds_count{{{labels}}}");
        assert_eq!(figures.count(&durations), count, "{durations} in {:#?}", figures.series);
    }
    assert_eq!(figures.count("optimizations_total{status=\"optimal\"}"), 1);
    assert_eq!(figures.count("optimization_duration_seconds_count"), 1);
    let bounds: Vec<&str> = figures
        .of_family("optimization_duration_seconds")
        .filter_map(|(series, _)| series.split_once("le=\"")?.1.strip_suffix("\"}"))
        .collect();
    for bound in ["0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "+Inf"] {
        assert!(bounds.contains(&bound), "{bound} is none of {bounds:?}");
    }
}

#[tokio::test]
async fn what_the_caches_spare_is_counted() {
    let (server, model) = desk().await;
    for _ in 0..3 {
        server.rebalance_model(&model).await.expect(200);
    }

    let figures = Figures::of(&server).await;

    // Two securities and a portfolio whose name nobody knows, three times; no price is kept here.
    for (cache, hits, misses, entries) in
        [("tickers", 4, 2, 2), ("prices", 0, 6, 0), ("all_prices", 0, 0, 0), ("names", 0, 3, 0)]
    {
        let count = |result: &str| {
            figures.count(&format!("cache_requests_total{{cache=\"{cache}\",result=\"{result}\"}}"))
        };
        assert_eq!((count("hit"), count("miss")), (hits, misses), "{cache}");
        assert_eq!(figures.count(&format!("cache_entries{{cache=\"{cache}\"}}")), entries, "{cache}");
    }
    assert_eq!(figures.values_of("cache"), BTreeSet::from(["all_prices", "names", "prices", "tickers"]));
    assert_eq!(figures.values_of("result"), BTreeSet::from(["hit", "miss"]));
}

#[tokio::test]
async fn each_stage_of_a_rebalance_is_timed_in_memory_and_in_a_run() {
    for portfolios in [2_u64, 300] {
        let sandbox = sandbox_of(&[("A", dec!(100))]).await;
        let server = TestServer::start_on(sandbox, |_| {}).await;
        let ids: Vec<String> = (0..portfolios).map(|number| format!("p{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for id in &ids {
            server.sandbox.accounting.fund(id, dec!(10_000), &[]);
        }
        let positions = [position(&server.security("A"), "0.5", "0.05", "0.05")];
        let model = server.create_model("Balanced", &positions, &ids).await;
        server.rebalance_model(&model).await.expect(200);

        let figures = Figures::of(&server).await;

        let timed =
            |stage| figures.count(&format!("rebalance_stage_duration_seconds_count{{stage=\"{stage}\"}}"));
        // A run is done 64 at a time.
        let together = if portfolios == 2 { 1 } else { 5 };
        assert_eq!(["holdings", "writing"].map(timed), [together; 2]);
        assert_eq!(timed("prices"), 1, "a price is asked for once");
        assert_eq!(["statement", "solution", "verification"].map(timed), [portfolios; 3]);
    }
}

#[tokio::test]
async fn rebalances_are_counted_with_their_portfolios_and_drifts() {
    let (server, model) = desk().await;
    // No whole share of 100 is exactly half of 100.
    server.sandbox.accounting.fund("small", dec!(100), &[]);
    let half = [position(&server.security("A"), "0.5", "0", "0")];
    let refused = server.create_model("Refused", &half, &["small"]).await;

    server.rebalance_model(&model).await.expect(200);
    server.rebalance_portfolio(PORTFOLIO).await.expect(200);
    server.rebalance_model(&refused).await.expect(422);
    let dry_run = format!("/api/v1/model/{model}/rebalance?dry_run=true");
    server.post(&dry_run, &Value::Null).await.expect(200);
    server.sandbox.accounting.inject(Faults::outage());
    server.rebalance_model(&model).await.expect(503);

    let figures = Figures::of(&server).await;

    let rebalances: Vec<_> = figures.of_family("rebalances_total").collect();
    assert_eq!(
        rebalances,
        [
            ("rebalances_total{scope=\"model\",status=\"interrupted\"}", "0"),
            ("rebalances_total{scope=\"model\",status=\"rebalanced\"}", "1"),
            ("rebalances_total{scope=\"model\",status=\"refused\"}", "1"),
            ("rebalances_total{scope=\"model\",status=\"unavailable\"}", "1"),
            ("rebalances_total{scope=\"portfolio\",status=\"rebalanced\"}", "1"),
        ]
    );
    assert_eq!(figures.count("rebalance_portfolios_total{status=\"rebalanced\"}"), 2);
    assert_eq!(figures.count("rebalance_portfolios_total{status=\"failed\"}"), 1);
    // All cash is 0.9 away from 0.45 and 0.45; whole shares at 100 and 50 meet both.
    for (when, sum) in [("before", 1.8), ("after", 0.0)] {
        assert_eq!(figures.count(&format!("rebalance_portfolio_drift_count{{when=\"{when}\"}}")), 2);
        let found = figures.amount(&format!("rebalance_portfolio_drift_sum{{when=\"{when}\"}}")).unwrap();
        assert!((found - sum).abs() < 1e-9, "{when}: {found}");
    }
}

#[tokio::test]
async fn errors_are_counted_by_the_code_of_their_problem() {
    let (server, model) = desk().await;
    server.sandbox.pricing.inject(Faults::outage());
    server.rebalance_model(&model).await.expect_problem(503, "external-service-unavailable");
    server.post("/api/v1/models", &Value::Null).await;

    let figures = Figures::of(&server).await;

    let errors: Vec<_> = figures.of_family("errors_total").collect();
    let labels =
        "endpoint=\"/api/v1/model/{model_id}/rebalance\",error_type=\"external-service-unavailable\"";
    assert_eq!(errors, [(format!("errors_total{{{labels}}}").as_str(), "1")]);
}
