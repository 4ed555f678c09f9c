//! Portfolios that nobody would have, to see that nothing breaks on them.

use domain::order_generation::optimum::{Answer, Limits, Method, NeedsBranching, optimum};
use domain::order_generation::position::Target;
use domain::order_generation::problem::{BandPolicy, Problem, Refusal};
use domain::order_generation::rebalance::{PortfolioRebalance, Unsound};
use domain::order_generation::trading_rules::{Amount, GroupLimit, TradingRules};
use rust_decimal::Decimal;

use super::portfolio::{Dice, Portfolio, line, security};

/// What became of a portfolio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    NeedsBranching,
    OutOfRange,
    Refused,
}

/// Takes a wild portfolio all the way, and checks what must hold of every rebalance. Panics if it does not.
pub fn rebalance(mut dice: Dice) -> Fate {
    let problem = match portfolio(&mut dice).problem() {
        Ok(problem) => problem,
        Err(Refusal::OutOfRange | Refusal::SecurityOutOfRange(_)) => return Fate::OutOfRange,
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            return Fate::Refused;
        }
    };
    let limits = Limits { parts: 1_024, tie_nodes: 500 };
    match optimum(&problem, limits) {
        Ok(answer) => {
            let accepted =
                accept(&problem, &answer).unwrap_or_else(|unsound| panic!("{unsound}: {problem:#?}"));
            assert_sound(&accepted);
            probe(&problem, &answer);
            Fate::Answered
        }
        Err(NeedsBranching(_)) => Fate::NeedsBranching,
    }
}

fn assert_sound(rebalance: &PortfolioRebalance) {
    let paid = rebalance.positions.iter().filter_map(|position| {
        Some(position.trade?.signed_quantity().checked_mul(position.price).expect("an amount of the problem"))
    });
    let left = rebalance.cash_before - paid.sum::<Decimal>() - rebalance.trading_costs;
    assert_eq!(left, rebalance.cash_after, "{rebalance:#?}");
    assert!(Decimal::ZERO <= rebalance.cash_after, "{rebalance:#?}");
    assert!(rebalance.optimality.lower_bound <= rebalance.optimality.objective, "{rebalance:#?}");
}

/// Answers that no optimiser should give.
fn probe(problem: &Problem, best: &Answer) {
    let with = |quantities: Vec<i64>, lower_bound| {
        accept(problem, &Answer { quantities, lower_bound, method: Method::Search })
    };
    let most = problem.rows().iter().map(|row| row.highest).collect();
    let n_rows = problem.rows().len();
    assert!(matches!(
        with(most, 0),
        Ok(_) | Err(Unsound::Overspent { .. } | Unsound::BreaksRule(_) | Unsound::BoundAboveObjective { .. })
    ));
    assert!(with(vec![i64::MAX; n_rows], 0).is_err());
    assert!(with(vec![i64::MIN; n_rows], 0).is_err());
    assert!(with(best.quantities.clone(), i128::MAX).is_err());
    assert!(with(best.quantities.clone(), i128::MIN).is_ok());
}

fn accept(problem: &Problem, answer: &Answer) -> Result<PortfolioRebalance, Unsound> {
    problem.accept(answer, "portfolio".parse().expect("a portfolio's id"))
}

/// Amounts of every sign, size and fineness, and rules of any kind.
fn portfolio(dice: &mut Dice) -> Portfolio {
    let n_lines = 1 + dice.face(4);
    let mut steps_left = 190;
    let mut wild_line = |number| {
        let mut share = || Decimal::ONE.min(decimal(dice).abs());
        let (low, high) = (share(), share());
        let steps = if number == 0 { 95 } else { dice.roll(25) }.min(steps_left);
        steps_left -= steps;
        let target = Target::STEP * Decimal::from(steps);
        let price = Some(decimal(dice).abs()).filter(|price| !price.is_zero()).unwrap_or(Decimal::ONE);
        let (low, high) =
            if target.is_zero() { (Decimal::ZERO, Decimal::ZERO) } else { (low.min(high), high.max(low)) };
        let mut line = line(number, price, target, low, high);
        line.held = decimal(dice);
        line
    };
    let lines = (0..n_lines).map(&mut wild_line).collect();
    let policy = if dice.one_in(2) { BandPolicy::Strict } else { BandPolicy::Nearest };
    let rules = if dice.one_in(2) { TradingRules::default() } else { rules(dice, n_lines) };
    Portfolio { cash: decimal(dice), lines, rules, policy }
}

/// Any rule may be set; a number that a rule cannot have leaves it unset.
fn rules(dice: &mut Dice, n_lines: usize) -> TradingRules {
    let mut some = || (0..n_lines).filter(|_| dice.one_in(4)).map(security).collect::<Vec<_>>();
    let [not_bought, not_sold, restricted, group, in_lots] = [some(), some(), some(), some(), some()];
    let mut wild = || decimal(dice).abs();
    let lot = wild().try_into().unwrap_or_default();
    let amount = |wild: Decimal| Amount::try_from(wild.round_dp(4)).unwrap_or_default();
    let mut rules = TradingRules {
        minimum_cash: amount(wild()),
        minimum_cash_share: wild().try_into().unwrap_or_default(),
        minimum_trade_value: amount(wild()),
        do_not_buy: not_bought.into_iter().collect(),
        do_not_sell: not_sold.into_iter().collect(),
        restricted: restricted.into_iter().collect(),
        proportional_cost: (wild() / Decimal::from(1000)).round_dp(6).try_into().unwrap_or_default(),
        ticket_fee: amount(wild()),
        maximum_turnover: wild().try_into().ok(),
        gap: wild().try_into().unwrap_or_default(),
        ..TradingRules::default()
    };
    rules.lot_sizes.per_security = in_lots.into_iter().map(|security| (security, lot)).collect();
    if let Ok(maximum) = wild().try_into() {
        let name = "group".parse().expect("a name");
        rules.group_limits.push(GroupLimit { name, securities: group.into_iter().collect(), maximum });
    }
    rules.trade_only_outside_band = dice.one_in(4);
    let mut count = || Some(u32::try_from(dice.roll(6)).expect("a small number")).filter(|count| *count != 5);
    (rules.maximum_trades, rules.maximum_positions) = (count(), count());
    // Rules that nearly always refuse are left out often, so that others have their turn.
    let mut is_left_out = || dice.one_in(2);
    if is_left_out() {
        rules.minimum_cash = Amount::default();
    }
    if is_left_out() {
        rules.minimum_trade_value = Amount::default();
    }
    if is_left_out() {
        rules.ticket_fee = Amount::default();
    }
    if is_left_out() {
        (rules.maximum_trades, rules.maximum_positions) = (None, None);
    }
    if is_left_out() {
        rules.maximum_turnover = None;
    }
    if is_left_out() {
        rules.group_limits.clear();
    }
    rules
}

fn decimal(dice: &mut Dice) -> Decimal {
    let mut part = || u32::try_from(dice.roll(1 << 32)).expect("32 bits");
    let (low, middle, high) = (part(), part(), part());
    let scale = u32::try_from(dice.roll(29)).expect("a small number");
    let negative = dice.one_in(2);
    match dice.roll(8) {
        0 => Decimal::from_parts(low, middle, high, negative, scale),
        1 => Decimal::from_parts(low, middle, 0, negative, scale),
        2 => Decimal::from_parts(low, 0, 0, negative, scale % 9),
        3 => [Decimal::MAX, Decimal::MIN, Decimal::ZERO, Decimal::ONE][dice.face(4)],
        4 => Decimal::from_parts(1, 0, 0, negative, scale),
        _ => Decimal::from_parts(low % 1_000_000, 0, 0, false, scale % 4),
    }
}
