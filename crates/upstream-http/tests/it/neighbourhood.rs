//! The four services as stubs, and clients that call them.

use std::error::Error;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use application::upstream;
use domain::identifier::{PortfolioId, SecurityId};
use serde_json::{Value, json};
use upstream_http::{BreakerRules, CacheSize, Calls, Config, Endpoint, Neighbours, Observer};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

pub(crate) const SUMMARY: &str = "/api/v1/portfolios/683b6d88a29ee10e8b499643/summary";

pub(crate) struct Neighbourhood {
    pub(crate) accounting: MockServer,
    pub(crate) security: MockServer,
    pub(crate) pricing: MockServer,
    pub(crate) portfolio: MockServer,
    pub(crate) config: Config,
}

impl Neighbourhood {
    pub(crate) async fn start() -> Self {
        let accounting = MockServer::start().await;
        let security = MockServer::start().await;
        let pricing = MockServer::start().await;
        let portfolio = MockServer::start().await;
        let config = Config {
            accounting: endpoint(&accounting.uri(), "/health"),
            security: endpoint(&security.uri(), "/health/liveness"),
            pricing: endpoint(&pricing.uri(), "/actuator/health"),
            portfolio: endpoint(&portfolio.uri(), "/health/live"),
            calls: calls(),
            name_timeout: Duration::from_secs(5),
            bulk_threshold: None,
            tickers: kept_for(Duration::from_mins(10)),
            prices: kept_for(Duration::from_mins(1)),
            names: kept_for(Duration::from_mins(10)),
        };
        Self { accounting, security, pricing, portfolio, config }
    }

    pub(crate) fn clients(&self) -> Neighbours {
        self.clients_seen_by(&(Arc::new(()) as _))
    }

    pub(crate) fn clients_seen_by(&self, observer: &Arc<dyn Observer>) -> Neighbours {
        Neighbours::new(&self.config, observer).unwrap()
    }

    pub(crate) async fn knows_ticker(&self, id: SecurityId, ticker: &str) {
        let answer = ok(&json!({ "securityId": id.as_str(), "ticker": ticker, "version": 1 }));
        given(&self.security, &format!("/api/v1/security/{id}"), answer).await;
    }

    pub(crate) async fn knows_price(&self, ticker: &str, close: Value) {
        let answer = ok(&json!({ "id": 7, "ticker": ticker, "close": close, "volume": 3 }));
        given(&self.pricing, &format!("/api/v1/price/{ticker}"), answer).await;
    }
}

fn calls() -> Calls {
    Calls {
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        attempts: NonZeroU32::new(3).unwrap(),
        first_backoff: Duration::from_millis(2),
        max_concurrent: NonZeroUsize::new(50).unwrap(),
        breaker: BreakerRules {
            threshold: NonZeroU32::new(5),
            pause: Duration::from_mins(1),
            probes: NonZeroU32::MIN,
            slow_after: Duration::from_secs(5),
        },
        pool_idle_timeout: Duration::from_secs(30),
        pool_max_idle: 50,
    }
}

pub(crate) fn endpoint(base_url: &str, health_path: &str) -> Endpoint {
    Endpoint { base_url: base_url.to_owned(), health_path: health_path.to_owned() }
}

pub(crate) fn kept_for(ttl: Duration) -> CacheSize {
    CacheSize { ttl, capacity: 1000 }
}

pub(crate) fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub(crate) fn text(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_string(body)
}

pub(crate) fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

pub(crate) async fn given(server: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(server).await;
}

/// Answers so `times` times, before whatever is given afterwards.
pub(crate) async fn given_first(server: &MockServer, at: &str, times: u64, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(answer)
        .up_to_n_times(times)
        .with_priority(1)
        .mount(server)
        .await;
}

pub(crate) async fn n_calls(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

pub(crate) fn portfolio() -> PortfolioId {
    "683b6d88a29ee10e8b499643".parse().unwrap()
}

/// A different one for every number.
pub(crate) fn security(number: usize) -> SecurityId {
    format!("68{number:022}").parse().unwrap()
}

pub(crate) fn is_unavailable(error: &upstream::Error) -> bool {
    matches!(error, upstream::Error::Unavailable { .. })
}

pub(crate) fn is_malformed(error: &upstream::Error) -> bool {
    matches!(error, upstream::Error::Malformed { .. })
}

/// The error and all its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
