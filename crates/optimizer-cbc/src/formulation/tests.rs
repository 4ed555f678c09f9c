//! What brute force does not see of a formulation.

use port_contracts::optimizer::portfolio::Portfolio;

use super::*;

fn problem() -> Problem {
    Portfolio::large(0).problem().unwrap()
}

fn ends(problem: &Problem, end: fn(&Row) -> i64) -> Vec<i64> {
    problem.rows().iter().map(end).collect()
}

/// What the program may spend.
fn most(limits: &Limits<'_>) -> Option<f64> {
    let rows = Formulation::new(limits).program.rows;
    assert_eq!(rows.len(), 1);
    rows[0].bounds.upper
}

#[test]
fn a_limit_that_is_exceeded_is_told_lower_by_more_than_that() {
    let problem = problem();
    let lots = ends(&problem, |row| row.highest);
    let mut limits = Limits::of(&problem);
    let told = most(&limits);

    assert!(limits.tighten(&lots));

    let excess = float(problem.spent(&lots) - problem.budget()) / power_of_ten(problem.scale());
    assert!(most(&limits).unwrap() < told.unwrap() - excess, "{told:?} {excess}");
}

#[test]
fn a_limit_that_is_kept_is_not_told_lower() {
    let problem = problem();
    let mut limits = Limits::of(&problem);
    let told = most(&limits);

    assert!(!limits.tighten(&ends(&problem, |row| row.lowest)));

    assert_eq!(most(&limits), told);
}

#[test]
fn whatever_numbers_come_lots_are_inside_their_ranges() {
    let problem = problem();
    let formulation = Formulation::new(&Limits::of(&problem));
    for value in [1e300, -1e300, f64::INFINITY, f64::NAN] {
        let values = vec![value; formulation.program.columns.len()];

        let lots = formulation.lots(&Solution { values, objective: 0.0, bound: None });

        assert!(problem.rows().iter().zip(lots).all(|(row, lots)| row.allows(lots)), "{value}");
    }
}

#[test]
fn a_bound_is_lowered_by_a_margin_and_never_below_nothing() {
    let problem = problem();
    let formulation = Formulation::new(&Limits::of(&problem));
    let in_units = |bound| formulation.lower_bound(&Solution { values: Vec::new(), objective: 0.0, bound });
    let of_money = |money: i128| money * 10_i128.pow(problem.scale());

    assert_eq!(in_units(None), 0);
    assert_eq!(in_units(Some(-5.0)), 0);
    let bound = in_units(Some(1_000.0));
    assert!(of_money(999) < bound && bound < of_money(1_000), "{bound}");
}
