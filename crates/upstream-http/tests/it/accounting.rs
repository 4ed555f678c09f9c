use application::order_generation::ports::HoldingsSource;
use domain::order_generation::holdings::Holdings;
use rust_decimal_macros::dec;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::neighbourhood::{
    Neighbourhood, SUMMARY, chain, given, is_malformed, is_unavailable, n_calls, ok, portfolio, security,
    status, text,
};

/// What the client makes of an answer, and how often it asked.
async fn read(answer: ResponseTemplate) -> (Result<Holdings, application::upstream::Error>, usize) {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, answer).await;
    let holdings = neighbours.clients().accounting.holdings(&portfolio()).await;
    (holdings, n_calls(&neighbours.accounting).await)
}

fn summary(cash: &Value, rows: &[(&str, Value)]) -> Value {
    let rows: Vec<Value> =
        rows.iter().map(|(id, net)| json!({ "securityId": id, "netQuantity": net })).collect();
    json!({ "cashBalance": cash, "securities": rows })
}

#[tokio::test]
async fn a_summary_as_the_service_writes_it_becomes_holdings() {
    let body = json!({
        "portfolioId": "683b6d88a29ee10e8b499643",
        "cashBalance": "7500.50",
        "securityCount": 2,
        "lastUpdated": "2026-03-01T10:00:00.123456789Z",
        "securities": [
            { "securityId": security(1).as_str(), "quantityLong": "100", "quantityShort": "0",
              "netQuantity": "100", "lastUpdated": "2026-03-01T10:00:00Z" },
            { "securityId": security(2).as_str(), "quantityLong": "0", "quantityShort": "50",
              "netQuantity": "-50", "lastUpdated": "2026-03-01T10:00:00Z" },
        ],
        "somethingNew": { "nested": [1, 2, 3] },
    });

    let (holdings, n_calls) = read(ok(&body)).await;

    let expect = [(security(1), dec!(100)), (security(2), dec!(-50))];
    assert_eq!(holdings.unwrap(), Holdings::new(dec!(7500.50), expect).unwrap());
    assert_eq!(n_calls, 1);
}

#[tokio::test]
async fn bare_numbers_are_read_as_exactly_as_strings() {
    let quantity: Value = serde_json::from_str("10.12345678901234567890").unwrap();
    let cash: Value = serde_json::from_str("-9007199254740993.01").unwrap();
    let (holdings, _) = read(ok(&summary(&cash, &[(security(1).as_str(), quantity)]))).await;

    let holdings = holdings.unwrap();
    assert_eq!(holdings.cash(), dec!(-9007199254740993.01));
    assert_eq!(holdings.quantity(&security(1)), dec!(10.12345678901234567890));
}

#[tokio::test]
async fn short_fractional_and_zero_holdings_and_an_overdraft_are_legal() {
    let (one, two, three) = (security(1), security(2), security(3));
    let rows =
        [(one.as_str(), json!("-5")), (two.as_str(), json!("0.00000001")), (three.as_str(), json!("0"))];
    let (holdings, _) = read(ok(&summary(&json!("-1000"), &rows))).await;

    let holdings = holdings.unwrap();
    assert_eq!(holdings.cash(), dec!(-1000));
    assert_eq!(holdings.quantity(&one), dec!(-5));
    assert_eq!(holdings.quantity(&two), dec!(0.00000001));
    assert_eq!(holdings.securities().collect::<Vec<_>>(), [one, two]);
}

#[tokio::test]
async fn cash_alone_is_a_portfolio() {
    let (holdings, _) = read(ok(&summary(&json!("15000"), &[]))).await;
    assert_eq!(holdings.unwrap(), Holdings::new(dec!(15000), []).unwrap());
}

#[tokio::test]
async fn a_portfolio_without_balances_is_empty_and_asked_for_once() {
    let real = r#"{"error":{"code":"INTERNAL_ERROR","message":"Failed to retrieve portfolio summary"}}"#;
    for answer in [
        text(500, real),
        text(500, "no balances found for portfolio 683b6d88a29ee10e8b499643"),
        text(404, r#"{"code":"NOT_FOUND","message":"Portfolio not found"}"#),
        status(404),
        text(200, "null"),
    ] {
        let (holdings, n_calls) = read(answer).await;
        assert!(holdings.unwrap().is_empty());
        assert_eq!(n_calls, 1);
    }
}

#[tokio::test]
async fn any_other_failure_is_no_empty_portfolio() {
    for answer in [
        status(500),
        text(500, r#"{"message":"database is down"}"#),
        text(503, "Failed to retrieve portfolio summary"),
        text(502, "no balances found"),
    ] {
        let (holdings, n_calls) = read(answer).await;
        assert!(is_unavailable(&holdings.unwrap_err()));
        assert_eq!(n_calls, 3);
    }
}

#[tokio::test]
async fn a_summary_that_makes_no_sense_is_malformed() {
    let id = security(1);
    let id = id.as_str();
    let no_cash = json!({ "securities": [] });
    let no_rows = json!({ "cashBalance": "1" });
    let null_rows = json!({ "cashBalance": "1", "securities": null });
    let no_quantity = json!({ "cashBalance": "1", "securities": [{ "securityId": id }] });
    let too_long = json!("123456789012345678901234567890");
    for body in [
        no_cash,
        no_rows,
        null_rows,
        no_quantity,
        json!([]),
        json!({}),
        summary(&json!(null), &[]),
        summary(&json!("a lot"), &[]),
        summary(&json!(""), &[]),
        summary(&json!("NaN"), &[]),
        summary(&too_long, &[]),
        summary(&json!("1"), &[(id, too_long)]),
        summary(&json!("1"), &[(id, json!("0.12345678901234567890123456789"))]),
        summary(&json!("1"), &[("short", json!("1"))]),
        summary(&json!("1"), &[(id, json!("1")), (id, json!("2"))]),
    ] {
        let (holdings, n_calls) = read(ok(&body)).await;
        assert!(is_malformed(&holdings.unwrap_err()), "{body}");
        assert_eq!(n_calls, 1, "{body}");
    }
}

#[tokio::test]
async fn an_error_names_the_portfolio_and_never_shows_the_body() {
    let secret = "x".repeat(10_000);
    let (holdings, _) = read(ok(&json!({ "cashBalance": "1", "securities": secret }))).await;

    let error = holdings.unwrap_err();
    assert_eq!(
        error.to_string(),
        "portfolio-accounting-service answered the call for portfolio 683b6d88a29ee10e8b499643 \
         with something that makes no sense"
    );
    let chain = chain(&error);
    assert!(chain.contains("invalid type: string"), "{chain}");
    assert!(chain.len() < 500, "{chain}");
}
