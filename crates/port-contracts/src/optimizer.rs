//! What every optimiser must do, and the one that it is measured by.

pub mod brute_force;
pub mod classes;
pub mod portfolio;
pub mod wild;

use std::sync::Arc;
use std::time::Duration;

use application::order_generation::ports::{Optimizer, OptimizerError};
use domain::order_generation::optimum::Answer;
use domain::order_generation::problem::Problem;
use domain::order_generation::rebalance::PortfolioRebalance;
use futures_util::future::join_all;
use rust_decimal::Decimal;
use tokio::time::timeout;

use brute_force::{BruteForceOptimizer, Choices};
use portfolio::Portfolio;

/// Every clause of an optimiser's contract; the setup is as for [`clauses`](crate::clauses).
#[macro_export]
macro_rules! optimizer {
    ($setup:expr) => {
        $crate::clauses! {
            optimizer, $setup,
            tiny_problems_are_answered_to_half_a_cent(optimizer),
            tiny_problems_under_rules_are_answered_to_half_a_cent_or_refused(optimizer),
            equal_problems_have_equal_answers(optimizer),
            large_problems_are_answered_soundly_or_not_at_all(optimizer),
            many_at_once_are_all_answered(optimizer),
            a_caller_who_leaves_harms_no_other(optimizer),
        }
    };
}

pub async fn tiny_problems_are_answered_to_half_a_cent(optimizer: &dyn Optimizer) {
    for (seed, problem) in tiny_problems().take(300) {
        let best = BruteForceOptimizer.solve(Arc::clone(&problem)).await.unwrap();

        let answer = optimizer.solve(Arc::clone(&problem)).await.unwrap();

        assert_as_good(seed, &problem, &answer, &best);
    }
}

pub async fn tiny_problems_under_rules_are_answered_to_half_a_cent_or_refused(optimizer: &dyn Optimizer) {
    for (seed, problem) in few_choices(Portfolio::tiny_with_rules).take(300) {
        let best = BruteForceOptimizer.solve(Arc::clone(&problem)).await;

        match (optimizer.solve(Arc::clone(&problem)).await, best) {
            (Ok(answer), Ok(best)) => assert_as_good(seed, &problem, &answer, &best),
            (Err(OptimizerError::NoSolution), Err(OptimizerError::NoSolution))
            | (Err(OptimizerError::Unsupported(_)), _) => {}
            (answer, best) => panic!("seed {seed}: {answer:?}, by brute force {best:?}"),
        }
    }
}

pub async fn equal_problems_have_equal_answers(optimizer: &dyn Optimizer) {
    for (seed, problem) in tiny_problems().take(50) {
        let copy = Arc::new(problem.as_ref().clone());

        let answers = [optimizer.solve(problem).await, optimizer.solve(copy).await];

        let [answer, again] = answers.map(|answer| answer.unwrap());
        assert_eq!(answer, again, "seed {seed}");
    }
}

pub async fn large_problems_are_answered_soundly_or_not_at_all(optimizer: &dyn Optimizer) {
    for seed in 0..20 {
        let problem = Arc::new(Portfolio::large(seed).problem().unwrap());

        match optimizer.solve(Arc::clone(&problem)).await {
            Ok(answer) => {
                let optimality = accepted(&problem, &answer).optimality;
                assert!(optimality.lower_bound <= optimality.objective, "seed {seed}");
            }
            Err(OptimizerError::OutOfTime) => {}
            Err(error) => panic!("seed {seed}: {}", application::chain::Chain(&error)),
        }
    }
}

pub async fn many_at_once_are_all_answered(optimizer: &dyn Optimizer) {
    let problems: Vec<_> = tiny_problems().take(64).collect();

    let answers = join_all(problems.iter().map(|(_, problem)| optimizer.solve(Arc::clone(problem)))).await;

    for ((seed, problem), answer) in problems.iter().zip(answers) {
        let answer = answer.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        accepted(problem, &answer);
    }
}

pub async fn a_caller_who_leaves_harms_no_other(optimizer: &dyn Optimizer) {
    for seed in 0..20 {
        let problem = Arc::new(Portfolio::large(seed).problem().unwrap());
        let caller = optimizer.solve(problem);
        let _left = timeout(Duration::ZERO, caller).await;
    }

    let (_, problem) = tiny_problems().next().unwrap();
    let answer = optimizer.solve(Arc::clone(&problem)).await.unwrap();

    accepted(&problem, &answer);
}

fn tiny_problems() -> impl Iterator<Item = (u64, Arc<Problem>)> {
    few_choices(Portfolio::tiny)
}

/// Of the portfolios of all seeds, the problems that brute force is quick with.
pub fn few_choices(portfolio: impl Fn(u64) -> Portfolio) -> impl Iterator<Item = (u64, Arc<Problem>)> {
    let has_few_choices =
        |problem: &Problem| Choices::of(problem).is_some_and(|choices| choices.count() <= 4_000);
    (0..).filter_map(move |seed| {
        let problem = portfolio(seed).problem().ok().filter(has_few_choices)?;
        Some((seed, Arc::new(problem)))
    })
}

fn assert_as_good(seed: u64, problem: &Problem, answer: &Answer, best: &Answer) {
    let half_a_cent = Decimal::new(5, 3);
    let found = accepted(problem, answer).optimality;
    let best = problem.money(problem.objective(&best.quantities));
    assert!(found.objective - best <= half_a_cent, "seed {seed}: {found:?} instead of {best}");
    assert!(found.lower_bound <= best, "seed {seed}: {found:?} instead of {best}");
}

fn accepted(problem: &Problem, answer: &Answer) -> PortfolioRebalance {
    let portfolio = "portfolio".parse().unwrap();
    problem.accept(answer, portfolio).unwrap()
}
