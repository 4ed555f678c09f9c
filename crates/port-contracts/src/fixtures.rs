//! Small stored things to write contracts with.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::task::Poll;

use application::repository::Error;
use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use domain::order_generation::model::{Followers, Model, ModelName};
use domain::order_generation::optimum::Method;
use domain::order_generation::position::{Band, Position, Positions};
use domain::order_generation::progress::RebalanceStatus;
use domain::order_generation::rebalance::{
    FailedPortfolio, Optimality, OptimalityStatus, PortfolioRebalance, Rebalance, RebalanceHeader,
    RebalancedPosition, Trade,
};
use domain::order_generation::trading_rules::{
    Amount, CostRate, GroupLimit, Lot, LotSizes, Share, TradingRules, Turnover,
};
use domain::version::Version;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

/// The `n`th minute of the story.
pub fn minute(n: i64) -> Timestamp {
    const START: i64 = 1_700_000_000_123;
    Timestamp::from_timestamp_millis(START + n * 60_000).unwrap()
}

pub fn version(number: i64) -> Version {
    number.try_into().unwrap()
}

pub fn model_id(n: u64) -> ModelId {
    format!("{n:024x}").parse().unwrap()
}

pub fn rebalance_id(n: u64) -> RebalanceId {
    format!("{n:024x}").parse().unwrap()
}

pub fn security(n: usize) -> SecurityId {
    format!("Stock{n:019}").parse().unwrap()
}

pub fn portfolio(name: &str) -> PortfolioId {
    name.parse().unwrap()
}

pub fn portfolios(names: &[&str]) -> Vec<PortfolioId> {
    names.iter().map(|name| portfolio(name)).collect()
}

pub fn followers(names: &[&str]) -> Followers {
    Followers::new(portfolios(names)).unwrap()
}

pub fn position(n: usize, target: Decimal) -> Position {
    let drift = |share: Decimal| share.try_into().unwrap();
    Position {
        security: security(n),
        target: target.try_into().unwrap(),
        band: Band::new(drift(dec!(0.020)), drift(dec!(0.05))).unwrap(),
    }
}

pub fn positions(targets: &[Decimal]) -> Positions {
    let positions = targets.iter().enumerate();
    let positions = positions.map(|(n, target)| position(n, *target)).collect();
    Positions::new(positions).unwrap()
}

/// A model that portfolio `p1` follows, created in minute 0 and never rebalanced.
pub fn model(n: u64, name: &str) -> Model {
    Model {
        id: model_id(n),
        name: ModelName::new(name).unwrap(),
        positions: positions(&[dec!(0.60), dec!(0.35)]),
        followers: followers(&["p1"]),
        rules: TradingRules::default(),
        last_rebalance_date: None,
        version: Version::FIRST,
        created_at: minute(0),
    }
}

/// None, each rule alone, all of them at once at either end of what they may be, and zeros that are
/// written with decimals.
pub fn trading_rules() -> Vec<TradingRules> {
    fn rule<T: TryFrom<Decimal, Error: Debug>>(number: Decimal) -> T {
        number.try_into().unwrap()
    }
    let none = TradingRules::default;
    let some: BTreeSet<SecurityId> = [7, 0, 3].into_iter().map(security).collect();
    let lots = |units: Decimal| some.iter().map(|one| (*one, rule(units))).collect();
    let group = |name: &str, securities: &BTreeSet<SecurityId>, maximum: Decimal| GroupLimit {
        name: name.parse().unwrap(),
        securities: securities.clone(),
        maximum: rule(maximum),
    };
    vec![
        none(),
        TradingRules { minimum_cash: rule(dec!(0.0001)), ..none() },
        TradingRules { minimum_cash_share: rule(dec!(0.02000000)), ..none() },
        TradingRules { lot_sizes: LotSizes { default: rule(dec!(10)), ..LotSizes::default() }, ..none() },
        TradingRules { lot_sizes: LotSizes { per_security: lots(dec!(1)), ..LotSizes::default() }, ..none() },
        TradingRules { minimum_trade_value: rule(dec!(500)), ..none() },
        TradingRules { trade_only_outside_band: true, ..none() },
        TradingRules { do_not_buy: some.clone(), ..none() },
        TradingRules { do_not_sell: some.clone(), ..none() },
        TradingRules { restricted: some.clone(), ..none() },
        TradingRules { proportional_cost: rule(dec!(0.000001)), ..none() },
        TradingRules { ticket_fee: rule(dec!(9.50)), ..none() },
        TradingRules { maximum_trades: Some(0), ..none() },
        TradingRules { maximum_turnover: Some(rule(dec!(0))), ..none() },
        TradingRules { maximum_positions: Some(0), ..none() },
        TradingRules { group_limits: vec![group("Tech", &BTreeSet::new(), dec!(0))], ..none() },
        TradingRules { gap: rule(dec!(0.00000001)), ..none() },
        TradingRules {
            minimum_cash: rule(Amount::MAX),
            minimum_cash_share: rule(Share::MAX),
            lot_sizes: LotSizes { default: rule(Lot::MAX.into()), per_security: lots(Lot::MAX.into()) },
            minimum_trade_value: rule(dec!(1000000000000000.0000)),
            trade_only_outside_band: true,
            do_not_buy: (0..300).map(security).collect(),
            do_not_sell: some.clone(),
            restricted: some.clone(),
            proportional_cost: rule(CostRate::MAX),
            ticket_fee: rule(dec!(999999999999999.9999)),
            maximum_trades: Some(u32::MAX),
            maximum_turnover: Some(rule(Turnover::MAX)),
            maximum_positions: Some(u32::MAX),
            group_limits: vec![
                group(&"均".repeat(100), &some, dec!(1.000)),
                group("'$.\"\\{}[]?", &some, dec!(0.12345678)),
                group("'$.\"\\{}[]?", &BTreeSet::new(), dec!(0)),
            ],
            gap: rule(Share::MAX),
        },
        TradingRules {
            minimum_cash: rule(dec!(0.00)),
            maximum_turnover: Some(rule(dec!(0.0000000000000000000000000000))),
            gap: rule(dec!(0.0)),
            ..none()
        },
    ]
}

/// A rebalance of `names` to model `n`, dated and created in minute 0.
pub fn rebalance(n: u64, names: &[&str]) -> Rebalance {
    let header = RebalanceHeader {
        id: rebalance_id(n),
        model: model_id(n),
        model_name: ModelName::new("balanced").unwrap(),
        date: minute(0),
        rules: TradingRules::default(),
        status: RebalanceStatus::Completed,
        failed: Vec::new(),
        version: Version::FIRST,
        created_at: minute(0),
    };
    Rebalance { header, portfolios: names.iter().map(|name| rebalanced(name)).collect() }
}

pub fn rebalanced(name: &str) -> PortfolioRebalance {
    PortfolioRebalance {
        portfolio: portfolio(name),
        market_value: dec!(100_000.00),
        cash_before: dec!(40_000),
        cash_after: dec!(25_000.10),
        trading_costs: dec!(0),
        optimality: Optimality {
            status: OptimalityStatus::Optimal,
            objective: dec!(12.50),
            lower_bound: dec!(12.50),
            method: Method::OwnBest,
        },
        positions: vec![rebalanced_position(0, 150), rebalanced_position(1, 0)],
    }
}

pub fn rebalanced_position(n: usize, change: i64) -> RebalancedPosition {
    RebalancedPosition {
        security: security(n),
        price: dec!(99.9993),
        original_quantity: dec!(600),
        adjusted_quantity: dec!(750),
        original_value: dec!(60000.00),
        adjusted_value: dec!(74999.475),
        target: dec!(0.75),
        high_drift: dec!(0.050),
        low_drift: dec!(0.02),
        actual: dec!(0.749994750000000000),
        actual_drift: dec!(-0.0000070000000000000),
        outside_band: false,
        trade: Trade::of_change(change),
        shaped_by: Vec::new(),
    }
}

pub fn failed(name: &str, code: &str, detail: &str) -> FailedPortfolio {
    FailedPortfolio { portfolio: portfolio(name), code: code.to_owned(), detail: detail.to_owned() }
}

/// Decimals are equal whatever their trailing zeros; this tells those apart too.
#[track_caller]
pub fn assert_same_to_the_digit<T: Debug + PartialEq>(found: &T, expected: &T) {
    assert_eq!(found, expected);
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

#[track_caller]
pub fn assert_conflict(error: &Error, expected: Version, found: Version) {
    let as_expected = matches!(
        error,
        Error::Conflict { expected: e, found: f } if *e == expected && *f == found
    );
    assert!(as_expected, "{error:?}");
}

/// Drops `call` once it has been polled `polls` times without an end, as when a caller hangs up.
pub async fn give_up_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
