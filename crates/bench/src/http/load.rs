//! The load: what the reference's own load generator asks, over and over, as many at once as there are
//! connections.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::neighbours::Neighbours;

/// The requests of one iteration, in their order.
pub(super) const STEPS: [&str; 4] =
    ["create a model of 10", "read the model", "rebalance its 3", "read the record"];
/// Which of them it is.
pub(super) const REBALANCE: usize = 2;

const POSITIONS: usize = 10;
const PORTFOLIOS: usize = 3;
const DRIFT: f64 = 0.005;

/// How much a price may rise between being looked at here and being rebalanced by.
const HEADROOM: f64 = 1.25;

/// What models are made of.
pub(super) struct World {
    securities: Vec<String>,
    portfolios: Vec<String>,
}

impl World {
    /// The securities, and the portfolios rich enough for each to have a whole share inside its band: a band
    /// is twice the drift wide.
    pub(super) async fn of(neighbours: &Neighbours, client: &Client) -> Result<Self> {
        let securities = neighbours.securities(client).await?;
        let dearest = securities.iter().map(|(_, price)| *price).fold(0.0, f64::max);
        let enough = dearest * HEADROOM / (2.0 * DRIFT);
        let portfolios = neighbours.portfolios(client).await?.into_iter();
        let portfolios: Vec<String> =
            portfolios.filter(|(_, cash)| enough <= *cash).map(|(id, _)| id).collect();
        let securities: Vec<String> = securities.into_iter().map(|(id, _)| id).collect();
        ensure!(POSITIONS <= securities.len(), "there are only {} priced securities", securities.len());
        ensure!(PORTFOLIOS <= portfolios.len(), "only {} portfolios have {enough} in cash", portfolios.len());
        Ok(Self { securities, portfolios })
    }

    /// Targets are multiples of 0.005 that add up to 0.95.
    pub(super) fn model(&self, rng: &mut StdRng) -> Value {
        let mut steps = [1_i32; POSITIONS];
        for _ in POSITIONS..190 {
            steps[rng.random_range(..POSITIONS)] += 1;
        }
        let chosen = self.securities.sample(rng, POSITIONS).zip(steps);
        let positions: Vec<Value> = chosen
            .map(|(security, steps)| {
                let target = f64::from(steps) / 200.0;
                json!({ "security_id": security, "target": target, "high_drift": DRIFT, "low_drift": DRIFT })
            })
            .collect();
        let portfolios: Vec<&String> = self.portfolios.sample(rng, PORTFOLIOS).collect();
        let name = format!("Model {:032x}", rng.random::<u128>());
        json!({ "name": name, "positions": positions, "portfolios": portfolios })
    }
}

/// How it went.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) iterations: u32,
    /// Those of each step that succeeded.
    pub(super) times: [Vec<Duration>; 4],
    pub(super) took: Duration,
    pub(super) errors: Vec<String>,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        self.iterations += other.iterations;
        for (times, more) in self.times.iter_mut().zip(other.times) {
            times.extend(more);
        }
        self.took += other.took;
        self.errors.extend(other.errors);
    }

    pub(super) fn rate(&self) -> f64 {
        f64::from(self.iterations) / self.took.as_secs_f64()
    }
}

/// Iterates so often, on all connections together.
pub(super) async fn drive(
    client: &Client,
    base: &str,
    world: &World,
    connections: usize,
    iterations: u32,
) -> Outcome {
    let left = Cell::new(iterations);
    let begun = Instant::now();
    let connection = async || {
        let mut rng = StdRng::from_rng(&mut rand::rng());
        let mut done = Outcome::default();
        while let Some(after) = left.get().checked_sub(1) {
            left.set(after);
            done.iterations += 1;
            if let Err(error) = iterate(client, base, &world.model(&mut rng), &mut done.times).await {
                done.errors.push(format!("{error:#}"));
            }
        }
        done
    };
    let done = join_all((0..connections).map(|_| connection())).await;
    let mut outcome = Outcome::default();
    for done in done {
        outcome.add(done);
    }
    outcome.took = begun.elapsed();
    outcome
}

/// The answers of one iteration, with the ids that stand in them.
pub(super) struct Answers {
    pub(super) model_id: String,
    pub(super) rebalance_id: String,
    pub(super) bodies: [Vec<u8>; 4],
}

pub(super) async fn iterate(
    client: &Client,
    base: &str,
    model: &Value,
    times: &mut [Vec<Duration>; 4],
) -> Result<Answers> {
    #[derive(Deserialize)]
    struct Model {
        model_id: String,
        positions: Vec<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Rebalanced {
        rebalance_id: String,
        /// The reference tells none.
        status: Option<String>,
        transactions: Vec<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Record {
        portfolios: Vec<IgnoredAny>,
    }
    let [create_times, read_times, rebalance_times, record_times] = times;

    let request = client.request(Method::POST, format!("{base}/api/v1/models")).json(model);
    let created = step(request, StatusCode::CREATED, create_times).await.context(STEPS[0])?;
    let Model { model_id, positions } = serde_json::from_slice(&created)?;
    ensure!(positions.len() == POSITIONS, "the model has {} positions", positions.len());

    let request = client.request(Method::GET, format!("{base}/api/v1/model/{model_id}"));
    let found = step(request, StatusCode::OK, read_times).await.context(STEPS[1])?;

    let request = client.request(Method::POST, format!("{base}/api/v1/model/{model_id}/rebalance"));
    let rebalanced = step(request, StatusCode::OK, rebalance_times).await.context(STEPS[2])?;
    let replies: Vec<Rebalanced> = serde_json::from_slice(&rebalanced)?;
    for reply in &replies {
        let is_done = reply.status.as_deref().is_none_or(|status| status == "REBALANCED");
        ensure!(is_done && !reply.transactions.is_empty(), "a portfolio was not rebalanced");
    }
    let rebalance_id = replies.into_iter().next().context("nothing was rebalanced")?.rebalance_id;

    let request = client.request(Method::GET, format!("{base}/api/v1/rebalance/{rebalance_id}"));
    let record = step(request, StatusCode::OK, record_times).await.context(STEPS[3])?;
    let Record { portfolios } = serde_json::from_slice(&record)?;
    ensure!(portfolios.len() == PORTFOLIOS, "the record has {} portfolios", portfolios.len());

    Ok(Answers { model_id, rebalance_id, bodies: [created, found, rebalanced, record] })
}

/// Until the last byte of the answer.
async fn step(request: RequestBuilder, expected: StatusCode, times: &mut Vec<Duration>) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    if status != expected {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    times.push(begun.elapsed());
    Ok(body.into())
}
