//! A sandbox under test, and an HTTP client for it.

use std::time::Duration;

use reqwest::{Method, Response};
use sandbox::{Config, Draws, Sandbox};
use serde_json::Value;

pub(crate) async fn fixed() -> Sandbox {
    start(Draws::Fixed, 0).await
}

pub(crate) async fn start(draws: Draws, seed: u64) -> Sandbox {
    let config = Config { draws, seed, ..Config::default() };
    Sandbox::start(config).await.unwrap()
}

/// Without retries and redirects, so that every call is one call.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

pub(crate) async fn get(url: String) -> Response {
    client().get(url).send().await.unwrap()
}

pub(crate) async fn text(url: String) -> (u16, String) {
    let response = get(url).await;
    (response.status().as_u16(), response.text().await.unwrap())
}

pub(crate) async fn json(url: String) -> (u16, Value) {
    let (status, body) = text(url).await;
    (status, serde_json::from_str(&body).unwrap())
}

pub(crate) async fn send(method: Method, url: String, body: &Value) -> (u16, Value) {
    let response = client().request(method, url).body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}
