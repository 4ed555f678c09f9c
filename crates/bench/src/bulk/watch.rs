//! Asks for a rebalance and sees it to its end, at as little cost to the service as there is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

/// How often a rebalance that goes on is asked how far it is.
const PAUSE: Duration = Duration::from_millis(20);

/// What a record says before its portfolios.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) status: String,
    pub(super) number_of_portfolios: usize,
    error: Option<serde_json::Value>,
}

/// A rebalance that has ended.
pub(super) struct Ended {
    /// Of the record.
    pub(super) url: String,
    /// When a reply that was waited for began.
    pub(super) decided: Option<Instant>,
}

pub(super) async fn accepted(client: &Client, base: &str, model: &str) -> Result<Ended> {
    let request = client.post(format!("{base}/api/v1/model/{model}/rebalance"));
    let response = request.header("Prefer", "respond-async").send().await?;
    let response = expected(response, StatusCode::ACCEPTED).await?;
    let location = response.headers().get("location").context("accepted, and no word of where to look")?;
    let url = format!("{base}{}", location.to_str()?);
    while record(client, &url).await?.status == "RUNNING" {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Ended { url, decided: None })
}

/// Reads the reply, and keeps none of it but the name of the record.
pub(super) async fn waited(client: &Client, base: &str, model: &str) -> Result<Ended> {
    let response = client.post(format!("{base}/api/v1/model/{model}/rebalance")).send().await?;
    let mut response = expected(response, StatusCode::OK).await?;
    let decided = Some(Instant::now());
    let beginning = until(&mut response, "\",\"status\"").await?;
    let (_, id) = beginning.rsplit_once("\"rebalance_id\":\"").context("the first has no record")?;
    while response.chunk().await?.is_some() {}
    Ok(Ended { url: format!("{base}/api/v1/rebalance/{id}"), decided })
}

/// Leaves before its portfolios come, of which there may be half a gigabyte.
pub(super) async fn record(client: &Client, url: &str) -> Result<Record> {
    let mut response = expected(client.get(url).send().await?, StatusCode::OK).await?;
    let head = until(&mut response, ",\"portfolios\":[").await?;
    let record: Record = serde_json::from_str(&format!("{head}}}"))?;
    if let Some(error) = &record.error {
        bail!("the rebalance failed: {error}");
    }
    Ok(record)
}

/// What comes before the mark.
async fn until(response: &mut Response, mark: &str) -> Result<String> {
    let mut text = String::new();
    while let Some(chunk) = response.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        if let Some((before, _)) = text.split_once(mark) {
            return Ok(before.to_owned());
        }
    }
    bail!("no `{mark}` in {text}")
}

async fn expected(response: Response, status: StatusCode) -> Result<Response> {
    match response.status() {
        found if found == status => Ok(response),
        found => bail!("{found}: {}", response.text().await?),
    }
}
