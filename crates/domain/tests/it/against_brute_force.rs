//! The solver against trying everything, on each of its paths.

use domain::order_generation::optimum::{Answer, Limits, Method, optimum};
use domain::order_generation::problem::{Problem, Refusal};
use port_contracts::optimizer::brute_force::{Best, Choices};
use port_contracts::optimizer::portfolio::Portfolio;

const SEEDS: u64 = 40_000;

#[derive(Debug)]
/// A small portfolio that can be rebalanced, and the best that can be done with it.
struct Solved {
    seed: u64,
    portfolio: Portfolio,
    problem: Problem,
    best: Best,
}

#[test]
fn what_is_refused_has_no_solution() {
    let (mut bands, mut minimums, mut accepted) = (0, 0, 0);
    for (seed, portfolio) in small_portfolios() {
        let choices = Choices::new(&portfolio.lines, portfolio.cash, portfolio.policy);
        let best = choices.as_ref().and_then(Choices::best);

        match portfolio.problem() {
            Ok(_) => {
                assert!(best.is_some(), "seed {seed}: {portfolio:#?}");
                accepted += 1;
            }
            Err(Refusal::NoWholeShareInBand(_)) => {
                assert!(choices.is_none(), "seed {seed}: {portfolio:#?}");
                bands += 1;
            }
            Err(Refusal::MinimumsExceedCash { .. }) => {
                assert!(choices.is_some() && best.is_none(), "seed {seed}: {portfolio:#?}");
                minimums += 1;
            }
            Err(refusal) => panic!("seed {seed}: {refusal}"),
        }
    }
    println!("accepted {accepted} bands {bands} minimums {minimums}");
    assert!(10_000 < accepted && 1_000 < bands && 1_000 < minimums, "{accepted} {bands} {minimums}");
}

#[test]
fn every_path_finds_the_preferred_optimum() {
    let tabled = Limits { nodes: 1, ..Limits::default() };
    let (mut at_once, mut searched, mut from_table) = (0, 0, 0);
    for solved in solved() {
        let answer = solved.optimum(Limits::default());
        assert!(solved.is_best(&answer), "{solved:#?} {answer:?}");
        match answer.method {
            Method::OwnBest => at_once += 1,
            Method::Search => searched += 1,
            Method::Table => panic!("seed {} is too small for a table", solved.seed),
        }

        let answer = solved.optimum(tabled);
        if answer.method == Method::Table {
            assert!(solved.is_best(&answer), "{solved:#?} {answer:?}");
            from_table += 1;
        }
    }
    let counts = [at_once, searched, from_table];
    assert!(counts.iter().all(|count| 3_000 < *count), "{counts:?}");
}

#[test]
fn without_room_to_search_the_answer_is_sound_and_its_bound_holds() {
    let none = Limits { nodes: 1, tie_nodes: 1, table_cells: 0 };
    let (mut proven, mut open) = (0, 0);
    for solved in solved() {
        let answer = solved.optimum(none);
        let Solved { seed, problem, best, .. } = &solved;

        let portfolio = "portfolio".parse().unwrap();
        let optimality = problem.accept(&answer, portfolio).unwrap().optimality;

        assert!(optimality.lower_bound <= best.deviation, "seed {seed}: {answer:?}");
        assert!(best.deviation <= optimality.objective, "seed {seed}: {answer:?}");
        match answer.method {
            Method::OwnBest => {}
            Method::Search if optimality.lower_bound == optimality.objective => proven += 1,
            Method::Search => open += 1,
            Method::Table => panic!("seed {seed}: there was no room for a table"),
        }
    }
    println!("{proven} {open}");
    assert!(500 < proven && 500 < open, "{proven} {open}");
}

impl Solved {
    fn optimum(&self, limits: Limits) -> Answer {
        optimum(&self.problem, limits)
    }

    fn is_best(&self, answer: &Answer) -> bool {
        let deviation = self.problem.deviation(&answer.quantities);
        answer.quantities == self.best.quantities
            && self.problem.money(deviation) == self.best.deviation
            && answer.lower_bound == deviation
    }
}

fn solved() -> impl Iterator<Item = Solved> {
    small_portfolios().filter_map(|(seed, portfolio)| {
        let problem = portfolio.problem().ok()?;
        let choices = Choices::new(&portfolio.lines, portfolio.cash, portfolio.policy)?;
        let best = choices.best()?;
        Some(Solved { seed, portfolio, problem, best })
    })
}

fn small_portfolios() -> impl Iterator<Item = (u64, Portfolio)> {
    let has_few_choices = |(_, portfolio): &(u64, Portfolio)| {
        let choices = Choices::new(&portfolio.lines, portfolio.cash, portfolio.policy);
        choices.is_none_or(|choices| choices.count() <= 4_000)
    };
    (0..SEEDS).map(|seed| (seed, Portfolio::tiny(seed))).filter(has_few_choices)
}
