use optimizer_cbc::program::{Bounds, Column, Kind, Outcome, Program, Row};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Three of one thing rather than two of the other.
pub(crate) fn easy() -> Program {
    Program {
        columns: vec![column(Kind::Integer, -5.0, 10.0), column(Kind::Integer, -4.0, 10.0)],
        rows: vec![Row { bounds: Bounds::at_most(19.0), coefficients: vec![(0, 6.0), (1, 5.0)] }],
        ..Program::default()
    }
}

pub(crate) fn assert_solved(outcome: &Outcome) {
    let Outcome::Optimal(solution) = outcome else { panic!("{outcome:?}") };
    assert_eq!((solution.values.as_slice(), solution.objective), ([3.0, 0.0].as_slice(), -15.0));
}

/// Cornuéjols and Dawande's market split: out of the reach of branch and bound.
pub(crate) fn hard() -> Program {
    let mut random = StdRng::seed_from_u64(7);
    let n_customers = 40;
    let mut columns = vec![column(Kind::Integer, 0.0, 1.0); n_customers];
    let rows = (0..5).map(|_| {
        let mut coefficients: Vec<(usize, f64)> =
            (0..n_customers).map(|idx| (idx, f64::from(random.random_range(0..100)))).collect();
        let half = (coefficients.iter().map(|(_, demand)| demand).sum::<f64>() / 2.0).floor();
        for sign in [1.0, -1.0] {
            coefficients.push((columns.len(), sign));
            columns.push(column(Kind::Continuous, 1.0, 10_000.0));
        }
        Row { bounds: Bounds::between(half, half), coefficients }
    });
    Program { rows: rows.collect(), columns, ..Program::default() }
}

/// More than a pipe holds, either way.
pub(crate) fn large() -> Program {
    Program { columns: vec![column(Kind::Integer, -1.0 / 3.0, 1_000.5); 20_000], ..Program::default() }
}

fn column(kind: Kind, cost: f64, upper: f64) -> Column {
    Column { kind, cost, bounds: Bounds::between(0.0, upper) }
}
