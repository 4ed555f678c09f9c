//! Rebalances under trading rules: against trying everything, and one known case for each rule.

use std::collections::BTreeSet;

use domain::identifier::SecurityId;
use domain::order_generation::optimum::{Answer, Limits, Method, NeedsBranching, optimum};
use domain::order_generation::position::Band;
use domain::order_generation::problem::Refusal;
use domain::order_generation::rebalance::{PortfolioRebalance, Side, Unsound};
use domain::order_generation::trading_rules::{GroupLimit, Rule, TradingRules};
use port_contracts::optimizer::brute_force::Choices;
use port_contracts::optimizer::portfolio::{Portfolio, line, security};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

const SEEDS: u64 = 60_000;

#[test]
fn what_is_answered_is_the_preferred_optimum_and_what_is_not_breaks_a_rule() {
    let (mut at_once, mut searched, mut branching, mut refused) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let portfolio = Portfolio::tiny_with_rules(seed);
        let choices = Choices::new(&portfolio).filter(|choices| choices.count() <= 4_000);
        let problem = match (portfolio.problem(), choices) {
            (Ok(problem), Some(choices)) => Some((problem, choices)),
            (Err(Refusal::MinimumsExceedCash { .. }), Some(choices)) => {
                assert!(!choices.is_affordable(), "seed {seed}: {portfolio:#?}");
                refused += 1;
                None
            }
            (Ok(_) | Err(_), None) => None,
            (Err(refusal), Some(_)) => panic!("seed {seed}: {refusal}\n{portfolio:#?}"),
        };
        let Some((problem, choices)) = problem else { continue };
        let best = choices.best();

        match optimum(&problem, Limits::default()) {
            Ok(answer) => {
                let best =
                    best.unwrap_or_else(|| panic!("seed {seed}: there is no solution\n{portfolio:#?}"));
                assert_eq!(answer.quantities, best.quantities, "seed {seed}: {portfolio:#?}");
                assert_eq!(answer.lower_bound, problem.objective(&answer.quantities), "seed {seed}");
                problem.accept(&answer, "portfolio".parse().unwrap()).unwrap();
                if answer.method == Method::OwnBest { at_once += 1 } else { searched += 1 }
            }
            Err(NeedsBranching(rule)) => {
                let coupled = [
                    Rule::TicketFee,
                    Rule::MinimumTradeValue,
                    Rule::MaximumTrades,
                    Rule::MaximumTurnover,
                    Rule::MaximumPositions,
                    Rule::GroupLimit,
                ];
                assert!(coupled.contains(&rule), "seed {seed}: {rule:?}");
                branching += 1;
            }
        }
    }
    let counts = [at_once, searched, branching, refused];
    assert!(counts.iter().all(|count| 1_000 < *count), "{counts:?}");
}

/// 10,000 in cash and 100 of B at 50. Without rules: 45 of A bought, 10 of B sold, 150 of C bought.
fn portfolio(rules: impl FnOnce(&mut TradingRules)) -> Portfolio {
    let mut lines = vec![
        line(A, dec!(100), dec!(0.30), dec!(0.2), dec!(0.2)),
        line(B, dec!(50), dec!(0.30), dec!(0.2), dec!(0.2)),
        line(C, dec!(10), dec!(0.10), dec!(0.1), dec!(0.2)),
    ];
    lines[B].held = dec!(100);
    let mut portfolio = Portfolio { cash: dec!(10000), ..Portfolio::of(lines) };
    rules(&mut portfolio.rules);
    portfolio
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn rebalanced(rules: impl FnOnce(&mut TradingRules)) -> PortfolioRebalance {
    let problem = portfolio(rules).problem().unwrap();
    let answer = optimum(&problem, Limits::default()).unwrap();
    problem.accept(&answer, "portfolio".parse().unwrap()).unwrap()
}

/// The quantities afterwards, and which rules shaped them.
#[track_caller]
fn check(rules: impl FnOnce(&mut TradingRules), expected: [(i64, &[Rule]); 3]) {
    let rebalance = rebalanced(rules);
    let found = rebalance.positions.iter().map(|it| (it.adjusted_quantity, it.shaped_by.as_slice()));
    let expected = expected.map(|(quantity, rules)| (Decimal::from(quantity), rules));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

fn only(number: usize) -> BTreeSet<SecurityId> {
    BTreeSet::from([security(number)])
}

#[test]
fn without_rules_every_position_is_at_its_target() {
    check(|_| {}, [(45, &[]), (90, &[]), (150, &[])]);
}

#[test]
fn a_minimum_of_cash_is_left() {
    for rebalance in [
        rebalanced(|rules| rules.minimum_cash = dec!(9001).try_into().unwrap()),
        rebalanced(|rules| rules.minimum_cash_share = dec!(0.60006).try_into().unwrap()),
    ] {
        assert_eq!(rebalance.cash_after, dec!(9010));
        let shaped = rebalance.positions.iter().filter(|it| it.shaped_by == [Rule::MinimumCash]);
        assert!(0 < shaped.count(), "{rebalance:#?}");
    }
}

#[test]
fn more_cash_than_the_bands_leave_is_refused_with_both_amounts() {
    let refusal = portfolio(|rules| rules.minimum_cash = dec!(14000).try_into().unwrap()).problem();

    // The bands ask for 15 of A and 30 of B.
    assert_eq!(refusal, Err(Refusal::MinimumsExceedCash { needed: dec!(3000), available: dec!(1000) }));
}

#[test]
fn a_portfolio_never_funded_needs_no_minimum_of_cash() {
    let rules = |rules: &mut TradingRules| rules.minimum_cash = dec!(14000).try_into().unwrap();
    let mut new = Portfolio { cash: dec!(0), ..portfolio(rules) };
    new.lines[B].held = dec!(0);

    let problem = new.problem().unwrap();

    assert_eq!(optimum(&problem, Limits::default()).unwrap().quantities, [0, 0, 0]);
}

#[test]
fn trades_are_whole_lots_and_what_is_beyond_them_stays() {
    let lots = |rules: &mut TradingRules| rules.lot_sizes.default = dec!(20).try_into().unwrap();
    check(lots, [(40, &[Rule::LotSize]), (100, &[Rule::LotSize]), (140, &[Rule::LotSize])]);

    let lot_of_b = |rules: &mut TradingRules| {
        rules.lot_sizes.per_security.insert(security(B), dec!(7).try_into().unwrap());
    };
    check(lot_of_b, [(45, &[]), (93, &[Rule::LotSize]), (150, &[])]);
}

#[test]
fn a_trade_is_large_enough_or_not_made() {
    let at_least = |value: Decimal| {
        move |rules: &mut TradingRules| rules.minimum_trade_value = value.try_into().unwrap()
    };
    check(at_least(dec!(501)), [(45, &[]), (89, &[Rule::MinimumTradeValue]), (150, &[])]);
    check(at_least(dec!(1001)), [(45, &[]), (100, &[Rule::MinimumTradeValue]), (150, &[])]);
}

#[test]
fn positions_inside_their_bands_are_left_alone() {
    let outside = |rules: &mut TradingRules| rules.trade_only_outside_band = true;
    check(outside, [(45, &[]), (100, &[Rule::TradeOnlyOutsideBand]), (0, &[Rule::TradeOnlyOutsideBand])]);
}

#[test]
fn positions_inside_their_bands_are_sold_where_the_others_need_their_cash() {
    let mut poor = portfolio(|rules| rules.trade_only_outside_band = true);
    poor.cash = dec!(-600);
    poor.lines[B].held = dec!(40);
    poor.lines[B].band = Band::new(dec!(0.3).try_into().unwrap(), dec!(0.7).try_into().unwrap()).unwrap();
    poor.lines[A].band = Band::new(dec!(0).try_into().unwrap(), dec!(0.1).try_into().unwrap()).unwrap();
    poor.lines[C].held = dec!(14);

    let problem = poor.problem().unwrap();
    let answer = optimum(&problem, Limits::default()).unwrap();
    let rebalance = problem.accept(&answer, "portfolio".parse().unwrap()).unwrap();

    // A must be bought, and only B and C can pay for it and for the overdraft.
    assert!(dec!(0) <= rebalance.cash_after);
    assert_eq!(rebalance.positions[A].trade.unwrap().side, Side::Buy);
    assert_eq!(rebalance.positions[B].trade.unwrap().side, Side::Sell);
}

#[test]
fn what_must_not_be_bought_or_sold_is_not_and_says_so() {
    let a_not_bought = |rules: &mut TradingRules| rules.do_not_buy = only(A);
    check(a_not_bought, [(0, &[Rule::DoNotBuy]), (90, &[]), (150, &[])]);
    assert!(rebalanced(a_not_bought).positions[A].outside_band);

    let b_not_sold = |rules: &mut TradingRules| rules.do_not_sell = only(B);
    check(b_not_sold, [(45, &[]), (100, &[Rule::DoNotSell]), (150, &[])]);

    let c_restricted = |rules: &mut TradingRules| rules.restricted = only(C);
    check(c_restricted, [(45, &[]), (90, &[]), (0, &[Rule::Restricted])]);

    let harmless = |rules: &mut TradingRules| {
        rules.do_not_sell = only(A);
        rules.do_not_buy = only(B);
    };
    check(harmless, [(45, &[]), (90, &[]), (150, &[])]);
}

#[test]
fn costs_are_paid_and_count() {
    let rebalance = rebalanced(|rules| rules.proportional_cost = dec!(0.01).try_into().unwrap());
    assert_eq!(rebalance.trading_costs, dec!(65));
    assert_eq!(rebalance.cash_after, dec!(4435));
    assert_eq!(rebalance.optimality.objective, dec!(65));

    let ticket = |rules: &mut TradingRules| rules.ticket_fee = dec!(501).try_into().unwrap();
    check(ticket, [(45, &[]), (100, &[Rule::TicketFee]), (150, &[])]);
    let rebalance = rebalanced(ticket);
    assert_eq!(rebalance.trading_costs, dec!(1002));
    assert_eq!(rebalance.optimality.objective, dec!(1502));
}

#[test]
fn a_cost_keeps_a_position_from_a_share_that_it_is_barely_worth() {
    // B is wanted at 90.55, so that 91 deviate by 5 less than 90 do; the share costs a tenth of 50 to buy.
    let with_cost = |rate: Decimal| {
        let mut portfolio = portfolio(|rules| rules.proportional_cost = rate.try_into().unwrap());
        portfolio.lines[B].held = dec!(0);
        portfolio.cash = dec!(15091.6666);
        let problem = portfolio.problem().unwrap();
        let answer = optimum(&problem, Limits::default()).unwrap();
        let rebalance = problem.accept(&answer, "portfolio".parse().unwrap()).unwrap();
        (rebalance.positions[B].adjusted_quantity, rebalance.positions[B].shaped_by.clone())
    };
    assert_eq!(with_cost(dec!(0)), (dec!(91), vec![]));
    assert_eq!(with_cost(dec!(0.09)), (dec!(91), vec![]));
    assert_eq!(with_cost(dec!(0.1)), (dec!(90), vec![Rule::ProportionalCost]));
}

#[test]
fn what_needs_branching_is_left_to_others_and_only_that() {
    let needs = |rules: &dyn Fn(&mut TradingRules)| {
        optimum(&portfolio(rules).problem().unwrap(), Limits::default()).map(|answer| answer.quantities)
    };
    let all_at_best = Ok(vec![45, 90, 150]);
    assert_eq!(needs(&|rules| rules.maximum_trades = Some(3)), all_at_best);
    assert_eq!(needs(&|rules| rules.maximum_trades = Some(2)), Err(NeedsBranching(Rule::MaximumTrades)));
    let turnover = |share: Decimal| {
        move |rules: &mut TradingRules| rules.maximum_turnover = Some(share.try_into().unwrap())
    };
    // 6,500 of 15,000 are traded.
    assert_eq!(needs(&turnover(dec!(0.434))), all_at_best);
    assert_eq!(needs(&turnover(dec!(0.433))), Err(NeedsBranching(Rule::MaximumTurnover)));
    assert_eq!(needs(&|rules| rules.maximum_positions = Some(3)), all_at_best);
    assert_eq!(
        needs(&|rules| rules.maximum_positions = Some(2)),
        Err(NeedsBranching(Rule::MaximumPositions))
    );
    let group = |maximum: Decimal| {
        move |rules: &mut TradingRules| {
            rules.group_limits.push(GroupLimit {
                name: "technology".parse().unwrap(),
                securities: BTreeSet::from([security(A), security(C)]),
                maximum: maximum.try_into().unwrap(),
            });
        }
    };
    assert_eq!(needs(&group(dec!(0.4))), all_at_best);
    assert_eq!(needs(&group(dec!(0.39))), Err(NeedsBranching(Rule::GroupLimit)));
}

#[test]
fn an_answer_that_breaks_a_rule_never_becomes_trades() {
    let problem = portfolio(|rules| {
        rules.maximum_trades = Some(2);
        rules.minimum_trade_value = dec!(501).try_into().unwrap();
    })
    .problem()
    .unwrap();
    let answer = |quantities: [i64; 3]| Answer {
        quantities: quantities.to_vec(),
        lower_bound: 0,
        method: Method::Cbc,
    };

    assert_eq!(problem.verify(&answer([45, 100, 150])).err(), None);
    assert_eq!(problem.verify(&answer([45, 89, 150])).err(), Some(Unsound::BreaksRule(Rule::MaximumTrades)));
    assert_eq!(problem.verify(&answer([45, 90, 0])).err(), Some(Unsound::TradeTooSmall(security(B))));
}
