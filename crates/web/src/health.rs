//! Liveness, readiness and the report for operators.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Data, ServiceConfig};
use application::chain::Chain;
use application::correlation;
use application::health::{Condition, Health};
use application::order_generation::OrderGeneration;
use serde_json::{Map, Value, json};

use crate::parameters::Parameters;
use crate::passage::InFlight;
use crate::problem::Problem;
use crate::routing::resource;
use crate::scalar::instant;
use crate::server::Settings;

/// How this process is doing.
pub(crate) struct Lifetime {
    pub(crate) started: Instant,
    /// No new work, please; what is under way is finished.
    pub(crate) draining: AtomicBool,
}

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/health/live", [(Method::GET, web::to(live))]))
        .service(resource("/health/ready", [(Method::GET, web::to(ready))]))
        .service(resource("/health/detailed", [(Method::GET, web::to(detailed))]))
        .service(resource("/health/health", [(Method::GET, web::to(detailed))]))
        .service(resource("/health", [(Method::GET, web::to(detailed))]));
}

/// Whether the process should be left running: the optimiser still finds a known optimum.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "live",
    responses((status = 200, description = "Alive"), (status = 503, description = "The optimiser is broken")),
)]
pub(crate) async fn live(app: Data<OrderGeneration>, settings: Data<Settings>) -> HttpResponse {
    let engine = optimization_engine(&app).await;
    let mut body = header(&app, &settings, if engine.is_well { "healthy" } else { "unhealthy" });
    body.insert("version".to_owned(), json!(settings.version));
    if engine.is_well {
        body.insert("checks".to_owned(), json!({ "optimization_engine": engine.report }));
        return HttpResponse::Ok().json(body);
    }
    let error = json!({ "code": "SERVICE_UNAVAILABLE", "message": "Optimization engine is unavailable" });
    body.insert("error".to_owned(), error);
    HttpResponse::ServiceUnavailable().json(body)
}

/// Whether to send requests here: the store answers, and the process is not about to stop.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses((status = 200, description = "Ready"), (status = 503, description = "The store is out, or the process is stopping")),
)]
pub(crate) async fn ready(
    app: Data<OrderGeneration>,
    health: Data<Health>,
    lifetime: Data<Lifetime>,
    settings: Data<Settings>,
) -> HttpResponse {
    let store = health.store().await;
    let engine = optimization_engine(&app).await;
    let is_ready =
        store == Condition::Healthy && engine.is_well && !lifetime.draining.load(Ordering::Relaxed);
    let mut body = header(&app, &settings, if is_ready { "ready" } else { "not_ready" });
    let neighbours =
        health.neighbours().into_iter().map(|(name, condition)| (service_key(name), json!(word(condition))));
    body.insert(
        "dependencies".to_owned(),
        json!({
            "database": word(store),
            "external_services": neighbours.collect::<Map<_, _>>(),
            "optimization_engine": engine.report,
        }),
    );
    HttpResponse::build(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }).json(body)
}

/// Everything that is known; always 200, because it is a report.
#[utoipa::path(
    get, path = "/health/detailed", tag = "health", operation_id = "detailed",
    params(
        ("include_external" = Option<bool>, Query, description = "Whether to report the neighbours; true unless told"),
        ("include_optimization" = Option<bool>, Query, description = "Whether to report the optimiser; true unless told"),
    ),
    responses((status = 200, description = "The report"), (status = 400, body = crate::problem::ProblemBody)),
)]
pub(crate) async fn detailed(
    app: Data<OrderGeneration>,
    health: Data<Health>,
    lifetime: Data<Lifetime>,
    settings: Data<Settings>,
    in_flight: Data<InFlight>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let store = health.store().await;
    let engine = optimization_engine(&app).await;
    let is_well = store == Condition::Healthy && engine.is_well;

    let mut checks = Map::new();
    let database = json!({ "status": word(store), "message": message("Database", store) });
    checks.insert("database".to_owned(), database);
    if parameters.flag("include_external", true)? {
        let report = |(name, condition): (&str, _)| {
            (name.to_owned(), json!({ "status": word(condition), "message": message(name, condition) }))
        };
        let services: Map<String, Value> = health.neighbours().into_iter().map(report).collect();
        checks.insert("external_services".to_owned(), services.into());
    }
    if parameters.flag("include_optimization", true)? {
        checks.insert("optimization_engine".to_owned(), engine.report);
    }
    let metrics = json!({ "memory": memory(), "http_requests_in_flight": in_flight.count() });
    checks.insert("performance".to_owned(), json!({ "status": "healthy", "metrics": metrics }));

    let mut body = header(&app, &settings, if is_well { "healthy" } else { "unhealthy" });
    body.insert("version".to_owned(), json!(settings.version));
    body.insert("checks".to_owned(), checks.into());
    body.insert("uptime_seconds".to_owned(), json!(lifetime.started.elapsed().as_secs()));
    Ok(HttpResponse::Ok().json(body))
}

struct Engine {
    is_well: bool,
    report: Value,
}

async fn optimization_engine(app: &OrderGeneration) -> Engine {
    match app.self_test().await {
        Ok(()) => Engine {
            is_well: true,
            report: json!({
                "status": "healthy", "message": "Optimization engine operational", "solver_status": "optimal",
            }),
        },
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the optimiser failed its self-test");
            let report =
                json!({ "status": "unhealthy", "message": "Optimization engine failed its self-test" });
            Engine { is_well: false, report }
        }
    }
}

fn header(app: &OrderGeneration, settings: &Settings, status: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("status".to_owned(), json!(status));
    body.insert("service".to_owned(), json!(settings.service_name));
    body.insert("timestamp".to_owned(), json!(instant(app.clock.now())));
    body.insert("correlation_id".to_owned(), json!(correlation::current().map(|id| id.to_string())));
    body
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Healthy => "healthy",
        Condition::Unhealthy => "unhealthy",
        Condition::Unknown => "unknown",
    }
}

fn message(name: &str, condition: Condition) -> String {
    match condition {
        Condition::Healthy => format!("{name} answers"),
        Condition::Unhealthy => format!("{name} does not answer"),
        Condition::Unknown => format!("{name} has not been asked yet"),
    }
}

/// Readiness names the neighbours more fully than the report does; both forms are in use.
fn service_key(name: &str) -> String {
    if name == "portfolio_accounting" { name.to_owned() } else { format!("{name}_service") }
}

/// What the operating system says of this process's memory; null where it says nothing.
fn memory() -> Value {
    let kibibytes = |file: &str, key: &str| -> Option<u64> {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let bytes = |file, key| kibibytes(file, key).map(|kibibytes| kibibytes * 1024);
    json!({
        "used_bytes": bytes("/proc/self/status", "VmRSS:"),
        "available_bytes": bytes("/proc/meminfo", "MemAvailable:"),
    })
}
