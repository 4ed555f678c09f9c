use std::time::Duration;

use application::order_generation::ports::PriceSource;
use futures_util::future::join_all;
use serde_json::json;
use upstream_http::{CacheUse, Neighbours};

use crate::neighbourhood::{
    Neighbourhood, chain, given, given_first, is_malformed, is_unavailable, kept_for, n_calls, ok, security,
    status, text,
};

const PRICE: &str = "/api/v1/price/AAPL";

async fn apple() -> Neighbourhood {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours
}

#[tokio::test]
async fn the_second_look_up_is_served_from_memory() {
    let neighbours = apple().await;
    neighbours.knows_price("AAPL", json!(5)).await;
    let market = neighbours.clients().market;

    for _ in 0..3 {
        market.clone().prices(&[security(1)]).await.unwrap();
    }

    assert_eq!(n_calls(&neighbours.security).await, 1);
    assert_eq!(n_calls(&neighbours.pricing).await, 1);
}

#[tokio::test]
async fn a_hundred_who_ask_at_the_same_time_make_one_call() {
    let neighbours = apple().await;
    let slow = ok(&json!({ "close": 5 })).set_delay(Duration::from_millis(100));
    given(&neighbours.pricing, PRICE, slow).await;
    let market = neighbours.clients().market;

    let asked = [security(1)];
    let answers = join_all((0..100).map(|_| market.prices(&asked))).await;

    assert!(answers.into_iter().all(|prices| prices.unwrap().price(&security(1)).is_some()));
    assert_eq!(n_calls(&neighbours.security).await, 1);
    assert_eq!(n_calls(&neighbours.pricing).await, 1);
}

/// Hits, misses and entries.
fn used(clients: &Neighbours, name: &str) -> (u64, u64, u64) {
    let CacheUse { hits, misses, entries, .. } =
        clients.caches().into_iter().find(|cache| cache.name == name).unwrap();
    (hits, misses, entries)
}

#[tokio::test]
async fn a_look_up_is_a_hit_where_it_costs_no_call_of_its_own() {
    let mut neighbours = apple().await;
    neighbours.config.prices = kept_for(Duration::from_millis(300));
    let slow = ok(&json!({ "close": 5 })).set_delay(Duration::from_millis(100));
    given(&neighbours.pricing, PRICE, slow).await;
    let clients = neighbours.clients();
    let asked = [security(1)];

    join_all((0..10).map(|_| clients.market.prices(&asked))).await;
    assert_eq!(used(&clients, "tickers"), (9, 1, 1));
    assert_eq!(used(&clients, "prices"), (9, 1, 1));

    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(used(&clients, "prices"), (9, 1, 0), "what has expired is no entry");
    clients.market.prices(&asked).await.unwrap();
    // It has no ticker.
    clients.market.prices(&[security(2)]).await.unwrap();
    assert_eq!(used(&clients, "prices"), (9, 2, 1));
    assert_eq!(used(&clients, "tickers"), (10, 2, 1));
    for unused in ["all_prices", "names"] {
        assert_eq!(used(&clients, unused), (0, 0, 0), "{unused}");
    }
}

#[tokio::test]
async fn without_a_lifetime_every_look_up_is_a_miss() {
    let mut neighbours = apple().await;
    neighbours.config.prices.ttl = Duration::ZERO;
    neighbours.knows_price("AAPL", json!(5)).await;
    let clients = neighbours.clients();

    for _ in 0..3 {
        clients.market.prices(&[security(1)]).await.unwrap();
    }

    assert_eq!(used(&clients, "prices"), (0, 3, 0));
}

#[tokio::test]
async fn what_is_too_old_is_asked_for_again() {
    let mut neighbours = apple().await;
    neighbours.config.prices = kept_for(Duration::from_millis(300));
    neighbours.knows_price("AAPL", json!(5)).await;
    let market = neighbours.clients().market;

    market.prices(&[security(1)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    market.prices(&[security(1)]).await.unwrap();

    assert_eq!(n_calls(&neighbours.security).await, 1);
    assert_eq!(n_calls(&neighbours.pricing).await, 2);
}

#[tokio::test]
async fn nothing_is_kept_without_a_lifetime() {
    let mut neighbours = apple().await;
    neighbours.config.tickers.ttl = Duration::ZERO;
    neighbours.config.prices.ttl = Duration::ZERO;
    neighbours.knows_price("AAPL", json!(5)).await;
    let market = neighbours.clients().market;

    for _ in 0..3 {
        market.prices(&[security(1)]).await.unwrap();
    }

    assert_eq!(n_calls(&neighbours.security).await, 3);
    assert_eq!(n_calls(&neighbours.pricing).await, 3);
}

#[tokio::test]
async fn neither_failures_nor_nonsense_nor_absences_are_kept() {
    for bad in [status(503), text(200, "{}"), status(404), text(200, r#"{"close":0}"#)] {
        let neighbours = apple().await;
        given_first(&neighbours.pricing, PRICE, 3, bad).await;
        neighbours.knows_price("AAPL", json!(5)).await;
        let market = neighbours.clients().market;

        let mut n_asked = 0;
        while !matches!(market.prices(&[security(1)]).await, Ok(prices) if prices.price(&security(1)).is_some())
        {
            n_asked += 1;
            assert!(n_asked <= 3, "what was bad is kept");
        }

        assert_eq!(n_calls(&neighbours.pricing).await, 4);
    }
}

#[tokio::test]
async fn a_failure_is_reported_to_everyone_who_waited() {
    let neighbours = apple().await;
    let down = status(503).set_delay(Duration::from_millis(50));
    given(&neighbours.pricing, PRICE, down).await;
    let market = neighbours.clients().market;

    let asked = [security(1)];
    let answers = join_all((0..100).map(|_| market.prices(&asked))).await;

    for answer in answers {
        let error = answer.unwrap_err();
        assert!(is_unavailable(&error));
        assert_eq!(
            chain(&error),
            "pricing-service did not answer the call for price of AAPL: \
             GET /api/v1/price/AAPL: after 3 attempts: it answered 503 Service Unavailable"
        );
    }
    assert_eq!(n_calls(&neighbours.pricing).await, 3);
}

#[tokio::test]
async fn nonsense_is_reported_to_everyone_who_waited() {
    let neighbours = apple().await;
    let nonsense = text(200, "{}").set_delay(Duration::from_millis(50));
    given(&neighbours.pricing, PRICE, nonsense).await;
    let market = neighbours.clients().market;

    let asked = [security(1)];
    let answers = join_all((0..10).map(|_| market.prices(&asked))).await;

    for answer in answers {
        let error = answer.unwrap_err();
        assert!(is_malformed(&error));
        assert!(chain(&error).contains("missing field `close`"), "{}", chain(&error));
    }
    assert_eq!(n_calls(&neighbours.pricing).await, 1);
}

#[tokio::test]
async fn who_waits_takes_over_from_one_who_goes_away() {
    let neighbours = apple().await;
    let slow = ok(&json!({ "close": 5 })).set_delay(Duration::from_millis(900));
    given(&neighbours.pricing, PRICE, slow).await;
    let market = neighbours.clients().market;
    let securities = [security(1)];

    let first = tokio::time::timeout(Duration::from_millis(400), market.prices(&securities));
    let (first, second) = tokio::join!(first, market.prices(&securities));

    assert!(first.is_err());
    assert!(second.unwrap().price(&security(1)).is_some());
    assert_eq!(n_calls(&neighbours.pricing).await, 2);
}
