//! One service with neighbours and a store of its own, on free ports, for each test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use sandbox::{Config as SandboxConfig, Draws, PriceOverride, Sandbox, Universe};
use serde_json::{Value, json};
use server::config::{self, Config, Overrides};
use server::service::Service;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A reply: status, headers, and the body as JSON (null when empty, a string when it is not JSON).
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// The body, once the status is as expected.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self.body
    }

    /// The body of a problem with this status and code, once it has the shape that all problems have.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["code"], code, "{:#}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:globeco:problem:{code}"));
        assert!(self.body["title"].is_string() && self.body["detail"].is_string(), "{:#}", self.body);
        assert_eq!(self.body["correlation_id"], self.headers["x-correlation-id"].to_str().unwrap());
        self.body
    }
}

pub(crate) struct TestServer {
    pub(crate) sandbox: Sandbox,
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    folder: TempDir,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    stopped: JoinHandle<anyhow::Result<()>>,
}

impl TestServer {
    /// With prices that stay at their means, and neighbours that are given up on quickly.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let sandbox = SandboxConfig { draws: Draws::Fixed, ..SandboxConfig::default() };
        Self::start_on(Sandbox::start(sandbox).await.unwrap(), adjust).await
    }

    pub(crate) async fn start_on(sandbox: Sandbox, adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        let mut server = Self { sandbox, url: String::new(), client, folder, running: None };
        server.resume_with(adjust).await;
        server
    }

    /// Starts the service again, on another port, over the same store and neighbours.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    pub(crate) async fn restart_with(&mut self, adjust: impl FnOnce(&mut Config)) {
        self.stop().await;
        self.resume_with(adjust).await;
    }

    /// Stops the service as an operator would, and waits until it is gone.
    pub(crate) async fn stop(&mut self) {
        if let Some(Running { stop, stopped }) = self.running.take() {
            let _ = stop.send(());
            stopped.await.unwrap().unwrap();
        }
    }

    async fn resume_with(&mut self, adjust: impl FnOnce(&mut Config)) {
        let mut config = configuration(&self.sandbox, &self.store());
        adjust(&mut config);
        let service = Service::bind(config).await.unwrap();
        self.url = format!("http://127.0.0.1:{}", service.address().port());
        let (stop, asked) = oneshot::channel();
        let run = service.run(async { asked.await.unwrap_or_default() });
        #[expect(
            clippy::disallowed_methods,
            reason = "`stop` awaits it; a test that does not stop ends with its runtime"
        )]
        let stopped = tokio::spawn(run);
        self.running = Some(Running { stop, stopped });
    }

    /// The file of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }

    pub(crate) async fn delete_with(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::DELETE, path, Some(body)).await
    }

    /// Without a body when it is null.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let body = body.filter(|body| !body.is_null());
        reply(
            body.map_or_else(|| request.try_clone().unwrap(), |body| request.try_clone().unwrap().json(body)),
        )
        .await
    }

    /// Creates a model and returns its id.
    pub(crate) async fn create_model(&self, name: &str, positions: &[Value], portfolios: &[&str]) -> String {
        let body = json!({ "name": name, "positions": positions, "portfolios": portfolios });
        let model = self.post("/api/v1/models", &body).await.expect(201);
        model["model_id"].as_str().unwrap().to_owned()
    }

    /// Rebalances all portfolios of a model.
    pub(crate) async fn rebalance_model(&self, model: &str) -> Reply {
        self.post(&format!("/api/v1/model/{model}/rebalance"), &Value::Null).await
    }

    /// Rebalances one portfolio, to the newest model that it follows.
    pub(crate) async fn rebalance_portfolio(&self, portfolio: &str) -> Reply {
        self.post(&format!("/api/v1/portfolio/{portfolio}/rebalance"), &Value::Null).await
    }

    /// The kept record of a rebalance, by an element of its reply.
    pub(crate) async fn record_of(&self, element: &Value) -> Value {
        let id = element["rebalance_id"].as_str().unwrap();
        self.get(&format!("/api/v1/rebalance/{id}")).await.expect(200)
    }

    /// The id of a security of the sandbox.
    pub(crate) fn security(&self, ticker: &str) -> String {
        self.sandbox.security.id_of(ticker).unwrap()
    }
}

/// Sends a request as it is.
pub(crate) async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Reply { status, headers, body }
}

/// The names and the data of server-sent events; what only keeps the connection open is left out.
pub(crate) fn events_in(text: &str) -> Vec<(String, Value)> {
    let event = |text: &str| {
        let (name, data) = text.strip_prefix("event: ")?.split_once("\ndata: ")?;
        Some((name.to_owned(), serde_json::from_str(data).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

/// A position as clients write it.
pub(crate) fn position(security: &str, target: &str, low_drift: &str, high_drift: &str) -> Value {
    json!({ "security_id": security, "target": target, "low_drift": low_drift, "high_drift": high_drift })
}

/// The exact decimal that a JSON number or string holds.
#[track_caller]
pub(crate) fn decimal(value: &Value) -> Decimal {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Decimal::from_str_exact(&text).unwrap()
}

/// Neighbours that know these tickers and prices alone.
pub(crate) async fn sandbox_of(prices: &[(&str, Decimal)]) -> Sandbox {
    let folder = tempfile::tempdir().unwrap();
    let universe = universe(folder.path(), prices);
    let config = SandboxConfig { universe, draws: Draws::Fixed, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).await.unwrap();
    for (ticker, price) in prices {
        // Exactly, where a draw would be cut to cents.
        sandbox.pricing.set(ticker, PriceOverride::Exactly(*price));
    }
    sandbox
}

/// A universe of these tickers and prices, without deviation, in a folder of its own.
pub(crate) fn universe(folder: &Path, prices: &[(&str, Decimal)]) -> Universe {
    let (securities, quotes) = (folder.join("securities.csv"), folder.join("prices.csv"));
    let mut names = vec!["ticker,description".to_owned()];
    let mut rows = vec!["price_date,ticker,price,price_std".to_owned()];
    for (ticker, price) in prices {
        names.push(format!("{ticker},{ticker} Inc."));
        rows.push(format!("2020-01-02,{ticker},{price},0"));
    }
    std::fs::write(&securities, names.join("\n")).unwrap();
    std::fs::write(&quotes, rows.join("\n")).unwrap();
    Universe::from_csv(&securities, &quotes, "2020-01-02".parse().unwrap()).unwrap()
}

fn configuration(sandbox: &Sandbox, store: &Path) -> Config {
    let mut overrides = Overrides::default();
    for (key, text) in [
        ("http.host", "127.0.0.1".to_owned()),
        ("store.url", format!("sqlite:{}", store.display())),
        ("neighbours.portfolio_accounting_url", sandbox.accounting.url()),
        ("neighbours.security_url", sandbox.security.url()),
        ("neighbours.pricing_url", sandbox.pricing.url()),
        ("neighbours.portfolio_url", sandbox.portfolio.url()),
    ] {
        overrides.text(key, Some(text));
    }
    for (key, number) in [
        ("http.port", 0),
        ("http.workers", 1),
        ("neighbours.timeout_seconds", 2),
        ("neighbours.first_backoff_milliseconds", 10),
        // How many calls fail with an outage depends on how many were under way: whoever tests what comes
        // after one must not meet an open circuit.
        ("neighbours.circuit_breaker_failure_threshold", 0),
        // A test that changes a price wants it seen.
        ("neighbours.price_ttl_seconds", 0),
    ] {
        overrides.number(key, Some(number));
    }
    let mut config = config::load(&[], &overrides).unwrap();
    // A service inside a test's process is no program that could be started as a worker.
    config.rebalance.worker_program = Some(env!("CARGO_BIN_EXE_globeco").into());
    config
}
