//! One portfolio at a time, on one thread.

use std::hint::black_box;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use domain::order_generation::optimum::{Limits, Solver};
use domain::order_generation::problem::Problem;
use optimizer_cbc::formulation::{self, Formulation};
use optimizer_cbc::pool::{Pool, WorkerCommand};
use optimizer_cbc::program::{Outcome, Program};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::{Choice, Times, plain};
use crate::say;

const EXACT_SEEDS: u64 = 100;
const CBC_SEEDS: u64 = 20;
const CBC_LIMIT: Duration = Duration::from_secs(2);
/// No more instances once a solver has had so much time for a class and size.
const CBC_PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(choice: &Choice) -> anyhow::Result<()> {
    say("One portfolio at a time. CBC runs in a worker process, as in the service; the pipes take some\n");
    say("0.1 ms of its time. > : stopped at its limit of 2 s at least once.\n\n");
    let cbc = if choice.with_cbc { Some(Cbc::new()?) } else { None };
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "class",
        "n",
        "exact",
        "p99",
        "allocations",
        "CBC compact",
        "p99",
        "CBC plain",
        "p99",
        "compact / exact",
        "plain / exact",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for class in &choice.classes {
        for &size in &choice.sizes {
            let problems = (0..EXACT_SEEDS).filter_map(|seed| class.portfolio(size, seed).problem().ok());
            let problems: Vec<Problem> = problems.collect();
            let Some(exact) = Exact::measure(&problems) else { continue };
            let rows = cbc.as_ref().map(|cbc| {
                let compact =
                    |problem: &Problem| Formulation::new(&formulation::Limits::of(problem)).program().clone();
                (cbc.measure(&problems, compact), cbc.measure(&problems, plain::program))
            });
            table.add_row(row(&class.name(), size, &exact, rows.as_ref()));
        }
    }
    say(&format!("{table}\n\n"));
    Ok(())
}

struct Exact {
    times: Times,
    /// Of all warm solves together.
    allocations: u64,
}

impl Exact {
    /// `None` where there is nothing to solve.
    fn measure(problems: &[Problem]) -> Option<Self> {
        let mut solver = Solver::new(Limits::default());
        let mut times = Times::default();
        for problem in problems {
            times.measure(5, || {
                black_box(solver.solve(black_box(problem))).ok();
            });
        }
        let counted = allocation_counter::measure(|| {
            for problem in problems {
                black_box(solver.solve(problem)).ok();
            }
        });
        (!problems.is_empty()).then_some(Self { times, allocations: counted.count_total })
    }
}

struct Cbc {
    runtime: Runtime,
    pool: Pool,
}

#[derive(Default)]
struct CbcTimes {
    times: Times,
    at_limit: usize,
}

impl Cbc {
    fn new() -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let worker = WorkerCommand {
            program: std::env::current_exe()?,
            arguments: vec![crate::OPTIMIZER_WORKER.into()],
        };
        let pool = runtime.block_on(async { Pool::new(worker, 1) });
        Ok(Self { runtime, pool })
    }

    fn measure(&self, problems: &[Problem], program: impl Fn(&Problem) -> Program) -> CbcTimes {
        let mut measured = CbcTimes::default();
        let mut spent = Duration::ZERO;
        let seeds = usize::try_from(CBC_SEEDS).unwrap_or(usize::MAX);
        for problem in problems.iter().take(seeds) {
            if CBC_PATIENCE < spent {
                break;
            }
            let program = program(problem);
            let begun = Instant::now();
            let outcome = self.runtime.block_on(self.pool.solve(program, begun + CBC_LIMIT));
            let took = begun.elapsed();
            spent += took;
            measured.times.0.push(took);
            measured.at_limit += usize::from(!matches!(outcome, Ok(Outcome::Optimal(_))));
        }
        measured
    }
}

fn row(class: &str, size: usize, exact: &Exact, cbc: Option<&(CbcTimes, CbcTimes)>) -> Vec<String> {
    let (median, p99) = (exact.times.quantile(50), exact.times.quantile(99));
    let mut row =
        vec![class.to_owned(), size.to_string(), shown(median), shown(p99), exact.allocations.to_string()];
    let Some((compact, plain)) = cbc else { return row };
    let mark = |of: &CbcTimes, time: String| if of.at_limit == 0 { time } else { format!("> {time}") };
    for of in [compact, plain] {
        row.push(mark(of, shown(of.times.quantile(50))));
        row.push(mark(of, shown(of.times.quantile(99))));
    }
    for of in [compact, plain] {
        let ratio =
            of.times.quantile(50).zip(median).map(|(of, exact)| of.as_secs_f64() / exact.as_secs_f64());
        row.push(ratio.map_or_else(String::new, |ratio| format!("{ratio:.0}")));
    }
    row
}

fn shown(time: Option<Duration>) -> String {
    let Some(time) = time else { return String::new() };
    match time.as_nanos() {
        ..1_000_000 => format!("{:.2} us", time.as_secs_f64() * 1e6),
        _ => format!("{:.2} ms", time.as_secs_f64() * 1e3),
    }
}
