//! Portfolios as large as they come, of every kind that has troubled a solver.

use domain::order_generation::optimum::{Limits, Method, optimum};
use domain::order_generation::position::Band;
use domain::order_generation::problem::{Refusal, Row};
use domain::order_generation::rebalance::OptimalityStatus;
use port_contracts::optimizer::classes::{Class, HAIR};

const SEEDS: u64 = 30;

#[test]
fn large_portfolios_are_answered_optimally_or_to_half_a_cent() {
    let mut searched = 0;
    for (class, n_lines, seed) in instances() {
        let problem = match class.portfolio(n_lines, seed).problem() {
            Ok(problem) => problem,
            Err(Refusal::NoWholeShareInBand(_)) if class == Class::Infeasible => continue,
            Err(refusal) => panic!("{class:?} of {n_lines} lines, seed {seed}: {refusal}"),
        };

        let answer = optimum(&problem, Limits::default()).unwrap();

        let optimality = problem.accept(&answer, "portfolio".parse().unwrap()).unwrap().optimality;
        let status = optimality.status;
        let is_near = class.is_fine() && status == OptimalityStatus::WithinTolerance;
        let is_good = is_near || status == OptimalityStatus::Optimal;
        assert!(is_good, "{class:?} of {n_lines} lines, seed {seed}: {optimality:?}");
        searched += u64::from(answer.method != Method::OwnBest);
    }
    assert!(15 * SEEDS < searched, "{searched}");
}

#[test]
fn a_share_that_misses_its_band_by_a_hair_is_not_taken() {
    for seed in 0..SEEDS {
        let mut portfolio = Class::Edge.portfolio(100, seed);
        let problem = portfolio.problem().unwrap();
        let is_above_target = |row: &Row| row.target <= i128::from(row.lowest) * row.price;
        assert!(problem.rows().iter().all(is_above_target), "seed {seed}");

        let next_share = i128::from(problem.rows()[7].lowest) * problem.rows()[7].price;
        let hair_below = (problem.money(next_share) - HAIR) / problem.market_value();
        let edge = &mut portfolio.lines[7];
        let high = hair_below - edge.target;
        edge.band =
            Band::new(high.min(edge.band.low()).try_into().unwrap(), high.try_into().unwrap()).unwrap();
        let refused = Err(Refusal::NoWholeShareInBand(edge.security));
        assert_eq!(portfolio.problem(), refused, "seed {seed}");
    }
}

fn instances() -> impl Iterator<Item = (Class, usize, u64)> {
    Class::ALL
        .into_iter()
        .flat_map(|class| [10, 50, 100].map(|n_lines| (class, n_lines)))
        .flat_map(|(class, n_lines)| (0..SEEDS).map(move |seed| (class, n_lines, seed)))
}
