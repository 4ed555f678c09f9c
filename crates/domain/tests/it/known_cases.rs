//! Portfolios whose best answer was worked out by hand.

use domain::order_generation::optimum::{Limits, optimum};
use domain::order_generation::problem::{BandPolicy, Line, Refusal};
use domain::order_generation::rebalance::{PortfolioRebalance, Side, Trade, Unsound};
use port_contracts::optimizer::portfolio::{Portfolio, line, security};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

/// Target, low drift, high drift, price, quantity held.
type Row = (Decimal, Decimal, Decimal, Decimal, Decimal);

fn portfolio(value: Decimal, rows: &[Row]) -> Portfolio {
    let lines = rows.iter().enumerate().map(|(number, &(target, low, high, price, held))| Line {
        held,
        ..line(number, price, target, low, high)
    });
    let mut portfolio = Portfolio::of(lines.collect());
    portfolio.fund(value);
    portfolio
}

fn rebalanced(portfolio: &Portfolio) -> PortfolioRebalance {
    let problem = portfolio.problem().unwrap();
    let answer = optimum(&problem, Limits::default()).unwrap();
    problem.accept(&answer, "portfolio".parse().unwrap()).unwrap()
}

fn quantities(rebalance: &PortfolioRebalance) -> Vec<Decimal> {
    rebalance.positions.iter().map(|position| position.adjusted_quantity).collect()
}

fn check(name: &str, value: Decimal, rows: &[Row], expected: &[Decimal], objective: Decimal) {
    let rebalance = rebalanced(&portfolio(value, rows));

    assert_eq!(quantities(&rebalance), expected, "{name}");
    assert_eq!(rebalance.optimality.objective, objective, "{name}");
    assert_eq!(rebalance.optimality.lower_bound, objective, "{name}");
}

const SIX_TENTHS: (Decimal, Decimal, Decimal) = (dec!(0.60), dec!(0.05), dec!(0.05));
const THREE_TENTHS: (Decimal, Decimal, Decimal) = (dec!(0.30), dec!(0.03), dec!(0.03));

fn at((target, low, high): (Decimal, Decimal, Decimal), price: Decimal, held: Decimal) -> Row {
    (target, low, high, price, held)
}

#[test]
fn the_nearest_whole_shares_inside_the_bands_are_taken() {
    let simple = [at(SIX_TENTHS, dec!(100), dec!(500)), at(THREE_TENTHS, dec!(100), dec!(400))];
    check("simple", dec!(95000), &simple, &[dec!(570), dec!(285)], dec!(0));
    check("less money", dec!(90000), &simple, &[dec!(540), dec!(270)], dec!(0));
    let decimals = [at(SIX_TENTHS, dec!(33.333333), dec!(0)), at(THREE_TENTHS, dec!(59.876543), dec!(0))];
    check("decimals", dec!(20000), &decimals, &[dec!(360), dec!(100)], dec!(12.34582));
    let cents = [
        (dec!(0.60), dec!(0.05), dec!(0.05), dec!(100), dec!(0)),
        (dec!(0.35), dec!(0.03), dec!(0.03), dec!(150), dec!(0)),
    ];
    check("two thirds of a share", dec!(20000), &cents, &[dec!(120), dec!(47)], dec!(50));
    let few = [
        (dec!(0.50), dec!(0.10), dec!(0.20), dec!(50), dec!(0)),
        (dec!(0.40), dec!(0.10), dec!(0.20), dec!(40), dec!(0)),
    ];
    check("one share each", dec!(100), &few, &[dec!(1), dec!(1)], dec!(0));

    let single = |target, low, high, price, held, value, shares, objective| {
        check("single", value, &[(target, low, high, price, held)], &[shares], objective);
    };
    let thousands = dec!(100000);
    single(dec!(0.95), dec!(0), dec!(0.05), dec!(100), dec!(0), thousands, dec!(950), dec!(0));
    single(dec!(0.90), dec!(0.05), dec!(0.05), dec!(100), dec!(950), thousands, dec!(900), dec!(0));
    single(dec!(0.50), dec!(0.02), dec!(0.02), dec!(100), dec!(520), thousands, dec!(500), dec!(0));
    single(dec!(0.50), dec!(0.02), dec!(0.02), dec!(100), dec!(550), thousands, dec!(500), dec!(0));
    // One share would be nearer, but lies below the band.
    single(dec!(0.50), dec!(0), dec!(0.20), dec!(35), dec!(0), dec!(100), dec!(2), dec!(20));
    single(dec!(0.50), dec!(0.05), dec!(0.30), dec!(40), dec!(0), dec!(100), dec!(2), dec!(30));
}

#[test]
fn a_security_that_the_model_does_not_want_is_sold() {
    let rows = [
        (dec!(0.60), dec!(0.03), dec!(0.03), dec!(100), dec!(500)),
        (dec!(0.30), dec!(0.02), dec!(0.02), dec!(100), dec!(250)),
        (dec!(0), dec!(0), dec!(0), dec!(100), dec!(100)),
    ];
    check("zero target", dec!(95000), &rows, &[dec!(570), dec!(285), dec!(0)], dec!(0));
}

#[test]
fn of_two_equally_near_quantities_the_one_with_fewer_trades_is_taken() {
    for (held, shares) in
        [(dec!(0), dec!(52)), (dec!(52), dec!(52)), (dec!(53), dec!(53)), (dec!(99), dec!(53))]
    {
        let rows = [(dec!(0.05), dec!(0.02), dec!(0.02), dec!(50), held); 10];
        check("ten ties", dec!(52500), &rows, &[shares; 10], dec!(250));
    }
}

#[test]
fn growing_models_stay_at_their_own_best() {
    for (n_rows, holdings, objective) in [
        (10, dec!(54360), dec!(108)),
        (25, dec!(135250), dec!(261.944444)),
        (50, dec!(271800), dec!(600)),
        (75, dec!(407050), dec!(1175.833333)),
        (100, dec!(543600), dec!(800)),
    ] {
        let row = |number: usize| {
            let price = Decimal::from(50 + number % 5);
            (dec!(0.005), dec!(0.01), dec!(0.01), price, Decimal::from(100 + number % 10))
        };
        let rows: Vec<Row> = (0..n_rows).map(row).collect();
        let value = (holdings / dec!(0.9)).round_dp(10);

        let rebalance = rebalanced(&portfolio(value, &rows));

        assert_eq!(rebalance.optimality.objective.round_dp(6), objective, "{n_rows} rows");
        assert_eq!(rebalance.optimality.lower_bound, rebalance.optimality.objective);
    }
}

#[test]
fn where_cash_runs_short_the_earlier_lines_keep_their_share() {
    let rows = [(dec!(0.05), dec!(0.05), dec!(0.05), dec!(90), dec!(0)); 19];
    let expected = [[dec!(1); 11].as_slice(), &[dec!(0); 8]].concat();
    check("nineteen equals", dec!(1000), &rows, &expected, dec!(840));
}

#[test]
fn a_band_without_a_whole_share_is_refused() {
    let check = |value, rows: &[Row], number| {
        let refusal = portfolio(value, rows).problem().unwrap_err();

        assert_eq!(refusal, Refusal::NoWholeShareInBand(security(number)));
        assert_eq!(refusal.code(), "no-feasible-solution");
        assert!(refusal.to_string().starts_with("no feasible solution exists"), "{refusal}");
    };
    let tiny = [at(SIX_TENTHS, dec!(50), dec!(0)), at(THREE_TENTHS, dec!(100), dec!(0))];
    check(dec!(160), &tiny, 1);
    check(dec!(1050), &[(dec!(0.95), dec!(0.001), dec!(0.001), dec!(1000), dec!(1))], 0);
    check(dec!(1000), &[(dec!(0.05), dec!(0.005), dec!(0.005), dec!(1800.5), dec!(0))], 0);
}

#[test]
fn a_fraction_stays_held_and_the_money_adds_up() {
    let mut portfolio = portfolio(
        dec!(0),
        &[
            (dec!(0.60), dec!(0.05), dec!(0.05), dec!(62.85), dec!(150)),
            (dec!(0.35), dec!(0.03), dec!(0.03), dec!(45.12), dec!(0)),
            (dec!(0), dec!(0), dec!(0), dec!(10), dec!(12.75)),
        ],
    );
    portfolio.cash = dec!(35426.93);

    let rebalance = rebalanced(&portfolio);

    assert_eq!(rebalance.market_value, dec!(44981.93));
    assert_eq!(quantities(&rebalance), [dec!(429), dec!(349), dec!(0.75)]);
    assert_eq!(rebalance.cash_before, dec!(35426.93));
    assert_eq!(rebalance.cash_after, dec!(2264.90));
    assert_eq!(rebalance.optimality.objective, dec!(37.2125));
    let [a, b, c] = rebalance.positions.as_slice() else { panic!("three positions") };
    assert_eq!(a.trade, Some(Trade { side: Side::Buy, quantity: 279 }));
    assert_eq!(b.trade, Some(Trade { side: Side::Buy, quantity: 349 }));
    assert_eq!(c.trade, Some(Trade { side: Side::Sell, quantity: 12 }));
    assert_eq!(a.shown_actual(rebalance.market_value), dec!(0.5994));
    assert_eq!((c.original_value, c.adjusted_value), (dec!(127.5), dec!(7.5)));
    assert_eq!((a.outside_band, b.outside_band, c.outside_band), (false, false, true));
    assert_eq!(c.actual_drift, dec!(0));
}

#[test]
fn band_and_objective_apply_to_the_whole_position() {
    // Three and a half shares are the target to the cent; no number of whole shares is.
    let rows = [(dec!(0.35), dec!(0), dec!(0), dec!(10), dec!(0.5))];
    check("a half", dec!(100), &rows, &[dec!(3.5)], dec!(0));
    // A short of half a share is covered by a whole one.
    let rows = [(dec!(0.35), dec!(0), dec!(0), dec!(10), dec!(-0.5))];
    check("half short", dec!(100), &rows, &[dec!(3.5)], dec!(0));
}

#[test]
fn a_fraction_worth_more_than_its_band_is_all_that_stays() {
    let rows = [(dec!(0.05), dec!(0.01), dec!(0.01), dec!(100), dec!(2.5))];

    let rebalance = rebalanced(&portfolio(dec!(500), &rows));

    assert_eq!(quantities(&rebalance), [dec!(0.5)]);
    assert!(rebalance.positions[0].outside_band);
}

#[test]
fn the_nearest_share_stands_in_for_an_empty_band_where_that_is_allowed() {
    let rows = [(dec!(0.05), dec!(0.005), dec!(0.005), dec!(700), dec!(3))];
    for (value, shares) in [(dec!(1000), dec!(0)), (dec!(10000), dec!(1))] {
        let mut portfolio = portfolio(value, &rows);
        portfolio.policy = BandPolicy::Nearest;

        let rebalance = rebalanced(&portfolio);

        assert_eq!(quantities(&rebalance), [shares]);
        assert!(rebalance.positions[0].outside_band);
    }
}

#[test]
fn shorts_are_covered_and_debts_repaid() {
    let mut portfolio = portfolio(
        dec!(0),
        &[
            (dec!(0.50), dec!(0.10), dec!(0.10), dec!(10), dec!(-100)),
            (dec!(0), dec!(0), dec!(0), dec!(20), dec!(200)),
        ],
    );
    portfolio.cash = dec!(-500);

    let rebalance = rebalanced(&portfolio);

    assert_eq!(rebalance.market_value, dec!(2500));
    assert_eq!(quantities(&rebalance), [dec!(125), dec!(0)]);
    assert_eq!(rebalance.cash_after, dec!(1250));
}

#[test]
fn an_unfunded_portfolio_has_nothing_to_trade() {
    let rows = [at(SIX_TENTHS, dec!(100), dec!(0)), at(THREE_TENTHS, dec!(100), dec!(0))];

    let rebalance = rebalanced(&portfolio(dec!(0), &rows));

    assert_eq!(quantities(&rebalance), [dec!(0), dec!(0)]);
    assert!(rebalance.positions.iter().all(|position| position.trade.is_none() && !position.outside_band));
    assert_eq!(rebalance.cash_after, dec!(0));
}

#[test]
fn an_answer_is_checked_before_it_is_traded_on() {
    let rows = [at(SIX_TENTHS, dec!(100), dec!(500)), at(THREE_TENTHS, dec!(100), dec!(400))];
    let problem = portfolio(dec!(100000), &rows).problem().unwrap();
    let best = optimum(&problem, Limits::default()).unwrap();
    let accept = |quantities: &[i64], lower_bound| {
        let answer = domain::order_generation::optimum::Answer {
            quantities: quantities.to_vec(),
            lower_bound,
            ..best.clone()
        };
        problem.accept(&answer, "portfolio".parse().unwrap())
    };

    assert!(accept(&[600, 300], 0).is_ok());
    assert!(accept(&[600, 300], i128::MIN).is_ok());
    assert!(matches!(accept(&[1000, 0], 0), Err(Unsound::OutsideBand { quantity: 1000, .. })));
    assert!(matches!(accept(&[600], 0), Err(Unsound::WrongLength { expected: 2, found: 1 })));
    assert!(matches!(accept(&[600, 300], i128::MAX), Err(Unsound::BoundAboveObjective { .. })));
}
