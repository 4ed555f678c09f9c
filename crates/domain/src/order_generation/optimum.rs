//! The exact optimum of a rebalance in whole lots.
//!
//! The problem separates: but for the cash, every position may take the whole number of lots of least
//! deviation and cost. That list is its own proof of optimality. When it costs more than there is,
//! some positions must step down, and finding the least harmful set of steps is a small covering
//! problem (`cover`), solved to proven optimality or, where that takes too long, to a known bound.
//!
//! Rules that tie positions together are left out at first: an optimum without them that keeps them
//! all the same is an optimum with them. Where it does not, another optimiser must branch.
//!
//! Among optima: the fewest units traded, then the most cash left, then the most shares for the
//! earlier lines. That preference is certain where there is cash for every position at its best, and
//! where the search among equals ends within its limit. Beyond it the answer is still optimal, but
//! another optimum may be preferable. All limits count work, not time, so the same problem has the
//! same answer anywhere.

use super::cover::{Cover, cover};
use super::narrow::{self, OwnBests};
use super::problem::{Problem, Row};
use super::trading_rules::Rule;

/// How an optimum was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every position is at its own best, and there is cash for all of them.
    OwnBest,
    /// Branch and bound over the steps down.
    Search,
    /// A table of the cheapest way to free each amount of cash.
    Table,
    /// COIN-OR CBC, in binary floating point; its bound is taken with a margin for that.
    Cbc,
}

/// Whole lots for each line of a problem, with a proof of how good they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub quantities: Vec<i64>,
    /// Units below which no solution's objective lies; equal to this answer's when it is optimal.
    pub lower_bound: i128,
    pub method: Method,
}

/// The optimum without this rule breaks it, and this solver cannot do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsBranching(pub Rule);

/// How much work may be spent before the best answer so far is returned with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nodes of the search for the least deviation.
    pub nodes: u64,
    /// Part-choices in each of two lists that are paired where that search gave up.
    pub parts: u64,
    /// Cells of the table that is tried where neither came within half a cent, each visited once for
    /// every number of steps it may take.
    pub table_cells: u64,
    /// Nodes of the search for the preferred one among proven optima.
    pub tie_nodes: u64,
}

impl Default for Limits {
    /// About a tenth of a second at worst on a current core.
    fn default() -> Self {
        Self { nodes: 100_000, parts: 65_536, table_cells: 10_000_000, tie_nodes: 50_000 }
    }
}

/// The optimum, or the best answer within the limits.
pub fn optimum(problem: &Problem, limits: Limits) -> Result<Answer, NeedsBranching> {
    if let Some(answer) = optimum_at_once(problem) {
        return Ok(answer);
    }
    if problem.joint_rules().ticket_fee != 0 {
        return Err(NeedsBranching(Rule::TicketFee));
    }
    let answer = without_branching_rules(problem, limits);
    let mut rows = problem.rows().iter().zip(&answer.quantities);
    if !rows.all(|(row, &lots)| row.allows(lots)) {
        return Err(NeedsBranching(Rule::MinimumTradeValue));
    }
    match problem.broken_joint_rule(&answer.quantities) {
        Some(rule) => Err(NeedsBranching(rule)),
        None => Ok(answer),
    }
}

/// The optimum of a problem in which every position may be at its own best.
///
/// It takes about a microsecond, where the other problems may take until the limits.
pub fn optimum_at_once(problem: &Problem) -> Option<Answer> {
    if let Some(rows) = problem.narrow_rows() {
        let mut quantities = Vec::with_capacity(rows.len());
        let OwnBests { spent, deviation } = narrow::place(rows, &mut quantities);
        let is_possible =
            i128::from(spent) <= problem.budget() && problem.broken_joint_rule(&quantities).is_none();
        return is_possible.then(|| Answer {
            lower_bound: deviation.into(),
            quantities,
            method: Method::OwnBest,
        });
    }
    let ticket_fee = problem.joint_rules().ticket_fee;
    let quantities: Vec<i64> = problem.rows().iter().map(|row| own_best(row, ticket_fee)).collect();
    let is_possible =
        problem.spent(&quantities) <= problem.budget() && problem.broken_joint_rule(&quantities).is_none();
    is_possible.then(|| Answer {
        lower_bound: problem.objective(&quantities),
        quantities,
        method: Method::OwnBest,
    })
}

/// The optimum were there no joint rules and were every trade large enough.
fn without_branching_rules(problem: &Problem, limits: Limits) -> Answer {
    let mut quantities: Vec<i64> = problem.rows().iter().map(nearest).collect();
    let objective = problem.objective(&quantities);
    let overspend = problem.spent(&quantities) - problem.budget();
    if overspend <= 0 {
        return Answer { quantities, lower_bound: objective, method: Method::OwnBest };
    }
    let Cover { steps, lower_bound, method } =
        cover(problem.rows(), &quantities, overspend, problem.half_a_cent(), limits);
    for (quantity, step) in quantities.iter_mut().zip(steps) {
        *quantity -= i64::try_from(step).expect("a row steps down to its lowest at most");
    }
    Answer { quantities, lower_bound: objective + lower_bound, method }
}

/// The lots of least deviation and cost that are allowed, were there no other position; among equals
/// those nearest to what is held, then the fewer.
fn own_best(row: &Row, ticket_fee: i128) -> i64 {
    let nearest = nearest(row);
    if row.allows(nearest) && ticket_fee == 0 {
        return nearest;
    }
    // Deviation and cost only grow with the distance from the nearest, so the best is it, the last
    // allowed before it on either side, or what is held.
    let before_and_after = [row.held.saturating_sub(row.fewest), row.held.saturating_add(row.fewest)];
    let rank = |lots: &i64| {
        let ticket = if *lots == row.held { 0 } else { ticket_fee };
        (row.deviation(*lots) + row.trading_cost(*lots) + ticket, lots.abs_diff(row.held), *lots)
    };
    [nearest, row.held]
        .into_iter()
        .chain(before_and_after)
        .filter(|lots| row.allows(*lots))
        .min_by_key(rank)
        .expect("a row allows at least its lowest")
}

/// The same, were every trade large enough and without a ticket.
///
/// Costs are less than prices, so the best is one of the target's two neighbours, or the end of the
/// range that lies between them and it.
pub(super) fn nearest(row: &Row) -> i64 {
    let within = |lots: i128| {
        let lots = lots.clamp(row.lowest.into(), row.highest.into());
        i64::try_from(lots).expect("clamped between two i64")
    };
    let below = row.target.div_euclid(row.price);
    let rank = |lots: &i64| (row.deviation(*lots) + row.trading_cost(*lots), lots.abs_diff(row.held), *lots);
    [within(below), within(below + 1)].into_iter().min_by_key(rank).expect("two candidates")
}
