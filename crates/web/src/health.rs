//! Liveness, readiness and the report for operators.

mod body;
mod engine;
mod process;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::{self, Data, ServiceConfig};
use application::correlation;
use application::health::{Condition, Health, StoreHeard};
use application::order_generation::OrderGeneration;

use crate::parameters::Parameters;
use crate::passage::InFlight;
use crate::problem::Problem;
use crate::routing::resource;
use crate::scalar::instant;
use crate::server::Settings;
use body::{
    DependenciesBody, ErrorBody, LiveBody, LiveChecksBody, MetricsBody, NeighboursBody, PerformanceBody,
    ReadyBody, ReportBody, ReportChecksBody, ServicesBody, StoreCheckBody, Wellness,
};
use engine::EngineWatch;
use process::ProcessorUse;

/// How this process is doing.
pub(crate) struct Lifetime {
    started: Instant,
    /// No new work, please; what is under way is finished.
    draining: AtomicBool,
    engine: EngineWatch,
    processor: ProcessorUse,
}

impl Lifetime {
    pub(crate) fn begin() -> Self {
        Self {
            started: Instant::now(),
            draining: AtomicBool::new(false),
            engine: EngineWatch::default(),
            processor: ProcessorUse::default(),
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
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
///
/// What it found is kept for some seconds, so that to ask often costs nothing.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "live",
    responses(
        (status = 200, description = "Alive", body = LiveBody, example = json!(body::examples::live())),
        (status = 503, description = "The optimiser is broken", body = LiveBody, example = json!(body::examples::dead())),
    ),
)]
pub(crate) async fn live(
    app: Data<OrderGeneration>,
    lifetime: Data<Lifetime>,
    settings: Data<Settings>,
) -> HttpResponse {
    let engine = lifetime.engine.check(app.self_test()).await;
    let is_well = engine.is_well();
    let error =
        (!is_well).then(|| ErrorBody::unavailable("Optimization engine is unavailable", engine.message()));
    let body = LiveBody {
        status: if is_well { Wellness::Healthy } else { Wellness::Unhealthy },
        service: &settings.service_name,
        timestamp: instant(app.clock.now()),
        version: &settings.version,
        correlation_id: correlation_id(),
        checks: is_well.then(|| LiveChecksBody { optimization_engine: engine.body() }),
        error,
    };
    if is_well { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

/// Whether to send requests here: the store answers and has its tables, and the process is not about to stop.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses(
        (status = 200, description = "Ready", body = ReadyBody, example = json!(body::examples::ready())),
        (
            status = 503, description = "The store is out, or the process is stopping", body = ReadyBody,
            example = json!(body::examples::not_ready()),
        ),
    ),
)]
pub(crate) async fn ready(
    app: Data<OrderGeneration>,
    health: Data<Health>,
    lifetime: Data<Lifetime>,
    settings: Data<Settings>,
) -> HttpResponse {
    let store = health.store().await;
    let engine = lifetime.engine.check(app.self_test()).await;
    let error = match store.answers.condition {
        Condition::Silent => Some(ErrorBody::timeout("The store did not answer in time")),
        Condition::Unhealthy | Condition::Unknown => {
            Some(ErrorBody::unavailable("The store is unavailable", "It does not answer"))
        }
        Condition::Healthy if store.prepared != Condition::Healthy => Some(ErrorBody::unavailable(
            "The store is unavailable",
            "Its tables or indexes are not as this version needs them",
        )),
        Condition::Healthy if !engine.is_well() => {
            Some(ErrorBody::unavailable("Optimization engine is unavailable", engine.message()))
        }
        Condition::Healthy if lifetime.draining.load(Ordering::Relaxed) => {
            Some(ErrorBody::unavailable("The service is stopping", "It finishes the requests under way"))
        }
        Condition::Healthy => None,
    };
    let is_ready = error.is_none();
    let body = ReadyBody {
        status: if is_ready { body::Readiness::Ready } else { body::Readiness::NotReady },
        service: &settings.service_name,
        timestamp: instant(app.clock.now()),
        correlation_id: correlation_id(),
        dependencies: DependenciesBody {
            database: of_the_store(&store),
            external_services: ServicesBody::new(health.neighbours()),
            optimization_engine: engine.body(),
        },
        error,
    };
    if is_ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

/// Everything that is known; always 200, because it is a report.
#[utoipa::path(
    get, path = "/health/detailed", tag = "health", operation_id = "detailed",
    params(
        ("include_external" = Option<bool>, Query, description = "Whether to report the neighbours; true unless told"),
        ("include_optimization" = Option<bool>, Query, description = "Whether to report the optimiser; true unless told"),
    ),
    responses(
        (status = 200, description = "The report", body = ReportBody, example = json!(body::examples::report())),
        (status = 400, description = "The query cannot be read"),
    ),
)]
pub(crate) async fn detailed(
    app: Data<OrderGeneration>,
    health: Data<Health>,
    lifetime: Data<Lifetime>,
    settings: Data<Settings>,
    in_flight: Data<InFlight>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let with_neighbours = parameters.flag("include_external", true)?;
    let with_engine = parameters.flag("include_optimization", true)?;
    let store = health.store().await;
    let engine = lifetime.engine.check(app.self_test()).await;
    let is_well = store.is_well() && engine.is_well();
    let metrics = MetricsBody {
        memory: process::memory(),
        cpu: lifetime.processor.since_last_time(),
        http_requests_in_flight: in_flight.count(),
    };
    let body = ReportBody {
        status: if is_well { Wellness::Healthy } else { Wellness::Unhealthy },
        timestamp: instant(app.clock.now()),
        service: &settings.service_name,
        version: &settings.version,
        correlation_id: correlation_id(),
        checks: ReportChecksBody {
            database: StoreCheckBody::new(&store),
            external_services: with_neighbours.then(|| NeighboursBody::new(health.neighbours())),
            optimization_engine: with_engine.then(|| engine.body()),
            performance: PerformanceBody { status: Wellness::Healthy, metrics },
        },
        uptime_seconds: body::rounded(lifetime.started.elapsed().as_secs_f64()),
    };
    Ok(HttpResponse::Ok().json(body))
}

fn of_the_store(store: &StoreHeard) -> Wellness {
    if store.is_well() { Wellness::Healthy } else { Wellness::Unhealthy }
}

fn correlation_id() -> Option<String> {
    correlation::current().map(|id| id.to_string())
}
