//! Trading rules over HTTP: how they are set, what they do to a rebalance, and what is kept of them.

mod branching;
mod effects;
mod refusals;

use reqwest::header::CONTENT_TYPE;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};
use server::config::Config;

use crate::harness::{Reply, TestServer, decimal, position, reply, sandbox_of};
use crate::mongod::{Kind, drop_database, fresh_name, shared};
use crate::mongodb;

const PORTFOLIO: &str = "683b6d88a29ee10e8b499643";
const OTHER: &str = "683b6d88a29ee10e8b499641";
const STOCK: &str = "STOCK1234567890123456789";
const BOND: &str = "BOND12345678901234567890";

async fn desk_with(adjust: impl FnOnce(&mut Config)) -> TestServer {
    let prices = [("A", dec!(100)), ("B", dec!(50)), ("C", dec!(90))];
    TestServer::start_on(sandbox_of(&prices).await, adjust).await
}

async fn desk() -> TestServer {
    desk_with(|_| {}).await
}

/// A file, and a database of its own on each MongoDB that there is.
fn places() -> Vec<Option<(String, String)>> {
    let servers = [Kind::Standalone, Kind::ReplicaSet].into_iter().filter_map(shared);
    std::iter::once(None).chain(servers.map(|url| Some((url, fresh_name())))).collect()
}

fn at(place: Option<&(String, String)>) -> impl Fn(&mut Config) {
    let place = place.cloned();
    move |config| {
        if let Some((url, database)) = &place {
            mongodb::on(url, database)(config);
        }
    }
}

async fn cleared(mut server: TestServer, place: Option<(String, String)>) {
    server.stop().await;
    if let Some((url, database)) = place {
        drop_database(&url, &database).await;
    }
}

impl TestServer {
    fn hold(&self, portfolio: &str, cash: Decimal, held: &[(&str, i64)]) {
        let held: Vec<(String, Decimal)> =
            held.iter().map(|(ticker, quantity)| (self.security(ticker), Decimal::from(*quantity))).collect();
        let held: Vec<(&str, Decimal)> = held.iter().map(|(id, quantity)| (id.as_str(), *quantity)).collect();
        self.sandbox.accounting.fund(portfolio, cash, &held);
    }

    /// Half in A and two fifths in B, give or take a twentieth, under these rules.
    async fn create_ruled(&self, rules: &Value, portfolios: &[&str]) -> String {
        let positions = [("A", "0.50"), ("B", "0.40")]
            .map(|(ticker, target)| position(&self.security(ticker), target, "0.05", "0.05"));
        let body = json!({
            "name": "Ruled", "positions": positions, "portfolios": portfolios, "trading_rules": rules,
        });
        let model = self.post("/api/v1/models", &body).await.expect(201);
        model["model_id"].as_str().unwrap().to_owned()
    }

    /// Rebalances the portfolio under the rules of the body, or those of the model without one.
    async fn rebalance_under(&self, portfolio: &str, rules: &Value) -> Reply {
        self.post(&format!("/api/v1/portfolio/{portfolio}/rebalance"), rules).await
    }

    async fn rules_of(&self, model: &str) -> Value {
        self.get(&format!("/api/v1/model/{model}")).await.expect(200)["trading_rules"].clone()
    }
}

/// Every rule, as it is answered.
fn every_rule() -> Value {
    json!({
        "minimum_cash": "2500.00",
        "minimum_cash_share": "0.02",
        "lot_size": { "default": 10, "per_security": { BOND: 1, STOCK: 1_000_000 } },
        "minimum_trade_value": "500",
        "trade_only_outside_band": true,
        "do_not_buy": [BOND, STOCK],
        "do_not_sell": [STOCK],
        "restricted": [BOND],
        "proportional_cost": "0.000501",
        "ticket_fee": "9.5000",
        "maximum_trades": 20,
        "maximum_turnover": "1.25",
        "maximum_positions": 0,
        "group_limits": [
            { "name": "Technology", "securities": [BOND, STOCK], "maximum": "0.40" },
            { "name": "Übrige", "securities": [], "maximum": "0" },
        ],
        "gap": "0.00000001",
    })
}

fn without(rules: &Value, name: &str) -> Value {
    let others = rules.as_object().unwrap().iter().filter(|(key, _)| *key != name);
    Value::Object(others.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// With every decimal, and nothing else, as a number.
fn with_numbers(rules: &Value) -> Value {
    match rules {
        Value::String(text) => match text.parse() {
            Ok(number) => Value::Number(number),
            Err(_) => rules.clone(),
        },
        Value::Array(elements) => elements.iter().map(with_numbers).collect(),
        Value::Object(members) => members.iter().map(|(key, it)| (key.clone(), with_numbers(it))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => rules.clone(),
    }
}

#[tokio::test]
async fn every_rule_is_set_on_a_model_and_read_back() {
    for place in places() {
        let mut server = desk_with(at(place.as_ref())).await;
        let rules = every_rule();

        let model = server.create_ruled(&rules, &[PORTFOLIO]).await;

        let path = format!("/api/v1/model/{model}");
        let created = server.get(&path).await.expect(200);
        assert_eq!(created["trading_rules"], rules);
        assert_eq!(server.get("/api/v1/models").await.expect(200), json!([created]));
        server.restart_with(at(place.as_ref())).await;
        assert_eq!(server.get(&path).await.expect(200), created);
        assert_eq!(server.put(&path, &created).await.expect(200), created, "nothing changes");
        let mut version = 1;
        for name in rules.as_object().unwrap().keys() {
            let mut edit = server.get(&path).await.expect(200);
            edit["trading_rules"] = without(&rules, name);
            let changed = server.put(&path, &edit).await.expect(200);
            version += 1;
            assert_eq!(changed["trading_rules"], edit["trading_rules"], "{name}");
            assert_eq!(changed["version"], version, "{name}");
        }
        cleared(server, place).await;
    }
}

#[tokio::test]
async fn rules_are_read_in_either_case_and_decimals_as_strings_or_numbers() {
    let server = desk().await;
    let camel = json!({
        "minimumCash": 2500.00,
        "minimumCashShare": 0.02,
        "lotSize": { "default": "10", "perSecurity": { BOND: "1.0", STOCK: 1e6 } },
        "minimumTradeValue": " 500 ",
        "tradeOnlyOutsideBand": true,
        "doNotBuy": [STOCK, BOND],
        "doNotSell": [STOCK],
        "restricted": [BOND],
        "proportionalCost": 0.000_501,
        "ticketFee": "9.5000",
        "maximumTrades": "20",
        "maximumTurnover": 1.25,
        "maximumPositions": 0.0,
        "groupLimits": [
            { "name": " Technology ", "securities": [STOCK, BOND], "maximum": "0.40" },
            { "name": "Übrige", "securities": [], "maximum": 0 },
        ],
        "gap": 1e-8,
    });

    let model = server.create_ruled(&camel, &[PORTFOLIO]).await;

    let (found, expected) = (server.rules_of(&model).await, every_rule());
    for (name, value) in expected.as_object().unwrap() {
        match (value.as_str(), name.as_str()) {
            (Some(text), _) => assert_eq!(decimal(&found[name]), decimal(&json!(text)), "{name}"),
            (None, _) => assert_eq!(found[name], *value, "{name}"),
        }
    }
    assert_eq!(found.as_object().unwrap().len(), expected.as_object().unwrap().len());
}

#[tokio::test]
async fn no_rules_are_null_however_they_are_not_set() {
    let server = desk().await;
    let unset: Value =
        every_rule().as_object().unwrap().keys().map(|key| (key.clone(), json!(null))).collect();
    let idle = json!({
        "minimum_cash": 0, "minimum_cash_share": "0.00", "minimum_trade_value": 0, "proportional_cost": 0,
        "lot_size": { "default": null, "per_security": {} }, "trade_only_outside_band": false,
        "do_not_buy": [], "do_not_sell": [], "restricted": [], "ticket_fee": "0", "group_limits": [], "gap": 0,
    });
    for (idx, none) in
        [json!(null), json!({}), unset, idle, json!({ "lot_size": { "default": 1 } })].iter().enumerate()
    {
        let body = json!({ "name": idx.to_string(), "portfolios": ["p"], "trading_rules": none });

        let model = server.post("/api/v1/models", &body).await.expect(201);

        assert_eq!(model["trading_rules"], Value::Null, "{none}");
    }
    let silent = server.create_model("silent", &[], &["p"]).await;
    assert_eq!(server.rules_of(&silent).await, Value::Null);
}

#[tokio::test]
async fn a_limit_of_zero_is_a_limit() {
    let server = desk().await;
    let zeros = json!({ "maximum_trades": 0, "maximum_turnover": "0", "maximum_positions": 0 });

    let model = server.create_ruled(&zeros, &[PORTFOLIO]).await;

    assert_eq!(server.rules_of(&model).await, zeros);
}

#[tokio::test]
async fn a_client_that_does_not_know_the_rules_does_not_wipe_them() {
    for place in places() {
        let server = desk_with(at(place.as_ref())).await;
        let model = server.create_ruled(&every_rule(), &[PORTFOLIO]).await;
        let path = format!("/api/v1/model/{model}");
        let silent =
            |version: i64, name: &str| json!({ "name": name, "portfolios": [PORTFOLIO], "version": version });

        let renamed = server.put(&path, &silent(1, "Renamed")).await.expect(200);
        let unchanged = server.put(&path, &silent(2, "Renamed")).await.expect(200);
        let c = position(&server.security("C"), "0.05", "0.01", "0.01");
        server.post(&format!("{path}/position"), &c).await.expect(200);
        server.delete_with(&format!("{path}/position"), &c).await.expect(200);
        let followers = json!({ "portfolios": [OTHER] });
        let followed = server.post(&format!("{path}/portfolio"), &followers).await.expect(200);

        assert_eq!(renamed["version"], 2);
        assert_eq!(unchanged, renamed);
        assert_eq!(followed["version"], 5);
        assert_eq!(followed["trading_rules"], every_rule());
        for (version, none) in [(5, json!(null)), (7, json!({}))] {
            let mut wiping = silent(version, "Renamed");
            wiping["trading_rules"] = none;
            let wiped = server.put(&path, &wiping).await.expect(200);
            assert_eq!((&wiped["trading_rules"], &wiped["version"]), (&Value::Null, &json!(version + 1)));
            let mut again = silent(version + 1, "Renamed");
            again["trading_rules"] = every_rule();
            server.put(&path, &again).await.expect(200);
        }
        server.put(&path, &silent(8, "Stale")).await.expect_problem(409, "model-modified");
        cleared(server, place).await;
    }
}

#[tokio::test]
async fn rules_of_the_body_stand_in_for_the_models_this_once() {
    for place in places() {
        let server = desk_with(at(place.as_ref())).await;
        server.hold(PORTFOLIO, dec!(10000), &[]);
        let own = json!({ "minimum_cash": "2000" });
        let model = server.create_ruled(&own, &[PORTFOLIO]).await;
        let others = json!({ "minimumCashShare": 0.15 });
        let kept = json!({ "minimum_cash_share": 0.15 });

        for path in [format!("model/{model}/rebalance"), format!("portfolio/{PORTFOLIO}/rebalance")] {
            let url = format!("{}/api/v1/{path}", server.url);
            let send = async |media_type: &str, body: String| {
                let request = server.client.post(&url).header(CONTENT_TYPE, media_type).body(body);
                reply(request).await.expect(200)
            };
            for (media_type, body, cash, rules) in [
                ("text/plain", String::new(), 2000, with_numbers(&own)),
                ("application/json", String::new(), 2000, with_numbers(&own)),
                ("application/json", "null".to_owned(), 2000, with_numbers(&own)),
                ("application/json", others.to_string(), 1500, kept.clone()),
                ("application/json; charset=utf-8", " {} ".to_owned(), 1000, Value::Null),
                ("application/json", r#"{"minimum_cash": null}"#.to_owned(), 1000, Value::Null),
            ] {
                let answered = send(media_type, body.clone()).await;
                let element = if answered.is_array() { &answered[0] } else { &answered };
                let record = server.record_of(element).await;
                assert_eq!(record["portfolios"][0]["cash_after_rebalance"], cash, "{path} {body}");
                assert_eq!(record["trading_rules"], rules, "{path} {body}");
            }
            let untouched = reply(server.client.post(&url)).await.expect(200);
            let element = if untouched.is_array() { &untouched[0] } else { &untouched };
            assert_eq!(server.record_of(element).await["trading_rules"], with_numbers(&own));
        }
        assert_eq!(server.rules_of(&model).await, own);
        cleared(server, place).await;
    }
}

#[tokio::test]
async fn the_record_keeps_the_rules_the_costs_and_what_they_did() {
    for place in places() {
        let mut server = desk_with(at(place.as_ref())).await;
        server.hold(PORTFOLIO, dec!(10000), &[]);
        server.hold(OTHER, dec!(10000), &[]);
        // Of no consequence here, so that all of them can be kept at once.
        let mut rules = every_rule();
        rules["minimum_cash"] = json!("1000");
        rules["minimum_cash_share"] = json!("0.15");
        rules["lot_size"] = json!({ "default": 5, "per_security": { STOCK: 7 } });
        rules["maximum_positions"] = json!(7);
        let model = server.create_ruled(&rules, &[PORTFOLIO, OTHER]).await;

        let body = server.rebalance_model(&model).await.expect(200);

        let record = server.record_of(&body[0]).await;
        assert_eq!(record["trading_rules"], with_numbers(&rules));
        for (portfolio, element) in
            record["portfolios"].as_array().unwrap().iter().zip(body.as_array().unwrap())
        {
            assert_eq!(portfolio["optimality"], element["optimality"]);
            assert!(portfolio["trading_costs"].is_number());
            assert_eq!(decimal(&portfolio["trading_costs"]), decimal(&element["trading_costs"]));
            assert!(dec!(19) < decimal(&element["trading_costs"]), "two tickets and more: {element:#}");
            assert_cash_is_conserved(portfolio);
            let shaped = |list: &Value| {
                list.as_array().unwrap().iter().map(|row| row["shaped_by"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(shaped(&portfolio["positions"]), shaped(&element["drifts"]));
            assert!(shaped(&element["drifts"]).iter().any(|rules| *rules == json!(["MINIMUM_CASH"])));
        }
        let path = format!("/api/v1/rebalance/{}", record["rebalance_id"].as_str().unwrap());
        let portfolios = server.get(&format!("{path}/portfolios")).await.expect(200);
        let positions = server.get(&format!("{path}/portfolio/{OTHER}/positions")).await.expect(200);
        assert_eq!(portfolios[1]["trading_costs"], record["portfolios"][1]["trading_costs"]);
        assert_eq!(portfolios[1]["positions"], positions);
        assert_eq!(positions[0]["shaped_by"], record["portfolios"][1]["positions"][0]["shaped_by"]);

        // What is kept can be sent again as it is.
        let again = server.rebalance_under(OTHER, &record["trading_rules"]).await.expect(200);
        assert_eq!(again["drifts"], body[1]["drifts"]);
        let silent =
            json!({ "name": "Ruled", "portfolios": [PORTFOLIO, OTHER], "version": 1, "trading_rules": null });
        server.put(&format!("/api/v1/model/{model}"), &silent).await.expect(200);
        server.restart_with(at(place.as_ref())).await;
        assert_eq!(server.get(&path).await.expect(200), record);
        cleared(server, place).await;
    }
}

/// Cash before, less the trades and what they cost, is cash after.
#[track_caller]
fn assert_cash_is_conserved(portfolio: &Value) {
    let spent = portfolio["positions"].as_array().unwrap().iter().map(|row| {
        let change = decimal(&row["adjusted_quantity"]) - decimal(&row["original_quantity"]);
        change * decimal(&row["price"])
    });
    let left = decimal(&portfolio["cash_before_rebalance"])
        - spent.sum::<Decimal>()
        - decimal(&portfolio["trading_costs"]);
    assert_eq!(left, decimal(&portfolio["cash_after_rebalance"]), "{portfolio:#}");
}
