//! The exact optimum of a rebalance in whole shares.
//!
//! The problem separates: but for the cash, every position may take the whole number of shares
//! nearest its target. That list is its own proof of optimality. When it costs more than there is,
//! some positions must step down, and finding the least harmful set of steps is a small covering
//! problem (`cover`), solved to proven optimality or, where that takes too long, to a known bound.
//!
//! Among optima: the fewest units traded, then the most cash left, then the most shares for the
//! earlier lines. That preference is certain where there is cash for every position at its best, and
//! where the search among equals ends within its limit. Beyond it the answer is still optimal, but
//! another optimum may be preferable. All limits count work, not time, so the same problem has the
//! same answer anywhere.

use super::cover::{Cover, cover};
use super::problem::{Problem, Row};

/// How an optimum was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every position is at its own best, and there is cash for all of them.
    OwnBest,
    /// Branch and bound over the steps down.
    Search,
    /// A table of the cheapest way to free each amount of cash.
    Table,
}

/// Whole shares for each line of a problem, with a proof of how good they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub quantities: Vec<i64>,
    /// Units below which no solution's deviation lies; equal to this answer's when it is optimal.
    pub lower_bound: i128,
    pub method: Method,
}

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
pub fn optimum(problem: &Problem, limits: Limits) -> Answer {
    own_bests(problem).unwrap_or_else(|overspent| step_down(problem, overspent, limits))
}

/// The optimum of a problem whose cash suffices for every position at its own best.
///
/// It takes about a microsecond, where the other problems may take until the limits.
pub fn optimum_at_once(problem: &Problem) -> Option<Answer> {
    own_bests(problem).ok()
}

/// Quantities that cost more than there is.
struct Overspent(Vec<i64>);

fn own_bests(problem: &Problem) -> Result<Answer, Overspent> {
    let quantities: Vec<i64> = problem.rows().iter().map(own_best).collect();
    if problem.budget() < problem.cost(&quantities) {
        return Err(Overspent(quantities));
    }
    Ok(Answer { lower_bound: problem.deviation(&quantities), quantities, method: Method::OwnBest })
}

fn step_down(problem: &Problem, Overspent(mut quantities): Overspent, limits: Limits) -> Answer {
    let deviation = problem.deviation(&quantities);
    let overspend = problem.cost(&quantities) - problem.budget();
    let Cover { steps, lower_bound, method } =
        cover(problem.rows(), &quantities, overspend, problem.half_a_cent(), limits);
    for (quantity, step) in quantities.iter_mut().zip(steps) {
        *quantity -= i64::try_from(step).expect("a row steps down to zero at most");
    }
    Answer { quantities, lower_bound: deviation + lower_bound, method }
}

/// The whole shares nearest the target inside the band, were there no other position.
///
/// The band contains the target, so the answer is one of its two neighbours, or the end of the band
/// between them.
fn own_best(row: &Row) -> i64 {
    let within = |shares: i128| {
        let shares = shares.clamp(row.lowest.into(), row.highest.into());
        i64::try_from(shares).expect("clamped between two i64")
    };
    let below = row.target.div_euclid(row.price);
    let preference = |shares: &i64| {
        let deviation = (row.target - i128::from(*shares) * row.price).abs();
        (deviation, shares.abs_diff(row.held), *shares)
    };
    [within(below), within(below + 1)].into_iter().min_by_key(preference).expect("two candidates")
}
