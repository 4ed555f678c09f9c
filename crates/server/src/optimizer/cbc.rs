//! CBC, in child processes of this program.

use std::sync::Arc;

use anyhow::Context;
use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::Answer;
use domain::order_generation::problem::Problem;
use optimizer_cbc::pool::WorkerCommand;
use optimizer_cbc::{CbcOptimizer, Config};
use optimizer_exact::ExactOptimizer;

use crate::compose::or_cores;
use crate::config::Rebalance;

/// The command by which this program becomes a worker.
pub(crate) const WORKER: &str = "optimizer-worker";

/// What the exact optimiser can do, it does at once; CBC does the rest.
pub(crate) struct Auto {
    pub(crate) exact: ExactOptimizer,
    pub(crate) cbc: CbcOptimizer,
}

#[async_trait]
impl Optimizer for Auto {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        match self.exact.solve(Arc::clone(&problem)).await {
            Err(OptimizerError::Unsupported(_)) => self.cbc.solve(problem).await,
            answer => answer,
        }
    }
}

/// To be called in a runtime that outlives the last solve.
pub(crate) fn optimizer(config: &Rebalance) -> anyhow::Result<CbcOptimizer> {
    let program = match &config.worker_program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cbc needs to know where this program is")?,
    };
    Ok(CbcOptimizer::new(Config {
        worker: WorkerCommand { program, arguments: vec![WORKER.into()] },
        workers: or_cores(config.optimization_workers),
        timeout: config.optimization_timeout,
    }))
}

/// Solves what comes by standard input until that ends.
pub(crate) fn work() -> anyhow::Result<()> {
    optimizer_cbc::worker::serve().context("the optimiser's worker")
}
