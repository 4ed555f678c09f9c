//! The optimum by trying everything, straight from the statement of the problem.
//!
//! Shares no reckoning with the solvers it judges: it reads the lines, never the rows made of them.

use std::cmp::Reverse;
use std::ops::RangeInclusive;
use std::sync::Arc;

use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::{Answer, Method};
use domain::order_generation::problem::{BandPolicy, Line, Problem};
use rust_decimal::Decimal;

/// Tries every list of whole shares; is out of time at once where there are more than a million.
#[derive(Debug, Clone, Copy, Default)]
pub struct BruteForceOptimizer;

#[async_trait]
impl Optimizer for BruteForceOptimizer {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        // Under the strict policy there would be no problem with a band that holds no whole share.
        let quantities = Choices::new(problem.lines(), problem.cash(), BandPolicy::Nearest)
            .filter(|choices| choices.count() <= 1_000_000)
            .and_then(|choices| choices.best())
            .ok_or(OptimizerError::OutOfTime)?
            .quantities;
        Ok(Answer { lower_bound: problem.deviation(&quantities), quantities, method: Method::Search })
    }
}

/// Every list of whole shares inside the bands, and the money there is for one of them.
#[derive(Debug)]
pub struct Choices {
    rows: Vec<Row>,
    market_value: i128,
    scale: u32,
}

/// The preferred list among those that deviate least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Best {
    pub quantities: Vec<i64>,
    pub deviation: Decimal,
}

/// Money is in units of 10^-scale.
#[derive(Debug)]
struct Row {
    price: i128,
    held: i128,
    /// What the fraction of a share is worth that is held and cannot be traded.
    fraction: i128,
    wanted: i128,
    allowed: RangeInclusive<i128>,
}

impl Choices {
    /// `None` where a band holds no whole share, unless the nearest will do. Panics beyond 128 bits.
    pub fn new(lines: &[Line], cash: Decimal, policy: BandPolicy) -> Option<Self> {
        let scale = finest(lines, cash);
        let worth = |line: &Line| product([line.held, line.price.get()], scale);
        let market_value = product([cash], scale) + lines.iter().map(worth).sum::<i128>();
        let row = |line: &Line| Row::new(line, market_value, scale, policy);
        Some(Self { rows: lines.iter().map(row).collect::<Option<_>>()?, market_value, scale })
    }

    pub fn count(&self) -> u128 {
        let choices = self.rows.iter().map(Row::choices);
        choices.fold(1, u128::saturating_mul)
    }

    /// Of least deviation, then the fewest units traded, then the most cash left, then the most shares of
    /// the earlier lines; `None` when the cash is enough for none.
    pub fn best(&self) -> Option<Best> {
        let (deviation, .., Reverse(list)) = (0..self.count())
            .map(|nth| self.list(nth))
            .filter(|list| self.sum(list, Row::value) <= self.market_value)
            .map(|list| {
                let deviation = self.sum(&list, |row, shares| (row.wanted - row.value(shares)).abs());
                let traded = self.sum(&list, |row, shares| (shares - row.held).abs());
                let cost = self.sum(&list, Row::value);
                (deviation, traded, cost, Reverse(list))
            })
            .min()?;
        let shares = |shares| i64::try_from(shares).expect("whole shares fit 64 bits");
        Some(Best {
            quantities: list.into_iter().map(shares).collect(),
            deviation: Decimal::from_i128_with_scale(deviation, self.scale).normalize(),
        })
    }

    fn list(&self, mut nth: u128) -> Vec<i128> {
        let choose = |row: &Row| {
            let chosen = nth % row.choices();
            nth /= row.choices();
            row.allowed.start() + i128::try_from(chosen).expect("fewer choices than shares")
        };
        self.rows.iter().map(choose).collect()
    }

    fn sum(&self, list: &[i128], of: impl Fn(&Row, i128) -> i128) -> i128 {
        let of_row = |(row, &shares)| of(row, shares);
        self.rows.iter().zip(list).map(of_row).sum()
    }
}

impl Row {
    fn new(line: &Line, market_value: i128, scale: u32, policy: BandPolicy) -> Option<Self> {
        let price = product([line.price.get()], scale);
        let held = product([line.held, line.price.get()], scale).div_euclid(price);
        let fraction = product([line.held, line.price.get()], scale).rem_euclid(price);
        let share_of_value = |share: Decimal| {
            let parts = market_value * share.mantissa();
            let unit = 10_i128.pow(share.scale());
            (parts.div_euclid(unit), parts.rem_euclid(unit) != 0)
        };
        let (wanted, _) = share_of_value(line.target);
        let (least, is_above) = share_of_value(line.target - line.band.low());
        let least = least + i128::from(is_above);
        let (most, _) = share_of_value(line.target + line.band.high());

        let fewest = -(fraction - least).div_euclid(price);
        let highest = (most - fraction).div_euclid(price);
        let below = (wanted - fraction).div_euclid(price).max(0);
        let allowed = match policy {
            _ if most < fraction => 0..=0,
            _ if fewest <= highest && 0 <= highest => fewest.max(0)..=highest,
            BandPolicy::Strict => return None,
            BandPolicy::Nearest => below..=below + 1,
        };
        Some(Self { price, held, fraction, wanted, allowed })
    }

    fn choices(&self) -> u128 {
        (self.allowed.end() - self.allowed.start() + 1).unsigned_abs()
    }

    fn value(&self, shares: i128) -> i128 {
        self.price * shares + self.fraction
    }
}

/// Decimals enough for every amount of money and for its product with any target.
fn finest(lines: &[Line], cash: Decimal) -> u32 {
    let of_line = |line: &Line| line.held.scale() + line.price.get().scale();
    let of_target = |line: &Line| line.target.scale();
    lines.iter().map(of_line).max().unwrap_or(0).max(cash.scale())
        + lines.iter().map(of_target).max().unwrap_or(0)
}

fn product<const N: usize>(factors: [Decimal; N], scale: u32) -> i128 {
    let decimals: u32 = factors.iter().map(Decimal::scale).sum();
    let mantissas: i128 = factors.iter().map(Decimal::mantissa).product();
    mantissas * 10_i128.pow(scale - decimals)
}
