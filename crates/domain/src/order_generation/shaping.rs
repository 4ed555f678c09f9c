//! Which rules keep each position from the whole shares nearest its target.
//!
//! A rule shapes a position if it alone, everything else as it is, forbids or does not repay the
//! quantity that the position would have were there no rules and cash enough.

use super::optimum::nearest;
use super::problem::{Group, JointRules, Problem, Row};
use super::trading_rules::Rule;

/// An answer, and what it comes to.
pub(super) struct Shaping<'a> {
    problem: &'a Problem,
    lots: &'a [i64],
    spent: i128,
    turnover: i128,
    trades: usize,
    positions: usize,
}

/// A position as it is, and as it would be without rules; in single units of the security.
struct Deviant<'a> {
    idx: usize,
    row: &'a Row,
    /// The row were there no rules.
    unruled: Row,
    is: i64,
    would_be: i64,
}

impl<'a> Shaping<'a> {
    pub(super) fn new(problem: &'a Problem, lots: &'a [i64]) -> Self {
        Self {
            problem,
            lots,
            spent: problem.spent(lots),
            turnover: problem.turnover(lots),
            trades: problem.trades(lots),
            positions: problem.positions(lots),
        }
    }

    /// In the order of [`Rule::ALL`]; none where the position is as it would be without rules.
    pub(super) fn of(&self, idx: usize) -> Vec<Rule> {
        let row = &self.problem.rows()[idx];
        let unruled = self.problem.unruled(idx);
        let would_be = nearest(&unruled);
        let is = unruled.held + (self.lots[idx] - row.held) * row.lot;
        if is == would_be {
            return Vec::new();
        }
        let deviant = Deviant { idx, row, unruled, is, would_be };
        Rule::ALL.into_iter().filter(|rule| self.shapes(*rule, &deviant)).collect()
    }

    fn shapes(&self, rule: Rule, deviant: &Deviant<'_>) -> bool {
        let Deviant { idx, row, unruled, is, would_be } = deviant;
        let rules = self.problem.rules();
        let security = &self.problem.lines()[*idx].security;
        let JointRules { ticket_fee, maximum_trades, maximum_turnover, maximum_positions, groups } =
            self.problem.joint_rules();
        let (held, price) = (unruled.held, unruled.price);
        let change = would_be - held;
        let is_traded = |quantity: &i64| usize::from(*quantity != held);
        let is_kept = |quantity: &i64| usize::from(*quantity != 0 || unruled.residue != 0);
        let more_spent = row.spent_on(*would_be, unruled) - row.spent_on(*is, unruled);
        match rule {
            Rule::Cash => self.problem.budget() + self.problem.reserve() < self.spent + more_spent,
            Rule::MinimumCash => {
                let spent = self.spent + more_spent - self.problem.budget();
                0 < spent && spent <= self.problem.reserve()
            }
            Rule::LotSize => change % row.lot != 0,
            Rule::MinimumTradeValue => {
                let value = self.problem.money(i128::from(change.unsigned_abs()) * price);
                change != 0 && value < rules.minimum_trade_value.get()
            }
            Rule::TradeOnlyOutsideBand => {
                let is_inside = unruled.lowest <= held && held <= unruled.highest;
                let stays = row.lowest == row.held && row.highest == row.held;
                rules.trade_only_outside_band && is_inside && (0 < change || stays)
            }
            Rule::DoNotBuy => 0 < change && rules.do_not_buy.contains(security),
            Rule::DoNotSell => change < 0 && rules.do_not_sell.contains(security),
            Rule::Restricted => change != 0 && rules.restricted.contains(security),
            Rule::ProportionalCost => {
                let more = row.cost_of(*would_be, unruled) - row.cost_of(*is, unruled);
                unruled.deviation(*is) <= unruled.deviation(*would_be) + more && 0 < more
            }
            Rule::TicketFee => {
                let saved = is_traded(is) < is_traded(would_be);
                saved
                    && 0 < *ticket_fee
                    && unruled.deviation(*is) <= unruled.deviation(*would_be) + ticket_fee
            }
            Rule::MaximumTrades => {
                maximum_trades.is_some_and(|most| most < self.trades - is_traded(is) + is_traded(would_be))
            }
            Rule::MaximumTurnover => {
                let of = |quantity: &i64| i128::from(quantity.abs_diff(held)) * price;
                maximum_turnover.is_some_and(|most| most < self.turnover - of(is) + of(would_be))
            }
            Rule::MaximumPositions => {
                maximum_positions.is_some_and(|most| most < self.positions - is_kept(is) + is_kept(would_be))
            }
            Rule::GroupLimit => {
                let more = (i128::from(*would_be) - i128::from(*is)) * price;
                let is_full = |group: &Group| group.most < self.problem.worth(group, self.lots) + more;
                groups.iter().any(|group| group.rows.contains(idx) && is_full(group))
            }
        }
    }
}

impl Row {
    /// The proportional cost of a trade that ends at so many units.
    fn cost_of(&self, quantity: i64, unruled: &Self) -> i128 {
        self.cost / i128::from(self.lot) * i128::from(quantity.abs_diff(unruled.held))
    }

    /// What so many units are worth, and getting there costs.
    fn spent_on(&self, quantity: i64, unruled: &Self) -> i128 {
        i128::from(quantity) * unruled.price + self.cost_of(quantity, unruled)
    }
}
