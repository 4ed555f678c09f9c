//! What must hold of every rebalance, whatever the best answer is.

use domain::order_generation::optimum::{Limits, optimum};
use domain::order_generation::position::Band;
use domain::order_generation::problem::{BandPolicy, Line, Problem};
use domain::order_generation::rebalance::{PortfolioRebalance, RebalancedPosition};
use port_contracts::optimizer::portfolio::{Portfolio, line, security};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

#[test]
fn no_money_is_made_or_lost() {
    for (seed, portfolio, rebalance) in with_and_without_rules() {
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
        assert_eq!(
            rebalance.cash_before - paid - rebalance.trading_costs,
            rebalance.cash_after,
            "seed {seed}"
        );
        let cash = rebalance.market_value - held_after - rebalance.trading_costs;
        assert_eq!(cash, rebalance.cash_after, "seed {seed}");
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
        if problem.spent(&rounded) <= problem.budget() {
            let deviation = problem.money(problem.deviation(&rounded));
            assert!(rebalance.optimality.objective <= deviation, "seed {seed}");
            affordable += 1;
        }
    }
    assert!(5_000 < affordable, "{affordable}");
}

#[test]
fn the_order_of_the_model_only_settles_ties() {
    for (seed, portfolio, rebalance) in with_and_without_rules() {
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
    for (seed, portfolio, rebalance) in with_and_without_rules() {
        let scaled = |line: &Line| Line {
            price: (line.price.get() * Decimal::TEN).try_into().unwrap(),
            ..line.clone()
        };
        let mut rules = portfolio.rules.clone();
        for amount in [&mut rules.minimum_cash, &mut rules.minimum_trade_value, &mut rules.ticket_fee] {
            *amount = (amount.get() * Decimal::TEN).try_into().unwrap();
        }
        let portfolio = Portfolio {
            cash: portfolio.cash * Decimal::TEN,
            lines: portfolio.lines.iter().map(scaled).collect(),
            rules,
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

/// Two securities of half the target, half the band and the same price can only add to the deviation.
#[test]
fn a_split_security_deviates_no_less() {
    let mut less = 0;
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let mut split = Portfolio { policy: BandPolicy::Strict, ..portfolio.clone() };
        if split.problem().is_err() {
            continue;
        }
        let line = &mut split.lines[0];
        if !(line.target % dec!(0.01)).is_zero() || !line.held.is_zero() {
            continue;
        }
        line.target /= Decimal::TWO;
        let drift = |share: Decimal| (share / Decimal::TWO).try_into().unwrap();
        line.band = Band::new(drift(line.band.low()), drift(line.band.high())).unwrap();
        let twin = Line { security: security(99), ..line.clone() };
        split.lines.insert(1, twin);
        let Ok(problem) = split.problem() else { continue };

        let again = rebalance_of(&problem);

        assert!(rebalance.optimality.objective <= again.optimality.objective, "seed {seed}");
        less += u64::from(rebalance.optimality.objective < again.optimality.objective);
    }
    assert!(100 < less, "{less}");
}

#[test]
fn a_security_neither_wanted_nor_held_changes_nothing() {
    for (seed, portfolio, rebalance) in rebalanced_portfolios() {
        let mut longer = portfolio;
        longer.lines.insert(0, line(99, dec!(17.03), dec!(0), dec!(0), dec!(0)));

        let again = rebalance_of(&longer.problem().unwrap());

        assert_eq!(again, rebalance, "seed {seed}");
    }
}

fn with_and_without_rules() -> impl Iterator<Item = (u64, Portfolio, PortfolioRebalance)> {
    let ruled = (0..20_000).filter_map(|seed| {
        let portfolio = Portfolio::tiny_with_rules(seed);
        let problem = portfolio.problem().ok()?;
        let answer = optimum(&problem, Limits::default()).ok()?;
        let rebalance = problem.accept(&answer, "portfolio".parse().unwrap()).unwrap();
        Some((seed, portfolio, rebalance))
    });
    rebalanced_portfolios().chain(ruled)
}

fn rebalanced_portfolios() -> impl Iterator<Item = (u64, Portfolio, PortfolioRebalance)> {
    (0..20_000).filter_map(|seed| {
        let portfolio = Portfolio::tiny(seed);
        let rebalance = rebalance_of(&portfolio.problem().ok()?);
        Some((seed, portfolio, rebalance))
    })
}

fn rebalance_of(problem: &Problem) -> PortfolioRebalance {
    let answer = optimum(problem, Limits::default()).unwrap();
    problem.accept(&answer, "portfolio".parse().unwrap()).unwrap()
}

fn quantities(rebalance: &PortfolioRebalance) -> Vec<Decimal> {
    rebalance.positions.iter().map(|position| position.adjusted_quantity).collect()
}

fn traded(rebalance: &PortfolioRebalance) -> u64 {
    rebalance.positions.iter().filter_map(|position| position.trade).map(|trade| trade.quantity).sum()
}
