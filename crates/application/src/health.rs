//! Whether the service and what it depends on are well.

use std::sync::RwLock;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::chain::Chain;
use crate::repository::Source;

/// Asks one dependency whether it is well.
#[async_trait]
pub trait Probe: Send + Sync {
    async fn check(&self) -> Result<(), Source>;
}

/// The last that was heard of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Not asked yet.
    Unknown,
    Healthy,
    Unhealthy,
}

pub struct Neighbour {
    /// As health reports name it, such as `pricing`.
    pub name: &'static str,
    pub probe: Box<dyn Probe>,
}

/// The store is asked whenever someone wants to know; the neighbours in the background, because a
/// slow one must not slow a report down.
pub struct Health {
    store: Box<dyn Probe>,
    neighbours: Vec<Neighbour>,
    conditions: RwLock<Vec<Condition>>,
}

/// What a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl Health {
    pub fn new(store: Box<dyn Probe>, neighbours: Vec<Neighbour>) -> Self {
        let conditions = RwLock::new(vec![Condition::Unknown; neighbours.len()]);
        Self { store, neighbours, conditions }
    }

    /// Asks the store now.
    pub async fn store(&self) -> Condition {
        condition("store", self.store.as_ref()).await
    }

    /// What was last heard of each neighbour.
    pub fn neighbours(&self) -> Vec<(&'static str, Condition)> {
        let conditions = self.conditions.read().expect("no holder of this lock panics");
        self.neighbours
            .iter()
            .zip(conditions.iter())
            .map(|(neighbour, condition)| (neighbour.name, *condition))
            .collect()
    }

    /// Asks the neighbours, over and over, until dropped.
    pub async fn watch(&self, pause: Duration) {
        loop {
            let asked =
                self.neighbours.iter().map(|neighbour| condition(neighbour.name, neighbour.probe.as_ref()));
            let conditions = join_all(asked).await;
            *self.conditions.write().expect("no holder of this lock panics") = conditions;
            tokio::time::sleep(pause).await;
        }
    }
}

async fn condition(name: &str, probe: &dyn Probe) -> Condition {
    match tokio::time::timeout(PROBE_TIMEOUT, probe.check()).await {
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
            Condition::Unhealthy
        }
    }
}
