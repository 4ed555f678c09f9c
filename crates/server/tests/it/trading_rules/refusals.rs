//! Rules that are none, and bodies that cannot be read.

use reqwest::header::CONTENT_TYPE;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use super::{BOND, PORTFOLIO, STOCK, desk, desk_with};
use crate::harness::reply;

/// Bad values of every field, and where the first and only problem of each is.
fn bad_values() -> Vec<(&'static str, Value, &'static str)> {
    let amounts = ["minimum_cash", "minimum_trade_value", "ticket_fee"];
    let amounts = amounts.into_iter().flat_map(|name| {
        let bad = [
            json!(-1),
            json!("0.00001"),
            json!("1000000000000000.1"),
            json!("much"),
            json!(true),
            json!([1]),
        ];
        bad.map(|value| (name, value, ""))
    });
    let shares = ["minimum_cash_share", "gap"].into_iter().flat_map(|name| {
        [json!(-0.01), json!(1.01), json!("0.000000001"), json!({})].map(|value| (name, value, ""))
    });
    let counts = ["maximum_trades", "maximum_positions"].into_iter().flat_map(|name| {
        [json!(-1), json!(0.5), json!(4_294_967_296_u64), json!("1e400"), json!(false)]
            .map(|value| (name, value, ""))
    });
    let lists = ["do_not_buy", "do_not_sell", "restricted"].into_iter().flat_map(|name| {
        [
            (name, json!(STOCK), ""),
            (name, json!({}), ""),
            (name, json!([BOND, "SHORT"]), "/1"),
            (name, json!([null]), "/0"),
            (name, json!([STOCK, BOND, STOCK]), "/2"),
            (name, json!(["ABCDEFABCDEFABCDEFABCDEF", "abcdefabcdefabcdefabcdef"]), "/1"),
        ]
    });
    let group = |limit: Value| json!([{ "name": "Fine", "securities": [], "maximum": 1 }, limit]);
    amounts
        .chain(shares)
        .chain(counts)
        .chain(lists)
        .chain([
            ("lot_size", json!(100), ""),
            ("lot_size", json!({ "default": 0 }), "/default"),
            ("lot_size", json!({ "default": 1.5 }), "/default"),
            ("lot_size", json!({ "default": 1_000_001 }), "/default"),
            ("lot_size", json!({ "defualt": 10 }), "/defualt"),
            ("lot_size", json!({ "per_security": [STOCK] }), "/per_security"),
            (
                "lot_size",
                json!({ "per_security": { STOCK: null } }),
                "/per_security/STOCK1234567890123456789",
            ),
            ("lot_size", json!({ "per_security": { "a/b~c": 10 } }), "/per_security/a~1b~0c"),
            (
                "lot_size",
                json!({ "per_security": { "ABCDEFABCDEFABCDEFABCDEF": 1, "abcdefabcdefabcdefabcdef": 1 } }),
                "/per_security/abcdefabcdefabcdefabcdef",
            ),
            ("trade_only_outside_band", json!("true"), ""),
            ("trade_only_outside_band", json!(1), ""),
            ("proportional_cost", json!(0.11), ""),
            ("proportional_cost", json!("0.0000001"), ""),
            ("proportional_cost", json!(-0.1), ""),
            ("maximum_turnover", json!(2.1), ""),
            ("maximum_turnover", json!(-1), ""),
            ("maximum_turnover", json!("0.000000001"), ""),
            ("group_limits", json!({}), ""),
            ("group_limits", json!([7]), "/0"),
            ("group_limits", group(json!({ "securities": [], "maximum": 1 })), "/1/name"),
            ("group_limits", group(json!({ "name": " ", "securities": [], "maximum": 1 })), "/1/name"),
            (
                "group_limits",
                group(json!({ "name": "x".repeat(101), "securities": [], "maximum": 1 })),
                "/1/name",
            ),
            ("group_limits", group(json!({ "name": "Tech", "maximum": 1 })), "/1/securities"),
            (
                "group_limits",
                group(json!({ "name": "Tech", "securities": null, "maximum": 1 })),
                "/1/securities",
            ),
            (
                "group_limits",
                group(json!({ "name": "Tech", "securities": [STOCK, STOCK], "maximum": 1 })),
                "/1/securities/1",
            ),
            ("group_limits", group(json!({ "name": "Tech", "securities": [] })), "/1/maximum"),
            (
                "group_limits",
                group(json!({ "name": "Tech", "securities": [], "maximum": 1.1 })),
                "/1/maximum",
            ),
            (
                "group_limits",
                group(json!({ "name": "Tech", "securities": [], "maximum": 1, "minimum": 0 })),
                "/1/minimum",
            ),
        ])
        .collect()
}

#[tokio::test]
async fn every_bad_value_is_refused_by_its_place_wherever_rules_are_sent() {
    let server = desk().await;
    server.hold(PORTFOLIO, dec!(10000), &[]);
    let model = server.create_ruled(&Value::Null, &[PORTFOLIO]).await;
    let path = format!("/api/v1/model/{model}");

    for (name, value, place) in bad_values() {
        let rules = json!({ name: value });
        let body = json!({ "name": "Bad", "portfolios": ["p"], "version": 1, "trading_rules": rules });
        for (reply, prefix) in [
            (server.post("/api/v1/models", &body).await, "/trading_rules"),
            (server.put(&path, &body).await, "/trading_rules"),
            (server.post(&format!("{path}/rebalance"), &rules).await, ""),
            (server.rebalance_under(PORTFOLIO, &rules).await, ""),
        ] {
            let problem = reply.expect_problem(422, "invalid-body");
            assert_eq!(pointers(&problem), [format!("{prefix}/{name}{place}")], "{rules}");
        }
    }
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
    assert_eq!(server.rules_of(&model).await, Value::Null);
}

#[track_caller]
fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn everything_wrong_with_rules_is_reported_at_once() {
    let server = desk().await;
    let rules = json!({
        "minimum_cash": -1,
        "minimumCashShare": 2,
        "lot_size": { "default": 0, "perSecurity": { STOCK: 0, "SHORT": 1 }, "lots": 1 },
        "trade_only_outside_band": "yes",
        "doNotBuy": ["SHORT", STOCK, STOCK, 7],
        "maximum_trades": 1.5,
        "group_limits": [{ "maximum": 2 }, { "name": "", "securities": [STOCK, STOCK], "maximum": "x" }],
        "gap": [],
        "do_not_by": [STOCK],
        "max/trades": 1,
        "note": null,
    });
    let expected = [
        "/minimum_cash",
        "/minimumCashShare",
        "/lot_size/default",
        "/lot_size/perSecurity/SHORT",
        "/lot_size/perSecurity/STOCK1234567890123456789",
        "/lot_size/lots",
        "/trade_only_outside_band",
        "/doNotBuy/0",
        "/doNotBuy/2",
        "/doNotBuy/3",
        "/maximum_trades",
        "/group_limits/0/name",
        "/group_limits/0/securities",
        "/group_limits/0/maximum",
        "/group_limits/1/name",
        "/group_limits/1/securities/1",
        "/group_limits/1/maximum",
        "/gap",
        "/do_not_by",
        "/max~1trades",
        "/note",
    ];

    let alone = server.rebalance_under("nobody", &rules).await.expect_problem(422, "invalid-body");
    let body = json!({ "name": "", "portfolios": [], "tradingRules": rules });
    let in_a_model = server.post("/api/v1/models", &body).await.expect_problem(422, "invalid-body");

    assert_eq!(pointers(&alone), expected);
    let prefixed: Vec<String> = expected.iter().map(|pointer| format!("/tradingRules{pointer}")).collect();
    assert_eq!(pointers(&in_a_model)[..2], ["/name", "/portfolios"]);
    assert_eq!(pointers(&in_a_model)[2..], prefixed);
    let detail_of = |pointer: &str| {
        let errors = alone["errors"].as_array().unwrap();
        errors.iter().find(|error| error["pointer"] == pointer).unwrap()["detail"].as_str().unwrap()
    };
    for (pointer, detail) in [
        ("/minimum_cash", "-1 is outside 0 to 1000000000000000"),
        ("/lot_size/default", "0 is not a whole number of 1 to 1000000"),
        ("/lot_size/lots", "is not a part of lot_size"),
        ("/trade_only_outside_band", "must be true or false"),
        ("/doNotBuy/2", "security STOCK1234567890123456789 appears more than once"),
        ("/maximum_trades", "1.5 is not a whole number of 0 to 4294967295"),
        ("/do_not_by", "is not a trading rule"),
        ("/max~1trades", "is not a trading rule"),
        ("/note", "is not a trading rule"),
    ] {
        assert_eq!(detail_of(pointer), detail);
    }
}

#[tokio::test]
async fn a_body_of_a_rebalance_is_read_as_strictly_as_any_other() {
    let server = desk_with(|config| config.http.max_body_bytes = 2000).await;
    server.hold(PORTFOLIO, dec!(10000), &[]);
    let model = server.create_ruled(&Value::Null, &[PORTFOLIO]).await;
    let padded = format!(r#"{{"gap": {}0}}"#, " ".repeat(3000));

    for path in [format!("model/{model}/rebalance"), format!("portfolio/{PORTFOLIO}/rebalance")] {
        for (media_type, body, status, code) in [
            ("application/json", " ", 400, "malformed-json"),
            ("application/json", "{", 400, "malformed-json"),
            ("application/json", "{} {}", 400, "malformed-json"),
            ("application/json", "[]", 422, "invalid-body"),
            ("application/json", "7", 422, "invalid-body"),
            ("application/json", "\"go\"", 422, "invalid-body"),
            ("text/plain", "go", 415, "not-json"),
            ("application/x-www-form-urlencoded", "{}", 415, "not-json"),
            ("application/json", &padded, 413, "body-too-large"),
            ("text/plain", &padded, 413, "body-too-large"),
        ] {
            let request = server.client.post(format!("{}/api/v1/{path}", server.url));
            let sent = request.header(CONTENT_TYPE, media_type).body(body.to_owned());
            reply(sent).await.expect_problem(status, code);
        }
    }
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
}
