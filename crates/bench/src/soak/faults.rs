//! What befalls the neighbours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use reqwest::Client;
use sandbox::{Failure, Failures, Malformed};
use tokio::time::{Instant, sleep};

use crate::neighbours::Neighbours;

/// Of the turns, those that make everybody well again.
const CALM: f64 = 0.35;

pub(super) struct Faults<'a> {
    client: &'a Client,
    neighbours: &'a Neighbours,
    counts: RefCell<BTreeMap<&'static str, u64>>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(client: &'a Client, neighbours: &'a Neighbours) -> Self {
        Self { client, neighbours, counts: RefCell::default() }
    }

    /// One neighbour after another, each as it comes.
    pub(super) async fn disturb(&self, mut rng: StdRng, until: Instant) -> Result<()> {
        loop {
            let next = Instant::now() + Duration::from_millis(rng.random_range(200..3_000));
            if until < next {
                return Ok(());
            }
            sleep(next - Instant::now()).await;
            if rng.random::<f64>() < CALM {
                self.recover().await?;
                continue;
            }
            let (_, url) = *self.neighbours.variables().choose(&mut rng).context("there are four")?;
            let (name, faults) = fault(&mut rng);
            *self.counts.borrow_mut().entry(name).or_default() += 1;
            let request = self.client.put(format!("{url}/sandbox/faults")).json(&faults);
            request.send().await?.error_for_status()?;
        }
    }

    pub(super) async fn recover(&self) -> Result<()> {
        for (_, url) in self.neighbours.variables() {
            self.client.delete(format!("{url}/sandbox/faults")).send().await?.error_for_status()?;
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }
}

fn fault(rng: &mut StdRng) -> (&'static str, sandbox::Faults) {
    let retry_after_seconds = rng.random_bool(0.5).then_some(1);
    let kinds = [
        ("outage", Failure::Outage),
        ("500", Failure::status(500)),
        ("503", Failure::Status { code: 503, retry_after_seconds }),
        ("429", Failure::Status { code: 429, retry_after_seconds }),
        ("lost answer", Failure::LostAnswer),
        ("broken off", Failure::BrokenOff),
        ("truncated", Failure::Malformed(Malformed::Truncated)),
        ("garbage", Failure::Malformed(Malformed::Garbage)),
        ("wrong types", Failure::Malformed(Malformed::WrongTypes)),
        ("wrong content type", Failure::Malformed(Malformed::WrongContentType)),
    ];
    // Slow as often as any two of them.
    if rng.random_range(0..6) == 0 {
        let latency = Duration::from_millis(rng.random_range(50..1_500));
        return ("slow", sandbox::Faults::latency(latency));
    }
    let (name, kind) = kinds[rng.random_range(..kinds.len())].clone();
    let rate = [0.05, 0.3, 1.0][rng.random_range(..3_usize)];
    (name, sandbox::Faults { latency: Duration::ZERO, failures: Some(Failures { rate, kind }) })
}
