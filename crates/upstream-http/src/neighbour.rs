//! A service that is called, and how.

use std::sync::Arc;
use std::time::Duration;

use application::health::{self, Probe};
use application::repository::Source;
use application::{correlation, upstream};
use async_trait::async_trait;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Client, Url, redirect};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::policies::ExponentialBackoff;
use reqwest_retry::{Jitter, RetryTransientMiddleware};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::attempt::{Attempt, MAX_BODY, Outcome, TransientOnly, UnexpectedStatus};
use crate::config::{Calls, Endpoint};

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{url}` is no base URL for the {service}")]
    BaseUrl { service: &'static str, url: String, source: Source },
    #[error("no HTTP client for the {service}")]
    Client { service: &'static str, source: Source },
}

#[derive(Clone)]
pub(crate) struct Neighbour {
    service: &'static str,
    base: Url,
    health: Url,
    /// Makes single attempts.
    plain: Client,
    /// Waits for its turn, and tries again.
    patient: ClientWithMiddleware,
}

const USER_AGENT: &str = "globeco-order-generation";
const CORRELATION_ID: &str = "X-Correlation-ID";
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

impl Neighbour {
    /// `unknown`: what a 500 of this service says when it means that it does not know the thing.
    pub(crate) fn new(
        service: &'static str,
        endpoint: &Endpoint,
        calls: &Calls,
        unknown: &'static [&'static str],
    ) -> Result<Self, Error> {
        let base = base(&endpoint.base_url).map_err(|source| Error::BaseUrl {
            service,
            url: endpoint.base_url.clone(),
            source,
        })?;
        let plain = plain(calls).map_err(|source| Error::Client { service, source: source.into() })?;
        Ok(Self {
            service,
            health: health(&base, &endpoint.health_path),
            base,
            patient: patient(service, plain.clone(), calls, unknown),
            plain,
        })
    }

    /// What the service answers at `path`, whose segments are encoded here; `None` if it does not know.
    ///
    /// `about` says in an error what was asked for.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        path: &[&str],
        about: &str,
    ) -> Result<Option<T>, upstream::Error> {
        // No URL can spell these as a segment, so nothing is kept under them.
        if path.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Ok(None);
        }
        let mut request = self.patient.get(under(&self.base, path));
        if let Some(id) = correlation::current() {
            request = request.header(CORRELATION_ID, id.as_str());
        }
        let mut response = request.send().await.map_err(|error| self.unavailable(about, error))?;
        let outcome = response.extensions_mut().remove().expect("every attempt leaves its outcome");
        match outcome {
            Outcome::Found(body) => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| self.malformed(about, Unreadable::from(error))),
            Outcome::Unknown => Ok(None),
            Outcome::Oversized => Err(self.malformed(about, Oversized)),
            Outcome::Refused(status) => Err(self.malformed(about, UnexpectedStatus(status))),
            Outcome::Failing(status) => Err(self.unavailable(about, UnexpectedStatus(status))),
        }
    }

    pub(crate) fn probe(&self, name: &'static str) -> health::Neighbour {
        health::Neighbour {
            name,
            probe: Box::new(Health { client: self.plain.clone(), url: self.health.clone() }),
        }
    }

    pub(crate) fn malformed(&self, about: &str, source: impl Into<Source>) -> upstream::Error {
        upstream::Error::Malformed { service: self.service, about: about.to_owned(), source: source.into() }
    }

    fn unavailable(&self, about: &str, source: impl Into<Source>) -> upstream::Error {
        upstream::Error::Unavailable { service: self.service, about: about.to_owned(), source: source.into() }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the body has more than {MAX_BODY} bytes")]
struct Oversized;

/// Keeps the beginning of what the parser said: it quotes values, which can be as long as the body.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreadable(String);

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string().chars().take(200).collect())
    }
}

struct Health {
    client: Client,
    url: Url,
}

#[async_trait]
impl Probe for Health {
    async fn check(&self) -> Result<(), Source> {
        let status = self.client.get(self.url.clone()).send().await?.status();
        if status.is_success() { Ok(()) } else { Err(UnexpectedStatus(status).into()) }
    }
}

fn base(text: &str) -> Result<Url, Source> {
    let url = Url::parse(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".into());
    }
    Ok(url)
}

fn health(base: &Url, path: &str) -> Url {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    under(base, &segments)
}

fn under(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("a base is a http URL").pop_if_empty().extend(path);
    url
}

fn plain(calls: &Calls) -> reqwest::Result<Client> {
    let accept = (ACCEPT, HeaderValue::from_static("application/json"));
    Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter([accept]))
        .connect_timeout(calls.connect_timeout)
        .timeout(calls.timeout)
        .pool_idle_timeout(calls.pool_idle_timeout)
        .pool_max_idle_per_host(calls.pool_max_idle)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
}

fn patient(
    service: &'static str,
    plain: Client,
    calls: &Calls,
    unknown: &'static [&'static str],
) -> ClientWithMiddleware {
    let attempts = calls.attempts.get();
    let backoff = ExponentialBackoff::builder()
        .retry_bounds(calls.first_backoff.min(LONGEST_BACKOFF), LONGEST_BACKOFF)
        .jitter(Jitter::Bounded)
        .base(2)
        .build_with_max_retries(attempts - 1);
    let permits = calls.max_concurrent.get().min(Semaphore::MAX_PERMITS);
    ClientBuilder::new(plain)
        .with(RetryTransientMiddleware::new_with_policy_and_strategy(backoff, TransientOnly))
        .with(Attempt { service, attempts, permits: Arc::new(Semaphore::new(permits)), unknown })
        .build()
}
