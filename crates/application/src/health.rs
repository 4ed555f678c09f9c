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

/// Asks a neighbour, and tells whether we call it at all.
#[async_trait]
pub trait NeighbourProbe: Probe {
    fn breaker(&self) -> BreakerState;
}

/// Whether a neighbour is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// It is.
    Closed,
    /// A few calls find out whether it is back; others wait until they have.
    HalfOpen,
    /// It is not: calls fail at once.
    Open,
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

/// What was last heard of a neighbour, and whether it is called now: the probe is no call, and may find
/// it well before the breaker does.
#[derive(Debug, Clone, Copy)]
pub struct NeighbourHeard {
    pub answers: Heard,
    pub breaker: BreakerState,
}

/// Something of each neighbour.
pub struct Neighbours<T> {
    pub portfolio_accounting: T,
    pub pricing: T,
    pub portfolio: T,
    pub security: T,
}

impl<T> Neighbours<T> {
    /// `of` is told the neighbour's name, such as `pricing`.
    pub fn map<U>(self, of: impl Fn(&'static str, T) -> U) -> Neighbours<U> {
        Neighbours {
            portfolio_accounting: of("portfolio_accounting", self.portfolio_accounting),
            pricing: of("pricing", self.pricing),
            portfolio: of("portfolio", self.portfolio),
            security: of("security", self.security),
        }
    }

    fn as_ref(&self) -> Neighbours<&T> {
        Neighbours {
            portfolio_accounting: &self.portfolio_accounting,
            pricing: &self.pricing,
            portfolio: &self.portfolio,
            security: &self.security,
        }
    }
}

/// The store is asked whenever someone wants to know; the neighbours in the background, because a
/// slow one must not slow a report down.
pub struct Health {
    store: Box<dyn StoreProbe>,
    neighbours: Neighbours<Watched>,
}

struct Watched {
    name: &'static str,
    probe: Box<dyn NeighbourProbe>,
    heard: RwLock<Heard>,
}

/// What a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl Health {
    pub fn new(store: Box<dyn StoreProbe>, neighbours: Neighbours<Box<dyn NeighbourProbe>>) -> Self {
        let watched = |name, probe| Watched { name, probe, heard: RwLock::new(Heard::NOTHING) };
        Self { store, neighbours: neighbours.map(watched) }
    }

    /// Asks the store now.
    pub async fn store(&self) -> StoreHeard {
        let answers = heard("store", Condition::Unknown, self.store.check()).await;
        let prepared = match answers.condition {
            Condition::Healthy => {
                heard("store", Condition::Unknown, self.store.check_prepared()).await.condition
            }
            Condition::Unknown | Condition::Unhealthy | Condition::Silent => Condition::Unknown,
        };
        StoreHeard { answers, prepared }
    }

    /// What was last heard of each neighbour.
    pub fn neighbours(&self) -> Neighbours<NeighbourHeard> {
        self.neighbours.as_ref().map(|_, it| NeighbourHeard {
            answers: *it.heard.read().expect("no holder of this lock panics"),
            breaker: it.probe.breaker(),
        })
    }

    /// Asks the neighbours, over and over, until dropped.
    pub async fn watch(&self, pause: Duration) {
        loop {
            let Neighbours { portfolio_accounting, pricing, portfolio, security } = &self.neighbours;
            join_all([portfolio_accounting, pricing, portfolio, security].map(Watched::ask)).await;
            tokio::time::sleep(pause).await;
        }
    }
}

impl Watched {
    async fn ask(&self) {
        let before = self.heard.read().expect("no holder of this lock panics").condition;
        let now = heard(self.name, before, self.probe.check()).await;
        *self.heard.write().expect("no holder of this lock panics") = now;
    }
}

/// Tells the log of what has changed since `before`; that it goes on is in the reports.
async fn heard(name: &str, before: Condition, answer: impl Future<Output = Result<(), Source>>) -> Heard {
    let asked = Instant::now();
    let answer = tokio::time::timeout(PROBE_TIMEOUT, answer).await;
    let condition = match &answer {
        Ok(Ok(())) => Condition::Healthy,
        Ok(Err(_)) => Condition::Unhealthy,
        Err(_) => Condition::Silent,
    };
    if condition != before {
        match answer {
            Ok(Err(error)) => {
                tracing::warn!(dependency = name, error = %Chain(&*error), "dependency is unhealthy");
            }
            Err(_) => {
                tracing::warn!(dependency = name, timeout = ?PROBE_TIMEOUT, "dependency did not answer in time");
            }
            Ok(Ok(())) if before != Condition::Unknown => {
                tracing::info!(dependency = name, "dependency is well again");
            }
            Ok(Ok(())) => {}
        }
    }
    let took = (condition != Condition::Silent).then(|| asked.elapsed());
    Heard { condition, took, at: Some(Instant::now()) }
}
