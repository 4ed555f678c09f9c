use std::time::{Duration, Instant};

use reqwest::{Method, header::RETRY_AFTER};
use rust_decimal_macros::dec;
use sandbox::{Config, Failure, Failures, Faults, Malformed, Sandbox};
use serde_json::{Value, json};

use crate::client::{client, fixed, get, json as get_json, send, text};

const PORTFOLIO: &str = "0123456789abcdef01234567";

fn price_url(sandbox: &Sandbox) -> String {
    format!("{}/api/v1/price/AAPL", sandbox.pricing.url())
}

#[tokio::test]
async fn latency_delays_every_answer_until_recovery() {
    let sandbox = fixed().await;
    let latency = Duration::from_millis(500);
    sandbox.pricing.inject(Faults::latency(latency));

    let start = Instant::now();
    assert_eq!(get(price_url(&sandbox)).await.status(), 200);
    assert!(latency <= start.elapsed());

    sandbox.pricing.recover();
    let start = Instant::now();
    get(price_url(&sandbox)).await;
    assert!(start.elapsed() < latency);
}

#[tokio::test]
async fn a_status_comes_in_the_form_of_its_service() {
    let sandbox = fixed().await;
    let unavailable = || Faults::always(Failure::status(503));
    sandbox.accounting.inject(unavailable());
    sandbox.security.inject(unavailable());
    sandbox.pricing.inject(unavailable());
    sandbox.portfolio.inject(unavailable());

    let (status, body) = get_json(format!("{}/health", sandbox.accounting.url())).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("SERVICE_UNAVAILABLE")));
    let (status, body) = get_json(format!("{}/health/liveness", sandbox.security.url())).await;
    assert_eq!((status, body), (503, json!({"error": "Internal server error"})));
    let (status, body) = get_json(price_url(&sandbox)).await;
    assert_eq!((status, &body["path"]), (503, &json!("/api/v1/price/AAPL")));
    let (status, body) = get_json(sandbox.portfolio.url()).await;
    assert_eq!((status, body), (503, json!({"detail": "Service Unavailable"})));
}

#[tokio::test]
async fn a_throttled_answer_can_say_when_to_return() {
    let sandbox = fixed().await;
    sandbox.pricing.inject(Faults::always(Failure::Status { code: 429, retry_after_seconds: Some(2) }));

    let response = get(price_url(&sandbox)).await;

    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "2");
}

async fn failures_of(sandbox: &Sandbox, calls: usize) -> Vec<bool> {
    let faults = Faults::sometimes(0.5, Failure::status(500));
    sandbox.pricing.inject(faults);
    let mut failures = Vec::new();
    for _ in 0..calls {
        failures.push(get(price_url(sandbox)).await.status() == 500);
    }
    failures
}

#[tokio::test]
async fn an_error_rate_fails_a_share_of_the_calls_the_same_ones_for_a_seed() {
    let (first, again) = (fixed().await, fixed().await);
    let other = Sandbox::start(Config { seed: 1, ..Config::default() }).await.unwrap();

    let failures = failures_of(&first, 60).await;

    let failed = failures.iter().filter(|failed| **failed).count();
    assert!((15..45).contains(&failed), "{failed}");
    assert_eq!(failures_of(&again, 60).await, failures);
    assert_eq!(failures_of(&first, 60).await, failures);
    assert_ne!(failures_of(&other, 60).await, failures);
}

#[tokio::test]
async fn an_outage_is_a_transport_error_for_one_service_alone() {
    let sandbox = fixed().await;
    let client = client();
    assert_eq!(client.get(price_url(&sandbox)).send().await.unwrap().status(), 200);
    sandbox.pricing.inject(Faults::outage());

    for _ in 0..3 {
        let err = client.get(price_url(&sandbox)).send().await.unwrap_err();
        assert!(err.is_request() && !err.is_timeout(), "{err:?}");
    }
    assert_eq!(get(sandbox.portfolio.url()).await.status(), 200);

    sandbox.pricing.recover();
    assert_eq!(client.get(price_url(&sandbox)).send().await.unwrap().status(), 200);
    assert_eq!(sandbox.pricing.calls_to("/api/v1/price/AAPL"), 5);
}

#[tokio::test]
async fn an_outage_does_nothing_and_a_lost_answer_does_everything() {
    let sandbox = fixed().await;
    let url = format!("{}/api/v1/transactions", sandbox.accounting.url());
    let post = |source: &str| {
        let batch = json!([{
            "portfolioId": PORTFOLIO, "sourceId": source, "transactionType": "DEP",
            "quantity": 10, "price": 1, "transactionDate": "20240115",
        }]);
        client().post(url.clone()).body(batch.to_string()).send()
    };

    sandbox.accounting.inject(Faults::outage());
    assert!(post("A").await.is_err());
    assert_eq!(sandbox.accounting.summary(PORTFOLIO), None);

    sandbox.accounting.inject(Faults::always(Failure::LostAnswer));
    assert!(post("B").await.is_err());
    assert_eq!(sandbox.accounting.summary(PORTFOLIO).unwrap().cash, dec!(10));
}

#[tokio::test]
async fn an_answer_that_is_broken_off_ends_in_its_middle() {
    let sandbox = fixed().await;
    let whole = get(price_url(&sandbox)).await.bytes().await.unwrap();
    sandbox.pricing.inject(Faults::always(Failure::BrokenOff));

    let mut response = get(price_url(&sandbox)).await;

    assert_eq!(response.status(), 200);
    assert_eq!(response.content_length(), Some(whole.len() as u64));
    let half = response.chunk().await.unwrap().unwrap();
    assert_eq!(half, whole.slice(..whole.len() / 2));
    let err = response.chunk().await.unwrap_err();
    assert!(err.is_body() || err.is_decode(), "{err:?}");
}

#[tokio::test]
async fn the_most_calls_at_once_are_counted() {
    let sandbox = fixed().await;
    sandbox.pricing.inject(Faults::latency(Duration::from_millis(300)));

    let url = price_url(&sandbox);
    tokio::join!(get(url.clone()), get(url.clone()), get(url.clone()));
    get(url).await;

    assert_eq!(sandbox.pricing.most_calls_at_once(), 3);
}

#[tokio::test]
async fn malformed_answers_are_malformed_each_in_its_way() {
    let sandbox = fixed().await;
    let url = price_url(&sandbox);
    let malformed = |malformed| {
        sandbox.pricing.inject(Faults::always(Failure::Malformed(malformed)));
    };

    malformed(Malformed::Truncated);
    let (status, body) = text(url.clone()).await;
    assert_eq!(status, 200);
    assert!(serde_json::from_str::<Value>(&body).is_err(), "{body}");

    malformed(Malformed::Garbage);
    let response = get(url.clone()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(serde_json::from_slice::<Value>(&response.bytes().await.unwrap()).is_err());

    malformed(Malformed::WrongTypes);
    let (_, body) = get_json(url.clone()).await;
    assert_eq!((&body["ticker"], &body["close"]), (&json!([]), &json!([])));

    for (text, close) in [("NaN", json!("NaN")), ("-1.50", serde_json::from_str("-1.50").unwrap())] {
        malformed(Malformed::Numbers(text.to_owned()));
        let (_, body) = get_json(url.clone()).await;
        assert_eq!((&body["ticker"], &body["close"]), (&json!("AAPL"), &close));
    }

    malformed(Malformed::WrongContentType);
    let response = get(url).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/html");
}

#[tokio::test]
async fn faults_are_set_read_and_lifted_over_http() {
    let sandbox = fixed().await;
    let url = format!("{}/sandbox/faults", sandbox.pricing.url());
    let body = json!({
        "latencyMs": 1,
        "failures": {"rate": 1.0, "kind": {"status": {"code": 503, "retryAfterSeconds": 1}}},
    });

    assert_eq!(send(Method::PUT, url.clone(), &body).await, (200, body.clone()));
    assert_eq!(get_json(url.clone()).await, (200, body));
    assert_eq!(get(price_url(&sandbox)).await.status(), 503);

    for kind in [
        json!("outage"),
        json!("lostAnswer"),
        json!("brokenOff"),
        json!({"malformed": "wrongTypes"}),
        json!({"malformed": {"numbers": "NaN"}}),
    ] {
        let body = json!({"failures": {"kind": kind}});
        assert_eq!(send(Method::PUT, url.clone(), &body).await.0, 200, "{body}");
    }
    for body in [json!({"failures": {"rate": 2, "kind": "outage"}}), json!({"outage": true})] {
        assert_eq!(send(Method::PUT, url.clone(), &body).await.0, 400, "{body}");
    }

    assert_eq!(send(Method::DELETE, url, &Value::Null).await.0, 204);
    assert_eq!(get(price_url(&sandbox)).await.status(), 200);
}

#[tokio::test]
async fn the_wire_form_of_faults_reads_back_as_what_was_injected() {
    let sandbox = fixed().await;
    let faults = Faults {
        latency: Duration::from_millis(20),
        failures: Some(Failures { rate: 0.25, kind: Failure::Malformed(Malformed::Truncated) }),
    };
    sandbox.security.inject(faults.clone());

    let (_, body) = text(format!("{}/sandbox/faults", sandbox.security.url())).await;

    assert_eq!(serde_json::from_str::<Faults>(&body).unwrap(), faults);
}

#[tokio::test]
async fn calls_are_counted_by_path_and_name_their_correlation() {
    let sandbox = fixed().await;
    let response = client()
        .get(format!("{}?fresh=1", price_url(&sandbox)))
        .header("X-Correlation-ID", "desk-1")
        .send()
        .await
        .unwrap();
    get(price_url(&sandbox)).await;
    get(format!("{}/api/v1/price/NOPE", sandbox.pricing.url())).await;

    assert_eq!(response.headers()["x-correlation-id"], "desk-1");
    assert_eq!(sandbox.pricing.calls(), 3);
    assert_eq!(sandbox.pricing.calls_to("/api/v1/price/AAPL"), 2);
    assert_eq!(sandbox.pricing.calls_to("/api/v1/price/MSFT"), 0);
    assert_eq!(sandbox.pricing.calls_under("/api/v1/price/"), 3);
    assert_eq!(sandbox.pricing.correlation_ids(), ["desk-1"]);
    assert_eq!(sandbox.security.calls(), 0);

    let url = format!("{}/sandbox/calls", sandbox.pricing.url());
    let (_, body) = get_json(url.clone()).await;
    assert_eq!(
        body,
        json!({
            "total": 3,
            "mostAtOnce": 1,
            "paths": {"/api/v1/price/AAPL": 2, "/api/v1/price/NOPE": 1},
            "correlationIds": ["desk-1"],
        })
    );
    assert_eq!(send(Method::DELETE, url, &Value::Null).await.0, 204);
    assert_eq!(sandbox.pricing.calls(), 0);
}

#[tokio::test]
async fn a_reset_forgets_balances_portfolios_faults_and_calls() {
    let sandbox = fixed().await;
    sandbox.accounting.fund(PORTFOLIO, dec!(1), &[]);
    sandbox.portfolio.add(PORTFOLIO, "Growth");
    sandbox.portfolio.inject(Faults::outage());
    get(format!("{}/health", sandbox.accounting.url())).await;

    for url in [sandbox.accounting.url(), sandbox.portfolio.url()] {
        let url = format!("{url}/sandbox/reset");
        assert_eq!(send(Method::POST, url, &Value::Null).await.0, 204);
    }

    assert_eq!(sandbox.accounting.summary(PORTFOLIO), None);
    assert_eq!(sandbox.accounting.calls(), 0);
    let url = format!("{}/api/v1/portfolios", sandbox.portfolio.url());
    assert_eq!(get_json(url).await, (200, json!([])));
}

#[tokio::test]
async fn numbers_in_strings_are_replaced_by_strings_and_other_strings_stay() {
    let sandbox = fixed().await;
    sandbox.accounting.fund(PORTFOLIO, dec!(10), &[("0123456789abcdef01234567", dec!(2.5))]);
    let numbers = Failure::Malformed(Malformed::Numbers("-3".to_owned()));
    sandbox.accounting.inject(Faults::always(numbers));

    let url = format!("{}/api/v1/portfolios/{PORTFOLIO}/summary", sandbox.accounting.url());
    let (status, body) = get_json(url).await;

    assert_eq!((status, &body["portfolioId"], &body["cashBalance"]), (200, &json!(PORTFOLIO), &json!("-3")));
    assert_eq!(body["securities"][0]["netQuantity"], json!("-3"));
    assert_eq!((&body["securityCount"], body["lastUpdated"].is_string()), (&json!(-3), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_shut_refuses_calls_until_it_is_reopened_where_it_was() {
    let mut sandbox = fixed().await;
    let (url, regular) = (price_url(&sandbox), client());
    assert_eq!(regular.get(&url).send().await.unwrap().status(), 200);

    sandbox.pricing.shut().await.unwrap();

    for _ in 0..2 {
        let err = client().get(&url).send().await.unwrap_err();
        assert!(err.is_connect(), "{err:?}");
    }
    // The connection that was kept is of no use any more.
    assert!(regular.get(&url).send().await.is_err());
    assert_eq!(get(sandbox.portfolio.url()).await.status(), 200);

    sandbox.pricing.reopen().unwrap();

    assert_eq!(regular.get(&url).send().await.unwrap().status(), 200);
    assert_eq!(sandbox.pricing.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sandbox_lets_go_of_its_ports() {
    let sandbox = fixed().await;
    let url = sandbox.portfolio.url();
    assert_eq!(get(url.clone()).await.status(), 200);

    sandbox.stop().await;

    let err = client().get(url).send().await.unwrap_err();
    assert!(err.is_connect(), "{err:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_sandbox_stops_answering() {
    let sandbox = fixed().await;
    let url = sandbox.portfolio.url();
    drop(sandbox);

    let mut attempts = 0;
    while client().get(&url).send().await.is_ok() {
        attempts += 1;
        assert!(attempts < 100);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
