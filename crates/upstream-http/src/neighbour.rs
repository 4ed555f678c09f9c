//! A service that is called, and how.

use std::sync::Arc;

use application::health::{BreakerState, NeighbourProbe, Probe};
use application::repository::Source;
use application::upstream;
use async_trait::async_trait;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Client, Url, redirect};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::attempt::{Answer, MAX_BODY, UnexpectedStatus};
use crate::breaker::Breaker;
use crate::call::{Call, NoAnswer};
use crate::config::{BreakerRules, Calls, Endpoint};
use crate::observer::Observer;

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Does not repeat the URL, which may hold a password.
    #[error("the {service} cannot have this base URL")]
    BaseUrl { service: &'static str, source: Source },
    #[error("no HTTP client for the {service}")]
    Client { service: &'static str, source: Source },
}

#[derive(Clone)]
pub(crate) struct Neighbour {
    pub(crate) service: &'static str,
    base: Url,
    health: Url,
    pub(crate) client: Client,
    pub(crate) calls: Arc<Calls>,
    /// One for each call that may be under way.
    pub(crate) turns: Arc<Semaphore>,
    /// What a 500 says when it means that nothing is known.
    pub(crate) unknown: &'static [&'static str],
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) breaker: Arc<Breaker>,
}

const USER_AGENT: &str = "globeco-order-generation";

impl Neighbour {
    /// `unknown`: what a 500 of this service says when it means that it does not know the thing.
    pub(crate) fn new(
        service: &'static str,
        endpoint: &Endpoint,
        calls: &Calls,
        unknown: &'static [&'static str],
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let base = base(&endpoint.base_url).map_err(|source| Error::BaseUrl { service, source })?;
        let client = client(calls).map_err(|source| Error::Client { service, source: source.into() })?;
        let slow_after = calls.breaker.slow_after.min(calls.timeout);
        let rules = BreakerRules { slow_after, ..calls.breaker };
        let turns = calls.max_concurrent.get().min(Semaphore::MAX_PERMITS);
        Ok(Self {
            service,
            health: health(&base, &endpoint.health_path),
            base,
            client,
            calls: Arc::new(calls.clone()),
            turns: Arc::new(Semaphore::new(turns)),
            unknown,
            observer: Arc::clone(observer),
            breaker: Arc::new(Breaker::new(service, rules, Arc::clone(observer))),
        })
    }

    /// What the service answers at `endpoint`, a route such as `/api/v1/price/{ticker}` with `arguments`
    /// for what is in braces, which are encoded here; `None` if it does not know.
    ///
    /// `about` says in an error what was asked for.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        endpoint: &'static str,
        arguments: &[&str],
        about: &str,
    ) -> Result<Option<T>, upstream::Error> {
        // No URL can spell these as a segment, so nothing is kept under them.
        if arguments.iter().any(|argument| matches!(*argument, "." | "..")) {
            return Ok(None);
        }
        let call = Call { neighbour: self, endpoint, url: under(&self.base, &filled(endpoint, arguments)) };
        let called = |source: Source| Called { path: call.url.path().to_owned(), source };
        let malformed = |source: Source| self.malformed(about, called(source));
        let unanswered = |reason: NoAnswer| {
            let (is_of_time, retry_after) = (reason.is_of_time(), reason.retry_after());
            let (service, about, source) = (self.service, about.to_owned(), called(reason.into()).into());
            if is_of_time {
                upstream::Error::OutOfTime { service, about, retry_after, source }
            } else {
                upstream::Error::Unavailable { service, about, retry_after, source }
            }
        };
        let (answer, admission) = call.answer().await.map_err(unanswered)?;
        let found = match answer {
            Answer::Found(body) => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| malformed(Unreadable::from(error).into())),
            Answer::Unknown => Ok(None),
            Answer::Oversized => Err(malformed(Oversized.into())),
            Answer::Refused(status) => Err(malformed(UnexpectedStatus(status).into())),
        };
        match found {
            Ok(_) => admission.succeeded(),
            Err(_) => admission.answered(),
        }
        found
    }

    pub(crate) fn breaker_state(&self) -> (&'static str, BreakerState) {
        (self.service, self.breaker.state())
    }

    pub(crate) fn probe(&self) -> Box<dyn NeighbourProbe> {
        Box::new(Health {
            client: self.client.clone(),
            url: self.health.clone(),
            breaker: Arc::clone(&self.breaker),
        })
    }

    pub(crate) fn malformed(&self, about: &str, source: impl Into<Source>) -> upstream::Error {
        upstream::Error::Malformed { service: self.service, about: about.to_owned(), source: source.into() }
    }
}

/// Which call it was that came to nothing; the URL's host, which may stand beside a password, is not told.
#[derive(Debug, thiserror::Error)]
#[error("GET {path}")]
struct Called {
    path: String,
    source: Source,
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
    breaker: Arc<Breaker>,
}

#[async_trait]
impl Probe for Health {
    async fn check(&self) -> Result<(), Source> {
        let status = self.client.get(self.url.clone()).send().await?.status();
        if status.is_success() { Ok(()) } else { Err(UnexpectedStatus(status).into()) }
    }
}

impl NeighbourProbe for Health {
    fn breaker(&self) -> BreakerState {
        self.breaker.state()
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

/// The segments of a route, with `arguments` in place of what is in braces.
fn filled<'a>(endpoint: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = arguments.iter();
    let segments = endpoint.split('/').filter(|segment| !segment.is_empty());
    segments
        .map(|segment| match segment.strip_prefix('{') {
            Some(_) => *arguments.next().expect("one argument for each brace"),
            None => segment,
        })
        .collect()
}

fn client(calls: &Calls) -> reqwest::Result<Client> {
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
