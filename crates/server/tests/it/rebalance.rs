//! Rebalancing over HTTP: what is answered, what is refused, and what happens to the model.

use futures_util::future::join_all;
use reqwest::header::DATE;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, position, reply, sandbox_of};

const FIRST: &str = "683b6d88a29ee10e8b499643";
const SECOND: &str = "683b6d88a29ee10e8b499641";
const THIRD: &str = "683b6d88a29ee10e8b499642";
const NOBODY: &str = "000000000000000000000000";

/// Round prices, one of them out of reach for small portfolios.
async fn desk() -> TestServer {
    let prices = [("A", dec!(100)), ("B", dec!(50)), ("C", dec!(10)), ("D", dec!(5000)), ("E", dec!(20))];
    TestServer::start_on(sandbox_of(&prices).await, |_| {}).await
}

impl TestServer {
    fn fund(&self, portfolio: &str, cash: Decimal, holdings: &[(&str, Decimal)]) {
        let holdings: Vec<(String, Decimal)> =
            holdings.iter().map(|(ticker, quantity)| (self.security(ticker), *quantity)).collect();
        let holdings: Vec<(&str, Decimal)> =
            holdings.iter().map(|(security, quantity)| (security.as_str(), *quantity)).collect();
        self.sandbox.accounting.fund(portfolio, cash, &holdings);
    }

    /// Half in A, and two fifths in B.
    async fn create_balanced(&self, portfolios: &[&str]) -> String {
        let positions = [
            position(&self.security("A"), "0.50", "0.05", "0.05"),
            position(&self.security("B"), "0.40", "0.05", "0.05"),
        ];
        self.create_model("Balanced", &positions, portfolios).await
    }

    /// All of it in one security.
    async fn create_single(&self, ticker: &str, portfolios: &[&str]) -> String {
        let positions = [position(&self.security(ticker), "0.90", "0.05", "0.05")];
        self.create_model(&format!("All {ticker}"), &positions, portfolios).await
    }

    async fn model(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/model/{id}")).await.expect(200)
    }

    async fn rebalances(&self) -> Vec<Value> {
        let list = self.get("/api/v1/rebalances?limit=100").await.expect(200);
        list.as_array().unwrap().clone()
    }

    /// Refused rebalances leave no trace.
    async fn assert_nothing_kept(&self, model: &str) {
        assert_eq!(self.rebalances().await, [] as [Value; 0]);
        let model = self.model(model).await;
        assert_eq!(model["last_rebalance_date"], Value::Null);
        assert_eq!(model["version"], 1);
    }
}

/// The date that a reply's header bears, as civil dates are written.
fn date_of(reply: &Reply) -> String {
    let date = chrono::DateTime::parse_from_rfc2822(reply.headers[DATE].to_str().unwrap()).unwrap();
    date.date_naive().to_string()
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn every_portfolio_of_a_model_is_answered_in_the_models_order() {
    let server = desk().await;
    let followers = [FIRST, SECOND, THIRD];
    for portfolio in followers {
        server.fund(portfolio, dec!(10000), &[]);
    }
    server.sandbox.portfolio.add(FIRST, "Smith family");
    server.sandbox.portfolio.add(THIRD, "Jones \"Ünïcode\" trust");
    let model = server.create_balanced(&followers).await;

    let before = server.get("/api/v1/models").await;
    let after = server.rebalance_model(&model).await;

    let days = [date_of(&before), date_of(&after)];
    let body = after.expect(200);
    let elements = body.as_array().unwrap();
    let column = |key: &str| elements.iter().map(|element| element[key].clone()).collect::<Vec<_>>();
    assert_eq!(column("portfolio_id"), followers);
    assert_eq!(
        column("portfolio_name"),
        [json!("Smith family"), Value::Null, json!("Jones \"Ünïcode\" trust")]
    );
    assert_eq!(column("status"), ["REBALANCED"; 3]);
    assert_eq!(column("error"), [Value::Null, Value::Null, Value::Null]);
    assert!(column("rebalance_id").iter().all(|id| *id == body[0]["rebalance_id"]));
    for element in elements {
        assert_eq!(
            keys(element),
            [
                "drifts",
                "error",
                "optimality",
                "portfolio_id",
                "portfolio_name",
                "rebalance_id",
                "status",
                "trading_costs",
                "transactions"
            ]
        );
        assert_eq!(keys(&element["optimality"]), ["gap", "lower_bound", "method", "objective", "status"]);
        for transaction in element["transactions"].as_array().unwrap() {
            assert_eq!(
                keys(transaction),
                ["quantity", "security_id", "shaped_by", "trade_date", "transaction_type"]
            );
            assert!(days.iter().any(|day| transaction["trade_date"] == *day), "{transaction:#}");
        }
        for drift in element["drifts"].as_array().unwrap() {
            assert_eq!(
                keys(drift),
                [
                    "actual",
                    "adjusted_quantity",
                    "high_drift",
                    "low_drift",
                    "original_quantity",
                    "outside_band",
                    "security_id",
                    "shaped_by",
                    "target"
                ]
            );
        }
    }
}

#[tokio::test]
async fn trades_and_drifts_follow_the_model_and_then_the_other_holdings_by_id() {
    let server = desk().await;
    let [a, b] = ["A", "B"].map(|ticker| server.security(ticker));
    let mut others = ["C", "D", "E"].map(|ticker| server.security(ticker));
    others.sort();
    server.fund(
        FIRST,
        dec!(1000),
        &[("A", dec!(120)), ("C", dec!(5)), ("D", dec!(1)), ("E", dec!(-7)), ("B", dec!(80))],
    );
    let positions = [position(&b, "0.40", "0.05", "0.05"), position(&a, "0.50", "0.05", "0.05")];
    server.create_model("Reversed", &positions, &[FIRST]).await;

    let body = server.rebalance_portfolio(FIRST).await.expect(200);

    let column = |list: &str, key: &str| {
        let rows = body[list].as_array().unwrap().iter();
        rows.map(|row| row[key].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let combined = [&[b, a], &others[..]].concat();
    assert_eq!(column("drifts", "security_id"), combined);
    assert_eq!(column("transactions", "security_id"), combined, "{body:#}");
    for drift in &body["drifts"].as_array().unwrap()[2..] {
        for key in ["target", "high_drift", "low_drift", "adjusted_quantity"] {
            assert_eq!(drift[key], "0", "{drift:#}");
        }
        assert_eq!(drift["actual"], "0.0000");
    }
    let short = server.security("E");
    let cover =
        body["transactions"].as_array().unwrap().iter().find(|row| row["security_id"] == short).unwrap();
    assert_eq!((&cover["transaction_type"], &cover["quantity"]), (&json!("BUY"), &json!(7)));
}

#[tokio::test]
async fn a_portfolio_on_target_has_nothing_to_trade_and_all_its_drifts() {
    let server = desk().await;
    server.fund(FIRST, dec!(1000), &[("A", dec!(50)), ("B", dec!(80))]);
    server.create_balanced(&[FIRST]).await;

    let body = server.rebalance_portfolio(FIRST).await.expect(200);

    assert_eq!(body["status"], "REBALANCED");
    assert_eq!(body["transactions"], json!([]));
    assert_eq!(body["drifts"].as_array().unwrap().len(), 2);
    assert_eq!(body["optimality"]["objective"], "0");
    let record = server.record_of(&body).await;
    for row in record["portfolios"][0]["positions"].as_array().unwrap() {
        for key in ["transaction_type", "trade_quantity", "trade_date"] {
            assert_eq!(row[key], Value::Null, "{row:#}");
        }
    }
}

#[tokio::test]
async fn a_rebalance_moves_the_models_date_and_leaves_its_version() {
    let server = desk().await;
    server.fund(FIRST, dec!(10000), &[]);
    let model = server.create_balanced(&[FIRST]).await;
    let created = server.model(&model).await;

    let first = server.rebalance_model(&model).await.expect(200);
    let after_first = server.model(&model).await;
    let second = server.rebalance_portfolio(FIRST).await.expect(200);
    let after_second = server.model(&model).await;

    assert_eq!(created["last_rebalance_date"], Value::Null);
    assert_eq!(after_first["last_rebalance_date"], server.record_of(&first[0]).await["rebalance_date"]);
    assert_eq!(after_second["last_rebalance_date"], server.record_of(&second).await["rebalance_date"]);
    assert_eq!(after_second["version"], 1);
    // An edit that was open meanwhile goes through, and does not take the date back.
    let mut edit = created;
    edit["name"] = json!("Renamed");
    let replaced = server.put(&format!("/api/v1/model/{model}"), &edit).await.expect(200);
    assert_eq!(replaced["version"], 2);
    assert_eq!(replaced["last_rebalance_date"], after_second["last_rebalance_date"]);
}

#[tokio::test]
async fn one_portfolio_without_a_solution_does_not_keep_the_others_from_theirs() {
    let server = desk().await;
    server.fund(FIRST, dec!(10000), &[]);
    server.fund(SECOND, dec!(70), &[]);
    server.fund(THIRD, dec!(20000), &[]);
    server.sandbox.portfolio.add(SECOND, "Small savings");
    let model = server.create_balanced(&[FIRST, SECOND, THIRD]).await;

    let body = server.rebalance_model(&model).await.expect(200);

    let a = server.security("A");
    let detail = format!("no feasible solution exists: no whole share of security {a} lies inside its band");
    assert_eq!(
        body[1],
        json!({
            "portfolio_id": SECOND, "portfolio_name": "Small savings",
            "rebalance_id": body[0]["rebalance_id"], "status": "FAILED",
            "error": { "code": "no-feasible-solution", "detail": detail },
            "optimality": null, "trading_costs": null, "transactions": [], "drifts": [],
        })
    );
    for idx in [0, 2] {
        assert_eq!(body[idx]["status"], "REBALANCED");
        assert_eq!(body[idx]["transactions"].as_array().unwrap().len(), 2);
    }
    let record = server.record_of(&body[0]).await;
    let kept = record["portfolios"].as_array().unwrap().iter();
    assert_eq!(kept.map(|kept| &kept["portfolio_id"]).collect::<Vec<_>>(), [FIRST, THIRD]);
    assert_eq!(record["number_of_portfolios"], 2);
    assert_eq!(
        record["failures"],
        json!([{ "portfolio_id": SECOND, "code": "no-feasible-solution", "detail": detail }])
    );
}

#[tokio::test]
async fn what_cannot_be_rebalanced_is_refused_alone_and_in_a_model_of_its_like_and_not_kept() {
    type Setup = fn(&TestServer, &str);
    let cases: [(&str, &str, Setup, &str, &str); 5] = [
        ("A", "pennies", |server, id| server.fund(id, dec!(70), &[]), "no-feasible-solution", "no feasible"),
        (
            "A",
            "an overdraft",
            |server, id| server.fund(id, dec!(-1), &[]),
            "market-value-not-positive",
            "-1 ",
        ),
        (
            "A",
            "exactly nothing",
            |server, id| server.fund(id, dec!(-100), &[("A", dec!(1))]),
            "market-value-not-positive",
            "0 ",
        ),
        (
            "A",
            "short of more than there is",
            |server, id| server.fund(id, dec!(100), &[("D", dec!(-1))]),
            "market-value-not-positive",
            "-4900 ",
        ),
        (
            "D",
            "too little for one share",
            |server, id| server.fund(id, dec!(5000), &[]),
            "no-feasible-solution",
            "no feasible",
        ),
    ];
    for (ticker, name, setup, code, detail) in cases {
        let server = desk().await;
        for portfolio in [FIRST, SECOND] {
            setup(&server, portfolio);
        }
        let model = server.create_single(ticker, &[FIRST, SECOND]).await;

        let single = server.rebalance_portfolio(FIRST).await.expect_problem(422, code);
        let whole = server.rebalance_model(&model).await.expect_problem(422, code);

        assert!(single["detail"].as_str().unwrap().contains(detail), "{name}: {single:#}");
        let told = whole["detail"].as_str().unwrap();
        assert!(told.contains("2 portfolios") && told.contains(FIRST), "{name}: {whole:#}");
        assert!(told.contains(single["detail"].as_str().unwrap()), "{name}: {whole:#}");
        server.assert_nothing_kept(&model).await;
    }
}

#[tokio::test]
async fn an_empty_model_sells_nothing() {
    let server = desk().await;
    server.fund(FIRST, dec!(100), &[("A", dec!(5))]);
    let model = server.create_model("Empty", &[], &[FIRST]).await;

    let single = server.rebalance_portfolio(FIRST).await;
    let whole = server.rebalance_model(&model).await;

    single.expect_problem(422, "empty-model");
    whole.expect_problem(422, "empty-model");
    server.assert_nothing_kept(&model).await;
}

#[tokio::test]
async fn a_portfolio_without_balances_is_rebalanced_with_nothing_to_trade() {
    let server = desk().await;
    server.fund(SECOND, dec!(0), &[]);
    server.fund(THIRD, dec!(10000), &[]);
    let model = server.create_balanced(&[FIRST, SECOND, THIRD]).await;

    let whole = server.rebalance_model(&model).await.expect(200);
    let single = server.rebalance_portfolio(FIRST).await.expect(200);

    for element in [&whole[0], &whole[1], &single] {
        assert_eq!(element["status"], "REBALANCED", "{element:#}");
        assert_eq!(element["transactions"], json!([]));
        for drift in element["drifts"].as_array().unwrap() {
            assert_eq!(drift["adjusted_quantity"], "0");
            assert_eq!(drift["actual"], "0.0000");
            assert_eq!(drift["outside_band"], false);
        }
    }
    assert_eq!(whole[2]["transactions"].as_array().unwrap().len(), 2);
    let record = server.record_of(&whole[0]).await;
    assert_eq!(record["number_of_portfolios"], 3);
    for key in ["market_value", "cash_before_rebalance", "cash_after_rebalance"] {
        assert_eq!(record["portfolios"][0][key], 0, "{record:#}");
    }
}

#[tokio::test]
async fn of_several_models_the_newest_counts_unless_one_is_chosen() {
    let server = desk().await;
    server.fund(FIRST, dec!(10000), &[]);
    let older = server.create_single("A", &[FIRST]).await;
    let newer = server.create_single("B", &[SECOND, FIRST]).await;
    let foreign = server.create_single("C", &[SECOND]).await;
    let choose = async |model: &str| {
        let path = format!("/api/v1/portfolio/{FIRST}/rebalance?model_id={model}");
        server.post(&path, &Value::Null).await
    };

    let newest = server.rebalance_portfolio(FIRST).await.expect(200);
    let chosen = choose(&older).await.expect(200);
    let shouted = choose(&older.to_uppercase()).await.expect(200);

    for (body, model, ticker) in [(newest, &newer, "B"), (chosen, &older, "A"), (shouted, &older, "A")] {
        assert_eq!(body["portfolio_id"], FIRST);
        assert_eq!(body["drifts"][0]["security_id"], server.security(ticker));
        assert_eq!(server.record_of(&body).await["model_id"], **model);
    }
    let problem = choose(&foreign).await.expect_problem(404, "portfolio-not-found");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(FIRST) && detail.contains(&foreign), "{detail}");
    choose(NOBODY).await.expect_problem(404, "model-not-found");
    for malformed in ["", "abc", "zzzzzzzzzzzzzzzzzzzzzzzz", &format!("{older}0")] {
        choose(malformed).await.expect_problem(400, "invalid-query");
    }
    assert_eq!(server.model(&foreign).await["last_rebalance_date"], Value::Null);
    assert_eq!(server.rebalances().await.len(), 3);
}

#[tokio::test]
async fn a_portfolio_that_left_its_model_is_not_found_any_more() {
    let server = desk().await;
    server.fund(FIRST, dec!(10000), &[]);
    let model = server.create_balanced(&[FIRST, SECOND]).await;
    server.rebalance_portfolio(FIRST).await.expect(200);

    let body = json!({ "portfolios": [FIRST] });
    server.delete_with(&format!("/api/v1/model/{model}/portfolio"), &body).await.expect(200);

    server.rebalance_portfolio(FIRST).await.expect_problem(404, "portfolio-not-found");
}

#[tokio::test]
async fn unknown_and_malformed_ids_are_told_apart() {
    let server = desk().await;
    server.create_balanced(&[FIRST]).await;

    for malformed in ["abc", "zzzzzzzzzzzzzzzzzzzzzzzz", &format!("{NOBODY}0"), "'; DROP TABLE models; --"] {
        server.rebalance_model(malformed).await.expect_problem(400, "invalid-id");
    }
    let problem = server.rebalance_model(NOBODY).await.expect_problem(404, "model-not-found");
    assert_eq!(problem["detail"], format!("Model {NOBODY} not found"));
    for malformed in ["a%20b", "a%00b", "%09", &"x".repeat(65)] {
        server.rebalance_portfolio(malformed).await.expect_problem(400, "invalid-id");
    }
    for unknown in [NOBODY, "portfolio1", "a%2Fb"] {
        server.rebalance_portfolio(unknown).await.expect_problem(404, "portfolio-not-found");
    }
    assert_eq!(server.rebalances().await, [] as [Value; 0]);
}

#[tokio::test]
async fn portfolio_ids_of_every_legal_form_reach_the_neighbours_unharmed() {
    let server = desk().await;
    let longest = "x".repeat(64);
    let ids =
        ["portfolio1", "a/b", "100%", "a+b", "a?b=c#d", "Zürich-7", "%2F", "..", "\"quoted\"", &longest];
    for (idx, id) in ids.iter().enumerate() {
        server.fund(id, Decimal::from(10_000 + idx), &[]);
        server.sandbox.portfolio.add(id, &format!("name of {id}"));
    }
    let model = server.create_balanced(&ids).await;

    let whole = server.rebalance_model(&model).await.expect(200);

    let record = server.record_of(&whole[0]).await;
    for (idx, id) in ids.iter().enumerate() {
        assert_eq!(whole[idx]["portfolio_id"], *id);
        let kept = &record["portfolios"][idx];
        if *id == ".." {
            // No path can hold it, so no neighbour can know it.
            assert_eq!(kept["market_value"], 0);
            continue;
        }
        assert_eq!(whole[idx]["portfolio_name"], format!("name of {id}"));
        assert_eq!(kept["market_value"], 10_000 + idx, "{id}");

        let mut url = reqwest::Url::parse(&server.url).unwrap();
        url.path_segments_mut().unwrap().extend(["api", "v1", "portfolio", id, "rebalance"]);
        let single = reply(server.client.post(url)).await.expect(200);
        assert_eq!(single["portfolio_id"], *id);

        let rebalance = record["rebalance_id"].as_str().unwrap();
        let mut url = reqwest::Url::parse(&server.url).unwrap();
        url.path_segments_mut().unwrap().extend([
            "api",
            "v1",
            "rebalance",
            rebalance,
            "portfolio",
            id,
            "positions",
        ]);
        let positions = reply(server.client.get(url)).await.expect(200);
        assert_eq!(positions.as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn rebalances_of_one_model_at_the_same_time_are_all_kept_and_the_latest_date_stays() {
    for n_callers in [2, 8] {
        let server = desk().await;
        server.fund(FIRST, dec!(10000), &[]);
        server.fund(SECOND, dec!(20000), &[]);
        let model = server.create_balanced(&[FIRST, SECOND]).await;

        let replies = join_all((0..n_callers).map(|_| server.rebalance_model(&model))).await;

        let mut ids: Vec<String> = replies
            .into_iter()
            .map(|reply| reply.expect(200)[0]["rebalance_id"].as_str().unwrap().to_owned())
            .collect();
        let rebalances = server.rebalances().await;
        let mut kept: Vec<&str> =
            rebalances.iter().map(|kept| kept["rebalance_id"].as_str().unwrap()).collect();
        ids.sort();
        kept.sort_unstable();
        assert_eq!(ids, kept);
        ids.dedup();
        assert_eq!(ids.len(), n_callers);
        assert!(rebalances.iter().all(|kept| kept["number_of_portfolios"] == 2));
        let latest = rebalances.iter().map(|kept| kept["rebalance_date"].as_str().unwrap()).max();
        let model = server.model(&model).await;
        assert_eq!(model["last_rebalance_date"].as_str(), latest);
        assert_eq!(model["version"], 1);
    }
}
