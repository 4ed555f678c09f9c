//! JSON over HTTP, as any client of the services would speak it.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(2)).build()?;
        Ok(Self(client))
    }

    pub(super) async fn get(&self, url: &str) -> anyhow::Result<Value> {
        answer(url, self.0.get(url)).await
    }

    /// Without a body when it is null.
    pub(super) async fn post(&self, url: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.0.post(url);
        answer(url, if body.is_null() { request } else { request.json(body) }).await
    }
}

async fn answer(url: &str, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await.with_context(|| format!("{url} cannot be reached"))?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("{url} did not answer with JSON"))
}
