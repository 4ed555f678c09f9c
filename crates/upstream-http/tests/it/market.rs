use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use application::order_generation::ports::PriceSource;
use application::upstream;
use domain::order_generation::price::PriceSnapshot;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::neighbourhood::{
    Neighbourhood, chain, given, is_malformed, is_unavailable, n_calls, ok, security, status, text,
};

fn amount(prices: &PriceSnapshot, number: usize) -> Option<Decimal> {
    prices.price(&security(number)).map(domain::order_generation::price::Price::get)
}

#[tokio::test]
async fn securities_are_priced_by_their_tickers() {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours.knows_ticker(security(2), "IBM").await;
    neighbours.knows_price("AAPL", json!("101.20")).await;
    neighbours.knows_price("IBM", serde_json::from_str("0.1").unwrap()).await;

    let market = neighbours.clients().market;
    let prices = market.prices(&[security(1), security(2)]).await.unwrap();

    assert_eq!(amount(&prices, 1), Some(dec!(101.20)));
    assert_eq!(amount(&prices, 2), Some(dec!(0.1)));
}

#[tokio::test]
async fn no_securities_need_no_calls() {
    let neighbours = Neighbourhood::start().await;
    let prices = neighbours.clients().market.prices(&[]).await.unwrap();
    assert_eq!(prices, PriceSnapshot::default());
}

#[tokio::test]
async fn a_security_listed_twice_is_asked_for_once() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.tickers.ttl = Duration::ZERO;
    neighbours.config.prices.ttl = Duration::ZERO;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours.knows_price("AAPL", json!(5)).await;

    let market = neighbours.clients().market;
    let prices = market.prices(&[security(1); 20]).await.unwrap();

    assert_eq!(amount(&prices, 1), Some(dec!(5)));
    assert_eq!(n_calls(&neighbours.security).await, 1);
    assert_eq!(n_calls(&neighbours.pricing).await, 1);
}

#[tokio::test]
async fn an_unknown_security_or_ticker_is_absent() {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours.knows_price("AAPL", json!(5)).await;
    neighbours.knows_ticker(security(2), "GONE").await;

    let market = neighbours.clients().market;
    let prices = market.prices(&[security(1), security(2), security(3)]).await.unwrap();

    assert_eq!(amount(&prices, 1), Some(dec!(5)));
    assert_eq!(amount(&prices, 2), None);
    assert_eq!(amount(&prices, 3), None);
}

/// What becomes of a security whose price is answered so.
async fn priced(answer: ResponseTemplate) -> Result<Option<Decimal>, upstream::Error> {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    given(&neighbours.pricing, "/api/v1/price/AAPL", answer).await;
    let prices = neighbours.clients().market.prices(&[security(1)]).await?;
    Ok(amount(&prices, 1))
}

#[tokio::test]
async fn what_is_no_price_above_zero_is_absent() {
    for close in ["0", "0.00", "-1", "0E-8", "null", r#""0""#, r#""-3""#, r#""NaN""#, r#""Infinity""#] {
        let price = priced(text(200, &format!(r#"{{"close":{close}}}"#))).await;
        assert_eq!(price.unwrap(), None, "{close}");
    }
}

#[tokio::test]
async fn only_the_close_counts() {
    let body = json!({ "price": 1, "open": 2, "high": 3, "low": 4, "close": 5 });
    assert_eq!(priced(ok(&body)).await.unwrap(), Some(dec!(5)));
}

#[tokio::test]
async fn scientific_notation_is_a_number() {
    for (close, expect) in [("1E-8", dec!(0.00000001)), ("1.5e3", dec!(1500))] {
        let price = priced(text(200, &format!(r#"{{"close":{close}}}"#))).await;
        assert_eq!(price.unwrap(), Some(expect), "{close}");
    }
}

#[tokio::test]
async fn a_price_that_makes_no_sense_is_malformed() {
    for body in [
        "",
        "null",
        "[]",
        "7",
        "{}",
        "<html>Bad gateway</html>",
        r#"{"price":5}"#,
        r#"{"close":"five"}"#,
        r#"{"close":""}"#,
        r#"{"close":true}"#,
        r#"{"close":{"amount":5}}"#,
        r#"{"close":[5]}"#,
        r#"{"close":NaN}"#,
        r#"{"close":5"#,
        r#"{"close":5} and more"#,
        r#"{"close":123456789012345678901234567890}"#,
        r#"{"close":0.12345678901234567890123456789}"#,
        r#"{"close":1e400}"#,
    ] {
        let error = priced(text(200, body)).await.unwrap_err();
        assert!(is_malformed(&error), "{body}");
        assert!(error.to_string().contains("price of AAPL"), "{error}");
    }
}

#[tokio::test]
async fn a_security_without_a_usable_ticker_is_malformed() {
    let long = "X".repeat(51);
    for ticker in [json!(null), json!(7), json!(""), json!("A\tB"), json!("A\nB"), json!(long)] {
        let neighbours = Neighbourhood::start().await;
        let at = format!("/api/v1/security/{}", security(1));
        given(&neighbours.security, &at, ok(&json!({ "ticker": ticker }))).await;

        let error = neighbours.clients().market.prices(&[security(1)]).await.unwrap_err();

        assert!(is_malformed(&error), "{ticker}");
        assert!(error.to_string().contains(security(1).as_str()), "{error}");
        assert_eq!(n_calls(&neighbours.pricing).await, 0, "{ticker}");
    }
}

#[tokio::test]
async fn a_failing_security_service_is_unavailable_even_where_it_means_a_bad_id() {
    let neighbours = Neighbourhood::start().await;
    let at = format!("/api/v1/security/{}", security(1));
    let answer = text(500, r#"{"error": "Internal server error"}"#);
    given(&neighbours.security, &at, answer).await;

    let error = neighbours.clients().market.prices(&[security(1)]).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert_eq!(
        error.to_string(),
        format!("security-service did not answer the call for ticker of security {}", security(1))
    );
    assert!(chain(&error).contains("500"), "{}", chain(&error));
    assert_eq!(n_calls(&neighbours.security).await, 3);
}

#[tokio::test]
async fn one_price_that_cannot_be_had_fails_the_snapshot() {
    let neighbours = Neighbourhood::start().await;
    for (number, ticker) in [(1, "AAPL"), (2, "IBM")] {
        neighbours.knows_ticker(security(number), ticker).await;
    }
    neighbours.knows_price("AAPL", json!(5)).await;
    given(&neighbours.pricing, "/api/v1/price/IBM", status(503)).await;

    let market = neighbours.clients().market;
    let error = market.prices(&[security(1), security(2)]).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert!(error.to_string().contains("price of IBM"), "{error}");
}

async fn crowd(neighbours: &Neighbourhood, size: usize, delay: Duration) {
    for number in 0..size {
        let ticker = format!("T{number}");
        let at = format!("/api/v1/security/{}", security(number));
        let known = ok(&json!({ "ticker": ticker })).set_delay(delay);
        given(&neighbours.security, &at, known).await;
        neighbours.knows_price(&ticker, Value::from(number + 1)).await;
    }
}

#[tokio::test]
async fn securities_are_asked_for_at_the_same_time() {
    let neighbours = Neighbourhood::start().await;
    crowd(&neighbours, 40, Duration::from_millis(200)).await;
    let securities: Vec<_> = (0..40).map(security).collect();

    let started = Instant::now();
    let prices = neighbours.clients().market.prices(&securities).await.unwrap();

    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!((0..40).all(|number| amount(&prices, number) == Some(Decimal::from(number + 1))));
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_allowed() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.max_concurrent = NonZeroUsize::new(2).unwrap();
    crowd(&neighbours, 10, Duration::from_millis(50)).await;
    let securities: Vec<_> = (0..10).map(security).collect();

    let started = Instant::now();
    neighbours.clients().market.prices(&securities).await.unwrap();

    assert!(Duration::from_millis(250) <= started.elapsed(), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_price_is_asked_for_as_soon_as_its_ticker_is_known() {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours.knows_price("AAPL", json!(5)).await;
    let late = ok(&json!({ "ticker": "IBM" })).set_delay(Duration::from_secs(4));
    given(&neighbours.security, &format!("/api/v1/security/{}", security(2)), late).await;

    let market = neighbours.clients().market;
    let securities = [security(1), security(2)];
    let waited = tokio::time::timeout(Duration::from_millis(1500), market.prices(&securities)).await;

    assert!(waited.is_err());
    assert_eq!(n_calls(&neighbours.pricing).await, 1);
}
