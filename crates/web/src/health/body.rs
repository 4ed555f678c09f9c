//! The bodies of the health reports, as their callers have known them.

use application::health::{BreakerState, Condition, Heard, NeighbourHeard, Neighbours, StoreHeard};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HealthStatus)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wellness {
    Healthy,
    Unhealthy,
    /// Not asked yet.
    Unknown,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReadinessStatus)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Readiness {
    Ready,
    NotReady,
}

/// Why a probe answers 503.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthError)]
pub(crate) struct ErrorBody {
    code: ErrorCodeBody,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HealthErrorCode)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ErrorCodeBody {
    ServiceUnavailable,
    Timeout,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Liveness)]
pub(crate) struct LiveBody<'a> {
    pub(super) status: Wellness,
    pub(super) service: &'a str,
    #[schema(format = DateTime)]
    pub(super) timestamp: String,
    pub(super) version: &'a str,
    #[schema(required)]
    pub(super) correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checks: Option<LiveChecksBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ErrorBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LivenessChecks)]
pub(crate) struct LiveChecksBody {
    pub(super) optimization_engine: EngineBody,
}

/// What the optimiser made of a problem with a known answer.
#[derive(Serialize, ToSchema)]
#[schema(as = OptimizationEngineCheck)]
pub(crate) struct EngineBody {
    pub(super) status: Wellness,
    pub(super) message: &'static str,
    /// Of a healthy one: `optimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) solver_status: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadyBody<'a> {
    pub(super) status: Readiness,
    pub(super) service: &'a str,
    #[schema(format = DateTime)]
    pub(super) timestamp: String,
    #[schema(required)]
    pub(super) correlation_id: Option<String>,
    pub(super) dependencies: DependenciesBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ErrorBody>,
}

/// The store, the process and the optimiser decide; the neighbours are only reported.
#[derive(Serialize, ToSchema)]
#[schema(as = Dependencies)]
pub(crate) struct DependenciesBody {
    pub(super) database: Wellness,
    pub(super) external_services: ServicesBody,
    pub(super) optimization_engine: EngineBody,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExternalServices)]
pub(crate) struct ServicesBody {
    portfolio_accounting: Wellness,
    pricing_service: Wellness,
    portfolio_service: Wellness,
    security_service: Wellness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HealthReport)]
pub(crate) struct ReportBody<'a> {
    pub(super) status: Wellness,
    #[schema(format = DateTime)]
    pub(super) timestamp: String,
    pub(super) service: &'a str,
    pub(super) version: &'a str,
    #[schema(required)]
    pub(super) correlation_id: Option<String>,
    pub(super) checks: ReportChecksBody,
    pub(super) uptime_seconds: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HealthReportChecks)]
pub(crate) struct ReportChecksBody {
    pub(super) database: StoreCheckBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_services: Option<NeighboursBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) optimization_engine: Option<EngineBody>,
    pub(super) performance: PerformanceBody,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DatabaseCheck)]
pub(crate) struct StoreCheckBody {
    status: Wellness,
    message: &'static str,
    /// How long it took to answer; null without an answer.
    #[schema(required)]
    latency_ms: Option<f64>,
    /// Whether its tables or indexes are as this version needs them.
    migrations: Wellness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExternalServicesCheck)]
pub(crate) struct NeighboursBody {
    portfolio_accounting: NeighbourCheckBody,
    pricing: NeighbourCheckBody,
    portfolio: NeighbourCheckBody,
    security: NeighbourCheckBody,
}

/// What was last heard of a neighbour, which is asked now and then.
#[derive(Serialize, ToSchema)]
#[schema(as = ExternalServiceCheck)]
pub(crate) struct NeighbourCheckBody {
    status: Wellness,
    message: String,
    /// How long it took to answer; null without an answer.
    #[schema(required)]
    latency_ms: Option<f64>,
    /// How long ago that was; null if it was not asked yet.
    #[schema(required)]
    age_seconds: Option<f64>,
    /// Whether rebalances call it: this is of now, and opens and closes by what became of their calls.
    circuit_breaker: BreakerBody,
}

/// `closed`: it is called. `open`: it failed often, and calls fail at once. `half_open`: a few calls find
/// out whether it is back.
#[derive(Serialize, ToSchema)]
#[schema(as = CircuitBreakerState)]
#[serde(rename_all = "snake_case")]
enum BreakerBody {
    Closed,
    HalfOpen,
    Open,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PerformanceCheck)]
pub(crate) struct PerformanceBody {
    pub(super) status: Wellness,
    pub(super) metrics: MetricsBody,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PerformanceMetrics)]
pub(crate) struct MetricsBody {
    pub(super) memory: MemoryBody,
    pub(super) cpu: ProcessorBody,
    pub(super) http_requests_in_flight: usize,
}

/// Null where the operating system does not say.
#[derive(Serialize, ToSchema)]
#[schema(as = MemoryMetrics)]
pub(crate) struct MemoryBody {
    /// By this process.
    #[schema(required)]
    pub(super) used_bytes: Option<u64>,
    /// On the machine.
    #[schema(required)]
    pub(super) available_bytes: Option<u64>,
    /// Used of all that the machine has.
    #[schema(required)]
    pub(super) percent: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CpuMetrics)]
pub(crate) struct ProcessorBody {
    /// Of one core, since the last report; more than 100 where several were busy. Null where the operating
    /// system does not say.
    #[schema(required)]
    pub(super) percent: Option<f64>,
}

impl From<Condition> for Wellness {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Healthy => Self::Healthy,
            Condition::Unhealthy | Condition::Silent => Self::Unhealthy,
            Condition::Unknown => Self::Unknown,
        }
    }
}

impl From<BreakerState> for BreakerBody {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::HalfOpen => Self::HalfOpen,
            BreakerState::Open => Self::Open,
        }
    }
}

impl ErrorBody {
    pub(super) fn unavailable(message: &'static str, details: &'static str) -> Self {
        Self { code: ErrorCodeBody::ServiceUnavailable, message, details: Some(details) }
    }

    pub(super) fn timeout(message: &'static str) -> Self {
        Self { code: ErrorCodeBody::Timeout, message, details: None }
    }
}

impl ServicesBody {
    pub(super) fn new(heard: Neighbours<NeighbourHeard>) -> Self {
        let wellness = heard.map(|_, heard| heard.answers.condition.into());
        Self {
            portfolio_accounting: wellness.portfolio_accounting,
            pricing_service: wellness.pricing,
            portfolio_service: wellness.portfolio,
            security_service: wellness.security,
        }
    }
}

impl NeighboursBody {
    pub(super) fn new(heard: Neighbours<NeighbourHeard>) -> Self {
        let Neighbours { portfolio_accounting, pricing, portfolio, security } =
            heard.map(NeighbourCheckBody::new);
        Self { portfolio_accounting, pricing, portfolio, security }
    }
}

impl NeighbourCheckBody {
    fn new(name: &'static str, NeighbourHeard { answers, breaker }: NeighbourHeard) -> Self {
        let message = match answers.condition {
            Condition::Healthy => format!("{name} answers"),
            Condition::Unhealthy => format!("{name} does not answer, or says that it is not well"),
            Condition::Silent => format!("{name} does not answer in time"),
            Condition::Unknown => format!("{name} has not been asked yet"),
        };
        Self {
            status: answers.condition.into(),
            message,
            latency_ms: latency_ms(&answers),
            age_seconds: answers.at.map(|at| rounded(at.elapsed().as_secs_f64())),
            circuit_breaker: breaker.into(),
        }
    }
}

impl StoreCheckBody {
    pub(super) fn new(store: &StoreHeard) -> Self {
        let message = match store.answers.condition {
            Condition::Silent => "Database does not answer in time",
            Condition::Unhealthy | Condition::Unknown => "Database does not answer",
            Condition::Healthy if store.prepared == Condition::Healthy => "Database answers",
            Condition::Healthy => "Database answers, but is not prepared",
        };
        Self {
            status: super::of_the_store(store),
            message,
            latency_ms: latency_ms(&store.answers),
            migrations: store.prepared.into(),
        }
    }
}

fn latency_ms(heard: &Heard) -> Option<f64> {
    heard.took.map(|took| rounded(took.as_secs_f64() * 1000.0))
}

/// To 3 decimals, for reading.
pub(super) fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// What clients see in the description.
pub(super) mod examples {
    use serde_json::{Value, json};

    const CORRELATION_ID: &str = "5f0c6c9e-9d3c-4f0e-8f0e-2f4f8b1c7d10";
    const SERVICE: &str = "GlobeCo Order Generation Service";
    const NOW: &str = "2024-12-19T10:30:00.000Z";

    fn engine() -> Value {
        json!({ "status": "healthy", "message": "Optimization engine operational", "solver_status": "optimal" })
    }

    pub(in super::super) fn live() -> Value {
        json!({
            "status": "healthy", "service": SERVICE, "timestamp": NOW, "version": "0.1.0",
            "correlation_id": CORRELATION_ID, "checks": { "optimization_engine": engine() },
        })
    }

    pub(in super::super) fn dead() -> Value {
        json!({
            "status": "unhealthy", "service": SERVICE, "timestamp": NOW, "version": "0.1.0",
            "correlation_id": CORRELATION_ID,
            "error": {
                "code": "SERVICE_UNAVAILABLE", "message": "Optimization engine is unavailable",
                "details": "Optimization engine failed its self-test",
            },
        })
    }

    fn dependencies(database: &str) -> Value {
        json!({
            "database": database,
            "external_services": {
                "portfolio_accounting": "healthy", "pricing_service": "healthy",
                "portfolio_service": "unhealthy", "security_service": "healthy",
            },
            "optimization_engine": engine(),
        })
    }

    pub(in super::super) fn ready() -> Value {
        json!({
            "status": "ready", "service": SERVICE, "timestamp": NOW, "correlation_id": CORRELATION_ID,
            "dependencies": dependencies("healthy"),
        })
    }

    pub(in super::super) fn not_ready() -> Value {
        json!({
            "status": "not_ready", "service": SERVICE, "timestamp": NOW, "correlation_id": CORRELATION_ID,
            "dependencies": dependencies("unhealthy"),
            "error": { "code": "TIMEOUT", "message": "The store did not answer in time" },
        })
    }

    pub(in super::super) fn report() -> Value {
        let answers = |name: &str| json!({ "status": "healthy", "message": format!("{name} answers"), "latency_ms": 1.9, "age_seconds": 4.2, "circuit_breaker": "closed" });
        json!({
            "status": "healthy", "timestamp": NOW, "service": SERVICE, "version": "0.1.0",
            "correlation_id": CORRELATION_ID,
            "checks": {
                "database": {
                    "status": "healthy", "message": "Database answers", "latency_ms": 0.3, "migrations": "healthy",
                },
                "external_services": {
                    "portfolio_accounting": answers("portfolio_accounting"), "pricing": answers("pricing"),
                    "portfolio": answers("portfolio"), "security": answers("security"),
                },
                "optimization_engine": engine(),
                "performance": {
                    "status": "healthy",
                    "metrics": {
                        "memory": { "used_bytes": 31_457_280, "available_bytes": 12_884_901_888_u64, "percent": 0.2 },
                        "cpu": { "percent": 3.5 }, "http_requests_in_flight": 1,
                    },
                },
            },
            "uptime_seconds": 86_400.5,
        })
    }
}
