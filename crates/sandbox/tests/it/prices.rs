use reqwest::Method;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sandbox::{Draws, PriceOverride, Sandbox};
use serde_json::{Value, json};

use crate::client::{fixed, json as get, send, start, text};

fn close(body: &Value) -> Decimal {
    Decimal::from_str_exact(&body["close"].to_string()).unwrap()
}

async fn price(sandbox: &Sandbox, ticker: &str) -> (u16, Value) {
    get(format!("{}/api/v1/price/{ticker}", sandbox.pricing.url())).await
}

#[tokio::test]
async fn a_fixed_price_is_the_mean_with_its_cents() {
    let sandbox = fixed().await;

    let (status, body) = text(format!("{}/api/v1/price/NVDA", sandbox.pricing.url())).await;

    assert_eq!(status, 200);
    assert_eq!(
        body,
        r#"{"id":4,"ticker":"NVDA","date":"2017-12-29","open":193.50,"close":193.50,"high":193.50,"low":193.50,"volume":3}"#
    );
}

#[tokio::test]
async fn a_ticker_without_a_price_is_a_spring_404() {
    let sandbox = fixed().await;

    for ticker in ["XYZ", "aapl"] {
        let (status, body) = price(&sandbox, ticker).await;

        assert_eq!(status, 404);
        assert_eq!(body["status"], 404);
        assert_eq!(body["error"], "Not Found");
        assert_eq!(body["path"], format!("/api/v1/price/{ticker}"));
        assert!(body["timestamp"].as_str().unwrap().ends_with("+00:00"));
    }
    let (status, body) = get(format!("{}/health", sandbox.pricing.url())).await;
    assert_eq!((status, &body["path"]), (404, &json!("/health")));
}

#[tokio::test]
async fn every_answer_is_a_fresh_draw_near_the_mean() {
    let sandbox = start(Draws::Random, 3).await;
    let quote = sandbox.universe().quote("AAPL").unwrap().clone();

    let mut closes = Vec::new();
    for _ in 0..20 {
        closes.push(close(&price(&sandbox, "AAPL").await.1));
    }

    assert!(closes.iter().any(|close| *close != closes[0]));
    for close in closes {
        assert!((close - quote.mean).abs() < quote.deviation * dec!(6));
        assert_eq!(close.scale(), 2);
    }
}

#[tokio::test]
async fn draws_follow_the_seed_whatever_else_is_asked() {
    let (first, again) = (start(Draws::Random, 5).await, start(Draws::Random, 5).await);
    let other = start(Draws::Random, 6).await;
    price(&again, "MSFT").await;

    let mut same = 0;
    for _ in 0..5 {
        let expect = price(&first, "AAPL").await.1;
        assert_eq!(price(&again, "AAPL").await.1, expect);
        same += usize::from(price(&other, "AAPL").await.1 == expect);
    }

    assert!(same < 5);
}

#[tokio::test]
async fn all_prices_come_in_the_order_of_the_table() {
    let sandbox = fixed().await;

    let (status, body) = get(format!("{}/api/v1/prices", sandbox.pricing.url())).await;

    assert_eq!(status, 200);
    assert_eq!(body.as_array().unwrap().len(), sandbox.universe().quotes().len());
    assert_eq!((&body[1]["id"], &body[1]["ticker"]), (&json!(2), &json!("MSFT")));
}

#[tokio::test]
async fn an_override_takes_the_place_of_a_price_until_reset() {
    let sandbox = fixed().await;
    let prices = &sandbox.pricing;
    prices.set("AAPL", PriceOverride::Missing);
    prices.set("MSFT", PriceOverride::Exactly(Decimal::ZERO));
    prices.set("AMZN", PriceOverride::Exactly(dec!(-1.50)));
    prices.set("NVDA", PriceOverride::Text("NaN".to_owned()));

    assert_eq!(price(&sandbox, "AAPL").await.0, 404);
    assert_eq!(close(&price(&sandbox, "MSFT").await.1), Decimal::ZERO);
    assert_eq!(close(&price(&sandbox, "AMZN").await.1), dec!(-1.50));
    assert_eq!(price(&sandbox, "NVDA").await.1["close"], "NaN");

    send(Method::POST, format!("{}/sandbox/reset", prices.url()), &json!(null)).await;

    assert_eq!(close(&price(&sandbox, "AAPL").await.1), dec!(169.23));
}

#[tokio::test]
async fn an_override_can_be_set_and_lifted_over_http() {
    let sandbox = fixed().await;
    let url = format!("{}/sandbox/prices/AAPL", sandbox.pricing.url());

    assert_eq!(send(Method::PUT, url.clone(), &json!(null)).await.0, 204);
    assert_eq!(price(&sandbox, "AAPL").await.0, 404);
    assert_eq!(send(Method::PUT, url.clone(), &json!({})).await.0, 400);
    assert_eq!(send(Method::DELETE, url, &json!(null)).await.0, 204);
    assert_eq!(price(&sandbox, "AAPL").await.0, 200);
}

#[tokio::test]
async fn health_is_where_the_actuator_puts_it() {
    let sandbox = fixed().await;

    for path in ["", "/liveness", "/readiness"] {
        let url = format!("{}/actuator/health{path}", sandbox.pricing.url());
        assert_eq!(get(url).await, (200, json!({"status": "UP"})));
    }
}
