use reqwest::Method;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sandbox::Sandbox;
use serde_json::{Value, json};

use crate::client::{fixed, json as get, send, text};

const PORTFOLIO: &str = "0123456789abcdef01234567";
const SECURITY: &str = "abcdefabcdefabcdefabcdef";

fn transaction(kind: &str, quantity: &str, price: &str, source: &str) -> Value {
    let mut body = json!({
        "portfolioId": PORTFOLIO,
        "securityId": SECURITY,
        "sourceId": source,
        "transactionType": kind,
        "quantity": quantity,
        "price": price,
        "transactionDate": "20240115",
    });
    if matches!(kind, "DEP" | "WD") {
        body.as_object_mut().unwrap().remove("securityId");
    }
    body
}

async fn post(sandbox: &Sandbox, batch: Value) -> (u16, Value) {
    let url = format!("{}/api/v1/transactions", sandbox.accounting.url());
    send(Method::POST, url, &batch).await
}

async fn summary(sandbox: &Sandbox) -> Value {
    let url = sandbox.accounting.url();
    let (status, body) = get(format!("{url}/api/v1/portfolios/{PORTFOLIO}/summary")).await;
    assert_eq!(status, 200);
    body
}

#[tokio::test]
async fn an_unknown_portfolio_is_an_internal_error() {
    let sandbox = fixed().await;

    let url = format!("{}/api/v1/portfolios/unknown/summary", sandbox.accounting.url());
    let (status, body) = get(url).await;

    assert_eq!(status, 500);
    assert_eq!(body["error"]["code"], "INTERNAL_ERROR");
    assert_eq!(body["error"]["message"], "Failed to retrieve portfolio summary");
    assert!(body["error"]["timestamp"].as_str().unwrap().ends_with('Z'));
}

/// Posts `(type, quantity, price)` in order; expects cash, long and short.
async fn check(entries: &[(&str, &str, &str)], cash: &str, position: Option<(&str, &str)>) {
    let sandbox = fixed().await;
    let batch = (entries.iter().enumerate())
        .map(|(idx, (kind, quantity, price))| transaction(kind, quantity, price, &format!("AC{idx}")))
        .collect();

    let (status, body) = post(&sandbox, batch).await;

    assert_eq!(status, 201, "{body}");
    let summary = summary(&sandbox).await;
    assert_eq!(summary["cashBalance"], cash, "{entries:?}");
    match position {
        None => assert_eq!(summary["securities"], json!([])),
        Some((long, short)) => {
            assert_eq!(summary["securities"][0]["quantityLong"], long, "{entries:?}");
            assert_eq!(summary["securities"][0]["quantityShort"], short, "{entries:?}");
        }
    }
}

#[tokio::test]
async fn the_eight_types_move_balances_as_documented() {
    check(&[("DEP", "5000", "1"), ("WD", "1500", "1")], "3500", None).await;
    check(&[("BUY", "100", "50.25")], "-5025", Some(("100", "0"))).await;
    check(&[("BUY", "200", "50"), ("SELL", "50", "55")], "-7250", Some(("150", "0"))).await;
    check(&[("SHORT", "75", "60")], "4500", Some(("0", "75"))).await;
    check(&[("SHORT", "75", "60"), ("COVER", "25", "50")], "3250", Some(("0", "50"))).await;
    check(&[("IN", "100", "7")], "0", Some(("100", "0"))).await;
    check(&[("OUT", "100", "7")], "0", Some(("-100", "0"))).await;
    check(&[("SELL", "-0.5", "0.1")], "-0.05", Some(("0.5", "0"))).await;
}

#[tokio::test]
async fn a_transfer_in_makes_one_row_and_a_purchase_two() {
    let sandbox = fixed().await;
    let url = format!("{}/api/v1/balances?portfolio_id={PORTFOLIO}", sandbox.accounting.url());

    post(&sandbox, json!([transaction("IN", "100", "1.5", "A")])).await;
    let (_, balances) = get(url.clone()).await;
    assert_eq!(balances["pagination"]["total"], 1);
    assert_eq!(balances["balances"][0]["securityId"], SECURITY);

    post(&sandbox, json!([transaction("BUY", "1", "2", "B")])).await;
    let (_, balances) = get(url).await;
    assert_eq!(balances["pagination"]["total"], 2);
    assert_eq!(balances["balances"][0]["version"], 2);
    assert_eq!(balances["balances"][1]["securityId"], Value::Null);
    assert_eq!(balances["balances"][1]["quantityLong"], "-2");
}

#[tokio::test]
async fn a_success_is_echoed_with_its_status_and_failures_are_null() {
    let sandbox = fixed().await;

    let (status, body) = post(&sandbox, json!([transaction("BUY", "100.50", "50.250", "A")])).await;

    assert_eq!(status, 201);
    assert_eq!(
        body,
        json!({
            "successful": [{
                "id": 1,
                "portfolioId": PORTFOLIO,
                "securityId": SECURITY,
                "sourceId": "A",
                "status": "PROC",
                "transactionType": "BUY",
                "quantity": "100.5",
                "price": "50.25",
                "transactionDate": "20240115",
                "reprocessingAttempts": 0,
                "version": 2,
            }],
            "failed": null,
            "summary": {"totalRequested": 1, "successful": 1, "failed": 0, "successRate": 100},
        })
    );
}

#[tokio::test]
async fn numbers_are_taken_exactly_whether_quoted_or_not() {
    let sandbox = fixed().await;
    let url = format!("{}/api/v1/transactions", sandbox.accounting.url());
    let body = format!(
        r#"[{{"portfolioId":"{PORTFOLIO}","sourceId":"A","transactionType":"DEP",
            "quantity":1234567890.12345678,"price":1.00,"transactionDate":"20240115"}}]"#
    );

    let answer = crate::client::client().post(url).body(body).send().await;

    assert_eq!(answer.unwrap().status(), 201);
    assert_eq!(summary(&sandbox).await["cashBalance"], "1234567890.12345678");
}

#[tokio::test]
async fn a_known_source_changes_nothing() {
    let sandbox = fixed().await;
    let deposit = transaction("DEP", "10", "1", "A");
    post(&sandbox, json!([deposit])).await;

    let (status, body) = post(&sandbox, json!([deposit, transaction("DEP", "5", "1", "B")])).await;

    assert_eq!(status, 207);
    assert_eq!(
        body["failed"][0]["errors"],
        json!([{"field": "sourceId", "message": "source ID must be unique", "value": "A"}])
    );
    assert_eq!(body["failed"][0]["transaction"]["quantity"], "10");
    assert_eq!(body["summary"]["successRate"], 50);
    assert_eq!(summary(&sandbox).await["cashBalance"], "15");
}

#[tokio::test]
async fn of_two_with_one_source_in_a_batch_the_first_wins() {
    let sandbox = fixed().await;

    let batch = json!([transaction("DEP", "10", "1", "A"), transaction("DEP", "20", "1", "A"),]);
    let (status, body) = post(&sandbox, batch).await;

    assert_eq!(status, 207);
    assert_eq!(body["summary"]["successful"], 1);
    assert_eq!(summary(&sandbox).await["cashBalance"], "10");
}

#[tokio::test]
async fn a_batch_of_failures_is_207_with_null_successes() {
    let sandbox = fixed().await;

    let (status, body) = post(&sandbox, json!([transaction("DEP", "10", "2", "A")])).await;

    assert_eq!(status, 207);
    assert_eq!(body["successful"], Value::Null);
    assert_eq!(body["summary"]["successRate"], 0);
    assert_eq!(
        body["failed"][0]["errors"],
        json!([{
            "field": "transaction",
            "message": "transaction validation failed: [cash transactions must have price of 1.0]",
            "value": "index_0",
        }])
    );
}

#[tokio::test]
async fn every_violation_of_form_is_reported_in_order() {
    let sandbox = fixed().await;
    let transaction = json!({
        "portfolioId": "short",
        "securityId": "",
        "sourceId": "x".repeat(51),
        "transactionType": "buy",
        "quantity": 1,
        "price": -2.50,
        "transactionDate": "20240230",
    });

    let (status, body) = post(&sandbox, json!([transaction])).await;

    assert_eq!(status, 207);
    let errors = &body["failed"][0]["errors"];
    let fields: Vec<_> =
        (errors.as_array().unwrap().iter()).map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(
        fields,
        ["portfolioId", "securityId", "sourceId", "transactionType", "price", "transactionDate"]
    );
    assert_eq!(errors[1].get("value"), None);
    assert_eq!(errors[4]["value"], "-2.5");
}

#[tokio::test]
async fn cash_has_no_security_and_everything_else_has_one() {
    let sandbox = fixed().await;
    let mut deposit = transaction("DEP", "1", "1", "A");
    deposit["securityId"] = json!(SECURITY);
    let mut purchase = transaction("BUY", "1", "1", "B");
    purchase["securityId"] = Value::Null;

    let (_, body) = post(&sandbox, json!([deposit, purchase])).await;

    let message = |idx: usize| body["failed"][idx]["errors"][0]["message"].clone();
    assert_eq!(message(0), "must be null for DEP/WD transactions");
    assert_eq!(message(1), "is required for non-cash transactions");
}

#[tokio::test]
async fn unusable_requests_are_refused_whole() {
    let sandbox = fixed().await;
    let thousand_and_one: Vec<Value> =
        (0..1001).map(|idx| transaction("DEP", "1", "1", &idx.to_string())).collect();

    for (batch, code) in [
        (json!({}), "INVALID_JSON"),
        (json!([{ "portfolioId": 5 }]), "INVALID_JSON"),
        (json!([{ "quantity": "many" }]), "INVALID_JSON"),
        (json!([]), "EMPTY_BATCH"),
        (json!(null), "EMPTY_BATCH"),
        (json!(thousand_and_one), "BATCH_TOO_LARGE"),
    ] {
        let (status, body) = post(&sandbox, batch).await;

        assert_eq!(status, 400);
        assert_eq!(body["error"]["code"], code);
    }
}

#[tokio::test]
async fn an_overflowing_balance_burns_the_source_and_moves_nothing() {
    let sandbox = fixed().await;
    let huge = transaction("BUY", "9000000000", "9", "A");

    let (status, body) = post(&sandbox, json!([huge])).await;
    assert_eq!(status, 207);
    assert_eq!(body["failed"][0]["errors"][0]["field"], "processing");
    assert_eq!(sandbox.accounting.summary(PORTFOLIO), None);

    let (_, body) = post(&sandbox, json!([transaction("BUY", "1", "1", "A")])).await;
    assert_eq!(body["failed"][0]["errors"][0]["field"], "sourceId");

    let (_, stored) = get(format!("{}/api/v1/transaction/1", sandbox.accounting.url())).await;
    assert_eq!(stored["status"], "ERROR");
}

#[tokio::test]
async fn a_funded_portfolio_answers_in_the_documented_key_order() {
    let sandbox = fixed().await;
    let cash: Decimal = dec!(3356336.00);
    (sandbox.accounting).fund(PORTFOLIO, cash, &[(SECURITY, dec!(12.50))]);

    let url = sandbox.accounting.url();
    let (status, body) = text(format!("{url}/api/v1/portfolios/{PORTFOLIO}/summary")).await;

    assert_eq!(status, 200);
    let start =
        format!(r#"{{"portfolioId":"{PORTFOLIO}","cashBalance":"3356336","securityCount":1,"lastUpdated":""#);
    assert!(body.starts_with(&start), "{body}");
    let holding = format!(
        r#""securities":[{{"securityId":"{SECURITY}","quantityLong":"12.5","quantityShort":"0","netQuantity":"12.5","lastUpdated":""#
    );
    assert!(body.contains(&holding), "{body}");

    let summary = sandbox.accounting.summary(PORTFOLIO).unwrap();
    assert_eq!(summary.cash, cash);
    assert_eq!(summary.holdings[SECURITY], dec!(12.5));
}

#[tokio::test]
async fn transactions_are_listed_newest_date_first() {
    let sandbox = fixed().await;
    let mut later = transaction("DEP", "2", "1", "B");
    later["transactionDate"] = json!("20240116");
    post(&sandbox, json!([transaction("DEP", "1", "1", "A"), later])).await;

    let url = sandbox.accounting.url();
    let (_, body) = get(format!("{url}/api/v1/transactions?limit=1")).await;

    assert_eq!(body["transactions"][0]["sourceId"], "B");
    assert_eq!(
        body["pagination"],
        json!({"limit": 1, "offset": 0, "total": 2, "hasMore": true, "page": 1, "totalPages": 2})
    );
    let (status, missing) = get(format!("{url}/api/v1/transaction/99")).await;
    assert_eq!((status, &missing["error"]["code"]), (404, &json!("NOT_FOUND")));
    let (status, invalid) = get(format!("{url}/api/v1/transaction/x")).await;
    assert_eq!((status, &invalid["error"]["code"]), (400, &json!("INVALID_ID")));
}

#[tokio::test]
async fn health_is_answered_on_both_roots_and_unknown_routes_in_plain_text() {
    let sandbox = fixed().await;
    let url = sandbox.accounting.url();

    for (path, expect) in [
        ("/health", "healthy"),
        ("/api/v1/health/live", "alive"),
        ("/health/ready", "ready"),
        ("/api/v1/health/detailed", "healthy"),
    ] {
        let (status, body) = get(format!("{url}{path}")).await;
        assert_eq!((status, &body["status"]), (200, &json!(expect)));
    }
    let (status, body) = text(format!("{url}/nowhere")).await;
    assert_eq!((status, body.trim()), (404, "404 page not found"));
    assert_eq!(get(format!("{url}/api/v2/")).await.0, 501);
}

#[tokio::test]
async fn broken_rules_are_reported_as_one() {
    let sandbox = fixed().await;
    let mut purchase = transaction("BUY", "0", "1", " ");
    purchase["portfolioId"] = json!("0123456789abcdef0123456-");

    let (_, body) = post(&sandbox, json!([purchase])).await;

    assert_eq!(
        body["failed"][0]["errors"],
        json!([{
            "field": "transaction",
            "message": "transaction validation failed: [\
                invalid portfolio ID: portfolio ID must contain only alphanumeric characters \
                invalid source ID: source ID cannot be empty \
                portfolio ID is required \
                quantity cannot be zero]",
            "value": "index_0",
        }])
    );
}
