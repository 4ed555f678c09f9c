//! What the service says of itself, and what becomes of requests while its store is out.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use rust_decimal::Decimal;
use sandbox::Faults;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::harness::{Reply, TestServer, position, reply, sandbox_of};

const SECURITY: &str = "STOCK1234567890123456789";

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Asks until the answer is as wanted; the tests' own patience ends it otherwise.
async fn eventually(server: &TestServer, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Reply {
    for _ in 0..3000 {
        let reply = server.get(path).await;
        if is_wanted(&reply.body) {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never says so: {:#}", server.get(path).await.body);
}

/// A server that asks its neighbours often how they are.
async fn attentive() -> TestServer {
    TestServer::start_with(|config| config.neighbours.probe_pause = Duration::from_millis(20)).await
}

/// Another process's view of the store.
async fn other_connection(server: &TestServer) -> SqliteConnection {
    SqliteConnectOptions::new().filename(server.store()).connect().await.unwrap()
}

/// A problem that says when to try again and nothing of what is behind it.
#[track_caller]
fn refused_for_the_store(reply: Reply) {
    assert_eq!(reply.headers["retry-after"], "5");
    let problem = reply.expect_problem(503, "store-unavailable");
    let text = problem.to_string().to_lowercase();
    for secret in ["sqlite", "sql", "table", "database", "locked", "busy", "store.db", "/tmp"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn a_live_service_says_that_its_optimiser_thinks() {
    let server = TestServer::start().await;

    let reply = server.get("/health/live").await;

    assert_eq!(reply.headers["content-type"], "application/json");
    let correlation_id = reply.headers["x-correlation-id"].to_str().unwrap().to_owned();
    let body = reply.expect(200);
    assert_eq!(keys(&body), ["checks", "correlation_id", "service", "status", "timestamp", "version"]);
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["service"], "GlobeCo Order Generation Service");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["correlation_id"], correlation_id);
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    let engine = json!({ "status": "healthy", "message": "Optimization engine operational", "solver_status": "optimal" });
    assert_eq!(body["checks"], json!({ "optimization_engine": engine }));
}

#[tokio::test]
async fn a_ready_service_reports_everything_it_depends_on() {
    let server = attentive().await;

    let wanted = |body: &Value| !body["dependencies"]["external_services"].to_string().contains("unknown");
    let body = eventually(&server, "/health/ready", wanted).await.expect(200);

    assert_eq!(keys(&body), ["correlation_id", "dependencies", "service", "status", "timestamp"]);
    assert_eq!(body["status"], "ready");
    let neighbours = json!({
        "portfolio_accounting": "healthy", "pricing_service": "healthy",
        "portfolio_service": "healthy", "security_service": "healthy",
    });
    assert_eq!(body["dependencies"]["database"], "healthy");
    assert_eq!(body["dependencies"]["external_services"], neighbours);
    assert_eq!(body["dependencies"]["optimization_engine"]["status"], "healthy");
}

#[tokio::test]
async fn the_report_is_the_same_under_all_its_names() {
    let server = attentive().await;
    let known = |body: &Value| !body["checks"]["external_services"].to_string().contains("unknown");
    eventually(&server, "/health/detailed", known).await;

    for path in ["/health/detailed", "/health/health", "/health/", "/health", "/health/detailed/"] {
        let body = server.get(path).await.expect(200);
        let of_the_report =
            ["checks", "correlation_id", "service", "status", "timestamp", "uptime_seconds", "version"];
        assert_eq!(keys(&body), of_the_report, "{path}");
        assert_eq!(body["status"], "healthy");
        let checks = &body["checks"];
        assert_eq!(keys(checks), ["database", "external_services", "optimization_engine", "performance"]);
        let database = &checks["database"];
        assert_eq!(keys(database), ["latency_ms", "message", "migrations", "status"]);
        assert_eq!(
            (&database["status"], &database["message"]),
            (&json!("healthy"), &json!("Database answers"))
        );
        assert_eq!(database["migrations"], "healthy");
        assert!(0.0 < database["latency_ms"].as_f64().unwrap());
        assert_eq!(
            keys(&checks["external_services"]),
            ["portfolio", "portfolio_accounting", "pricing", "security"]
        );
        let pricing = &checks["external_services"]["pricing"];
        assert_eq!(pricing["status"], "healthy");
        assert!(
            0.0 < pricing["latency_ms"].as_f64().unwrap() && 0.0 <= pricing["age_seconds"].as_f64().unwrap()
        );
        assert_eq!(checks["optimization_engine"]["solver_status"], "optimal");
        let metrics = &checks["performance"]["metrics"];
        assert_eq!(metrics["http_requests_in_flight"], 1);
        assert!(0 < metrics["memory"]["used_bytes"].as_u64().unwrap());
        assert!(0.0 < metrics["memory"]["percent"].as_f64().unwrap());
        assert!(0.0 < body["uptime_seconds"].as_f64().unwrap());
    }
}

#[tokio::test]
async fn the_report_leaves_out_what_is_not_wanted() {
    let server = TestServer::start().await;

    for (query, left) in [
        ("include_external=false", vec!["database", "optimization_engine", "performance"]),
        ("include_optimization=0", vec!["database", "external_services", "performance"]),
        ("include_external=no&include_optimization=off", vec!["database", "performance"]),
        (
            "include_external=true&include_optimization=1",
            vec!["database", "external_services", "optimization_engine", "performance"],
        ),
    ] {
        for path in ["/health/detailed", "/health/health", "/health/"] {
            let body = server.get(&format!("{path}?{query}")).await.expect(200);
            assert_eq!(keys(&body["checks"]), left, "{query}");
        }
    }
    for query in ["include_external=maybe", "include_optimization=", "include_external=2"] {
        server.get(&format!("/health/detailed?{query}")).await.expect_problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_neighbour_that_is_out_is_reported_and_does_not_keep_requests_away() {
    let server = attentive().await;
    let services = |body: &Value| body["dependencies"]["external_services"].clone();

    server.sandbox.pricing.inject(Faults::outage());
    server.sandbox.security.inject(Faults::outage());
    let out = eventually(&server, "/health/ready", |body| {
        services(body)["pricing_service"] == "unhealthy" && services(body)["security_service"] == "unhealthy"
    });
    let out = out.await.expect(200);
    assert_eq!(out["status"], "ready");
    assert_eq!(services(&out)["portfolio_accounting"], "healthy");
    let report = server.get("/health/detailed").await.expect(200);
    assert_eq!(report["status"], "healthy");
    assert_eq!(report["checks"]["external_services"]["pricing"]["status"], "unhealthy");
    assert_eq!(server.get("/health/live").await.expect(200)["status"], "healthy");

    server.sandbox.pricing.recover();
    server.sandbox.security.recover();
    let well = eventually(&server, "/health/ready", |body| !services(body).to_string().contains("unhealthy"));
    well.await.expect(200);
}

#[tokio::test]
async fn the_report_tells_which_neighbours_are_not_called_any_more() {
    let sandbox = sandbox_of(&[("AAPL", Decimal::ONE)]).await;
    let server = TestServer::start_on(sandbox, |config| {
        config.neighbours.breaker_threshold = 1;
        config.neighbours.breaker_pause = Duration::from_millis(1);
    })
    .await;
    let id = server
        .create_model("Balanced", &[position(&server.security("AAPL"), "0.5", "0.1", "0.1")], &["p"])
        .await;
    let breakers = async || {
        let report = server.get("/health/detailed").await.expect(200);
        let services = &report["checks"]["external_services"];
        ["portfolio_accounting", "pricing", "portfolio", "security"]
            .map(|name| services[name]["circuit_breaker"].as_str().unwrap().to_owned())
    };
    assert_eq!(breakers().await, ["closed"; 4]);

    server.sandbox.accounting.inject(Faults::outage());
    server.rebalance_model(&id).await.expect(503);
    assert_eq!(breakers().await, ["open", "closed", "closed", "closed"]);

    // The first call after the pause finds out whether it is back.
    server.sandbox.accounting.inject(Faults::latency(Duration::from_secs(1)));
    let (_, while_tried) = tokio::join!(
        server.rebalance_model(&id),
        eventually(&server, "/health/detailed", |report| {
            report["checks"]["external_services"]["portfolio_accounting"]["circuit_breaker"] == "half_open"
        })
    );
    while_tried.expect(200);
    assert_eq!(breakers().await, ["closed"; 4]);
}

#[tokio::test]
async fn a_neighbour_that_has_not_answered_yet_is_not_waited_for() {
    let sandbox = sandbox_of(&[("AAPL", Decimal::ONE)]).await;
    sandbox.accounting.inject(Faults::latency(Duration::from_mins(10)));
    let server = TestServer::start_on(sandbox, |_| {}).await;

    let ready = server.get("/health/ready").await.expect(200);

    assert_eq!(ready["status"], "ready");
    assert_ne!(ready["dependencies"]["external_services"]["portfolio_accounting"], "healthy");
}

#[tokio::test]
async fn a_service_without_its_store_is_alive_but_not_ready() {
    let server = TestServer::start().await;
    let id = server.create_model("Balanced", &[], &["p"]).await;
    let mut other = other_connection(&server).await;

    sqlx::query("ALTER TABLE models RENAME TO elsewhere").execute(&mut other).await.unwrap();

    let ready = server.get("/health/ready").await.expect(503);
    assert_eq!(ready["status"], "not_ready");
    assert_eq!(ready["dependencies"]["database"], "unhealthy");
    let report = server.get("/health/detailed").await.expect(200);
    assert_eq!(report["status"], "unhealthy");
    assert_eq!(report["checks"]["database"]["status"], "unhealthy");
    assert_eq!(server.get("/health/live").await.expect(200)["status"], "healthy");
    refused_for_the_store(server.get("/api/v1/models").await);
    refused_for_the_store(server.get(&format!("/api/v1/model/{id}")).await);
    refused_for_the_store(server.post(&format!("/api/v1/model/{id}/rebalance"), &Value::Null).await);

    sqlx::query("ALTER TABLE elsewhere RENAME TO models").execute(&mut other).await.unwrap();
    assert_eq!(server.get("/health/ready").await.expect(200)["status"], "ready");
    server.get(&format!("/api/v1/model/{id}")).await.expect(200);
}

#[tokio::test]
async fn a_store_whose_tables_are_not_up_to_date_is_not_ready() {
    let server = TestServer::start().await;
    let mut other = other_connection(&server).await;
    let lacking = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";

    sqlx::query(lacking).execute(&mut other).await.unwrap();

    let ready = server.get("/health/ready").await.expect(503);
    assert_eq!(
        (&ready["status"], &ready["dependencies"]["database"]),
        (&json!("not_ready"), &json!("unhealthy"))
    );
    assert_eq!(keys(&ready["error"]), ["code", "details", "message"]);
    assert_eq!(ready["error"]["code"], "SERVICE_UNAVAILABLE");
    let database = &server.get("/health/detailed").await.expect(200)["checks"]["database"];
    assert_eq!((&database["status"], &database["migrations"]), (&json!("unhealthy"), &json!("unhealthy")));
    assert!(database["latency_ms"].is_number(), "{database}");
    assert_eq!(server.get("/health/live").await.expect(200)["status"], "healthy");
}

#[tokio::test]
async fn a_store_that_is_out_says_so_in_the_error_of_readiness() {
    let server = TestServer::start().await;
    let mut other = other_connection(&server).await;

    sqlx::query("ALTER TABLE models RENAME TO elsewhere").execute(&mut other).await.unwrap();

    let ready = server.get("/health/ready").await.expect(503);
    assert_eq!(keys(&ready), ["correlation_id", "dependencies", "error", "service", "status", "timestamp"]);
    assert_eq!(ready["error"]["message"], "The store is unavailable");
    let database = &server.get("/health/detailed").await.expect(200)["checks"]["database"];
    assert_eq!(database["migrations"], "unknown");
}

#[tokio::test]
async fn while_another_process_holds_the_store_nothing_is_written_and_everything_can_be_read() {
    let server = TestServer::start_with(|config| config.store.timeout = Duration::from_millis(500)).await;
    let id = server.create_model("Balanced", &[], &["p"]).await;
    let model = server.get(&format!("/api/v1/model/{id}")).await.expect(200);
    let mut other = other_connection(&server).await;
    let lock = other.begin_with("BEGIN EXCLUSIVE").await.unwrap();

    let writes = [
        (Method::POST, "/api/v1/models".to_owned(), json!({ "name": "Other", "portfolios": ["p"] })),
        (
            Method::PUT,
            format!("/api/v1/model/{id}"),
            json!({ "name": "Renamed", "portfolios": ["p"], "version": 1 }),
        ),
        (Method::DELETE, format!("/api/v1/model/{id}?version=1"), json!({})),
        (Method::POST, format!("/api/v1/model/{id}/position"), position(SECURITY, "0.1", "0", "0")),
        (Method::POST, format!("/api/v1/model/{id}/portfolio"), json!({ "portfolios": ["q"] })),
    ];
    let writes = writes.map(|(method, path, body)| {
        reply(server.client.request(method, format!("{}{path}", server.url)).json(&body))
    });
    join_all(writes).await.into_iter().for_each(refused_for_the_store);
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
    assert_eq!(server.get("/health/live").await.expect(200)["status"], "healthy");

    lock.rollback().await.unwrap();
    server.create_model("Other", &[], &["p"]).await;
    assert_eq!(server.get(&format!("/api/v1/model/{id}")).await.expect(200), model);
}
