//! Rebalances that are only tried: the same answer, and nothing kept.

use rust_decimal_macros::dec;
use serde_json::{Value, json};

use crate::harness::{TestServer, position, sandbox_of};

/// Two portfolios that can be rebalanced, one that cannot, and a model they all follow.
async fn desk() -> (TestServer, String) {
    let server = TestServer::start_on(sandbox_of(&[("A", dec!(100)), ("B", dec!(50))]).await, |_| {}).await;
    for (portfolio, cash) in [("p1", dec!(10000)), ("p2", dec!(1234.56)), ("poor", dec!(-5))] {
        server.sandbox.accounting.fund(portfolio, cash, &[]);
    }
    let positions = [
        position(&server.security("A"), "0.50", "0.05", "0.05"),
        position(&server.security("B"), "0.40", "0.05", "0.05"),
    ];
    let model = server.create_model("Balanced", &positions, &["p1", "p2", "poor"]).await;
    (server, model)
}

fn without_id(mut body: Value) -> Value {
    for element in body.as_array_mut().unwrap() {
        element["rebalance_id"] = Value::Null;
    }
    body
}

#[tokio::test]
async fn a_dry_run_answers_what_the_rebalance_then_does_and_keeps_nothing() {
    let (server, model) = desk().await;
    let path = format!("/api/v1/model/{model}/rebalance");

    let tried = server.post(&format!("{path}?dry_run=true"), &Value::Null).await.expect(200);

    assert!(tried.as_array().unwrap().iter().all(|element| element["rebalance_id"].is_null()), "{tried:#}");
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
    let unmoved = server.get(&format!("/api/v1/model/{model}")).await.expect(200);
    assert_eq!((&unmoved["last_rebalance_date"], &unmoved["version"]), (&Value::Null, &json!(1)));

    let done = server.post(&format!("{path}?dry_run=false"), &Value::Null).await.expect(200);
    assert!(done[0]["rebalance_id"].is_string());
    assert_eq!(without_id(done), tried);
}

#[tokio::test]
async fn a_portfolio_can_be_tried_alone_and_under_other_rules() {
    let (server, _) = desk().await;
    let path = "/api/v1/portfolio/p1/rebalance";
    let rules = json!({ "minimum_cash": "9999" });

    let tried = server.post(&format!("{path}?dry_run=1"), &Value::Null).await.expect(200);
    server.post(&format!("{path}?dry_run=1"), &rules).await.expect_problem(422, "no-feasible-solution");
    server.post("/api/v1/portfolio/poor/rebalance?dry_run=1", &Value::Null).await.expect(422);

    assert_eq!(tried["rebalance_id"], Value::Null);
    assert_ne!(tried["transactions"], json!([]));
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
}

#[tokio::test]
async fn whether_to_try_must_be_yes_or_no() {
    let (server, model) = desk().await;
    for path in [format!("/api/v1/model/{model}/rebalance"), "/api/v1/portfolio/p1/rebalance".to_owned()] {
        let problem = server.post(&format!("{path}?dry_run=perhaps"), &Value::Null).await;
        problem.expect_problem(400, "invalid-query");
    }
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
}
