use std::sync::Arc;
use std::time::Duration;

use application::chain::Chain;
use application::order_generation::ports::{Optimizer, OptimizerError};
use domain::order_generation::problem::Problem;
use optimizer_cbc::{CbcOptimizer, Config};
use port_contracts::optimizer::classes::Class;
use port_contracts::optimizer::portfolio::Portfolio;
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::scripted::Scripted;

fn optimizer(scripted: &Scripted, timeout: Duration) -> CbcOptimizer {
    CbcOptimizer::new(Config { worker: scripted.command.clone(), workers: 1, timeout })
}

fn problem() -> Arc<Problem> {
    Arc::new(Portfolio::large(0).problem().unwrap())
}

#[tokio::test]
async fn an_abort_of_the_solver_is_told_and_the_next_problem_solved() {
    let scripted = Scripted::first("read -r line; kill -ABRT $$");
    let optimizer = optimizer(&scripted, crate::AMPLE);

    let lost = optimizer.solve(problem()).await.unwrap_err();
    let next = optimizer.solve(problem()).await;

    assert_eq!(Chain(&lost).to_string(), "the optimiser broke down: a worker was killed by signal 6");
    problem().verify(&next.unwrap()).unwrap();
}

#[tokio::test]
async fn a_hang_of_the_solver_is_cut_off_in_time_and_the_next_problem_solved() {
    let scripted = Scripted::first("read -r line; exec sleep 1000");
    let optimizer = optimizer(&scripted, Duration::from_secs(3));
    let started = Instant::now();

    let late = optimizer.solve(problem()).await;
    let took = started.elapsed();
    let next = optimizer.solve(problem()).await;

    assert!(matches!(late, Err(OptimizerError::OutOfTime)), "{late:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    problem().verify(&next.unwrap()).unwrap();
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_solve_is_told_and_the_next_problem_solved() {
    let scripted = Scripted::real();
    let optimizer = optimizer(&scripted, crate::AMPLE);
    let hard = Arc::new(Class::Forced8.portfolio(100, 1).problem().unwrap());
    let started = Instant::now();

    let kill = async {
        let worker = scripted.worker().await;
        sleep(Duration::from_millis(500)).await;
        kill_process(worker, Signal::KILL).unwrap();
    };
    let (lost, ()) = tokio::join!(optimizer.solve(hard), kill);
    let took = started.elapsed();
    let next = optimizer.solve(problem()).await;

    let lost = Chain(&lost.unwrap_err()).to_string();
    assert_eq!(lost, "the optimiser broke down: a worker was killed by signal 9");
    assert!(took < crate::AMPLE / 4, "{took:?}");
    problem().verify(&next.unwrap()).unwrap();
}
