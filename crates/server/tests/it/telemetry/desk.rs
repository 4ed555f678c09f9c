//! The service as a process of its own, with a model to rebalance.

use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use rust_decimal_macros::dec;
use sandbox::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{position, sandbox_of};
use crate::process::{Process, serve};

pub(crate) const PORTFOLIOS: [&str; 2] = ["683b6d88a29ee10e8b499643", "683b6d88a29ee10e8b499644"];

pub(crate) struct Desk {
    pub(crate) sandbox: Sandbox,
    pub(crate) process: Process,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Desk {
    /// With these variables beside those that lead to its neighbours.
    pub(crate) async fn open(variables: &[(&str, &str)]) -> Self {
        Self::open_for(HeaderMap::new(), variables).await
    }

    /// For a caller whose requests have these headers.
    pub(crate) async fn open_for(headers: HeaderMap, variables: &[(&str, &str)]) -> Self {
        let sandbox = sandbox_of(&[("A", dec!(100)), ("B", dec!(50))]).await;
        for portfolio in PORTFOLIOS {
            sandbox.accounting.fund(portfolio, dec!(10_000), &[]);
        }
        let folder = tempfile::tempdir().unwrap();
        let urls = [
            ("PORTFOLIO_ACCOUNTING_SERVICE_URL", sandbox.accounting.url()),
            ("SECURITY_SERVICE_URL", sandbox.security.url()),
            ("PRICING_SERVICE_URL", sandbox.pricing.url()),
            ("PORTFOLIO_SERVICE_URL", sandbox.portfolio.url()),
        ];
        let mut all = vec![("HOST", "127.0.0.1"), ("PORT", "0"), ("EXTERNAL_SERVICE_BACKOFF_MS", "1")];
        all.extend(urls.iter().map(|(name, url)| (*name, url.as_str())));
        // The later wins.
        all.extend(variables);
        let command = serve(folder.path(), &[], &all);
        let process = tokio::task::spawn_blocking(|| Process::start(command)).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1));
        let client = client.default_headers(headers).build().unwrap();
        Self { sandbox, process, client, _folder: folder }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.process.url)).json(body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.put(format!("{}{path}", self.process.url)).json(body)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.process.url))
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(format!("{}{path}", self.process.url))
    }

    /// Of A and B, which both portfolios follow.
    pub(crate) async fn create_model(&self) -> String {
        let security = |ticker: &str| self.sandbox.security.id_of(ticker).unwrap();
        let positions = ["A", "B"].map(|ticker| position(&security(ticker), "0.45", "0.05", "0.05"));
        let body = json!({ "name": "Balanced", "positions": positions, "portfolios": PORTFOLIOS });
        let model: Value = sent(self.post("/api/v1/models", &body), 201).await;
        model["model_id"].as_str().unwrap().to_owned()
    }

    /// The record of a rebalance, once it has ended.
    pub(crate) async fn followed(&self, started: Value) -> Value {
        let path = format!("/api/v1/rebalance/{}", started["rebalance_id"].as_str().unwrap());
        sent(self.get(&format!("{path}/events")), 200).await;
        sent(self.get(&path), 200).await
    }

    /// Stops the service as an operator would, and returns all its log lines.
    pub(crate) async fn stop(&mut self) -> Vec<Value> {
        self.process.signal("TERM");
        let lines = self.process.lines().await;
        assert!(self.process.ended().await.success());
        lines
    }
}

/// The body, once the status is as expected.
pub(crate) async fn sent(request: RequestBuilder, status: u16) -> Value {
    let response = request.send().await.unwrap();
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
