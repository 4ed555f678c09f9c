use std::collections::BTreeSet;
use std::sync::Arc;

use application::order_generation::ports::{Optimizer, OptimizerError};
use domain::identifier::SecurityId;
use domain::order_generation::optimum::Answer;
use domain::order_generation::problem::Problem;
use domain::order_generation::rebalance::OptimalityStatus;
use domain::order_generation::trading_rules::{Amount, GroupLimit, Rule, TradingRules};
use port_contracts::optimizer::brute_force::BruteForceOptimizer;
use port_contracts::optimizer::few_choices;
use port_contracts::optimizer::portfolio::{Dice, Portfolio};
use rust_decimal::Decimal;

use crate::{AMPLE, cbc, is_half_a_cent};

#[tokio::test]
async fn under_each_rule_and_under_all_at_once_the_least_objective_is_found() {
    let optimizer = cbc(AMPLE);
    let each: Vec<Vec<Rule>> = Rule::ALL.iter().map(|rule| vec![*rule]).collect();
    for rules in each.into_iter().chain([Rule::ALL.to_vec()]) {
        let mut shaped = 0;
        for (seed, problem) in few_choices(|seed| tiny_under(&rules, seed)).take(200) {
            let best = BruteForceOptimizer.solve(Arc::clone(&problem)).await;

            let answer = optimizer.solve(Arc::clone(&problem)).await;

            match (answer, &best) {
                (Ok(answer), Ok(best)) => assert_as_good(&rules, seed, &problem, &answer, best),
                (Err(OptimizerError::NoSolution), Err(OptimizerError::NoSolution)) => {}
                (answer, best) => panic!("{rules:?}, seed {seed}: {answer:?}, by brute force {best:?}"),
            }
            shaped += usize::from(without_rules(seed).await != best.ok().map(|best| best.quantities));
        }
        assert!(rules == [Rule::Cash] || 20 < shaped, "{rules:?}: {shaped}");
    }
}

#[tokio::test]
async fn an_answer_is_as_near_to_the_best_as_the_rules_ask_and_says_how_near() {
    let optimizer = cbc(AMPLE);
    let with_gap = |seed| {
        let mut portfolio = Portfolio::tiny_with_rules(seed);
        portfolio.rules.gap = Decimal::new(i64::try_from(seed % 20).unwrap(), 2).try_into().unwrap();
        portfolio
    };
    for (seed, problem) in few_choices(with_gap).take(400) {
        let Ok(best) = BruteForceOptimizer.solve(Arc::clone(&problem)).await else { continue };
        let least = problem.objective(&best.quantities);

        let answer = optimizer.solve(Arc::clone(&problem)).await.unwrap();

        let optimality = problem.accept(&answer, "portfolio".parse().unwrap()).unwrap().optimality;
        assert_ne!(optimality.status, OptimalityStatus::Bound, "seed {seed}: {optimality:?}");
        assert!(answer.lower_bound <= least, "seed {seed}: {answer:?}, but {least} is possible");
    }
}

fn assert_as_good(rules: &[Rule], seed: u64, problem: &Problem, answer: &Answer, best: &Answer) {
    problem.verify(answer).unwrap_or_else(|unsound| panic!("{rules:?}, seed {seed}: {unsound}"));
    let found = problem.objective(&answer.quantities);
    let least = problem.objective(&best.quantities);
    assert!(is_half_a_cent(problem, found - least), "{rules:?}, seed {seed}: {found} instead of {least}");
    assert!(is_half_a_cent(problem, found - answer.lower_bound), "{rules:?}, seed {seed}: {answer:?}");
    assert!(answer.lower_bound <= least, "{rules:?}, seed {seed}: {answer:?}, but {least} is possible");
}

async fn without_rules(seed: u64) -> Option<Vec<i64>> {
    let problem = Arc::new(Portfolio::tiny(seed).problem().ok()?);
    Some(BruteForceOptimizer.solve(problem).await.ok()?.quantities)
}

fn tiny_under(rules: &[Rule], seed: u64) -> Portfolio {
    let mut portfolio = Portfolio::tiny(seed);
    let mut dice = Dice::new(seed ^ 0x6361_6c6d);
    let held: Decimal = portfolio.lines.iter().map(|line| line.held * line.price.get()).sum();
    let value = portfolio.cash + held;
    let securities: Vec<SecurityId> = portfolio.lines.iter().map(|line| line.security).collect();
    for rule in rules {
        add(&mut portfolio.rules, *rule, &mut dice, value, &securities);
    }
    portfolio
}

fn add(rules: &mut TradingRules, rule: Rule, dice: &mut Dice, value: Decimal, securities: &[SecurityId]) {
    let percent = dice.decimal(1, 100, 2);
    let few = u32::try_from(dice.roll(5)).unwrap();
    let some: BTreeSet<SecurityId> = securities.iter().copied().filter(|_| dice.one_in(2)).collect();
    let amount = |share: Decimal| Amount::try_from((value * share).max(Decimal::ZERO).round_dp(2)).unwrap();
    match rule {
        Rule::Cash => {}
        Rule::MinimumCash if dice.one_in(2) => rules.minimum_cash = amount(percent / Decimal::TEN),
        Rule::MinimumCash => rules.minimum_cash_share = (percent / Decimal::TEN).try_into().unwrap(),
        Rule::LotSize => rules.lot_sizes.default = Decimal::from(2 + few).try_into().unwrap(),
        Rule::MinimumTradeValue => rules.minimum_trade_value = amount(percent / Decimal::TWO),
        Rule::TradeOnlyOutsideBand => rules.trade_only_outside_band = true,
        Rule::DoNotBuy => rules.do_not_buy = some,
        Rule::DoNotSell => rules.do_not_sell = some,
        Rule::Restricted => rules.restricted = some,
        Rule::ProportionalCost => rules.proportional_cost = (percent / Decimal::TEN).try_into().unwrap(),
        Rule::TicketFee => rules.ticket_fee = amount(percent / Decimal::TEN),
        Rule::MaximumTrades => rules.maximum_trades = Some(few),
        Rule::MaximumTurnover => rules.maximum_turnover = Some(percent.try_into().unwrap()),
        Rule::MaximumPositions => rules.maximum_positions = Some(few),
        Rule::GroupLimit => rules.group_limits.push(GroupLimit {
            name: "group".parse().unwrap(),
            securities: some,
            maximum: percent.try_into().unwrap(),
        }),
    }
}
