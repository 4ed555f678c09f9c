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

use super::cover::Cover;
use super::narrow::OwnBests;
use super::problem::{Problem, Row};
use super::trading_rules::Rule;
use super::units::{quotient, times};

/// How an optimum was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every position is at its own best, and there is cash for all of them.
    OwnBest,
    /// The least harmful steps down were looked for.
    Search,
    /// A table of the cheapest way to free each amount of cash. No solver does so any more, but kept
    /// rebalances tell of it.
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
    /// Part-choices in each of two lists that are paired in the last round of the search for the least
    /// deviation, and nodes of the branch and bound before; the rounds before do a fraction of it.
    pub parts: usize,
    /// Nodes of the search for the preferred one among proven optima.
    pub tie_nodes: usize,
}

impl Default for Limits {
    /// About a tenth of a second at worst on a current core.
    fn default() -> Self {
        Self { parts: 65_536, tie_nodes: 5_000 }
    }
}

/// Solves one problem after the other. It keeps the room that it takes, so it allocates nothing for a
/// problem no harder than those before.
#[derive(Debug)]
pub struct Solver {
    limits: Limits,
    answer: Answer,
    /// What the answer costs while all positions are at their best.
    spent: i128,
    cover: Cover,
}

impl Solver {
    pub fn new(limits: Limits) -> Self {
        let answer = Answer { quantities: Vec::new(), lower_bound: 0, method: Method::OwnBest };
        Self { limits, answer, spent: 0, cover: Cover::default() }
    }

    /// The optimum, or the best answer within the limits.
    pub fn solve(&mut self, problem: &Problem) -> Result<&Answer, NeedsBranching> {
        if self.solve_at_once(problem) {
            return Ok(&self.answer);
        }
        if problem.joint_rules().ticket_fee != 0 {
            return Err(NeedsBranching(Rule::TicketFee));
        }
        self.solve_without_branching_rules(problem);
        let quantities = &self.answer.quantities;
        let mut rows = problem.rows().iter().zip(quantities);
        if !rows.all(|(row, &lots)| row.allows(lots)) {
            return Err(NeedsBranching(Rule::MinimumTradeValue));
        }
        match problem.broken_joint_rule(quantities) {
            Some(rule) => Err(NeedsBranching(rule)),
            None => Ok(&self.answer),
        }
    }

    fn solve_at_once(&mut self, problem: &Problem) -> bool {
        if let Some(rows) = problem.narrow_rows() {
            let OwnBests { spent, deviation } = rows.place(&mut self.answer.quantities);
            (self.spent, self.answer.lower_bound) = (spent.into(), deviation.into());
            self.answer.method = Method::OwnBest;
        } else {
            let ticket_fee = problem.joint_rules().ticket_fee;
            self.place(problem, |row| own_best(row, ticket_fee));
        }
        self.spent <= problem.budget() && problem.broken_joint_rule(&self.answer.quantities).is_none()
    }

    fn place(&mut self, problem: &Problem, best: impl Fn(&Row) -> i64) {
        let ticket_fee = problem.joint_rules().ticket_fee;
        let Answer { quantities, lower_bound: objective, method } = &mut self.answer;
        (self.spent, *objective, *method) = (0, 0, Method::OwnBest);
        quantities.clear();
        quantities.extend(problem.rows().iter().map(|row| {
            let lots = best(row);
            let cost = row.trading_cost(lots) + if lots == row.held { 0 } else { ticket_fee };
            let value = times(lots.into(), row.price);
            self.spent += value + cost;
            *objective += (row.target - value).abs() + cost;
            lots
        }));
    }

    /// The optimum were there no joint rules and were every trade large enough.
    fn solve_without_branching_rules(&mut self, problem: &Problem) {
        if problem.rows().iter().any(|row| row.fewest > 1) {
            self.place(problem, nearest);
        }
        let overspend = self.spent - problem.budget();
        if overspend > 0 {
            self.answer.method = Method::Search;
            self.answer.lower_bound += self.cover.step_down(
                problem.rows(),
                &mut self.answer.quantities,
                overspend,
                problem.half_a_cent(),
                self.limits,
            );
        }
    }
}

/// The optimum, or the best answer within the limits.
pub fn optimum(problem: &Problem, limits: Limits) -> Result<Answer, NeedsBranching> {
    let mut solver = Solver::new(limits);
    solver.solve(problem)?;
    Ok(solver.answer)
}

/// The optimum of a problem in which every position may be at its own best.
///
/// It takes about a microsecond, where the other problems may take until the limits.
pub fn optimum_at_once(problem: &Problem) -> Option<Answer> {
    let mut solver = Solver::new(Limits::default());
    solver.solve_at_once(problem).then_some(solver.answer)
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

/// The lots of least deviation and cost, were there no other position, were every trade large enough and
/// without a ticket; among equals those nearest to what is held, then the fewer.
///
/// Costs are less than prices, so the best is one of the target's two neighbours, or the end of the
/// range that lies between them and it.
pub fn nearest(row: &Row) -> i64 {
    let below = quotient(row.target, row.price);
    if below < i128::from(row.lowest) {
        return row.lowest;
    }
    if i128::from(row.highest) <= below {
        return row.highest;
    }
    let above = below + 1;
    let beyond = row.target - times(below, row.price);
    let is_held_above = below < i128::from(row.held);
    let (to_above, to_below) = if is_held_above { (0, row.cost) } else { (row.cost, 0) };
    let (deviation_above, deviation_below) = (row.price - beyond + to_above, beyond + to_below);
    let is_above = deviation_above < deviation_below || deviation_above == deviation_below && is_held_above;
    i64::try_from(if is_above { above } else { below }).expect("between")
}
