//! Whether the service and what it depends on are well.

use std::future::Future;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::chain::Chain;
use crate::repository::Source;

/// Asks one dependency whether it is well.
#[async_trait]
pub trait Probe: Send + Sync {
    async fn check(&self) -> Result<(), Source>;
}

/// Asks a store for more than an answer.
#[async_trait]
pub trait StoreProbe: Probe {
    /// Whether its tables or indexes are as this program needs them. What is lacking may be made.
    async fn check_prepared(&self) -> Result<(), Source>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Not asked yet.
    Unknown,
    Healthy,
    Unhealthy,
    /// No answer in time.
    Silent,
}

/// What was last heard of a dependency.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    pub condition: Condition,
    /// How long the answer took, if there was one.
    pub took: Option<Duration>,
    /// When that was; `None` if it was not asked yet.
    pub at: Option<Instant>,
}

impl Heard {
    const NOTHING: Self = Self { condition: Condition::Unknown, took: None, at: None };
}

/// A store that answers may still lack its tables.
#[derive(Debug, Clone, Copy)]
pub struct StoreHeard {
    pub answers: Heard,
    pub prepared: Condition,
}

impl StoreHeard {
    pub fn is_well(&self) -> bool {
        self.answers.condition == Condition::Healthy && self.prepared == Condition::Healthy
    }
}

pub struct Neighbour {
    /// As health reports name it, such as `pricing`.
    pub name: &'static str,
    pub probe: Box<dyn Probe>,
}

/// The store is asked whenever someone wants to know; the neighbours in the background, because a
/// slow one must not slow a report down.
pub struct Health {
    store: Box<dyn StoreProbe>,
    neighbours: Vec<Neighbour>,
    heard: RwLock<Vec<Heard>>,
}

/// What a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl Health {
    pub fn new(store: Box<dyn StoreProbe>, neighbours: Vec<Neighbour>) -> Self {
        let heard = RwLock::new(vec![Heard::NOTHING; neighbours.len()]);
        Self { store, neighbours, heard }
    }

    /// Asks the store now.
    pub async fn store(&self) -> StoreHeard {
        let answers = heard("store", self.store.check()).await;
        let prepared = match answers.condition {
            Condition::Healthy => heard("store", self.store.check_prepared()).await.condition,
            Condition::Unknown | Condition::Unhealthy | Condition::Silent => Condition::Unknown,
        };
        StoreHeard { answers, prepared }
    }

    /// What was last heard of each neighbour.
    pub fn neighbours(&self) -> Vec<(&'static str, Heard)> {
        let heard = self.heard.read().expect("no holder of this lock panics");
        self.neighbours.iter().zip(heard.iter()).map(|(neighbour, heard)| (neighbour.name, *heard)).collect()
    }

    /// Asks the neighbours, over and over, until dropped.
    pub async fn watch(&self, pause: Duration) {
        loop {
            let asked =
                self.neighbours.iter().map(|neighbour| heard(neighbour.name, neighbour.probe.check()));
            let heard = join_all(asked).await;
            *self.heard.write().expect("no holder of this lock panics") = heard;
            tokio::time::sleep(pause).await;
        }
    }
}

async fn heard(name: &str, answer: impl Future<Output = Result<(), Source>>) -> Heard {
    let asked = Instant::now();
    let condition = match tokio::time::timeout(PROBE_TIMEOUT, answer).await {
        Ok(Ok(())) => Condition::Healthy,
        Ok(Err(error)) => {
            tracing::warn!(
                dependency = name,
                error = %Chain(&*error),
                "dependency is unhealthy"
            );
            Condition::Unhealthy
        }
        Err(_) => {
            tracing::warn!(dependency = name, timeout = ?PROBE_TIMEOUT, "dependency did not answer in time");
            Condition::Silent
        }
    };
    let took = (condition != Condition::Silent).then(|| asked.elapsed());
    Heard { condition, took, at: Some(Instant::now()) }
}
