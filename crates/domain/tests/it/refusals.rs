//! What cannot be rebalanced is refused, and nothing else happens.

use domain::order_generation::holdings::Holdings;
use domain::order_generation::position::Positions;
use domain::order_generation::price::PriceSnapshot;
use domain::order_generation::priced_model::PricedModel;
use domain::order_generation::problem::{BandPolicy, Line, Refusal};
use domain::order_generation::trading_rules::TradingRules;
use port_contracts::optimizer::portfolio::{Portfolio, line, security};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

fn portfolio(cash: Decimal, lines: &[Line]) -> Portfolio {
    Portfolio { cash, ..Portfolio::of(lines.to_vec()) }
}

fn wanted() -> Line {
    line(0, dec!(600), dec!(0.475), dec!(0), dec!(1))
}

#[test]
fn an_empty_model_liquidates_nothing() {
    let snapshot = PriceSnapshot::default();

    let priced =
        PricedModel::new(&Positions::default(), &snapshot, &TradingRules::default(), BandPolicy::Strict);

    assert_eq!(priced.unwrap_err(), Refusal::EmptyModel);
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

        let problem = PricedModel::new(&positions, &prices, &TradingRules::default(), BandPolicy::Strict)
            .and_then(|model| model.problem(&holdings));

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
        "no feasible solution exists: the least that the bands ask for costs 1200, there is 1000.1 to spend"
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
