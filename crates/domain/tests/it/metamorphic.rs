//! What must hold of every rebalance, whatever the best answer is.

use domain::order_generation::optimum::{Limits, optimum};
use domain::order_generation::problem::{Line, Problem};
use domain::order_generation::rebalance::{PortfolioRebalance, RebalancedPosition};
use port_contracts::optimizer::portfolio::Portfolio;
use rust_decimal::Decimal;

#[test]
fn no_money_is_made_or_lost() {
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let paid = |position: &RebalancedPosition| match position.trade {
            Some(trade) => trade.signed_quantity() * position.price,
            None => Decimal::ZERO,
        };
        let held_after = |position: &RebalancedPosition| {
            assert_eq!(position.adjusted_value, position.adjusted_quantity * position.price, "seed {seed}");
            position.adjusted_value
        };
        let paid: Decimal = rebalance.positions.iter().map(paid).sum();
        let held_after: Decimal = rebalance.positions.iter().map(held_after).sum();

        assert_eq!(rebalance.cash_before, portfolio.cash, "seed {seed}");
        assert_eq!(rebalance.cash_before - paid, rebalance.cash_after, "seed {seed}");
        assert_eq!(rebalance.market_value - held_after, rebalance.cash_after, "seed {seed}");
        assert!(Decimal::ZERO <= rebalance.cash_after, "seed {seed}");
    }
}

#[test]
fn a_second_rebalance_at_the_same_prices_trades_nothing() {
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let mut after = Portfolio { cash: rebalance.cash_after, ..portfolio };
        for (line, position) in after.lines.iter_mut().zip(&rebalance.positions) {
            line.held = position.adjusted_quantity;
        }
        after.lines.retain(|line| !line.target.is_zero() || !line.held.is_zero());

        let again = rebalance_of(&after.problem().unwrap());

        assert!(again.positions.iter().all(|position| position.trade.is_none()), "seed {seed}: {again:?}");
        assert_eq!(again.optimality.objective, rebalance.optimality.objective, "seed {seed}");
    }
}

#[test]
fn it_deviates_no_more_than_rounding_down_does() {
    let mut affordable = 0;
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let problem = portfolio.problem().unwrap();
        let down = |row: &domain::order_generation::problem::Row| {
            let below = i64::try_from(row.target.div_euclid(row.price)).unwrap();
            below.clamp(row.lowest, row.highest)
        };
        let rounded: Vec<i64> = problem.rows().iter().map(down).collect();
        if problem.cost(&rounded) <= problem.budget() {
            let deviation = problem.money(problem.deviation(&rounded));
            assert!(rebalance.optimality.objective <= deviation, "seed {seed}");
            affordable += 1;
        }
    }
    assert!(5_000 < affordable, "{affordable}");
}

#[test]
fn the_order_of_the_model_only_settles_ties() {
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let mut reordered = portfolio.clone();
        let n_wanted = reordered.lines.iter().filter(|line| !line.target.is_zero()).count();
        reordered.lines[..n_wanted].reverse();

        let again = rebalance_of(&reordered.problem().unwrap());

        assert_eq!(again.optimality.objective, rebalance.optimality.objective, "seed {seed}");
        assert_eq!(again.cash_after, rebalance.cash_after, "seed {seed}");
        assert_eq!(traded(&again), traded(&rebalance), "seed {seed}");
    }
}

#[test]
fn the_unit_of_money_does_not_matter() {
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let scaled = |line: &Line| Line {
            price: (line.price.get() * Decimal::TEN).try_into().unwrap(),
            ..line.clone()
        };
        let portfolio = Portfolio {
            cash: portfolio.cash * Decimal::TEN,
            lines: portfolio.lines.iter().map(scaled).collect(),
            ..portfolio
        };

        let again = rebalance_of(&portfolio.problem().unwrap());

        assert_eq!(quantities(&again), quantities(&rebalance), "seed {seed}");
    }
}

#[test]
fn whole_shares_sold_beforehand_change_nothing_else() {
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let mut sold = portfolio;
        for line in sold.lines.iter_mut().filter(|line| line.target.is_zero()) {
            sold.cash += line.held.floor() * line.price.get();
            line.held -= line.held.floor();
        }
        sold.lines.retain(|line| !line.target.is_zero() || !line.held.is_zero());

        let again = rebalance_of(&sold.problem().unwrap());

        let n_wanted = sold.lines.iter().filter(|line| !line.target.is_zero()).count();
        assert_eq!(quantities(&again)[..n_wanted], quantities(&rebalance)[..n_wanted], "seed {seed}");
        assert_eq!(again.cash_after, rebalance.cash_after, "seed {seed}");
    }
}

fn rebalanced_portfolios() -> impl Iterator<Item = (u64, Portfolio, PortfolioRebalance)> {
    (0..20_000).filter_map(|seed| {
        let portfolio = Portfolio::tiny(seed);
        let rebalance = rebalance_of(&portfolio.problem().ok()?);
        Some((seed, portfolio, rebalance))
    })
}

fn rebalance_of(problem: &Problem) -> PortfolioRebalance {
    let answer = optimum(problem, Limits::default());
    problem.accept(&answer, "portfolio".parse().unwrap()).unwrap()
}

fn quantities(rebalance: &PortfolioRebalance) -> Vec<Decimal> {
    rebalance.positions.iter().map(|position| position.adjusted_quantity).collect()
}

fn traded(rebalance: &PortfolioRebalance) -> u64 {
    rebalance.positions.iter().filter_map(|position| position.trade).map(|trade| trade.quantity).sum()
}
