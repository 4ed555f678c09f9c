//! The solver against trying everything, on each of its paths.

use domain::order_generation::optimum::{Answer, Limits, Method, optimum};
use domain::order_generation::problem::{Line, Problem, Refusal};
use port_contracts::optimizer::brute_force::{Best, Choices};
use port_contracts::optimizer::portfolio::{Dice, Portfolio, line};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

const SEEDS: u64 = 60_000;

const NO_ROOM: Limits = Limits { parts: 0, tie_nodes: 0 };

/// A small portfolio that can be rebalanced, and the best that can be done with it.
#[derive(Debug)]
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
        let choices = Choices::new(&portfolio);
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
    assert!(10_000 < accepted && 1_000 < bands && 1_000 < minimums, "{accepted} {bands} {minimums}");
}

#[test]
fn every_path_finds_the_preferred_optimum() {
    let (mut at_once, mut searched) = (0, 0);
    for solved in solved() {
        let answer = solved.optimum(Limits::default());
        assert!(solved.is_best(&answer), "{solved:#?} {answer:?}");
        match answer.method {
            Method::OwnBest => at_once += 1,
            Method::Search => searched += 1,
            Method::Table | Method::Cbc => panic!("seed {}", solved.seed),
        }
    }
    assert!(2_500 < at_once && 2_500 < searched, "{at_once} {searched}");
}

#[test]
fn amounts_that_no_64_bits_hold_have_the_same_optimum() {
    let mut searched = 0;
    for solved in solved() {
        let Some(wide) = solved.in_wide_amounts() else { continue };
        let answer = optimum(&wide, Limits::default()).unwrap();
        assert_eq!(answer.quantities, solved.best.quantities, "{solved:#?} {answer:?}");
        assert_eq!(answer.lower_bound, wide.objective(&answer.quantities), "{solved:#?} {answer:?}");
        searched += u64::from(answer.method == Method::Search);
    }
    assert!(2_500 < searched, "{searched}");
}

#[test]
fn ties_between_unlike_steps_are_settled_on_every_path() {
    for solved in (0..4_000).filter_map(|seed| Solved::new(seed, &tied(seed))) {
        let answer = solved.optimum(Limits::default());
        assert!(solved.is_best(&answer), "{solved:#?} {answer:?}");
        let answer = optimum(&solved.in_wide_amounts().unwrap(), Limits::default()).unwrap();
        assert_eq!(answer.quantities, solved.best.quantities, "{solved:#?} {answer:?}");
    }
}

/// Everything is at its target but for one security, which takes so much that others must step down,
/// and many different steps free the same.
fn tied(seed: u64) -> Portfolio {
    let value = dec!(12000);
    let mut dice = Dice::new(seed);
    let mut lines: Vec<Line> = (0..5)
        .map(|number| {
            let price = dice.decimal(1, 6, 0) * dec!(10);
            let two_shares = (price * dec!(2.5) / value).round_dp(6);
            let at_target = value * dec!(0.05) / price;
            Line {
                held: at_target + dice.decimal(-1, 1, 0),
                ..line(number, price, dec!(0.05), two_shares, two_shares)
            }
        })
        .collect();
    let overspend = dice.decimal(1, 15, 0) * dec!(10);
    lines.push(line(5, dec!(9000) + overspend, dec!(0.5), dec!(0), dec!(0.5)));
    let mut portfolio = Portfolio::of(lines);
    portfolio.fund(value);
    portfolio
}

#[test]
fn without_room_to_search_the_answer_is_sound_and_its_bound_holds() {
    let (mut proven, mut open) = (0, 0);
    for solved in solved() {
        let answer = solved.optimum(NO_ROOM);
        if solved.is_proven(&answer) {
            proven += 1;
        } else {
            open += 1;
        }
    }
    assert!(2_500 < proven && 2_500 < open, "{proven} {open}");
}

impl Solved {
    fn new(seed: u64, portfolio: &Portfolio) -> Option<Self> {
        let problem = portfolio.problem().ok()?;
        let portfolio = portfolio.clone();
        let choices = Choices::new(&portfolio)?;
        Some(Self { seed, best: choices.best()?, portfolio, problem })
    }

    /// Checks that no answer within the limits, good or not, is unsound or has too high a bound.
    fn optimum(&self, limits: Limits) -> Answer {
        let Self { seed, problem, best, .. } = self;
        let answer = optimum(problem, limits).unwrap();
        let accepted = problem.accept(&answer, "portfolio".parse().unwrap());
        let optimality = accepted.unwrap_or_else(|unsound| panic!("seed {seed}: {unsound}")).optimality;
        assert!(optimality.lower_bound <= best.objective, "{self:#?} {answer:?}");
        answer
    }

    /// The same in a currency of which a share of any security costs more units than 64 bits hold; `None`
    /// where the largest amounts leave no room for that.
    fn in_wide_amounts(&self) -> Option<Problem> {
        const MARKET_VALUE: u32 = 22;

        let digits = (self.problem.market_value().trunc().mantissa().unsigned_abs() + 1).ilog10();
        let wide = |amount: Decimal| {
            let amount = amount.normalize();
            let more = MARKET_VALUE - digits - amount.scale();
            Decimal::from_i128_with_scale(amount.mantissa() * 10_i128.pow(more), 0)
        };
        let wide_line =
            |line: &Line| Line { price: wide(line.price.get()).try_into().unwrap(), ..line.clone() };
        let lines = self.portfolio.lines.iter().map(wide_line).collect();
        let cash = wide(self.portfolio.cash);
        let problem = Portfolio { lines, cash, ..self.portfolio.clone() }.problem().ok()?;
        problem.rows().iter().all(|row| i128::from(i64::MAX) < row.price).then_some(problem)
    }

    fn is_best(&self, answer: &Answer) -> bool {
        let deviation = self.problem.objective(&answer.quantities);
        answer.quantities == self.best.quantities
            && self.problem.money(deviation) == self.best.objective
            && self.is_proven(answer)
    }

    fn is_proven(&self, answer: &Answer) -> bool {
        answer.lower_bound == self.problem.objective(&answer.quantities)
    }
}

fn solved() -> impl Iterator<Item = Solved> {
    small_portfolios().filter_map(|(seed, portfolio)| Solved::new(seed, &portfolio))
}

fn small_portfolios() -> impl Iterator<Item = (u64, Portfolio)> {
    let has_few_choices = |(_, portfolio): &(u64, Portfolio)| {
        let choices = Choices::new(portfolio);
        choices.is_none_or(|choices| choices.count() <= 4_000)
    };
    (0..SEEDS).map(|seed| (seed, Portfolio::tiny(seed))).filter(has_few_choices)
}
