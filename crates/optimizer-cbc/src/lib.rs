//! The optimiser on COIN-OR CBC, in worker processes: whatever its C++ does, an abort, a hang or a limit
//! overrun, costs one answer and never the service.

// Nothing names it, but without it the libraries that it compiled are not linked.
extern crate cbc_src as _;

pub mod formulation;
pub mod pool;
pub mod program;
mod solver;
pub mod worker;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::{Answer, Method};
use domain::order_generation::problem::{JointRules, Problem};
use tokio::time::Instant;

use formulation::{Formulation, Limits};
use pool::{Pool, WorkerCommand};
use program::{Outcome, Solution};

/// An answer may break a limit by a hair. That more than one tightening is needed was never seen.
const ATTEMPTS: usize = 3;

#[derive(Debug, Clone)]
pub struct Config {
    pub worker: WorkerCommand,
    /// Problems solved at the same time, each in a process of its own; at least one.
    pub workers: usize,
    /// How long a problem may wait for a worker and be solved.
    pub timeout: Duration,
}

/// Equal problems have equal answers as long as CBC needs less time than there is.
pub struct CbcOptimizer {
    pool: Pool,
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("CBC gave up: {0}")]
    GaveUp(String),
    #[error("CBC finds no least objective")]
    Unbounded,
    #[error("CBC finds no solution where there is one")]
    NoSolution,
}

impl CbcOptimizer {
    /// To be called in a runtime that outlives the last solve.
    pub fn new(config: Config) -> Self {
        Self { pool: Pool::new(config.worker, config.workers), timeout: config.timeout }
    }

    async fn solution(
        &self,
        formulation: &Formulation<'_>,
        deadline: Instant,
    ) -> Result<Option<Solution>, OptimizerError> {
        let outcome = self.pool.solve(formulation.program().clone(), deadline).await;
        match outcome.map_err(lost)? {
            Outcome::Optimal(solution) | Outcome::Stopped(solution) => Ok(Some(solution)),
            Outcome::StoppedWithout => Err(OptimizerError::OutOfTime),
            Outcome::Infeasible => Ok(None),
            Outcome::Unbounded => Err(broken(Fault::Unbounded)),
            Outcome::Abandoned { said } => Err(broken(Fault::GaveUp(said))),
        }
    }
}

#[async_trait]
impl Optimizer for CbcOptimizer {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        let deadline = Instant::now() + self.timeout;
        let mut limits = Limits::of(&problem);
        let mut first_bound = None;
        let mut attempts = 0;
        loop {
            let formulation = Formulation::new(&limits);
            let Some(solution) = self.solution(&formulation, deadline).await? else {
                let may_have_none = first_bound.is_none() && has_joint_limits(problem.joint_rules());
                let none = OptimizerError::NoSolution;
                return Err(if may_have_none { none } else { broken(Fault::NoSolution) });
            };
            let quantities = formulation.lots(&solution);
            // Only the first program allows all that the problem does.
            let bound = *first_bound.get_or_insert_with(|| formulation.lower_bound(&solution));
            let lower_bound = bound.min(problem.objective(&quantities));
            let answer = Answer { quantities, lower_bound, method: Method::Cbc };

            let Err(unsound) = problem.verify(&answer) else { return Ok(answer) };

            attempts += 1;
            if attempts == ATTEMPTS || !limits.tighten(&answer.quantities) {
                return Err(broken(unsound));
            }
        }
    }
}

/// Without them every problem has a solution.
fn has_joint_limits(joint: &JointRules) -> bool {
    let JointRules { ticket_fee: _, maximum_trades, maximum_turnover, maximum_positions, groups } = joint;
    maximum_trades.is_some()
        || maximum_turnover.is_some()
        || maximum_positions.is_some()
        || !groups.is_empty()
}

fn lost(error: pool::Error) -> OptimizerError {
    match error {
        pool::Error::OutOfTime => OptimizerError::OutOfTime,
        pool::Error::Unstartable { .. } | pool::Error::Lost { .. } | pool::Error::Unreadable { .. } => {
            broken(error)
        }
    }
}

fn broken(source: impl Error + Send + Sync + 'static) -> OptimizerError {
    OptimizerError::Broken { source: Box::new(source) }
}
