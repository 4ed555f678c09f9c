use std::sync::Arc;
use std::time::Duration;

use application::order_generation::ports::{Optimizer, OptimizerError};
use domain::order_generation::optimum::{Limits as Work, optimum};
use domain::order_generation::problem::Problem;
use microlp::{ComparisonOp, OptimizationDirection, Variable};
use optimizer_cbc::formulation::{Formulation, Limits};
use optimizer_cbc::program::Program;
use port_contracts::optimizer::classes::Class;
use port_contracts::optimizer::few_choices;
use port_contracts::optimizer::portfolio::Portfolio;

use crate::cbc;

/// A third solver, that has the program in common with CBC and nothing with the exact one.
#[tokio::test]
async fn no_answer_is_better_than_were_shares_divisible() {
    let optimizer = cbc(Duration::from_secs(1));
    let tiny = few_choices(Portfolio::tiny_with_rules).take(300).map(|(_, problem)| problem);
    let large = [Class::Easy, Class::Tight, Class::Small, Class::Forced, Class::Outside, Class::Ratio8];
    let large = large.into_iter().map(|class| Arc::new(class.portfolio(30, 1).problem().unwrap()));
    let (mut compared, mut exact) = (0, 0);
    for problem in tiny.chain(large) {
        let relaxed = relaxed(Formulation::new(&Limits::of(&problem)).program());

        match (optimizer.solve(Arc::clone(&problem)).await, relaxed) {
            (Ok(answer), Some(relaxed)) => {
                assert_not_below(&problem, &answer.quantities, relaxed);
                compared += 1;
            }
            (Err(OptimizerError::NoSolution), _) => {}
            (answer, relaxed) => panic!("{answer:?}, but relaxed {relaxed:?}"),
        }
        if let (Ok(answer), Some(relaxed)) = (optimum(&problem, Work::default()), relaxed) {
            assert_not_below(&problem, &answer.quantities, relaxed);
            exact += 1;
        }
    }
    assert!(200 < compared && 100 < exact, "{compared} {exact}");
}

fn assert_not_below(problem: &Problem, lots: &[i64], relaxed: f64) {
    let found: f64 = problem.money(problem.objective(lots)).to_string().parse().unwrap();
    assert!(relaxed <= found + 1e-4 + 1e-9 * found, "{found}, relaxed {relaxed}");
}

/// `None` where even parts of shares are no solution.
fn relaxed(program: &Program) -> Option<f64> {
    let mut problem = microlp::Problem::new(OptimizationDirection::Minimize);
    let variables: Vec<Variable> = program
        .columns
        .iter()
        .map(|column| {
            problem.add_var(column.cost, (column.bounds.lower.unwrap(), column.bounds.upper.unwrap()))
        })
        .collect();
    for row in &program.rows {
        let terms: Vec<(Variable, f64)> =
            row.coefficients.iter().map(|(column, factor)| (variables[*column], *factor)).collect();
        problem.add_constraint(&terms, ComparisonOp::Le, row.bounds.upper.unwrap());
    }
    match problem.solve() {
        Ok(solved) => Some(program.constant + solved.into_solution().unwrap().objective()),
        Err(microlp::Error::Infeasible) => None,
        Err(error) => panic!("{error}"),
    }
}
