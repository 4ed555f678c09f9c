//! The rebalance of one portfolio, stated once in integers.
//!
//! All money is counted in units of 10^-scale, with a scale fine enough that every price, every
//! target value, every cost and the cash are whole numbers of units. What each position may become is
//! a range of whole lots. But for the rules that tie positions together, a `Problem` that exists has a
//! solution: a band without a whole share, or minimums that cost more than there is, are refusals of
//! [`PricedModel::problem`](super::priced_model::PricedModel::problem).

use std::sync::Arc;

use ethnum::I256;
use rust_decimal::Decimal;

use crate::identifier::SecurityId;

use super::narrow::NarrowRows;
use super::position::Band;
use super::price::Price;
use super::trading_rules::{Rule, TradingRules};
use super::units::{Scaled, power_of_ten, quotient, times};

/// What to do with a band that holds no whole share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BandPolicy {
    /// Refuse: no feasible solution exists.
    #[default]
    Strict,
    /// Take one of the two whole-share quantities next to the target and mark the row.
    Nearest,
}

/// Why a portfolio cannot be rebalanced. Nobody's fault, and nothing is traded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the model has no positions")]
    EmptyModel,
    #[error("the market value {0} is not above zero")]
    MarketValueNotPositive(Decimal),
    #[error("security {0} has no price")]
    Unpriced(SecurityId),
    #[error("no feasible solution exists: no whole share of security {0} lies inside its band")]
    NoWholeShareInBand(SecurityId),
    #[error(
        "no feasible solution exists: the least that the bands ask for costs {needed}, there is {available} to spend"
    )]
    MinimumsExceedCash { needed: Decimal, available: Decimal },
    #[error("no feasible solution exists under the trading rules")]
    RulesLeaveNoSolution,
    #[error("the rule {} cannot be kept by the optimiser in use", .0.name())]
    RuleNotSupported(Rule),
    #[error("the amounts of security {0} are too large or too finely divided to reckon with exactly")]
    SecurityOutOfRange(SecurityId),
    #[error("the amounts of the portfolio are too large or too finely divided to reckon with exactly")]
    OutOfRange,
}

impl Refusal {
    /// Short and stable; what programs match on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyModel => "empty-model",
            Self::MarketValueNotPositive(_) => "market-value-not-positive",
            Self::Unpriced(_) => "security-not-priced",
            Self::NoWholeShareInBand(_) | Self::MinimumsExceedCash { .. } | Self::RulesLeaveNoSolution => {
                "no-feasible-solution"
            }
            Self::RuleNotSupported(_) => "trading-rule-not-supported",
            Self::SecurityOutOfRange(_) | Self::OutOfRange => "amounts-out-of-range",
        }
    }
}

/// One security of the combined list: those of the model in its order, then the others held, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub security: SecurityId,
    pub price: Price,
    /// The net quantity before the rebalance; may be fractional or negative.
    pub held: Decimal,
    /// Zero for a security that the model does not want.
    pub target: Decimal,
    pub band: Band,
}

/// A line in integers. Money is in units, quantities are whole lots.
///
/// What is held beyond whole lots, such as a fraction of a share, no trade can touch: it is split off
/// as a residue of less than a lot, which lowers the target and the budget instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Of a lot.
    pub price: i128,
    /// Value wanted in whole lots; negative when the residue alone exceeds what the model wants.
    pub target: i128,
    pub held: i64,
    /// Value of what is held beyond whole lots.
    pub residue: i128,
    /// The least and the most lots allowed; either may be reached. Negative only where a short holding
    /// must stay.
    pub lowest: i64,
    pub highest: i64,
    /// Units of the security in a lot.
    pub lot: i64,
    /// What trading a lot costs, the ticket apart.
    pub cost: i128,
    /// A trade has at least so many lots; one where any will do.
    pub fewest: i64,
}

/// The rules that tie positions together, or a trade to its being made at all. Money is in units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JointRules {
    /// What every trade costs.
    pub ticket_fee: i128,
    pub maximum_trades: Option<usize>,
    /// Value bought and sold.
    pub maximum_turnover: Option<i128>,
    /// Rows of which anything is held afterwards, residues included.
    pub maximum_positions: Option<usize>,
    pub groups: Vec<Group>,
}

/// Half of what 64 bits hold, so that the change from one quantity to another fits as well, and less to
/// be on the safe side.
pub(super) const MOST_UNITS: i64 = i64::MAX / 4;

/// Rows whose lots together may be worth only so much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub rows: Vec<usize>,
    /// The rows' residues are already taken off.
    pub most: i128,
}

/// The rebalance of one portfolio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) lines: Vec<Line>,
    pub(super) rows: Vec<Row>,
    /// The same once more, where that will do.
    pub(super) narrow: Option<NarrowRows>,
    pub(super) joint: JointRules,
    pub(super) value: i128,
    pub(super) residues: i128,
    /// Cash that must be left.
    pub(super) reserve: i128,
    pub(super) scale: u32,
    pub(super) cash: Decimal,
    pub(super) rules: Arc<TradingRules>,
}

impl Line {
    /// The ends of the band, as shares of market value; the lower one may lie below zero.
    pub fn low(&self) -> Decimal {
        self.target - self.band.low()
    }

    pub fn high(&self) -> Decimal {
        self.target + self.band.high()
    }
}

impl Row {
    /// Whether so many lots can be held: inside the range, and not by too small a trade.
    pub fn allows(&self, lots: i64) -> bool {
        let is_small = lots != self.held && lots.abs_diff(self.held) < self.fewest.unsigned_abs();
        self.lowest <= lots && lots <= self.highest && !is_small
    }

    /// |target − value|, in units.
    pub fn deviation(&self, lots: i64) -> i128 {
        (self.target - times(lots.into(), self.price)).abs()
    }

    /// What trading to so many lots costs, the ticket apart.
    pub fn trading_cost(&self, lots: i64) -> i128 {
        if self.cost == 0 { 0 } else { times(self.cost, (i128::from(lots) - i128::from(self.held)).abs()) }
    }

    /// What so many lots and getting there costs, the ticket apart.
    pub fn spent(&self, lots: i64) -> i128 {
        times(lots.into(), self.price) + self.trading_cost(lots)
    }
}

impl Problem {
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) const fn narrow_rows(&self) -> Option<&NarrowRows> {
        self.narrow.as_ref()
    }

    pub const fn joint_rules(&self) -> &JointRules {
        &self.joint
    }

    pub fn rules(&self) -> &TradingRules {
        &self.rules
    }

    /// What the lots and trading them may cost together, so that the cash is left that must be.
    pub const fn budget(&self) -> i128 {
        self.value - self.residues - self.reserve
    }

    /// The cash that must be left.
    pub(super) const fn reserve(&self) -> i128 {
        self.reserve
    }

    /// In units, rounded down.
    pub(super) fn half_a_cent(&self) -> i128 {
        5 * power_of_ten(self.scale) / 1000
    }

    /// Units of money are 10^-scale.
    pub const fn scale(&self) -> u32 {
        self.scale
    }

    /// Cash plus the value of everything held, exact.
    pub fn market_value(&self) -> Decimal {
        self.money(self.value)
    }

    pub const fn cash(&self) -> Decimal {
        self.cash
    }

    /// An amount of units as money.
    pub fn money(&self, units: i128) -> Decimal {
        Decimal::try_from_i128_with_scale(units, self.scale)
            .expect("the bound on all amounts leaves room for each of the problem")
            .normalize()
    }

    /// Σ |target − lots · price| over all lines, in units.
    pub fn deviation(&self, lots: &[i64]) -> i128 {
        self.of_rows(lots, Row::deviation)
    }

    /// What the trades cost, tickets included, in units.
    pub fn trading_costs(&self, lots: &[i64]) -> i128 {
        let tickets = i128::try_from(self.trades(lots)).unwrap_or(i128::MAX);
        self.of_rows(lots, Row::trading_cost) + self.joint.ticket_fee * tickets
    }

    /// What an optimum has the least of: deviation and trading costs together, in units.
    pub fn objective(&self, lots: &[i64]) -> i128 {
        self.deviation(lots) + self.trading_costs(lots)
    }

    /// Σ lots · price and the trading costs, in units; at most the budget.
    pub fn spent(&self, lots: &[i64]) -> i128 {
        self.of_rows(lots, |row, lots| times(lots.into(), row.price)) + self.trading_costs(lots)
    }

    /// The first of the rules that these lots break of those that tie positions together.
    pub fn broken_joint_rule(&self, lots: &[i64]) -> Option<Rule> {
        let JointRules { maximum_trades, maximum_turnover, maximum_positions, groups, .. } = &self.joint;
        let exceeds = |limit: &Option<usize>, count: usize| limit.is_some_and(|limit| limit < count);
        if exceeds(maximum_trades, self.trades(lots)) {
            Some(Rule::MaximumTrades)
        } else if maximum_turnover.is_some_and(|most| most < self.turnover(lots)) {
            Some(Rule::MaximumTurnover)
        } else if exceeds(maximum_positions, self.positions(lots)) {
            Some(Rule::MaximumPositions)
        } else if groups.iter().any(|group| group.most < self.worth(group, lots)) {
            Some(Rule::GroupLimit)
        } else {
            None
        }
    }

    /// Whether so many lots of a line leave its position, residue included, outside the band.
    pub fn is_outside_band(&self, line: &Line, row: &Row, lots: i64) -> bool {
        let worth = i128::from(lots) * row.price + row.residue;
        let compare = |share: Decimal| {
            let share = Scaled::of(share);
            let bound = I256::from(self.value) * I256::from(share.mantissa);
            (I256::from(worth) * I256::from(power_of_ten(share.decimals))).cmp(&bound)
        };
        compare(line.low()).is_lt() || compare(line.high()).is_gt()
    }

    /// The row of a line were there no trading rules: a lot is one unit.
    pub(super) fn unruled(&self, idx: usize) -> Row {
        let (line, row) = (&self.lines[idx], &self.rows[idx]);
        if self.rules.are_none() {
            return row.clone();
        }
        let price = row.price / i128::from(row.lot);
        let beyond_lots = row.residue / price;
        let single = |lots: i64, more: i128| {
            let units = i128::from(lots) * i128::from(row.lot) + more;
            i64::try_from(units).expect("a lot has room for its units")
        };
        let (residue, target) = (row.residue % price, row.target + beyond_lots * price);
        let held = single(row.held, beyond_lots);
        let least = -(-Scaled::of(line.low())).share_of(self.value) - residue;
        let most = Scaled::of(line.high()).share_of(self.value) - residue;
        let band = lots_worth(least, most, |amount| quotient(amount, price));
        let (lowest, highest) = band.unwrap_or_else(|| lots_around(target, price));
        // A band of more units than can be traded: a rule kept the row from being refused for it.
        let within = |units: i128| i64::try_from(units).map_or(MOST_UNITS, |units| units.min(MOST_UNITS));
        let (lowest, highest) = (within(lowest), within(highest));
        Row { price, target, held, residue, lowest, highest, lot: 1, cost: 0, fewest: 1 }
    }

    pub(super) fn cash_after(&self, lots: &[i64]) -> Decimal {
        self.money(self.value - self.residues - self.spent(lots))
    }

    /// Value bought and sold, in units.
    pub(super) fn turnover(&self, lots: &[i64]) -> i128 {
        self.of_rows(lots, |row, lots| times((i128::from(lots) - i128::from(row.held)).abs(), row.price))
    }

    /// What the group's lots are worth, in units.
    pub(super) fn worth(&self, group: &Group, lots: &[i64]) -> i128 {
        group.rows.iter().map(|&idx| i128::from(lots[idx]) * self.rows[idx].price).sum()
    }

    pub(super) fn trades(&self, lots: &[i64]) -> usize {
        self.rows.iter().zip(lots).filter(|(row, lots)| row.held != **lots).count()
    }

    pub(super) fn positions(&self, lots: &[i64]) -> usize {
        self.rows.iter().zip(lots).filter(|(row, lots)| **lots != 0 || row.residue != 0).count()
    }

    fn of_rows(&self, lots: &[i64], of: impl Fn(&Row, i64) -> i128) -> i128 {
        self.rows.iter().zip(lots).map(|(row, &lots)| of(row, lots)).sum()
    }
}

/// The least and the most whole lots, none below zero, that are worth so much at `least` and at `most`;
/// `None` where there are none. Where even no lots are worth too much, they are the closest.
///
/// `lots_in` tells how many an amount not below zero suffices for.
pub(super) fn lots_worth(least: i128, most: i128, lots_in: impl Fn(i128) -> i128) -> Option<(i128, i128)> {
    if most < 0 {
        return Some((0, 0));
    }
    let lowest = if least <= 0 { 0 } else { lots_in(least - 1) + 1 };
    let highest = lots_in(most);
    (lowest <= highest).then_some((lowest, highest))
}

/// The two whole numbers of lots next to the target.
pub(super) fn lots_around(target: i128, price: i128) -> (i128, i128) {
    let below = quotient(target, price).max(0);
    (below, below + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_are_worth_at_least_and_at_most_what_they_must_be() {
        let prices_and_leasts = (1..=5).flat_map(|price| (-6..=11).map(move |least| (price, least)));
        for ((price, least), most) in
            prices_and_leasts.flat_map(|pair| (-6..=11).map(move |most| (pair, most)))
        {
            let is_worth_it = |lots: &i128| (least..=most).contains(&(lots * price));
            let all: Vec<i128> = (0..=11).filter(is_worth_it).collect();
            let range = all.first().copied().zip(all.last().copied());
            let expected = if most < 0 { Some((0, 0)) } else { range };

            let found = lots_worth(least, most, |amount| quotient(amount, price));

            assert_eq!(found, expected, "{least} to {most} at {price}");
        }
    }
}
