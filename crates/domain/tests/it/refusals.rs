//! What cannot be rebalanced is refused, and nothing else happens.

use domain::order_generation::holdings::Holdings;
use domain::order_generation::optimum::{Answer, Limits, Method, optimum};
use domain::order_generation::position::Positions;
use domain::order_generation::price::PriceSnapshot;
use domain::order_generation::problem::{BandPolicy, Line, Problem, Refusal};
use domain::order_generation::rebalance::Unsound;
use port_contracts::optimizer::portfolio::{Dice, Portfolio, line, security};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

fn portfolio(cash: Decimal, lines: &[Line]) -> Portfolio {
    Portfolio { cash, lines: lines.to_vec(), policy: BandPolicy::Strict }
}

fn wanted() -> Line {
    line(0, dec!(600), dec!(0.475), dec!(0), dec!(1))
}

#[test]
fn an_empty_model_liquidates_nothing() {
    let holdings = Holdings::new(dec!(5), [(security(0), dec!(10))]).unwrap();

    let problem =
        Problem::new(&Positions::default(), &holdings, &PriceSnapshot::default(), BandPolicy::Strict);

    assert_eq!(problem, Err(Refusal::EmptyModel));
}

#[test]
fn a_market_value_of_zero_or_less_buys_nothing() {
    for (cash, held, value) in [(dec!(-5.50), dec!(0), dec!(-5.5)), (dec!(-600), dec!(1), dec!(0))] {
        let problem = portfolio(cash, &[Line { held, ..wanted() }]).problem();

        assert_eq!(problem, Err(Refusal::MarketValueNotPositive(value)));
    }
}

#[test]
fn a_security_wanted_or_held_needs_a_price() {
    let lines = [wanted(), Line { held: dec!(1), ..line(1, dec!(5), dec!(0), dec!(0), dec!(0)) }];
    let positions = Positions::new(vec![domain::order_generation::position::Position {
        security: security(0),
        target: dec!(0.475).try_into().unwrap(),
        band: lines[0].band,
    }])
    .unwrap();
    let holdings = Holdings::new(dec!(5), [(security(1), dec!(1))]).unwrap();
    for (priced, unpriced) in [(&lines[0], 1), (&lines[1], 0)] {
        let prices: PriceSnapshot = [(priced.security, priced.price)].into_iter().collect();

        let problem = Problem::new(&positions, &holdings, &prices, BandPolicy::Strict);

        assert_eq!(problem, Err(Refusal::Unpriced(security(unpriced))));
    }
}

#[test]
fn minimums_beyond_the_money_are_refused_with_both_amounts() {
    let lines = [wanted(), Line { security: security(1), ..wanted() }];

    let refusal = portfolio(dec!(1000.10), &lines).problem().unwrap_err();

    assert_eq!(refusal, Refusal::MinimumsExceedCash { needed: dec!(1200), available: dec!(1000.1) });
    assert_eq!(
        refusal.to_string(),
        "no feasible solution exists: the least that the bands ask for costs 1200, the market value is 1000.1"
    );
}

#[test]
fn amounts_too_large_to_reckon_with_are_refused() {
    let smallest = Decimal::from_parts(1, 0, 0, false, 28);
    for (cash, price, held) in [
        (Decimal::MAX, dec!(1), dec!(0)),
        (dec!(1), Decimal::MAX, dec!(1)),
        (dec!(1), dec!(1), Decimal::MAX),
        (dec!(1), dec!(1), Decimal::MIN),
        (dec!(1), smallest, dec!(0)),
        (smallest, dec!(1), dec!(0)),
        (dec!(1), dec!(1), smallest),
        // More shares than can be traded, both ways.
        (dec!(90000000000000), dec!(0.00001), dec!(0)),
        (dec!(90000000000000), dec!(0.00001), dec!(-4700000000000000000)),
    ] {
        let line = Line { held, ..line(0, price, dec!(0.95), dec!(1), dec!(1)) };

        let refusal = portfolio(cash, &[line]).problem().unwrap_err();

        assert_eq!(refusal.code(), "amounts-out-of-range", "{cash} {price} {held}: {refusal}");
    }
}

#[test]
fn no_amounts_whatever_make_it_panic() {
    let (mut answered, mut out_of_range, mut refused) = (0, 0, 0);
    for seed in 0..60_000 {
        match wild(seed).problem() {
            Ok(problem) => {
                let answer = optimum(&problem, Limits::default());
                let accepted = problem.accept(&answer, "portfolio".parse().unwrap());
                assert!(accepted.is_ok(), "seed {seed}: {accepted:?}");
                probe(&problem, &answer);
                answered += 1;
            }
            Err(Refusal::OutOfRange | Refusal::SecurityOutOfRange(_)) => out_of_range += 1,
            Err(_) => refused += 1,
        }
    }
    let counts = [answered, out_of_range, refused];
    assert!(counts.iter().all(|count| 1_500 < *count), "{counts:?}");
}

/// Answers that no optimiser should give.
fn probe(problem: &Problem, best: &Answer) {
    let accept = |quantities: Vec<i64>, lower_bound| {
        let answer = Answer { quantities, lower_bound, method: Method::Search };
        problem.accept(&answer, "portfolio".parse().unwrap())
    };
    let most = problem.rows().iter().map(|row| row.highest).collect();
    let n_rows = problem.rows().len();
    assert!(matches!(accept(most, 0), Ok(_) | Err(Unsound::Overspent { .. })));
    assert!(accept(vec![i64::MAX; n_rows], 0).is_err());
    assert!(accept(vec![i64::MIN; n_rows], 0).is_err());
    assert!(accept(best.quantities.clone(), i128::MAX).is_err());
    assert!(accept(best.quantities.clone(), i128::MIN).is_ok());
}

/// Amounts of every sign, size and fineness.
fn wild(seed: u64) -> Portfolio {
    let mut dice = Dice::new(seed);
    let n_lines = 1 + dice.face(4);
    let wild_line = |number| {
        let mut drift = || Decimal::ONE.min(wild_decimal(&mut dice).abs());
        let (low, high) = (drift(), drift());
        let target =
            if number == 0 { dec!(0.475) } else { Decimal::new(5, 3) * Decimal::from(dice.roll(25)) };
        let price = wild_decimal(&mut dice).abs();
        let price = if price.is_zero() { Decimal::ONE } else { price };
        let band = if target.is_zero() { (dec!(0), dec!(0)) } else { (low.min(high), high.max(low)) };
        Line { held: wild_decimal(&mut dice), ..line(number, price, target, band.0, band.1) }
    };
    let lines = (0..n_lines).map(wild_line).collect();
    let policy = if dice.one_in(2) { BandPolicy::Strict } else { BandPolicy::Nearest };
    Portfolio { cash: wild_decimal(&mut dice), lines, policy }
}

fn wild_decimal(dice: &mut Dice) -> Decimal {
    let mut part = || u32::try_from(dice.roll(1 << 32)).unwrap();
    let (low, middle, high) = (part(), part(), part());
    let scale = dice.roll(29);
    let negative = dice.one_in(2);
    let scale = u32::try_from(scale).unwrap();
    match dice.roll(8) {
        0 => Decimal::from_parts(low, middle, high, negative, scale),
        1 => Decimal::from_parts(low, middle, 0, negative, scale),
        2 => Decimal::from_parts(low, 0, 0, negative, scale % 9),
        3 => [Decimal::MAX, Decimal::MIN, Decimal::ZERO, Decimal::ONE][dice.face(4)],
        4 => Decimal::from_parts(1, 0, 0, negative, scale),
        _ => Decimal::from_parts(low % 1_000_000, 0, 0, false, scale % 4),
    }
}
