//! Ten thousand portfolios of a hundred positions, beside what reading and writing their words takes.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table};
use domain::order_generation::holdings::Holdings;
use domain::order_generation::optimum::{Limits, Method, Solver};
use domain::order_generation::position::Positions;
use domain::order_generation::price::PriceSnapshot;
use domain::order_generation::priced_model::PricedModel;
use domain::order_generation::problem::Problem;
use port_contracts::optimizer::classes::Class;
use port_contracts::optimizer::portfolio::Portfolio;
use rust_decimal::Decimal;

use crate::say;

const PORTFOLIOS: usize = 10_000;
/// So many stated problems fit the second or third cache of a current core; all of them fit none.
const FEW: usize = 500;
const SIZE: usize = 100;
const ROUNDS: usize = 25;

pub(super) fn run() {
    say("10,000 portfolios of 100 positions that follow one model; the best of 25 rounds. Stated: the\n");
    say(
        "problems are in integers already, all distinct or the same 500 over and over. Floor: only to read\n",
    );
    say("the words that a solver reads of these problems, as they lie in memory, and to write a quantity\n");
    say("for each position; what starts from decimals is compared with the floor of all.\n\n");
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["", "threads", "portfolios/s", "ns each", "x floor"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let slack = Model::new(Class::Easy, false);
    let binding = Model::new(Class::Tight, true);
    let (stated_slack, stated_binding) = (slack.stated(), binding.stated());
    for threads in [1, 2] {
        let [floor_of_all, floor_of_few] =
            [PORTFOLIOS, FEW].map(|distinct| floor(threads, &stated_slack[..distinct]));
        let mut add = |name: &str, took: Duration, floor: Duration| {
            let each = took.as_secs_f64() / 10_000.0;
            table.add_row([
                name.to_owned(),
                threads.to_string(),
                format!("{:.0}", 1.0 / each),
                format!("{:.0}", each * 1e9),
                format!("{:.1}", took.as_secs_f64() / floor.as_secs_f64()),
            ]);
        };
        for (name, model, stated) in
            [("slack", &slack, &stated_slack), ("binding", &binding, &stated_binding)]
        {
            add(&format!("{name}, from decimals"), model.decimals_to_answers(threads), floor_of_all);
            add(&format!("{name}, stated, all distinct"), to_answers(threads, stated), floor_of_all);
            add(&format!("{name}, stated, 500 distinct"), to_answers(threads, &stated[..FEW]), floor_of_few);
        }
        add("floor, all distinct", floor_of_all, floor_of_all);
        add("floor, 500 distinct", floor_of_few, floor_of_few);
    }
    say(&format!("{table}\n"));
}

/// A problem, and beside it in memory as many words as a solver reads of its rows.
struct Stated {
    problem: Problem,
    words: Vec<[i64; 4]>,
}

/// One model, and portfolios that follow it.
struct Model {
    example: Portfolio,
    positions: Positions,
    prices: PriceSnapshot,
    portfolios: Vec<Holdings>,
}

impl Model {
    /// With portfolios whose cash all binds, or in none.
    fn new(class: Class, binds: bool) -> Self {
        let example = class.portfolio(SIZE, 1);
        let (positions, prices) = (example.positions(), example.prices());
        let mut model = Self { example, positions, prices, portfolios: Vec::new() };
        let priced_model = model.priced();
        let mut solver = Solver::new(Limits::default());
        let portfolios = (0_i64..).map(|number| {
            // The holdings of one portfolio, with more or less cash.
            let cash = model.example.cash + Decimal::new(number * 98_765, 2);
            Portfolio { cash, ..model.example.clone() }.holdings()
        });
        let mut is_wanted = |holdings: &Holdings| {
            let problem = priced_model.problem(holdings).expect("bands wide enough");
            solver.solve(&problem).is_ok_and(|answer| (answer.method != Method::OwnBest) == binds)
        };
        model.portfolios = portfolios.filter(|holdings| is_wanted(holdings)).take(PORTFOLIOS).collect();
        model
    }

    fn priced(&self) -> PricedModel<'_> {
        let Portfolio { rules, policy, .. } = &self.example;
        PricedModel::new(&self.positions, &self.prices, rules, *policy).expect("all have prices")
    }

    fn decimals_to_answers(&self, threads: usize) -> Duration {
        let priced = self.priced();
        best_time(threads, || {
            let mut solver = Solver::new(Limits::default());
            let priced = &priced;
            move |number: usize| {
                if let Ok(problem) = priced.problem(&self.portfolios[number]) {
                    black_box(solver.solve(&problem)).ok();
                }
            }
        })
    }

    fn stated(&self) -> Vec<Stated> {
        let priced = self.priced();
        let stated = |holdings: &Holdings| {
            let problem = priced.problem(holdings).ok()?;
            Some(Stated { problem, words: vec![[1, 2, 3, 4]; SIZE] })
        };
        self.portfolios.iter().filter_map(stated).collect()
    }
}

fn to_answers(threads: usize, stated: &[Stated]) -> Duration {
    best_time(threads, || {
        let mut solver = Solver::new(Limits::default());
        move |number: usize| {
            black_box(solver.solve(&stated[number % stated.len()].problem)).ok();
        }
    })
}

/// Four words of each row and three of its price, which all portfolios share, for a quantity.
fn floor(threads: usize, stated: &[Stated]) -> Duration {
    let prices = [[1_i64, 2, 3]; SIZE];
    best_time(threads, || {
        let mut quantities = [0_i64; SIZE];
        let prices = &prices;
        move |number: usize| {
            let rows = &stated[number % stated.len()].words;
            for ((quantity, row), price) in quantities.iter_mut().zip(rows).zip(black_box(prices)) {
                *quantity = row.iter().chain(price).fold(0, |all, word| all ^ word);
            }
            black_box(&mut quantities);
        }
    })
}

/// The time of the quickest of some rounds, the portfolios shared among the threads.
fn best_time<W: FnMut(usize)>(threads: usize, worker: impl Fn() -> W + Sync) -> Duration {
    let share = PORTFOLIOS / threads;
    let round = || {
        let begun = Instant::now();
        thread::scope(|scope| {
            for nth in 0..threads {
                let worker = &worker;
                scope.spawn(move || {
                    let mut work = worker();
                    (nth * share..(nth + 1) * share).for_each(&mut work);
                });
            }
        });
        begun.elapsed()
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}
