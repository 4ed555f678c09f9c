//! The optimiser that ships: the domain's exact solver, kept off the async executor.

use std::sync::Arc;
use std::time::Duration;

use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::{Answer, Limits, optimum, optimum_at_once};
use domain::order_generation::problem::Problem;
use tokio::sync::Semaphore;
use tokio::task;
use tokio::time::timeout;

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Problems searched at the same time; at least one.
    pub workers: usize,
    /// How long a problem may wait for a worker and be searched.
    pub timeout: Duration,
}

pub struct ExactOptimizer {
    workers: Arc<Semaphore>,
    timeout: Duration,
}

impl ExactOptimizer {
    pub fn new(config: &Config) -> Self {
        Self { workers: Arc::new(Semaphore::new(config.workers.max(1))), timeout: config.timeout }
    }

    /// A search nobody waits for any more keeps its worker until its limits end it.
    async fn search(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        let worker = Arc::clone(&self.workers).acquire_owned().await.map_err(broken)?;
        task::spawn_blocking(move || {
            let _worker = worker;
            optimum(&problem, Limits::default())
        })
        .await
        .map_err(broken)
    }
}

#[async_trait]
impl Optimizer for ExactOptimizer {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        // Most problems end here, in less time than it takes to reach another thread.
        if let Some(answer) = optimum_at_once(&problem) {
            return Ok(answer);
        }
        timeout(self.timeout, self.search(problem)).await.unwrap_or(Err(OptimizerError::OutOfTime))
    }
}

fn broken(source: impl std::error::Error + Send + Sync + 'static) -> OptimizerError {
    OptimizerError::Broken { source: Box::new(source) }
}
