//! The optimiser that ships: the domain's exact solver, kept off the async executor.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::{Answer, Limits, NeedsBranching, Solver, optimum_at_once};
use domain::order_generation::problem::Problem;
use tokio::sync::Semaphore;
use tokio::task;
use tokio::time::timeout;

thread_local! {
    /// Each worker keeps its room from one problem to the next.
    static SOLVER: RefCell<Solver> = RefCell::new(Solver::new(Limits::default()));
}

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
        let workers = config.workers.clamp(1, Semaphore::MAX_PERMITS);
        Self { workers: Arc::new(Semaphore::new(workers)), timeout: config.timeout }
    }

    /// Work that nobody waits for any more keeps its worker until it is done.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OptimizerError> {
        let on_worker = async {
            let worker = Arc::clone(&self.workers).acquire_owned().await.map_err(broken)?;
            let work = move || {
                let _worker = worker;
                work()
            };
            task::spawn_blocking(work).await.map_err(broken)
        };
        timeout(self.timeout, on_worker).await.unwrap_or(Err(OptimizerError::OutOfTime))
    }
}

#[async_trait]
impl Optimizer for ExactOptimizer {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        // For 100 positions half a microsecond here and 20 us by way of a worker. A search mostly takes less
        // than that, but some take tens of milliseconds.
        if let Some(answer) = optimum_at_once(&problem) {
            return Ok(answer);
        }
        let answer =
            self.work(move || SOLVER.with_borrow_mut(|solver| solver.solve(&problem).cloned())).await?;
        answer.map_err(|NeedsBranching(rule)| OptimizerError::Unsupported(rule))
    }
}

fn broken(source: impl std::error::Error + Send + Sync + 'static) -> OptimizerError {
    OptimizerError::Broken { source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn single_worker(timeout: Duration) -> ExactOptimizer {
        ExactOptimizer::new(&Config { workers: 1, timeout })
    }

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_no_worker() {
        let optimizer = single_worker(Duration::from_mins(1));

        let failed = optimizer.work(|| panic!("a fault of the solver")).await;
        let next = optimizer.work(|| 7).await;

        assert!(matches!(failed, Err::<(), _>(OptimizerError::Broken { .. })));
        assert_eq!(next.unwrap(), 7);
    }

    #[tokio::test]
    async fn an_answer_late_or_stuck_behind_a_late_one_is_not_waited_for() {
        let optimizer = single_worker(Duration::from_millis(20));
        let (release, released) = mpsc::channel();

        let late = optimizer.work(move || released.recv().unwrap()).await;
        let stuck = optimizer.work(|| ()).await;
        release.send(()).unwrap();

        assert!(matches!(late, Err(OptimizerError::OutOfTime)));
        assert!(matches!(stuck, Err(OptimizerError::OutOfTime)));
    }
}
