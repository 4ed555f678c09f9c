//! What each rule does to a rebalance, and how a reply says so.

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use super::{PORTFOLIO, STOCK, desk};
use crate::harness::{decimal, position};

/// A rule, and a rebalance that it shapes.
struct Case {
    rules: Value,
    /// Ticker, target, and drift to either side.
    model: &'static [(&'static str, &'static str, &'static str)],
    cash: Decimal,
    held: &'static [(&'static str, i64)],
    /// Without the rules, and under them, line by line.
    free: &'static [i64],
    ruled: &'static [i64],
    shaped_by: &'static [&'static [&'static str]],
    trading_costs: Decimal,
    method: &'static str,
}

const BALANCED: &[(&str, &str, &str)] = &[("A", "0.50", "0.05"), ("B", "0.40", "0.05")];
const HALF_A: &[(&str, &str, &str)] = &[("A", "0.50", "0.20")];

/// All cash, and nothing in the way.
const PLAIN: Case = Case {
    rules: Value::Null,
    model: BALANCED,
    cash: dec!(10000),
    held: &[],
    free: &[50, 80],
    ruled: &[50, 80],
    shaped_by: &[&[], &[]],
    trading_costs: dec!(0),
    method: "OWN_BEST",
};

/// `a` is the id of security A, `b` that of B.
fn rules_of_each_position(a: &str, b: &str) -> Vec<Case> {
    vec![
        Case {
            rules: json!({ "minimum_cash": 2000 }),
            ruled: &[45, 70],
            shaped_by: &[&["MINIMUM_CASH"], &["MINIMUM_CASH"]],
            method: "SEARCH",
            ..PLAIN
        },
        Case {
            rules: json!({ "minimum_cash_share": 0.15 }),
            ruled: &[50, 70],
            shaped_by: &[&[], &["MINIMUM_CASH"]],
            method: "SEARCH",
            ..PLAIN
        },
        Case {
            rules: json!({ "lot_size": { "default": 10, "per_security": { b: 30 } } }),
            ruled: &[50, 90],
            shaped_by: &[&[], &["LOT_SIZE"]],
            ..PLAIN
        },
        Case {
            rules: json!({ "minimum_trade_value": "200.01" }),
            cash: dec!(1100),
            held: &[("A", 49), ("B", 80)],
            ruled: &[49, 80],
            shaped_by: &[&["MINIMUM_TRADE_VALUE"], &[]],
            ..PLAIN
        },
        Case {
            rules: json!({ "trade_only_outside_band": true }),
            cash: dec!(5300),
            held: &[("A", 47)],
            ruled: &[47, 80],
            shaped_by: &[&["TRADE_ONLY_OUTSIDE_BAND"], &[]],
            ..PLAIN
        },
        Case {
            rules: json!({ "do_not_buy": [a] }),
            cash: dec!(6000),
            held: &[("A", 40)],
            ruled: &[40, 80],
            shaped_by: &[&["DO_NOT_BUY"], &[]],
            ..PLAIN
        },
        Case {
            rules: json!({ "do_not_sell": [a] }),
            cash: dec!(4000),
            held: &[("A", 60)],
            ruled: &[60, 80],
            shaped_by: &[&["DO_NOT_SELL"], &[]],
            ..PLAIN
        },
        Case {
            rules: json!({ "restricted": [a] }),
            cash: dec!(4000),
            held: &[("A", 60)],
            ruled: &[60, 80],
            shaped_by: &[&["RESTRICTED"], &[]],
            ..PLAIN
        },
        Case {
            rules: json!({ "proportional_cost": 0.1 }),
            cash: dec!(10104),
            free: &[51, 81],
            ruled: &[50, 81],
            shaped_by: &[&["PROPORTIONAL_COST"], &[]],
            trading_costs: dec!(905),
            ..PLAIN
        },
        Case {
            rules: json!({ "ticket_fee": 10 }),
            cash: dec!(5104),
            held: &[("A", 50)],
            free: &[51, 81],
            ruled: &[50, 81],
            shaped_by: &[&["TICKET_FEE"], &[]],
            trading_costs: dec!(10),
            ..PLAIN
        },
    ]
}

fn rules_that_tie_positions(a: &str) -> Vec<Case> {
    vec![
        Case {
            rules: json!({ "maximum_trades": 1 }),
            cash: dec!(5300),
            held: &[("A", 47)],
            ruled: &[47, 80],
            shaped_by: &[&["MAXIMUM_TRADES"], &[]],
            method: "CBC",
            ..PLAIN
        },
        Case {
            rules: json!({ "maximum_turnover": 0.05 }),
            model: HALF_A,
            cash: dec!(6000),
            held: &[("A", 40)],
            free: &[50],
            ruled: &[45],
            shaped_by: &[&["MAXIMUM_TURNOVER"]],
            method: "CBC",
            ..PLAIN
        },
        Case {
            rules: json!({ "maximum_positions": 1 }),
            model: &[("A", "0.50", "0.05"), ("B", "0.03", "0.05")],
            free: &[50, 6],
            ruled: &[50, 0],
            shaped_by: &[&[], &["MAXIMUM_POSITIONS"]],
            method: "CBC",
            ..PLAIN
        },
        Case {
            rules: json!({ "group_limits": [{ "name": "A", "securities": [a, STOCK], "maximum": 0.479 }] }),
            ruled: &[47, 80],
            shaped_by: &[&["GROUP_LIMIT"], &[]],
            method: "CBC",
            ..PLAIN
        },
        Case { rules: json!({ "gap": 0.5 }), ..PLAIN },
    ]
}

#[tokio::test]
async fn each_rule_shapes_a_rebalance_and_says_so() {
    let server = desk().await;
    let [a, b] = ["A", "B"].map(|ticker| server.security(ticker));
    let cases = rules_of_each_position(&a, &b).into_iter().chain(rules_that_tie_positions(&a));
    for (idx, case) in cases.enumerate() {
        let portfolio = format!("p{idx}");
        server.hold(&portfolio, case.cash, case.held);
        let line = |(ticker, target, drift): &(&str, &str, &str)| {
            position(&server.security(ticker), target, drift, drift)
        };
        let positions: Vec<Value> = case.model.iter().map(line).collect();
        server.create_model(&portfolio, &positions, &[&portfolio]).await;

        let free = server.rebalance_under(&portfolio, &json!({})).await.expect(200);
        let ruled = server.rebalance_under(&portfolio, &case.rules).await.expect(200);

        let name = case.rules.to_string();
        assert_eq!(held_after(&free), case.free, "{name}");
        assert_eq!(held_after(&ruled), case.ruled, "{name}");
        assert!(shaping(&free["drifts"]).all(|rules| *rules == json!([])), "{name}");
        let shaped_by = case.shaped_by.iter().map(|rules| json!(rules));
        assert!(shaping(&ruled["drifts"]).cloned().eq(shaped_by), "{ruled:#}");
        let traded: Vec<&Value> = shaping(&ruled["transactions"]).collect();
        let is_traded = |drift: &&Value| drift["adjusted_quantity"] != drift["original_quantity"];
        let drifts = ruled["drifts"].as_array().unwrap().iter().filter(is_traded);
        assert_eq!(traded, drifts.map(|drift| &drift["shaped_by"]).collect::<Vec<_>>(), "{name}");
        assert_eq!(decimal(&ruled["trading_costs"]), case.trading_costs, "{name}");
        assert_eq!(ruled["optimality"]["method"], case.method, "{name}");
        assert_eq!(ruled["optimality"]["status"], "OPTIMAL", "{name}");
        assert_eq!(ruled["optimality"]["gap"], "0", "{name}");
    }
}

fn held_after(body: &Value) -> Vec<i64> {
    let drifts = body["drifts"].as_array().unwrap().iter();
    drifts.map(|drift| drift["adjusted_quantity"].as_str().unwrap().parse().unwrap()).collect()
}

fn shaping(rows: &Value) -> impl Iterator<Item = &Value> {
    rows.as_array().unwrap().iter().map(|row| &row["shaped_by"])
}

#[tokio::test]
async fn cash_that_is_not_there_shapes_positions_without_any_rule() {
    let server = desk().await;
    server.hold(PORTFOLIO, dec!(150), &[]);
    let all_c = [position(&server.security("C"), "0.95", "0.50", "0.50")];
    server.create_model("All C", &all_c, &[PORTFOLIO]).await;

    let body = server.rebalance_portfolio(PORTFOLIO).await.expect(200);

    // Two would be nearer, but cost 180.
    assert_eq!(body["drifts"][0]["adjusted_quantity"], "1");
    assert_eq!(body["drifts"][0]["shaped_by"], json!(["CASH"]));
}
