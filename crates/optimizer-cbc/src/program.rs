//! A mixed-integer program in plain numbers and what became of it: what a pool and its workers say to
//! each other, one JSON text a line.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub program: Program,
    /// When CBC stops by itself, more or less.
    pub time_limit: Duration,
}

/// Asks for the values of the columns that cost least, all of them and all rows inside their bounds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Program {
    /// Part of every objective, and so of what a relative gap is relative to.
    pub constant: f64,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub gap: Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub kind: Kind,
    pub cost: f64,
    pub bounds: Bounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Integer,
    Continuous,
}

/// Bounds the sum of some columns, each times its coefficient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub bounds: Bounds,
    /// Columns by their index, each at most once.
    pub coefficients: Vec<(usize, f64)>,
}

/// Both ends belong to the range; `None` is no bound at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    pub lower: Option<f64>,
    pub upper: Option<f64>,
}

/// How far from the best a solution may be and still count as optimal; either is enough.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Gap {
    pub absolute: f64,
    pub relative: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Proven to be within the gap.
    Optimal(Solution),
    /// A limit came first, and this is the best found by then.
    Stopped(Solution),
    /// A limit came first, and nothing was found by then.
    StoppedWithout,
    Infeasible,
    Unbounded,
    /// CBC gave up, or contradicts itself.
    Abandoned {
        said: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// One value a column; whole numbers are whole to within CBC's tolerance.
    pub values: Vec<f64>,
    pub objective: f64,
    /// No solution costs less, as far as CBC's tolerances go; `None` where CBC has no bound.
    pub bound: Option<f64>,
}

impl Bounds {
    pub fn between(lower: f64, upper: f64) -> Self {
        Self { lower: Some(lower), upper: Some(upper) }
    }

    pub fn at_most(upper: f64) -> Self {
        Self { lower: None, upper: Some(upper) }
    }

    pub fn at_least(lower: f64) -> Self {
        Self { lower: Some(lower), upper: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_arrives_as_it_was_sent() {
        // Of all binary orders, with mantissas that are hard to print and to read.
        let numbers =
            (0..=u64::MAX).step_by(0x0001_2345_6789_abcd).map(f64::from_bits).filter(|it| it.is_finite());
        let values: Vec<f64> = numbers.collect();
        let sent = Solution { objective: values[1], bound: None, values };

        let arrived: Solution = serde_json::from_slice(&serde_json::to_vec(&sent).unwrap()).unwrap();

        assert!(sent.values.len() > 10_000);
        assert_eq!(arrived, sent);
    }
}
