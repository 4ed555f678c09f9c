//! The optimum by trying everything, straight from the statement of the problem.
//!
//! Shares no reckoning with the solvers it judges: it reads the lines and the rules, never the rows
//! made of them.

use std::cmp::Reverse;
use std::sync::Arc;

use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::{Answer, Method};
use domain::order_generation::problem::{BandPolicy, Line, Problem};
use domain::order_generation::trading_rules::TradingRules;
use rust_decimal::Decimal;

use super::portfolio::Portfolio;

/// Tries every list of whole lots; is out of time at once where there are more than a million.
#[derive(Debug, Clone, Copy, Default)]
pub struct BruteForceOptimizer;

#[async_trait]
impl Optimizer for BruteForceOptimizer {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        let choices = Choices::of(&problem)
            .filter(|choices| choices.count() <= 1_000_000)
            .ok_or(OptimizerError::OutOfTime)?;
        let quantities = choices.best().ok_or(OptimizerError::NoSolution)?.quantities;
        Ok(Answer { lower_bound: problem.objective(&quantities), quantities, method: Method::Search })
    }
}

/// Every list of whole lots inside the bands and the rules for single securities, and what a list may
/// cost.
#[derive(Debug)]
pub struct Choices {
    rows: Vec<Row>,
    rules: TradingRules,
    market_value: i128,
    reserve: i128,
    scale: u32,
}

/// The preferred list among those of least deviation and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Best {
    pub quantities: Vec<i64>,
    pub objective: Decimal,
}

/// Money is in units of 10^-scale.
#[derive(Debug)]
struct Row {
    line: Line,
    lot: i128,
    /// Of a lot.
    price: i128,
    cost: i128,
    held: i128,
    /// What is held beyond whole lots and cannot be traded.
    rest: i128,
    wanted: i128,
    allowed: Vec<i128>,
}

impl Choices {
    /// `None` where a band holds no whole lot, unless the nearest will do. Panics beyond 128 bits.
    pub fn new(portfolio: &Portfolio) -> Option<Self> {
        let Portfolio { cash, lines, rules, policy } = portfolio;
        let scale = finest(lines, *cash, rules);
        let worth = |line: &Line| product([line.held, line.price.get()], scale);
        let market_value = product([*cash], scale) + lines.iter().map(worth).sum::<i128>();

        let (kept, of_value) = floor_of(market_value, rules.minimum_cash_share.get());
        let kept = kept + i128::from(of_value);
        let is_new = cash.is_zero() && lines.iter().all(|line| line.held.is_zero());
        let reserve = if is_new { 0 } else { kept.max(product([rules.minimum_cash.get()], scale)) };

        let choices = |may_sell_inside: bool| {
            let row = |line: &Line| Row::new(line, market_value, scale, *policy, rules, may_sell_inside);
            let rows = lines.iter().map(row).collect::<Option<_>>()?;
            Some(Self { rows, rules: rules.clone(), market_value, reserve, scale })
        };
        let strict = choices(false)?;
        if strict.is_affordable() { Some(strict) } else { choices(true) }
    }

    pub fn of(problem: &Problem) -> Option<Self> {
        Self::new(&Portfolio {
            cash: problem.cash(),
            lines: problem.lines().to_vec(),
            rules: problem.rules().clone(),
            // Under the strict policy there would be no problem with a band that holds no whole lot.
            policy: BandPolicy::Nearest,
        })
    }

    pub fn count(&self) -> u128 {
        self.rows.iter().map(|row| row.allowed.len() as u128).fold(1, u128::saturating_mul)
    }

    /// Whether there is cash for some list, the rules that tie positions together left out.
    pub fn is_affordable(&self) -> bool {
        let least = |row: &Row| {
            let spent = |lots: &i128| row.value(*lots) + row.costs(*lots) + self.ticket(row, *lots);
            row.allowed.iter().map(spent).min().expect("something is always allowed")
        };
        self.rows.iter().map(least).sum::<i128>() <= self.market_value - self.reserve
    }

    /// Of least deviation and cost, then the fewest units traded, then the most cash left, then the most
    /// shares of the earlier lines; `None` when cash or rules leave none.
    pub fn best(&self) -> Option<Best> {
        let (objective, .., Reverse(list)) = (0..self.count())
            .map(|nth| self.list(nth))
            .filter(|list| self.spent(list) <= self.market_value - self.reserve && self.keeps_rules(list))
            .map(|list| {
                let deviation = self.sum(&list, |row, lots| (row.wanted - row.value(lots)).abs());
                let traded = self.sum(&list, |row, lots| (lots - row.held).abs() * row.lot);
                (deviation + self.costs(&list), traded, self.spent(&list), Reverse(list))
            })
            .min()?;
        let lots = |lots| i64::try_from(lots).expect("whole lots fit 64 bits");
        Some(Best {
            quantities: list.into_iter().map(lots).collect(),
            objective: Decimal::from_i128_with_scale(objective, self.scale).normalize(),
        })
    }

    fn list(&self, mut nth: u128) -> Vec<i128> {
        let choose = |row: &Row| {
            let choices = row.allowed.len() as u128;
            let chosen = usize::try_from(nth % choices).expect("less than the number of choices");
            nth /= choices;
            row.allowed[chosen]
        };
        self.rows.iter().map(choose).collect()
    }

    fn sum(&self, list: &[i128], of: impl Fn(&Row, i128) -> i128) -> i128 {
        let of_row = |(row, &lots)| of(row, lots);
        self.rows.iter().zip(list).map(of_row).sum()
    }

    fn ticket(&self, row: &Row, lots: i128) -> i128 {
        if lots == row.held { 0 } else { product([self.rules.ticket_fee.get()], self.scale) }
    }

    fn costs(&self, list: &[i128]) -> i128 {
        self.sum(list, |row, lots| row.costs(lots) + self.ticket(row, lots))
    }

    fn spent(&self, list: &[i128]) -> i128 {
        self.sum(list, Row::value) + self.costs(list)
    }

    fn keeps_rules(&self, list: &[i128]) -> bool {
        let TradingRules { maximum_trades, maximum_turnover, maximum_positions, group_limits, .. } =
            &self.rules;
        let trades = self.sum(list, |row, lots| i128::from(lots != row.held));
        let positions = self.sum(list, |row, lots| i128::from(row.value(lots) != 0));
        let turnover = self.sum(list, |row, lots| (lots - row.held).abs() * row.price);
        let is_at_most = |value: i128, share: Decimal| value <= floor_of(self.market_value, share).0;
        maximum_trades.is_none_or(|most| trades <= i128::from(most))
            && maximum_positions.is_none_or(|most| positions <= i128::from(most))
            && maximum_turnover.is_none_or(|most| is_at_most(turnover, most.get()))
            && group_limits.iter().all(|limit| {
                let is_member = |row: &Row| limit.securities.contains(&row.line.security);
                let value = |row: &Row, lots| if is_member(row) { row.value(lots) } else { 0 };
                is_at_most(self.sum(list, value), limit.maximum.get())
            })
    }
}

impl Row {
    fn new(
        line: &Line,
        market_value: i128,
        scale: u32,
        policy: BandPolicy,
        rules: &TradingRules,
        may_sell_inside: bool,
    ) -> Option<Self> {
        let is_wanted = !line.target.is_zero();
        let lot = if is_wanted { rules.lot_sizes.of(&line.security).get().into() } else { 1 };
        let price = product([line.price.get()], scale) * lot;
        let held = product([line.held, line.price.get()], scale).div_euclid(price);
        let rest = product([line.held, line.price.get()], scale).rem_euclid(price);
        let (wanted, _) = floor_of(market_value, line.target);
        let (least, is_above) = floor_of(market_value, line.target - line.band.low());
        let least = least + i128::from(is_above);
        let (most, _) = floor_of(market_value, line.target + line.band.high());

        let fewest = (-(rest - least).div_euclid(price)).max(0);
        let highest = (most - rest).div_euclid(price);
        let below = (wanted - rest).div_euclid(price).max(0);
        let may_not_buy = rules.do_not_buy.contains(&line.security);
        let may_not_sell = rules.do_not_sell.contains(&line.security);
        let is_restricted = rules.restricted.contains(&line.security) || (may_not_buy && may_not_sell);
        let in_band: Vec<i128> = match policy {
            _ if is_restricted => vec![held],
            _ if most < rest => vec![0],
            _ if fewest <= highest => (fewest..=highest).collect(),
            BandPolicy::Strict => return None,
            BandPolicy::Nearest => vec![below, below + 1],
        };
        let stays = rules.trade_only_outside_band && in_band.contains(&held);
        let least_trade = product([rules.minimum_trade_value.get()], scale);
        let may_trade_to: [&dyn Fn(i128) -> bool; 4] = [
            &|lots| !stays || (may_sell_inside && lots <= held),
            &|lots| lots <= held || !may_not_buy,
            &|lots| held <= lots || !may_not_sell,
            &|lots| least_trade <= (lots - held).abs() * price,
        ];
        let allowed = may_trade_to.into_iter().fold(in_band, |left, may_trade_to| {
            let left: Vec<i128> =
                left.into_iter().filter(|lots| *lots == held || may_trade_to(*lots)).collect();
            if left.is_empty() { vec![held] } else { left }
        });
        let rate = rules.proportional_cost.get();
        let cost = product([line.price.get(), rate], scale) * lot;
        Some(Self { line: line.clone(), lot, price, cost, held, rest, wanted, allowed })
    }

    fn value(&self, lots: i128) -> i128 {
        self.price * lots + self.rest
    }

    fn costs(&self, lots: i128) -> i128 {
        self.cost * (lots - self.held).abs()
    }
}

/// A share of an amount in whole units, and whether something is left over.
fn floor_of(amount: i128, share: Decimal) -> (i128, bool) {
    let parts = amount * share.mantissa();
    let unit = 10_i128.pow(share.scale());
    (parts.div_euclid(unit), parts.rem_euclid(unit) != 0)
}

/// Decimals enough for every amount of money, for its product with any target, and for every cost.
fn finest(lines: &[Line], cash: Decimal, rules: &TradingRules) -> u32 {
    let of_line = |line: &Line| line.held.scale() + line.price.get().scale();
    let of_target = |line: &Line| line.target.scale();
    let of_value = lines.iter().map(of_line).max().unwrap_or(0).max(cash.scale());
    let of_shares = lines.iter().map(of_target).max().unwrap_or(0).max(rules.proportional_cost.get().scale());
    [rules.minimum_cash, rules.minimum_trade_value, rules.ticket_fee]
        .into_iter()
        .map(|amount| amount.get().scale())
        .fold(of_value + of_shares, u32::max)
}

fn product<const N: usize>(factors: [Decimal; N], scale: u32) -> i128 {
    let decimals: u32 = factors.iter().map(Decimal::scale).sum();
    let mantissas: i128 = factors.iter().map(Decimal::mantissa).product();
    mantissas * 10_i128.pow(scale - decimals)
}
