//! The way to the service: every answer is counted, and held against what its interface promises.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::trouble::Trouble;
use super::{ATTEMPTS, DEADLINE, HELD};
use crate::neighbours::Neighbours;

const INTERFACE: &str = include_str!("../../../../docs/openapi/order-generation.json");

/// What an answer may take beyond the deadline of the calls that it needs, on a machine as busy as this.
const SLACK: Duration = Duration::from_secs(4);

/// How often the neighbours are asked how they are.
const PROBES_PER_SECOND: u64 = 1;

/// What there is to make models of.
pub(super) struct World {
    pub(super) securities: Vec<String>,
    pub(super) portfolios: Vec<String>,
}

impl World {
    pub(super) async fn of(neighbours: &Neighbours, client: &Client) -> Result<Self> {
        let securities = neighbours.securities(client).await?;
        let securities = securities.into_iter().map(|(id, _)| id).collect();
        Ok(Self { securities, portfolios: neighbours.portfolio_ids(client).await? })
    }
}

pub(super) const MODELS: &str = "/api/v1/models";
pub(super) const MODEL: &str = "/api/v1/model/{model_id}";
pub(super) const FOLLOWERS: &str = "/api/v1/model/{model_id}/portfolio";
pub(super) const REBALANCE_MODEL: &str = "/api/v1/model/{model_id}/rebalance";
pub(super) const REBALANCE_PORTFOLIO: &str = "/api/v1/portfolio/{portfolio_id}/rebalance";
pub(super) const REBALANCES: &str = "/api/v1/rebalances";
pub(super) const REBALANCE: &str = "/api/v1/rebalance/{rebalance_id}";
pub(super) const EVENTS: &str = "/api/v1/rebalance/{rebalance_id}/events";

/// An answer, whole.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let text = || String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        serde_json::from_slice(&self.body).with_context(text)
    }

    /// Of a problem.
    pub(super) fn code(&self) -> String {
        let code = |body: Value| body["code"].as_str().map(ToOwned::to_owned);
        self.json().ok().and_then(code).unwrap_or_default()
    }

    pub(super) fn retry_after(&self) -> Duration {
        let seconds = self.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        Duration::from_secs(seconds.unwrap_or(1))
    }
}

/// How a kept rebalance is expected to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Completed,
    /// Accepted: whatever it came to, it came to an end.
    Ended,
    Cancelled,
    Deleted,
}

pub(super) struct Desk<'a> {
    pub(super) client: &'a Client,
    pub(super) base: String,
    pub(super) trouble: &'a Trouble,
    statuses: BTreeMap<(String, String), BTreeSet<u16>>,
    counts: RefCell<BTreeMap<(&'static str, String), u64>>,
    slowest: Cell<Duration>,
    deaths: Cell<u64>,
    is_down: Cell<bool>,
    /// The rebalances that were answered for.
    pub(super) kept: RefCell<BTreeMap<String, Expected>>,
    /// How many may be kept that nobody was told of.
    pub(super) untold: Cell<u64>,
    /// Of portfolios and of securities: the most that rebalances had to ask for, and how many rebalances.
    asked: Cell<[u64; 3]>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(client: &'a Client, base: &str, trouble: &'a Trouble) -> Result<Self> {
        #[derive(Deserialize)]
        struct Interface {
            paths: BTreeMap<String, BTreeMap<String, Operation>>,
        }
        #[derive(Deserialize)]
        struct Operation {
            responses: BTreeMap<String, Value>,
        }
        let mut statuses = BTreeMap::new();
        for (path, operations) in serde_json::from_str::<Interface>(INTERFACE)?.paths {
            for (method, operation) in operations {
                let of_it = operation.responses.keys().map(|status| status.parse());
                let of_it = of_it.collect::<Result<BTreeSet<u16>, _>>()?;
                statuses.insert((method.to_uppercase(), path.clone()), of_it);
            }
        }
        ensure!(statuses.contains_key(&("GET".to_owned(), REBALANCE.to_owned())), "another interface");
        Ok(Self {
            client,
            base: base.to_owned(),
            trouble,
            statuses,
            counts: RefCell::default(),
            slowest: Cell::default(),
            deaths: Cell::default(),
            is_down: Cell::default(),
            kept: RefCell::default(),
            untold: Cell::default(),
            asked: Cell::default(),
        })
    }

    pub(super) fn request(&self, method: Method, path: &str, id: &str, query: &str) -> RequestBuilder {
        let path = match path.split_once('{') {
            Some((before, after)) => {
                let (_, after) = after.split_once('}').unwrap_or_default();
                format!("{before}{id}{after}")
            }
            None => path.to_owned(),
        };
        self.client.request(method, format!("{}{path}{query}", self.base))
    }

    /// `None` if the service died meanwhile: nobody knows what became of it.
    pub(super) async fn ask(
        &self,
        what: &'static str,
        path: &'static str,
        request: RequestBuilder,
    ) -> Result<Option<Reply>> {
        self.until_up().await;
        let begun = Instant::now();
        let reply = self.follow(what, path, request).await?;
        let took = begun.elapsed();
        self.slowest.set(self.slowest.get().max(took));
        if DEADLINE + SLACK < took {
            self.trouble.note("an answer too late", format!("{what} after {took:.1?}"));
        }
        Ok(reply)
    }

    /// The same of an answer that takes as long as a rebalance does.
    pub(super) async fn follow(
        &self,
        what: &'static str,
        path: &'static str,
        request: RequestBuilder,
    ) -> Result<Option<Reply>> {
        self.until_up().await;
        let (client, request) = request.build_split();
        let request = request?;
        let method = request.method().to_string();
        let deaths = self.deaths.get();
        let answered = async {
            let response = client.execute(request).await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>(Reply { status, headers, body: response.bytes().await?.into() })
        };
        let reply = match answered.await {
            Ok(reply) => reply,
            Err(_) if self.is_down.get() || deaths != self.deaths.get() => {
                self.count(what, "the service died");
                return Ok(None);
            }
            Err(error) => {
                self.trouble.note("no answer", format!("{what}: {error:?}"));
                self.count(what, "no answer");
                return Ok(None);
            }
        };
        self.look_at(what, &method, path, &reply);
        Ok(Some(reply))
    }

    async fn until_up(&self) {
        while self.is_down.get() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn look_at(&self, what: &'static str, method: &str, path: &str, reply: &Reply) {
        let Reply { status, headers, body } = reply;
        let text = || format!("{what}: {status} {}", String::from_utf8_lossy(&body[..body.len().min(400)]));
        let documented = self.statuses.get(&(method.to_owned(), path.to_owned()));
        if !documented.is_some_and(|statuses| statuses.contains(status)) {
            self.trouble.note("a status that is not in the description", text());
        }
        if !headers.contains_key("x-correlation-id") {
            self.trouble.note("no correlation id", text());
        }
        if *status < 400 {
            return self.count(what, &status.to_string());
        }
        self.count(what, &format!("{status} {}", reply.code()));
        if 500 <= *status && *status != 503 {
            self.trouble.note("a failure of the service's own", text());
        }
        if *status == 503 && !headers.contains_key("retry-after") {
            self.trouble.note("a 503 that does not say when to come back", text());
        }
        if let Err(error) = well_formed(reply) {
            self.trouble.note("a malformed problem", format!("{error}: {}", text()));
        }
    }

    fn count(&self, what: &'static str, outcome: &str) {
        *self.counts.borrow_mut().entry((what, outcome.to_owned())).or_default() += 1;
    }

    /// Notes an answer that was not to be expected.
    pub(super) fn surprise(&self, what: &'static str, reply: &Reply) {
        let body = String::from_utf8_lossy(&reply.body[..reply.body.len().min(400)]);
        self.trouble
            .note("an answer that was not to be expected", format!("{what}: {} {body}", reply.status));
    }

    pub(super) fn keep(&self, rebalance: &str, expected: Expected) {
        self.kept.borrow_mut().insert(rebalance.to_owned(), expected);
    }

    pub(super) fn nobody_knows(&self) {
        self.untold.set(self.untold.get() + 1);
    }

    /// A rebalance of so many portfolios by a model of so many positions is asked for.
    pub(super) fn asks_for(&self, portfolios: usize, positions: usize, world: &World) {
        let securities = world.securities.len().min(positions + portfolios * HELD) as u64;
        let [all_portfolios, all_securities, rebalances] = self.asked.get();
        self.asked.set([all_portfolios + portfolios as u64, all_securities + securities, rebalances + 1]);
    }

    pub(super) fn goes_down(&self) {
        self.deaths.set(self.deaths.get() + 1);
        self.is_down.set(true);
    }

    pub(super) fn is_up(&self) {
        self.is_down.set(false);
    }

    pub(super) fn deaths(&self) -> u64 {
        self.deaths.get()
    }

    pub(super) fn slowest(&self) -> Duration {
        self.slowest.get()
    }

    pub(super) fn counts(&self) -> BTreeMap<(&'static str, String), u64> {
        self.counts.borrow().clone()
    }

    pub(super) fn rebalances(&self) -> u64 {
        self.asked.get()[2]
    }

    /// Without any cache, and with every attempt failed: what rebalances may cost each neighbour at most, as
    /// accounting, security, pricing and portfolio are counted.
    pub(super) fn most_calls(&self, took: Duration) -> [u64; 4] {
        let [portfolios, securities, rebalances] = self.asked.get();
        let probes = took.as_secs() * PROBES_PER_SECOND;
        [
            ATTEMPTS * portfolios + probes,
            ATTEMPTS * securities + probes,
            ATTEMPTS * (securities + rebalances) + probes,
            // A name is asked for once.
            portfolios + probes,
        ]
    }

    pub(super) fn expect_calls(&self, calls: [u64; 4], took: Duration) {
        if calls.iter().zip(self.most_calls(took)).any(|(calls, most)| most < *calls) {
            self.trouble
                .note("a storm of calls", format!("{calls:?}, and at most {:?}", self.most_calls(took)));
        }
    }
}

fn well_formed(reply: &Reply) -> Result<()> {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(rename = "type")]
        kind: String,
        title: String,
        status: u16,
        detail: String,
        code: String,
        correlation_id: String,
    }
    let media = reply.headers.get("content-type").and_then(|value| value.to_str().ok());
    ensure!(media == Some("application/problem+json"), "it is {media:?}");
    let Problem { kind, title, status, detail, code, correlation_id } = reply.json()?;
    ensure!(status == reply.status, "it says {status}");
    ensure!(kind == format!("urn:globeco:problem:{code}"), "its type is {kind}");
    ensure!(![title, detail, code, correlation_id].iter().any(String::is_empty), "it says nothing");
    Ok(())
}
