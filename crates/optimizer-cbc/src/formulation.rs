//! A problem as a mixed-integer program, and its solution as lots.
//!
//! What a row adds to the objective, spends and turns over bends at the two neighbours of its target and
//! at what is held, and nowhere else. From a start, each stretch up to the next bend is a column that
//! counts lots. The further from the start, the dearer they are in every respect, so that no solution
//! gains by taking them out of turn.
//!
//! Where a trade must be large enough, has a price of its own or is counted, the start is what is held,
//! and one more column on either side is the trade itself: the fewest lots come with it, the others only
//! after it. Where positions are counted, the start is what is held or nothing, and one more column is
//! the position itself.

use std::ops::Sub;

use domain::order_generation::optimum::nearest;
use domain::order_generation::problem::{Group, Problem, Row};

use crate::program::{self, Bounds, Column, Gap, Kind, Program, Solution};

/// Money by which CBC may stop short of the best. Less than half a cent, together with the margin.
const GAP: f64 = 0.002;

/// Money by which CBC's bound may be too high: a solution that is better by a hundred-thousandth it does
/// not look for.
const MARGIN: f64 = 0.001;
/// The same as a share of the bound, and of the amounts that it is the difference of.
const MARGIN_OF_BOUND: f64 = 1e-10;
const MARGIN_OF_AMOUNTS: f64 = 1e-13;

/// CBC lets a limit be exceeded by less than the first in money, or by less than this part of a price.
const TOLERANCE: f64 = 1e-6;
const PRICE_TO_TOLERANCE: i128 = 100_000_000;

/// Of the gap that the rules allow. The rest is for the margin.
const SHARE_OF_GAP: f64 = 0.8;

pub struct Formulation<'a> {
    problem: &'a Problem,
    program: Program,
    starts: Vec<i64>,
    steps: Vec<Step>,
}

/// By how many lots each one of a column changes a row, and what that comes to.
#[derive(Debug, Clone, Copy)]
struct Step {
    column: usize,
    row: usize,
    lots: i64,
    change: Amounts,
}

/// What lots of a row come to, in units of money.
#[derive(Debug, Clone, Copy)]
struct Amounts {
    objective: i128,
    spent: i128,
    turnover: i128,
    worth: i128,
}

/// The amounts of money that there may be of what.
#[derive(Debug, Clone)]
pub struct Limits<'a> {
    problem: &'a Problem,
    each: Vec<Limit<'a>>,
    /// Units by which the next tightening takes more than the excess.
    hair: i128,
}

#[derive(Debug, Clone, Copy)]
struct Limit<'a> {
    measure: Measure<'a>,
    allowed: i128,
    /// What the program is told.
    most: i128,
}

#[derive(Debug, Clone, Copy)]
enum Measure<'a> {
    Spent,
    Turnover,
    Group(&'a Group),
}

impl<'a> Limits<'a> {
    pub fn of(problem: &'a Problem) -> Self {
        let limit = |measure, allowed| Limit { measure, allowed, most: allowed };
        let joint = problem.joint_rules();
        let turnover = joint.maximum_turnover.map(|most| limit(Measure::Turnover, most));
        let groups = joint.groups.iter().map(|group| limit(Measure::Group(group), group.most));
        let spent = limit(Measure::Spent, problem.budget());
        let each = [spent].into_iter().chain(turnover).chain(groups).collect();
        let highest_price = problem.rows().iter().map(|row| row.price).max().unwrap_or(0);
        let hair = whole_units(TOLERANCE * power_of_ten(problem.scale()));
        Self { problem, each, hair: hair.max(highest_price / PRICE_TO_TOLERANCE) }
    }

    /// Tells the program less of what the lots exceed, by more than they do and than CBC tolerates.
    /// Whether they exceed any.
    pub fn tighten(&mut self, lots: &[i64]) -> bool {
        let mut tightened = false;
        for Limit { measure, allowed, most } in &mut self.each {
            let excess = measure.of_all(self.problem, lots) - *allowed;
            if 0 < excess {
                *most -= 2 * excess + self.hair;
                tightened = true;
            }
        }
        self.hair *= 100;
        tightened
    }
}

impl Measure<'_> {
    fn of(self, idx: usize, amounts: Amounts) -> i128 {
        match self {
            Self::Spent => amounts.spent,
            Self::Turnover => amounts.turnover,
            Self::Group(group) if group.rows.contains(&idx) => amounts.worth,
            Self::Group(_) => 0,
        }
    }

    fn of_all(self, problem: &Problem, lots: &[i64]) -> i128 {
        let fee = problem.joint_rules().ticket_fee;
        let rows = problem.rows().iter().zip(lots).enumerate();
        rows.map(|(idx, (row, lots))| self.of(idx, Amounts::at(row, *lots, fee))).sum()
    }
}

impl Amounts {
    fn at(row: &Row, lots: i64, ticket_fee: i128) -> Self {
        let worth = i128::from(lots) * row.price;
        let change = i128::from(lots) - i128::from(row.held);
        let costs = row.trading_cost(lots) + if change == 0 { 0 } else { ticket_fee };
        Self {
            objective: row.deviation(lots) + costs,
            spent: worth + costs,
            turnover: change.abs() * row.price,
            worth,
        }
    }
}

impl Sub for Amounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            objective: self.objective - other.objective,
            spent: self.spent - other.spent,
            turnover: self.turnover - other.turnover,
            worth: self.worth - other.worth,
        }
    }
}

/// Whether rows are traded.
#[derive(Debug, Default)]
struct Trades {
    /// One or zero each.
    columns: Vec<usize>,
    /// Rows that cannot stay as they are.
    certain: usize,
}

/// Whether anything is held of a row afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    None,
    Possible,
    Certain,
}

impl Position {
    fn of(row: &Row) -> Self {
        // Where the range begins below zero, it is of one number only.
        let may_be_none = row.residue == 0 && row.lowest == 0 && row.allows(0);
        match row.highest {
            _ if !may_be_none => Self::Certain,
            0 => Self::None,
            _ => Self::Possible,
        }
    }
}

impl<'a> Formulation<'a> {
    pub fn new(limits: &Limits<'a>) -> Self {
        let problem = limits.problem;
        let mut draft = Self { problem, program: Program::default(), starts: Vec::new(), steps: Vec::new() };
        let mut trades = Trades::default();
        for (idx, row) in problem.rows().iter().enumerate() {
            draft.add_row(idx, row, &mut trades);
        }
        limits.each.iter().for_each(|limit| draft.limit_amounts(limit));
        draft.limit_trades(&trades);
        draft.limit_positions();

        let objective = draft.of_starts(|_, amounts| amounts.objective);
        let gap = problem.rules().gap.get();
        draft.program.constant = draft.money(objective);
        draft.program.gap =
            Gap { absolute: GAP, relative: SHARE_OF_GAP * float(gap.mantissa()) / power_of_ten(gap.scale()) };
        draft
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The lots nearest to CBC's numbers, inside their ranges.
    pub fn lots(&self, solution: &Solution) -> Vec<i64> {
        let mut lots = self.starts.clone();
        for step in &self.steps {
            let taken = whole(solution.values[step.column]).saturating_mul(step.lots);
            lots[step.row] = lots[step.row].saturating_add(taken);
        }
        let rows = self.problem.rows().iter().zip(lots);
        rows.map(|(row, lots)| lots.clamp(row.lowest, row.highest)).collect()
    }

    /// CBC's bound in units of money, made safe, and up to the next whole unit, as all objectives are.
    pub fn lower_bound(&self, solution: &Solution) -> i128 {
        let Some(bound) = solution.bound else { return 0 };
        let margin = MARGIN + MARGIN_OF_BOUND * bound.abs() + MARGIN_OF_AMOUNTS * self.program.constant.abs();
        whole_units(((bound - margin) * power_of_ten(self.problem.scale())).ceil()).max(0)
    }

    fn add_row(&mut self, idx: usize, row: &Row, trades: &mut Trades) {
        let joint = self.problem.joint_rules();
        let is_counted = joint.ticket_fee != 0 || joint.maximum_trades.is_some();
        let may_stay = row.allows(row.held);
        let ends = [row.lowest, row.highest];
        if may_stay && (is_counted || 1 < row.fewest) {
            self.starts.push(row.held);
            let ends = ends.into_iter().filter(|end| *end != row.held);
            let either: Vec<usize> = ends.map(|end| self.add_trade(idx, row, end)).collect();
            if let [_, _] = either[..] {
                self.add_row_of(Bounds::at_most(1.0), either.iter().map(|column| (*column, 1.0)));
            }
            trades.columns.extend(either);
        } else {
            let is_position = joint.maximum_positions.is_some() && Position::of(row) == Position::Possible;
            let start = if is_position { 0 } else { nearest(row) };
            self.starts.push(start);
            for end in ends {
                self.add_stretches(idx, row, start, end);
            }
            trades.certain += usize::from(!may_stay);
        }
    }

    /// The column of a trade from what is held towards `end`.
    fn add_trade(&mut self, idx: usize, row: &Row, end: i64) -> usize {
        let first = row.held + (end - row.held).signum() * row.fewest;
        let trade = self.add_step(idx, row, (row.held, first), 1);
        for column in self.add_stretches(idx, row, first, end) {
            self.add_row_after(column, trade);
        }
        trade
    }

    /// The columns of the lots from one number to another.
    fn add_stretches(&mut self, idx: usize, row: &Row, from: i64, to: i64) -> Vec<usize> {
        let below = row.target.div_euclid(row.price);
        let (lower, upper) = (from.min(to), from.max(to));
        let bends =
            [below, below + 1, row.held.into()].into_iter().filter_map(|bend| i64::try_from(bend).ok());
        let mut ends: Vec<i64> = bends.filter(|bend| lower < *bend && *bend < upper).chain([to]).collect();
        ends.sort_unstable_by_key(|end| end.abs_diff(from));

        let mut columns = Vec::new();
        let mut start = from;
        for end in ends {
            let count = (end - start).abs();
            if count != 0 {
                let next = start + (end - start).signum();
                columns.push(self.add_step(idx, row, (start, next), count));
            }
            start = end;
        }
        columns
    }

    fn add_step(&mut self, row_idx: usize, row: &Row, (from, to): (i64, i64), most: i64) -> usize {
        let fee = self.problem.joint_rules().ticket_fee;
        let change = Amounts::at(row, to, fee) - Amounts::at(row, from, fee);
        let column = self.add_column(self.money(change.objective), most);
        self.steps.push(Step { column, row: row_idx, lots: to - from, change });
        column
    }

    fn limit_amounts(&mut self, limit: &Limit<'_>) {
        let Limit { measure, most, .. } = limit;
        let left = most - self.of_starts(|idx, amounts| measure.of(idx, amounts));
        let coefficients: Vec<(usize, f64)> = self
            .steps
            .iter()
            .map(|step| (step.column, measure.of(step.row, step.change)))
            .filter(|(_, units)| *units != 0)
            .map(|(column, units)| (column, self.money(units)))
            .collect();
        // Half a unit more lets no whole unit in, and none out that only the rounding is against.
        let upper = self.money(2 * left + 1) / 2.0;
        self.add_row_of(Bounds::at_most(upper), coefficients);
    }

    fn limit_trades(&mut self, trades: &Trades) {
        if let Some(most) = self.problem.joint_rules().maximum_trades {
            let left = float(wide(most) - wide(trades.certain));
            self.add_row_of(Bounds::at_most(left), trades.columns.iter().map(|column| (*column, 1.0)));
        }
    }

    fn limit_positions(&mut self) {
        let Some(most) = self.problem.joint_rules().maximum_positions else { return };
        let mut certain = 0;
        let mut positions = Vec::new();
        for (idx, row) in self.problem.rows().iter().enumerate() {
            match Position::of(row) {
                Position::Certain => certain += 1,
                Position::Possible => positions.push(self.add_position(idx)),
                Position::None => {}
            }
        }
        let left = float(wide(most) - certain);
        self.add_row_of(Bounds::at_most(left), positions.iter().map(|column| (*column, 1.0)));
    }

    /// The column of any lots being held of a row that starts at none or at what is held.
    fn add_position(&mut self, idx: usize) -> usize {
        let position = self.add_column(0.0, 1);
        let (down, up): (Vec<Step>, Vec<Step>) =
            self.steps.iter().filter(|step| step.row == idx).partition(|step| step.lots < 0);
        for Step { column, .. } in up {
            self.add_row_after(column, position);
        }
        if self.starts[idx] != 0 {
            let start = float(self.starts[idx].into());
            let sold = down.into_iter().map(|step| (step.column, float(step.lots.into())));
            self.add_row_of(Bounds::at_most(-start), sold.chain([(position, -start)]));
        }
        position
    }

    fn add_column(&mut self, cost: f64, most: i64) -> usize {
        let bounds = Bounds::between(0.0, float(most.into()));
        self.program.columns.push(Column { kind: Kind::Integer, cost, bounds });
        self.program.columns.len() - 1
    }

    /// None of the one without the other, which is one or zero.
    fn add_row_after(&mut self, column: usize, other: usize) {
        let most = self.program.columns[column].bounds.upper.unwrap_or(f64::MAX);
        self.add_row_of(Bounds::at_most(0.0), [(column, 1.0), (other, -most)]);
    }

    fn add_row_of(&mut self, bounds: Bounds, coefficients: impl IntoIterator<Item = (usize, f64)>) {
        self.program.rows.push(program::Row { bounds, coefficients: coefficients.into_iter().collect() });
    }

    fn of_starts(&self, of: impl Fn(usize, Amounts) -> i128) -> i128 {
        let fee = self.problem.joint_rules().ticket_fee;
        let starts = self.problem.rows().iter().zip(&self.starts).enumerate();
        starts.map(|(idx, (row, start))| of(idx, Amounts::at(row, *start, fee))).sum()
    }

    fn money(&self, units: i128) -> f64 {
        float(units) / power_of_ten(self.problem.scale())
    }
}

fn wide(count: usize) -> i128 {
    i128::try_from(count).unwrap_or(i128::MAX)
}

fn power_of_ten(exponent: u32) -> f64 {
    10_f64.powi(exponent.cast_signed())
}

#[expect(clippy::cast_precision_loss, reason = "CBC reckons in binary floating point")]
fn float(whole: i128) -> f64 {
    whole as f64
}

#[expect(clippy::cast_possible_truncation, reason = "what is too large is as good as the largest")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

#[expect(clippy::cast_possible_truncation, reason = "what is too large is as good as the largest")]
fn whole_units(number: f64) -> i128 {
    number as i128
}

#[cfg(test)]
mod tests;
