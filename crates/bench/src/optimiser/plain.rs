//! The program as a textbook writes it: a column of shares and one of deviation for each security, the
//! bands and the cash as rows.

use domain::order_generation::problem::Problem;
use optimizer_cbc::program::{Bounds, Column, Kind, Program, Row};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

pub(super) fn program(problem: &Problem) -> Program {
    let money = |units: i128| problem.money(units).to_f64().unwrap_or(f64::NAN);
    let unbounded = Bounds { lower: None, upper: None };
    let mut program = Program::default();
    let mut cash = Vec::new();
    let market_value = problem.market_value();
    for (idx, (line, row)) in problem.lines().iter().zip(problem.rows()).enumerate() {
        let (shares, deviation) = (2 * idx, 2 * idx + 1);
        let from_zero = Bounds { lower: Some(0.0), upper: None };
        program.columns.push(Column { kind: Kind::Integer, cost: 0.0, bounds: from_zero });
        program.columns.push(Column { kind: Kind::Continuous, cost: 1.0, bounds: from_zero });
        let (price, target) = (money(row.price), money(row.target));
        let above = Bounds { lower: Some(target), ..unbounded };
        let below = Bounds { lower: Some(-target), ..unbounded };
        program.rows.push(Row { bounds: above, coefficients: vec![(shares, price), (deviation, 1.0)] });
        program.rows.push(Row { bounds: below, coefficients: vec![(shares, -price), (deviation, 1.0)] });
        let share = |share: Decimal| (market_value * share).to_f64();
        let band = Bounds { lower: share(line.low()), upper: share(line.high()) };
        program.rows.push(Row { bounds: band, coefficients: vec![(shares, price)] });
        cash.push((shares, price));
    }
    let budget = Bounds { upper: Some(money(problem.budget())), ..unbounded };
    program.rows.push(Row { bounds: budget, coefficients: cash });
    program
}
