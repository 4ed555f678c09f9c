//! What a benchmark has to know of the neighbouring services, and the sandbox that imitates them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::{Running, globeco};

/// Where they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Neighbours {
    pub(crate) accounting: String,
    pub(crate) security: String,
    pub(crate) pricing: String,
    pub(crate) portfolio: String,
}

/// Each by the variable that tells the service its address.
const VARIABLES: [&str; 4] = [
    "PORTFOLIO_ACCOUNTING_SERVICE_URL",
    "SECURITY_SERVICE_URL",
    "PRICING_SERVICE_URL",
    "PORTFOLIO_SERVICE_URL",
];

impl Neighbours {
    /// In the order of accounting, security, pricing, portfolio.
    pub(crate) fn at(urls: &[&str]) -> Result<Self> {
        let [accounting, security, pricing, portfolio] = urls else {
            anyhow::bail!("there are four neighbours: accounting, security, pricing, portfolio");
        };
        let own = |url: &&str| url.trim_end_matches('/').to_owned();
        Ok(Self {
            accounting: own(accounting),
            security: own(security),
            pricing: own(pricing),
            portfolio: own(portfolio),
        })
    }

    /// Starts the sandbox with so many portfolios.
    pub(crate) async fn sandbox(
        folder: &Path,
        portfolios: usize,
        positions: usize,
    ) -> Result<(Self, Running)> {
        let mut command = Command::new(globeco()?);
        command.args(["sandbox", "--free-ports"]);
        command.args(["--portfolios", &portfolios.to_string(), "--positions", &positions.to_string()]);
        let log = folder.join("sandbox.log");
        let mut running = Running::start(&mut command, &log)?;
        let neighbours = running
            .until(async || {
                let said = std::fs::read_to_string(&log)?;
                let url = |variable: &&str| {
                    let line = said.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
                    line.context("it has not told its addresses yet")
                };
                let urls: Vec<&str> = VARIABLES.iter().map(url).collect::<Result<_>>()?;
                // Half a line would do for an address.
                ensure!(said.ends_with('\n'), "it is still telling its addresses");
                Self::at(&urls)
            })
            .await?;
        Ok((neighbours, running))
    }

    /// As a service's environment has it.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 4] {
        let [accounting, security, pricing, portfolio] = VARIABLES;
        [
            (accounting, &self.accounting),
            (security, &self.security),
            (pricing, &self.pricing),
            (portfolio, &self.portfolio),
        ]
    }

    /// How many calls each has had; `None` where it is not the sandbox's.
    pub(crate) async fn calls(&self, client: &Client) -> Option<[u64; 4]> {
        let mut calls = [0; 4];
        for (calls, (_, url)) in calls.iter_mut().zip(self.variables()) {
            let log: Value = asked(client, &format!("{url}/sandbox/calls")).await.ok()?;
            *calls = log["total"].as_u64()?;
        }
        Some(calls)
    }

    /// The ids of all portfolios.
    pub(crate) async fn portfolio_ids(&self, client: &Client) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Portfolio {
            portfolio_id: String,
        }
        let url = format!("{}/api/v1/portfolios", self.portfolio);
        let listed: Vec<Portfolio> = asked(client, &url).await?;
        Ok(listed.into_iter().map(|portfolio| portfolio.portfolio_id).collect())
    }

    /// The same, each with its cash.
    pub(crate) async fn portfolios(&self, client: &Client) -> Result<Vec<(String, f64)>> {
        let ids = self.portfolio_ids(client).await?;
        let mut portfolios = Vec::with_capacity(ids.len());
        for portfolio_id in ids {
            let url = format!("{}/api/v1/portfolios/{portfolio_id}/summary", self.accounting);
            let summary: Value = asked(client, &url).await?;
            let cash = &summary["cashBalance"];
            let cash = cash.as_f64().or_else(|| cash.as_str()?.parse().ok()).context("no cash balance")?;
            portfolios.push((portfolio_id, cash));
        }
        Ok(portfolios)
    }

    /// The ids of all securities with a price, each with its price.
    pub(crate) async fn securities(&self, client: &Client) -> Result<Vec<(String, f64)>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Security {
            security_id: String,
            ticker: String,
        }
        #[derive(Deserialize)]
        struct Price {
            ticker: String,
            close: f64,
        }
        let securities: Vec<Security> =
            asked(client, &format!("{}/api/v1/securities", self.security)).await?;
        let prices: Vec<Price> = asked(client, &format!("{}/api/v1/prices", self.pricing)).await?;
        let with_price = |security: Security| {
            let price = prices.iter().find(|price| price.ticker == security.ticker)?;
            Some((security.security_id, price.close))
        };
        Ok(securities.into_iter().filter_map(with_price).collect())
    }
}

pub(crate) async fn asked<T: DeserializeOwned>(client: &Client, url: &str) -> Result<T> {
    let response = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let body = response.with_context(|| format!("cannot ask {url}"))?.bytes().await?;
    serde_json::from_slice(&body).with_context(|| format!("{url} does not answer as expected"))
}

/// One that keeps its connections, though not as long as the servers do.
pub(crate) fn client() -> Result<Client> {
    let idle = Duration::from_mins(1);
    Ok(Client::builder().timeout(Duration::from_mins(10)).pool_idle_timeout(idle).no_proxy().build()?)
}
