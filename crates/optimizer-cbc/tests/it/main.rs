#![expect(clippy::unwrap_used, reason = "Clippy sees no test in the helpers of one")]

mod classes;
mod crashes;
mod pool;
mod programs;
mod relaxation;
mod rules;
mod scripted;
mod worker;

use std::time::Duration;

use domain::order_generation::problem::Problem;
use optimizer_cbc::pool::WorkerCommand;
use optimizer_cbc::{CbcOptimizer, Config};

const AMPLE: Duration = Duration::from_mins(1);

port_contracts::optimizer!(async { (cbc(Duration::from_secs(5)), ()) });

fn cbc(timeout: Duration) -> CbcOptimizer {
    CbcOptimizer::new(Config { worker: real_worker(), workers: 2, timeout })
}

fn real_worker() -> WorkerCommand {
    WorkerCommand { program: env!("CARGO_BIN_EXE_optimizer-worker").into(), arguments: Vec::new() }
}

fn is_half_a_cent(problem: &Problem, at_most: i128) -> bool {
    at_most * 1_000 <= 5 * 10_i128.pow(problem.scale())
}
