//! CBC against enumeration, and what lies at the edge of what it calls a program.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const AMPLE: Duration = Duration::from_mins(1);

fn solved(program: Program) -> Outcome {
    solve(&Request { program, time_limit: AMPLE })
}

fn optimum(program: Program) -> Solution {
    let outcome = solved(program);
    let Outcome::Optimal(solution) = outcome else { panic!("{outcome:?}") };
    solution
}

fn column(kind: Kind, cost: f64, bounds: Bounds) -> Column {
    Column { kind, cost, bounds }
}

fn row(bounds: Bounds, coefficients: &[f64]) -> Row {
    Row { bounds, coefficients: coefficients.iter().copied().enumerate().collect() }
}

#[test]
fn the_cheapest_whole_numbers_are_found_and_proven() {
    let Solution { values, objective, bound } = optimum(Program {
        columns: vec![
            column(Kind::Integer, -5.0, Bounds::between(0.0, 10.0)),
            column(Kind::Integer, -4.0, Bounds::at_least(0.0)),
        ],
        rows: vec![row(Bounds::at_most(23.0), &[6.0, 4.0]), row(Bounds::at_most(6.0), &[1.0, 2.0])],
        ..Program::default()
    });

    assert_eq!(values, [3.0, 1.0]);
    assert_eq!((objective, bound), (-19.0, Some(-19.0)));
}

#[test]
fn random_programs_are_solved_as_by_enumeration() {
    let mut infeasible = 0;
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let program = random_program(&mut random);

        let best = enumerated(&program);

        match (solved(program), best) {
            (Outcome::Optimal(solution), Some(best)) => {
                assert!((solution.objective - best).abs() < 1e-6, "seed {seed}: {solution:?}, {best}");
                let bound = solution.bound.unwrap();
                assert!(bound <= best + 1e-6, "seed {seed}: {bound}, {best}");
            }
            (Outcome::Infeasible, None) => infeasible += 1,
            (outcome, best) => panic!("seed {seed}: {outcome:?}, {best:?}"),
        }
    }
    assert!((50..350).contains(&infeasible), "{infeasible}");
}

fn random_program(random: &mut StdRng) -> Program {
    let mut whole = |most: i32| f64::from(random.random_range(-most..=most));
    let columns = (0..4).map(|_| {
        let lower = whole(3);
        column(Kind::Integer, whole(9), Bounds::between(lower, lower + 3.0))
    });
    let columns = columns.collect();
    let rows = (0..3).map(|_| {
        let coefficients: Vec<f64> = (0..4).map(|_| whole(9)).collect();
        let lower = whole(25);
        row(Bounds::between(lower, lower + 30.0), &coefficients)
    });
    Program { rows: rows.collect(), columns, ..Program::default() }
}

fn enumerated(program: &Program) -> Option<f64> {
    let within = |bounds: Bounds, value: f64| {
        bounds.lower.is_none_or(|lower| lower <= value) && bounds.upper.is_none_or(|upper| value <= upper)
    };
    let choices = (0..4_u32.pow(4)).map(|choice| {
        let value = |(idx, column): (u32, &Column)| {
            column.bounds.lower.unwrap() + f64::from(choice / 4_u32.pow(idx) % 4)
        };
        (0..).zip(&program.columns).map(value).collect::<Vec<f64>>()
    });
    choices
        .filter(|values| {
            program.rows.iter().all(|row| {
                let sum = row.coefficients.iter().map(|(idx, factor)| factor * values[*idx]).sum();
                within(row.bounds, sum)
            })
        })
        .map(|values| program.columns.iter().zip(values).map(|(column, value)| column.cost * value).sum())
        .min_by(f64::total_cmp)
}

#[test]
fn what_has_no_solution_and_what_has_no_best_one_are_told_apart() {
    let coin = column(Kind::Integer, 1.0, Bounds::between(0.0, 1.0));
    let endless = column(Kind::Integer, -1.0, Bounds::at_least(0.0));
    let program =
        |columns, bounds| Program { columns, rows: vec![row(bounds, &[1.0])], ..Program::default() };

    assert_eq!(solved(program(vec![coin], Bounds::at_least(2.0))), Outcome::Infeasible);
    assert_eq!(solved(program(vec![coin], Bounds::between(0.25, 0.75))), Outcome::Infeasible);
    assert_eq!(solved(program(vec![endless], Bounds::at_least(2.0))), Outcome::Unbounded);
}

#[test]
fn a_program_without_whole_numbers_rows_or_columns_is_one_too() {
    let lonely = column(Kind::Continuous, 2.0, Bounds::between(1.5, 4.0));
    let continuous = Program { constant: -10.0, columns: vec![lonely], ..Program::default() };
    let contradiction = Program { rows: vec![row(Bounds::at_least(1.0), &[])], ..Program::default() };

    let solution = optimum(continuous);
    let nothing = optimum(Program::default());

    assert_eq!((solution.values, solution.objective, solution.bound), (vec![1.5], -7.0, Some(-7.0)));
    assert_eq!((nothing.values, nothing.objective, nothing.bound), (vec![], 0.0, Some(0.0)));
    assert_eq!(solved(contradiction), Outcome::Infeasible);
}
