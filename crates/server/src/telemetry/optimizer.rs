//! Every solve: counted, timed, and a span of its own that tells how hard it was, and of no amounts.

use std::sync::Arc;
use std::time::Instant;

use application::order_generation::is_self_test;
use application::order_generation::ports::{Optimizer, OptimizerError};
use async_trait::async_trait;
use domain::order_generation::optimum::{Answer, Method};
use domain::order_generation::problem::Problem;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use tracing::Instrument;
use tracing::field::Empty;

/// In seconds. Those of the contract, and smaller ones: most solves take microseconds.
const DURATIONS: [f64; 12] = [0.000_1, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What is the optimiser's fault.
const UNSOUND: &str = "unsound";
const OUT_OF_TIME: &str = "out_of_time";
const BROKEN: &str = "broken";

pub(crate) struct ObservedOptimizer {
    inner: Box<dyn Optimizer>,
    solves: Counter<u64>,
    durations: Histogram<f64>,
}

impl ObservedOptimizer {
    pub(crate) fn new(inner: Box<dyn Optimizer>, meter: &Meter) -> Self {
        let solves = meter
            .u64_counter("optimizations_total")
            .with_description("Portfolios given to the optimiser, by what it came to")
            .build();
        // An increase can be told from the first one on.
        for status in [UNSOUND, OUT_OF_TIME, BROKEN] {
            solves.add(0, &[KeyValue::new("status", status)]);
        }
        Self {
            inner,
            solves,
            durations: meter
                .f64_histogram("optimization_duration_seconds")
                .with_unit("s")
                .with_description("Time that portfolios spent with the optimiser, waiting included")
                .with_boundaries(DURATIONS.to_vec())
                .build(),
        }
    }
}

#[async_trait]
impl Optimizer for ObservedOptimizer {
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError> {
        // Health reports would drown the rebalances.
        if is_self_test() {
            return self.inner.solve(problem).await;
        }
        let span = tracing::debug_span!(
            "solve",
            optimizer.positions = problem.rows().len(),
            optimizer.status = Empty,
            optimizer.method = Empty,
            optimizer.gap = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        let start = Instant::now();
        let answer = self.inner.solve(Arc::clone(&problem)).instrument(span.clone()).await;
        let took = start.elapsed();

        let (status, is_failure) = status(&problem, &answer);
        self.solves.add(1, &[KeyValue::new("status", status)]);
        self.durations.record(took.as_secs_f64(), &[]);
        span.record("optimizer.status", status);
        if is_failure {
            span.record("error.type", status);
            span.record("otel.status_code", "ERROR");
        } else if let Ok(answer) = &answer
            && !span.is_disabled()
        {
            span.record("optimizer.method", method(answer.method));
            span.record("optimizer.gap", gap(&problem, answer));
        }
        answer
    }
}

/// In a word, and whether it is the optimiser's fault.
fn status(problem: &Problem, answer: &Result<Answer, OptimizerError>) -> (&'static str, bool) {
    match answer {
        Ok(answer) if problem.verify(answer).is_err() => (UNSOUND, true),
        Ok(answer) if problem.objective(&answer.quantities) == answer.lower_bound => ("optimal", false),
        Ok(_) => ("bounded", false),
        Err(OptimizerError::Unsupported(_)) => ("unsupported", false),
        Err(OptimizerError::NoSolution) => ("infeasible", false),
        Err(OptimizerError::OutOfTime) => (OUT_OF_TIME, true),
        Err(OptimizerError::Broken { .. }) => (BROKEN, true),
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::OwnBest => "own_best",
        Method::Search => "search",
        Method::Table => "table",
        Method::Cbc => "cbc",
    }
}

/// What is not proven, as a share of the objective. It is looked at, never reckoned with.
#[expect(clippy::cast_precision_loss, reason = "near enough to be looked at")]
fn gap(problem: &Problem, answer: &Answer) -> f64 {
    let objective = problem.objective(&answer.quantities);
    match objective - answer.lower_bound.max(0) {
        0 => 0.0,
        unproven => unproven as f64 / objective as f64,
    }
}
