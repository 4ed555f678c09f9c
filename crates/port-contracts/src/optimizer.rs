//! What every optimiser must do, and the one that it is measured by.

pub mod brute_force;
pub mod portfolio;

use std::sync::Arc;

use application::order_generation::ports::{Optimizer, OptimizerError};
use domain::order_generation::optimum::Answer;
use domain::order_generation::problem::Problem;
use domain::order_generation::rebalance::PortfolioRebalance;

use brute_force::BruteForceOptimizer;
use portfolio::Portfolio;

/// Runs every clause on a fresh optimiser made by the expression.
#[macro_export]
macro_rules! optimizer {
    ($setup:expr) => {
        mod optimizer {
            use super::*;

            $crate::optimizer!(
                $setup;
                tiny_problems_are_answered_as_by_brute_force
                equal_problems_have_equal_answers
                large_problems_are_answered_soundly_or_not_at_all
                a_caller_who_leaves_harms_no_other
            );
        }
    };
    ($setup:expr; $($clause:ident)+) => {
        $(
            #[tokio::test]
            async fn $clause() {
                $crate::optimizer::$clause(&$setup).await;
            }
        )+
    };
}

pub async fn tiny_problems_are_answered_as_by_brute_force(optimizer: &dyn Optimizer) {
    for (seed, problem) in tiny_problems().take(300) {
        let best = BruteForceOptimizer.solve(Arc::clone(&problem)).await.expect("few choices");

        let answer = optimizer.solve(Arc::clone(&problem)).await.expect("a tiny problem has an answer");

        assert_eq!(answer.quantities, best.quantities, "seed {seed}");
        assert_eq!(answer.lower_bound, best.lower_bound, "seed {seed}");
    }
}

pub async fn equal_problems_have_equal_answers(optimizer: &dyn Optimizer) {
    for (seed, problem) in tiny_problems().take(50) {
        let copy = Arc::new(problem.as_ref().clone());

        let answers = [optimizer.solve(problem).await, optimizer.solve(copy).await];

        let [answer, again] = answers.map(|answer| answer.expect("a tiny problem has an answer"));
        assert_eq!(answer, again, "seed {seed}");
    }
}

pub async fn large_problems_are_answered_soundly_or_not_at_all(optimizer: &dyn Optimizer) {
    for seed in 0..20 {
        let problem = Arc::new(Portfolio::large(seed).problem().expect("cash for the minimums"));

        match optimizer.solve(Arc::clone(&problem)).await {
            Ok(answer) => {
                let optimality = accepted(&problem, &answer).optimality;
                assert!(optimality.lower_bound <= optimality.objective, "seed {seed}");
            }
            Err(OptimizerError::OutOfTime) => {}
            Err(OptimizerError::Broken { source }) => panic!("seed {seed}: {source}"),
        }
    }
}

pub async fn a_caller_who_leaves_harms_no_other(optimizer: &dyn Optimizer) {
    for seed in 0..20 {
        let problem = Arc::new(Portfolio::large(seed).problem().expect("cash for the minimums"));
        let caller = optimizer.solve(problem);
        let _left = tokio::time::timeout(std::time::Duration::ZERO, caller).await;
    }

    let (_, problem) = tiny_problems().next().expect("some tiny problem has a solution");
    let answer = optimizer.solve(Arc::clone(&problem)).await.expect("a tiny problem has an answer");

    accepted(&problem, &answer);
}

fn tiny_problems() -> impl Iterator<Item = (u64, Arc<Problem>)> {
    (0..).filter_map(|seed| Some((seed, Arc::new(Portfolio::tiny(seed).problem().ok()?))))
}

fn accepted(problem: &Problem, answer: &Answer) -> PortfolioRebalance {
    let portfolio = "portfolio".parse().expect("a portfolio id");
    problem.accept(answer, portfolio).expect("a sound answer")
}
