//! Many prices, asked for by one call.

use std::num::NonZeroUsize;
use std::time::Duration;

use application::order_generation::ports::PriceSource;
use domain::identifier::SecurityId;
use domain::order_generation::price::{Price, PriceSnapshot};
use futures_util::future::join_all;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::neighbourhood::{
    Neighbourhood, chain, given, is_malformed, is_unavailable, kept_for, n_calls, ok, security, status, text,
};

const ALL: &str = "/api/v1/prices";

/// Securities 1 to `known` have the tickers T1 and so on; from `threshold` prices on all are asked for.
async fn listed(known: usize, threshold: usize) -> Neighbourhood {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.bulk_threshold = NonZeroUsize::new(threshold);
    for number in 1..=known {
        neighbours.knows_ticker(security(number), &format!("T{number}")).await;
    }
    neighbours
}

fn row(number: usize, close: &Value) -> Value {
    json!({ "id": number, "ticker": format!("T{number}"), "date": "2017-06-01", "close": close, "volume": 1 })
}

fn securities(numbers: impl IntoIterator<Item = usize>) -> Vec<SecurityId> {
    numbers.into_iter().map(security).collect()
}

fn amount(prices: &PriceSnapshot, number: usize) -> Option<Decimal> {
    prices.price(&security(number)).map(Price::get)
}

/// The calls for all prices, and those for single ones.
async fn calls(neighbours: &Neighbourhood) -> (usize, usize) {
    let requests = neighbours.pricing.received_requests().await.unwrap();
    let bulk = requests.iter().filter(|request| request.url.path() == ALL).count();
    (bulk, requests.len() - bulk)
}

#[tokio::test]
async fn from_the_threshold_on_one_call_replaces_the_single_ones_and_is_remembered() {
    let neighbours = listed(4, 3).await;
    let rows: Vec<_> = (1..=9).map(|number| row(number, &json!("10.50"))).collect();
    given(&neighbours.pricing, ALL, ok(&json!(rows))).await;
    let market = neighbours.clients().market;

    let prices = market.prices(&securities(1..=3)).await.unwrap();
    assert!((1..=3).all(|number| amount(&prices, number) == Some(dec!(10.50))));
    assert_eq!(calls(&neighbours).await, (1, 0));

    // The fourth is there as well, though nobody had asked for it.
    market.prices(&securities([4])).await.unwrap();
    market.prices(&securities(1..=4)).await.unwrap();
    assert_eq!(calls(&neighbours).await, (1, 0));
}

#[tokio::test]
async fn below_the_threshold_or_without_one_prices_are_asked_for_singly() {
    for threshold in [0, 4] {
        let neighbours = listed(3, threshold).await;
        for number in 1..=3 {
            neighbours.knows_price(&format!("T{number}"), json!(number)).await;
        }
        let prices = neighbours.clients().market.prices(&securities(1..=3)).await.unwrap();

        assert!((1..=3).all(|number| amount(&prices, number) == Some(number.into())));
        assert_eq!(calls(&neighbours).await, (0, 3));
    }
}

#[tokio::test]
async fn what_is_remembered_does_not_count() {
    let neighbours = listed(4, 3).await;
    for number in 1..=4 {
        neighbours.knows_price(&format!("T{number}"), json!(number)).await;
    }
    let market = neighbours.clients().market;
    market.prices(&securities(1..=2)).await.unwrap();

    let prices = market.prices(&securities(1..=4)).await.unwrap();

    assert!((1..=4).all(|number| amount(&prices, number) == Some(number.into())));
    assert_eq!(calls(&neighbours).await, (0, 4));
}

#[tokio::test]
async fn what_is_not_listed_is_asked_for_singly_and_what_has_no_price_there_is_absent() {
    let neighbours = listed(7, 2).await;
    let nothing = [json!(null), json!(0), json!(-3), json!("NaN")];
    let mut rows: Vec<_> = (1..).zip(&nothing).map(|(number, close)| row(number, close)).collect();
    rows.push(row(5, &json!(50)));
    given(&neighbours.pricing, ALL, ok(&json!(rows))).await;
    neighbours.knows_price("T6", json!(60)).await;

    let clients = neighbours.clients();
    let prices = clients.market.prices(&securities(1..=8)).await.unwrap();

    let amounts: Vec<_> = (1..=8).map(|number| amount(&prices, number)).collect();
    assert_eq!(amounts, [None, None, None, None, Some(dec!(50)), Some(dec!(60)), None, None]);
    // The sixth and the seventh; the eighth has no ticker.
    assert_eq!(calls(&neighbours).await, (1, 2));
    let used = clients.caches().map(|cache| (cache.hits, cache.misses, cache.entries));
    assert_eq!(used, [(0, 8, 7), (0, 7, 2), (0, 1, 1), (0, 0, 0)], "each is missed once, however it is had");
}

#[tokio::test]
async fn a_row_that_makes_no_sense_costs_only_itself() {
    let strange = [json!({ "ticker": "T2", "close": "fifty" }), json!({ "close": 1 }), json!(7), json!(null)];
    for (single, expect) in [(json!(20), Some(dec!(20))), (json!("fifty"), None)] {
        let neighbours = listed(2, 2).await;
        given(&neighbours.pricing, ALL, ok(&json!([&strange[..], &[row(1, &json!(10))]].concat()))).await;
        neighbours.knows_price("T2", single).await;

        let prices = neighbours.clients().market.prices(&securities(1..=2)).await;

        match expect {
            Some(_) => assert_eq!(amount(&prices.unwrap(), 2), expect),
            None => assert!(is_malformed(&prices.unwrap_err())),
        }
        assert_eq!(calls(&neighbours).await, (1, 1));
    }
}

async fn without_a_board(answer: ResponseTemplate) -> Neighbourhood {
    let neighbours = listed(2, 2).await;
    given(&neighbours.pricing, ALL, answer).await;
    for number in 1..=2 {
        neighbours.knows_price(&format!("T{number}"), json!(number)).await;
    }
    neighbours
}

#[tokio::test]
async fn a_board_that_is_empty_unknown_or_makes_no_sense_costs_calls_and_no_price() {
    for answer in [text(200, "[]"), status(404), status(405), text(200, "<html>"), text(200, "{}")] {
        let neighbours = without_a_board(answer).await;
        let prices = neighbours.clients().market.prices(&securities(1..=2)).await.unwrap();
        assert_eq!([amount(&prices, 1), amount(&prices, 2)], [Some(dec!(1)), Some(dec!(2))]);
        assert_eq!(calls(&neighbours).await, (1, 2));
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_not_asked_singly_as_well() {
    let neighbours = without_a_board(status(503)).await;

    let error = neighbours.clients().market.prices(&securities(1..=2)).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert!(error.to_string().contains("all prices"), "{}", chain(&error));
    assert_eq!(n_calls(&neighbours.pricing).await, 3);
}

#[tokio::test]
async fn however_many_ask_at_once_all_prices_are_asked_for_once() {
    let neighbours = listed(3, 3).await;
    let rows: Vec<_> = (1..=3).map(|number| row(number, &json!(number))).collect();
    let slow = ok(&json!(rows)).set_delay(Duration::from_millis(300));
    given(&neighbours.pricing, ALL, slow).await;
    let market = neighbours.clients().market;

    let asked = securities(1..=3);
    let answers = join_all((0..20).map(|_| market.prices(&asked))).await;

    assert!(answers.into_iter().all(|prices| amount(&prices.unwrap(), 3) == Some(dec!(3))));
    assert_eq!(calls(&neighbours).await, (1, 0));
}

#[tokio::test]
async fn nothing_is_kept_without_a_lifetime_and_one_snapshot_has_one_price_of_a_ticker() {
    let mut neighbours = listed(1, 2).await;
    neighbours.config.prices = kept_for(Duration::ZERO);
    neighbours.knows_ticker(security(2), "T1").await;
    neighbours.knows_ticker(security(3), "T3").await;
    let rows = [row(1, &json!(1)), row(3, &json!(3))];
    given(&neighbours.pricing, ALL, ok(&json!(rows))).await;
    let market = neighbours.clients().market;

    for n_snapshots in 1..=3 {
        let prices = market.prices(&securities(1..=3)).await.unwrap();
        assert_eq!([amount(&prices, 1), amount(&prices, 2)], [Some(dec!(1)); 2]);
        assert_eq!(calls(&neighbours).await, (n_snapshots, 0));
    }
}
