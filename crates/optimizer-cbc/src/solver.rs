//! One program solved by CBC, in this process: what calls this is ready to lose it.

use std::ffi::{CStr, CString};
use std::time::Instant;

use coin_cbc::raw::{Model, SecondaryStatus, Sense, Status};

use crate::program::{Bounds, Column, Gap, Kind, Outcome, Program, Request, Row, Solution};

/// What CBC's objective is at least where it has found nothing; its own tests of that compare with it too.
const NOTHING_FOUND: f64 = 1e30;

/// By so much a number may miss being whole.
///
/// Where rounding it breaks a row by more than [`ROW_TOLERANCE`], CBC discards the node as infeasible,
/// with the better solutions that may lie in it, and proves what is not so. Hence a tolerance smaller
/// than CBC's own, and coefficients that keep the break smaller than the other.
const WHOLE_TOLERANCE: f64 = 1e-9;
/// CBC's own.
const ROW_TOLERANCE: f64 = 1e-7;
const LARGEST_COEFFICIENT: f64 = ROW_TOLERANCE / WHOLE_TOLERANCE;
/// Of a row that adds up to more, the tolerance is finer than the digits of the sum.
const LARGEST_SUM: f64 = 1e8;

pub(crate) fn solve(request: &Request) -> Outcome {
    let Request { program, time_limit } = request;
    let n_columns = program.columns.len();
    let mut model = relaxed(program);
    let kinds = program.columns.iter().map(|column| column.kind);
    for (idx, _) in kinds.enumerate().filter(|(_, kind)| *kind == Kind::Integer) {
        model.set_integer(idx);
    }
    // At least one, since of a program without integers CBC's C interface never sets the status.
    model.set_integer(n_columns);
    set_limits(&mut model, request);

    let started = Instant::now();
    model.solve();
    let took = started.elapsed();

    let found = model.obj_value() < NOTHING_FOUND;
    let solution = |bound| Solution {
        values: model.col_solution()[..n_columns].to_vec(),
        objective: model.obj_value(),
        bound,
    };
    // A relaxation that the time limit stops passes for infeasible with CBC, and where it stood for the
    // least objective of its node: what CBC claims late is no proof, and its bound no bound.
    let is_early = took < *time_limit / 2;
    match End::of(&model) {
        End::Searched if found && took < *time_limit => {
            let within_gap = least_within_gap(&model, program.gap);
            let relaxed = least_relaxed(program).unwrap_or(within_gap);
            Outcome::Optimal(solution(Some(relaxed.max(within_gap))))
        }
        End::Searched | End::Stopped if found => Outcome::Stopped(solution(least_relaxed(program))),
        End::Searched if is_early => Outcome::Infeasible,
        End::Unbounded if is_early => Outcome::Unbounded,
        End::Searched | End::Stopped | End::Unbounded => Outcome::StoppedWithout,
        End::Abandoned(said) => Outcome::Abandoned { said },
    }
}

fn set_limits(model: &mut Model, Request { program, time_limit }: &Request) {
    let mut set = |name: &CStr, value: f64| {
        let value = CString::new(value.to_string()).expect("a number has no zero byte");
        model.set_parameter(name, &value);
    };
    set(c"sec", time_limit.as_secs_f64());
    set(c"allowableGap", program.gap.absolute);
    set(c"ratioGap", program.gap.relative);
    set(c"integerTolerance", WHOLE_TOLERANCE);
    // A dive of its fast branch and bound does not look at the clock, for up to a second and more: off.
    set(c"depthMiniBab", -999.0);
    // By default its clock is that of the processor, which stands still while others use it.
    model.set_parameter(c"timeMode", c"elapsed");
}

/// CBC may stop at the gap, and say all the same that it has searched everything and that the objective
/// is the bound.
fn least_within_gap(model: &Model, gap: Gap) -> f64 {
    let (objective, bound) = (model.obj_value(), model.best_possible_value());
    let allowed = gap.absolute.max(gap.relative * objective.abs().max(bound.abs()));
    bound.min(objective - allowed)
}

/// The least objective were nothing to be whole.
fn least_relaxed(program: &Program) -> Option<f64> {
    let mut model = relaxed(program);
    // Of a program without integers, the parameter is not looked at.
    model.set_log_level(0);
    // The only thing that CBC's C interface tells of a program without integers.
    let is_optimal = model.solve() == 0;
    is_optimal.then(|| model.obj_value())
}

/// The program without integers, and with one more column for the constant.
fn relaxed(program: &Program) -> Model {
    let always_one = Bounds::between(1.0, 1.0);
    let constant = Column { kind: Kind::Continuous, cost: program.constant, bounds: always_one };
    let columns = || program.columns.iter().copied().chain([constant]);
    let rows: Vec<Row> = program.rows.iter().map(|row| scaled(row, &program.columns)).collect();
    let matrix = Matrix::new(program.columns.len() + 1, &rows);
    let (lower, upper) = sides(columns().map(|column| column.bounds));
    let (row_lower, row_upper) = sides(rows.iter().map(|row| row.bounds));
    let costs: Vec<f64> = columns().map(|column| column.cost).collect();

    let mut model = Model::new();
    model.set_parameter(c"logLevel", c"0");
    model.load_problem(
        costs.len(),
        rows.len(),
        &matrix.starts,
        &matrix.rows,
        &matrix.values,
        Some(&lower),
        Some(&upper),
        Some(&costs),
        Some(&row_lower),
        Some(&row_upper),
    );
    model.set_obj_sense(Sense::Minimize);
    model
}

fn scaled(row: &Row, columns: &[Column]) -> Row {
    let reach = |column: &Column| {
        let Bounds { lower, upper } = column.bounds;
        [lower, upper].into_iter().flatten().map(f64::abs).fold(0.0, f64::max)
    };
    let terms = || row.coefficients.iter().copied();
    let largest = terms().map(|(_, factor)| factor.abs()).fold(0.0, f64::max);
    let sum: f64 = terms().map(|(column, factor)| factor.abs() * reach(&columns[column])).sum();
    let excess = (largest / LARGEST_COEFFICIENT).max(sum / LARGEST_SUM).max(1.0);
    // A power of two, so that no number loses a digit.
    let scale = (-excess.log2().ceil()).exp2();
    let Bounds { lower, upper } = row.bounds;
    Row {
        bounds: Bounds { lower: lower.map(|it| it * scale), upper: upper.map(|it| it * scale) },
        coefficients: terms().map(|(column, factor)| (column, factor * scale)).collect(),
    }
}

fn sides(bounds: impl Iterator<Item = Bounds>) -> (Vec<f64>, Vec<f64>) {
    bounds.map(|it| (it.lower.unwrap_or(f64::NEG_INFINITY), it.upper.unwrap_or(f64::INFINITY))).unzip()
}

/// The coefficients column by column, as CBC takes them.
struct Matrix {
    starts: Vec<i32>,
    rows: Vec<i32>,
    values: Vec<f64>,
}

impl Matrix {
    fn new(n_columns: usize, rows: &[Row]) -> Self {
        let mut columns = vec![Vec::new(); n_columns];
        for (row, idx) in rows.iter().zip(0..) {
            for &(column, value) in &row.coefficients {
                columns[column].push((idx, value));
            }
        }
        let mut matrix = Self { starts: vec![0], rows: Vec::new(), values: Vec::new() };
        for column in columns {
            for (row, value) in column {
                matrix.rows.push(row);
                matrix.values.push(value);
            }
            matrix.starts.push(i32::try_from(matrix.rows.len()).expect("CBC counts in 32 bits"));
        }
        matrix
    }
}

/// What CBC's two statuses say together.
enum End {
    Searched,
    Stopped,
    Unbounded,
    Abandoned(String),
}

impl End {
    fn of(model: &Model) -> Self {
        use SecondaryStatus as Why;

        match (model.status(), model.secondary_status()) {
            (Status::Finished, Why::HasSolution | Why::StoppedOnGap | Why::LinearRelaxationInfeasible) => {
                Self::Searched
            }
            (Status::Finished, Why::LinearRelaxationUnbounded) => Self::Unbounded,
            // Also of a search that a limit ended CBC may say that it finished.
            (
                Status::Finished,
                Why::StoppedOnNodes
                | Why::StoppedOnTime
                | Why::StoppedOnUserEvent
                | Why::StoppedOnSolutions
                | Why::StoppedOnIterationLimit,
            )
            | (Status::Stopped | Status::UserEvent, _) => Self::Stopped,
            (status @ Status::Finished, why @ Why::Unlaunched)
            | (status @ (Status::Unlaunched | Status::Abandoned), why) => {
                Self::Abandoned(format!("{status:?}, {why:?}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
