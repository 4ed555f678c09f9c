//! Kept rebalances: listed, found, read piece by piece, deleted.

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use crate::harness::{TestServer, decimal, position, sandbox_of};

const NOBODY: &str = "000000000000000000000000";

/// Portfolios with ten thousand in cash each, and a model for each list of followers.
async fn desk(models: &[(&str, &[&str])]) -> (TestServer, Vec<String>) {
    let prices = [("A", dec!(99.99)), ("B", dec!(50.123456))];
    let server = TestServer::start_on(sandbox_of(&prices).await, |_| {}).await;
    let positions = [
        position(&server.security("A"), "0.500", "0.05", "0.05"),
        position(&server.security("B"), "0.4", "0.05", "0.05"),
    ];
    let mut ids = Vec::new();
    for (name, followers) in models {
        for follower in *followers {
            server.sandbox.accounting.fund(follower, dec!(10000.01), &[]);
        }
        ids.push(server.create_model(name, &positions, followers).await);
    }
    (server, ids)
}

impl TestServer {
    /// The id of a new rebalance of the model.
    async fn rebalance(&self, model: &str) -> String {
        let body = self.rebalance_model(model).await.expect(200);
        body[0]["rebalance_id"].as_str().unwrap().to_owned()
    }

    /// The ids of the rebalances at `path`.
    async fn listed(&self, path: &str) -> Vec<String> {
        ids(&self.get(path).await.expect(200))
    }

    async fn containing(&self, query: &str, portfolios: &[&str]) -> Vec<String> {
        let path = format!("/api/v1/rebalances/portfolios{query}");
        ids(&self.post(&path, &json!({ "portfolios": portfolios })).await.expect(200))
    }

    /// The body as it travels.
    async fn text(&self, path: &str) -> String {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }
}

fn ids(list: &Value) -> Vec<String> {
    let rebalances = list.as_array().unwrap().iter();
    rebalances.map(|rebalance| rebalance["rebalance_id"].as_str().unwrap().to_owned()).collect()
}

fn reversed<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().rev().cloned().collect()
}

#[tokio::test]
async fn the_newest_ten_are_listed_unless_told_otherwise() {
    let (server, models) = desk(&[("Growth", &["p1"])]).await;
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
    let mut newest_first = Vec::new();
    for _ in 0..12 {
        newest_first.insert(0, server.rebalance(&models[0]).await);
    }

    for (query, expected) in [
        ("", &newest_first[..10]),
        ("?limit=12", &newest_first[..]),
        ("?limit=100", &newest_first[..]),
        ("?limit=1", &newest_first[..1]),
        ("?offset=3", &newest_first[3..]),
        ("?offset=3&limit=4", &newest_first[3..7]),
        ("?offset=11&limit=4", &newest_first[11..]),
        ("?offset=12", &[]),
        ("?offset=9223372036854775807", &[]),
    ] {
        assert_eq!(server.listed(&format!("/api/v1/rebalances{query}")).await, expected, "{query}");
        assert_eq!(server.containing(query, &["p1"]).await, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_that_make_no_sense_are_refused() {
    let (server, _) = desk(&[("Growth", &["p1"])]).await;
    let limits = ["limit=0", "limit=101", "limit=-1", "limit=abc", "limit=", "limit=1.5", "limit=1e1"];
    let offsets = ["offset=-1", "offset=abc", "offset=1.5", "offset=9223372036854775808"];

    for query in limits.into_iter().chain(offsets) {
        let list = server.get(&format!("/api/v1/rebalances?{query}")).await;
        list.expect_problem(400, "invalid-query");
        let path = format!("/api/v1/rebalances/portfolios?{query}");
        let containing = server.post(&path, &json!({ "portfolios": ["p1"] })).await;
        containing.expect_problem(400, "invalid-query");
    }
}

#[tokio::test]
async fn the_list_sorts_by_every_key_both_ways() {
    let (server, models) =
        desk(&[("Beta", &["p1"]), ("alpha", &["p1", "p2", "p3"]), ("Gamma", &["p1", "p2"])]).await;
    let mut made = Vec::new();
    for model in &models {
        made.push(server.rebalance(model).await);
    }
    let pick = |order: [usize; 3]| order.map(|idx| made[idx].clone()).to_vec();
    let by_name = pick([0, 2, 1]);
    let by_size = pick([0, 2, 1]);

    for (sort, expected) in [
        ("rebalance_id", made.clone()),
        ("-rebalance_id", reversed(&made)),
        ("rebalance_date", made.clone()),
        ("%2Brebalance_date", made.clone()),
        ("+rebalance_date", made.clone()),
        ("-rebalance_date", reversed(&made)),
        ("model_name", by_name.clone()),
        ("-model_name", reversed(&by_name)),
        ("number_of_portfolios", by_size.clone()),
        ("-number_of_portfolios", reversed(&by_size)),
        ("", reversed(&made)),
        ("colour", reversed(&made)),
        ("-colour", reversed(&made)),
        ("name,last_rebalance_date", reversed(&made)),
        ("colour,model_name", by_name.clone()),
        (" , -model_name ,", reversed(&by_name)),
    ] {
        let path = format!("/api/v1/rebalances?sort_by={sort}");
        assert_eq!(server.listed(&path).await, expected, "{sort}");
    }
    // Of several keys the first decides, and the next only where it leaves two equal.
    let again = server.rebalance(&models[1]).await;
    for (sort, expected) in [
        ("-number_of_portfolios,rebalance_date", [&made[1], &again, &made[2], &made[0]]),
        ("-number_of_portfolios,-rebalance_date", [&again, &made[1], &made[2], &made[0]]),
        ("-number_of_portfolios", [&again, &made[1], &made[2], &made[0]]),
        ("model_name,rebalance_id", [&made[0], &made[2], &made[1], &again]),
    ] {
        let path = format!("/api/v1/rebalances?sort_by={sort}");
        assert_eq!(server.listed(&path).await.iter().collect::<Vec<_>>(), expected, "{sort}");
        let page = server.listed(&format!("{path}&offset=1&limit=2")).await;
        assert_eq!(page.iter().collect::<Vec<_>>(), expected[1..3], "{sort}");
    }
}

#[tokio::test]
async fn rebalances_are_found_by_any_of_their_portfolios() {
    let (server, models) = desk(&[("Both", &["p1", "portfolio/2"]), ("Second", &["portfolio/2"])]).await;
    server.sandbox.accounting.fund("poor", dec!(1), &[]);
    let body = json!({ "portfolios": ["poor"] });
    server.post(&format!("/api/v1/model/{}/portfolio", models[1]), &body).await.expect(200);
    let both = server.rebalance(&models[0]).await;
    let second = server.rebalance(&models[1]).await;

    for (portfolios, expected) in [
        (&["p1"][..], vec![&both]),
        (&["portfolio/2"], vec![&second, &both]),
        (&["p1", "portfolio/2", "p1"], vec![&second, &both]),
        (&["nobody", "p1"], vec![&both]),
        (&["nobody", NOBODY], vec![]),
        // It could not be rebalanced, so the rebalance does not contain it.
        (&["poor"], vec![]),
    ] {
        let found = server.containing("", portfolios).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{portfolios:?}");
    }
    let found =
        server.post("/api/v1/rebalances/portfolios", &json!({ "portfolios": ["p1"] })).await.expect(200);
    assert_eq!(found[0], server.get(&format!("/api/v1/rebalance/{both}")).await.expect(200));
    assert_eq!(found[0]["portfolios"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn portfolios_to_look_for_must_be_named_legally() {
    let (server, _) = desk(&[]).await;
    let longest = "x".repeat(64);
    let too_long = "x".repeat(65);

    for (body, pointers) in [
        (json!({}), &["/portfolios"][..]),
        (json!({ "portfolios": [] }), &["/portfolios"]),
        (json!({ "portfolios": null }), &["/portfolios"]),
        (json!({ "portfolios": "p1" }), &["/portfolios"]),
        (
            json!({ "portfolios": ["", "p1", "a b", 7, too_long] }),
            &["/portfolios/0", "/portfolios/2", "/portfolios/3", "/portfolios/4"],
        ),
        (json!([]), &[""]),
    ] {
        let reply = server.post("/api/v1/rebalances/portfolios", &body).await;
        let problem = reply.expect_problem(422, "invalid-body");
        let errors = problem["errors"].as_array().unwrap().iter();
        assert_eq!(errors.map(|error| &error["pointer"]).collect::<Vec<_>>(), pointers, "{problem:#}");
    }
    let legal = ["x", &longest, "Zürich", "';DROP_TABLE_rebalances;--"];
    assert_eq!(server.containing("", &legal).await, [] as [String; 0]);
}

#[tokio::test]
async fn numbers_of_a_record_are_json_numbers_and_its_dates_are_utc() {
    let (server, models) = desk(&[("Growth", &["p1"])]).await;
    let (a, b) = (server.security("A"), server.security("B"));
    let id = server.rebalance(&models[0]).await;

    let text = server.text(&format!("/api/v1/rebalance/{id}")).await;

    for part in [
        r#""number_of_portfolios":1,"#,
        r#""market_value":10000.01,"cash_before_rebalance":10000.01,"cash_after_rebalance":990.63352,"#,
        &format!(r#""security_id":"{a}","price":99.99,"original_quantity":0,"adjusted_quantity":50,"#),
        r#""original_position_market_value":0,"adjusted_position_market_value":4999.5,"#,
        r#""target":0.500,"high_drift":0.05,"low_drift":0.05,"actual":0.49994950005049995,"#,
        r#""actual_drift":-0.000100999899000101,"outside_band":false,"#,
        &format!(r#""security_id":"{b}","price":50.123456,"#),
        r#""transaction_type":"BUY","trade_quantity":80,"trade_date":""#,
        r#""version":1,"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let record: Value = serde_json::from_str(&text).unwrap();
    for key in ["rebalance_date", "created_at"] {
        let instant = record[key].as_str().unwrap();
        assert!(instant.len() == 24 && instant.ends_with('Z'), "{instant}");
        chrono::DateTime::parse_from_rfc3339(instant).unwrap();
    }
    let traded = record["portfolios"][0]["positions"][0]["trade_date"].as_str().unwrap();
    assert_eq!(traded, &record["rebalance_date"].as_str().unwrap()[..10]);
}

#[tokio::test]
async fn portfolios_and_positions_are_read_piece_by_piece_without_their_trades() {
    let (server, models) = desk(&[("Growth", &["p1", "p2"])]).await;
    let id = server.rebalance(&models[0]).await;
    let record = server.get(&format!("/api/v1/rebalance/{id}")).await.expect(200);
    let mut expected = record["portfolios"].clone();
    for portfolio in expected.as_array_mut().unwrap() {
        portfolio.as_object_mut().unwrap().remove("optimality");
        for position in portfolio["positions"].as_array_mut().unwrap() {
            for key in ["transaction_type", "trade_quantity", "trade_date"] {
                position.as_object_mut().unwrap().remove(key).unwrap();
            }
        }
    }

    let portfolios = server.get(&format!("/api/v1/rebalance/{id}/portfolios")).await.expect(200);

    assert_eq!(portfolios, expected);
    for portfolio in expected.as_array().unwrap() {
        let name = portfolio["portfolio_id"].as_str().unwrap();
        let path = format!("/api/v1/rebalance/{id}/portfolio/{name}/positions");
        assert_eq!(server.get(&path).await.expect(200), portfolio["positions"]);
        assert!(server.text(&path).await.contains(r#""price":50.123456,"#));
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_are_told_apart() {
    let (server, models) = desk(&[("Growth", &["p1"])]).await;
    let id = server.rebalance(&models[0]).await;
    let positions = |rebalance: &str, portfolio: &str| {
        format!("/api/v1/rebalance/{rebalance}/portfolio/{portfolio}/positions")
    };

    for (path, status, code) in [
        (format!("/api/v1/rebalance/{NOBODY}"), 404, "rebalance-not-found"),
        (format!("/api/v1/rebalance/{NOBODY}/portfolios"), 404, "rebalance-not-found"),
        (positions(NOBODY, "p1"), 404, "rebalance-not-found"),
        (positions(&id, "p2"), 404, "portfolio-not-in-rebalance"),
        (positions(&id, NOBODY), 404, "portfolio-not-in-rebalance"),
        (positions(&id, "a%20b"), 400, "invalid-id"),
        (positions(&id, &"x".repeat(65)), 400, "invalid-id"),
    ] {
        let problem = server.get(&path).await.expect_problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 400 || detail.contains(NOBODY) || detail.contains("p2"), "{detail}");
    }
    let long = "a".repeat(1000);
    let malformed =
        ["invalid_id", "123", &format!("{NOBODY}0"), "'; DROP TABLE rebalances; --", "1' OR '1'='1", &long];
    for id in malformed {
        for path in [
            format!("/api/v1/rebalance/{id}"),
            format!("/api/v1/rebalance/{id}/portfolios"),
            positions(id, "p1"),
        ] {
            server.get(&path).await.expect_problem(400, "invalid-id");
        }
    }
    assert_eq!(server.listed("/api/v1/rebalances").await, std::slice::from_ref(&id));
    server.get(&format!("/api/v1/rebalance/{}", id.to_uppercase())).await.expect(200);
}

#[tokio::test]
async fn a_rebalance_is_deleted_by_those_who_know_its_version() {
    let (server, models) = desk(&[("Growth", &["p1"])]).await;
    let id = server.rebalance(&models[0]).await;
    let other = server.rebalance(&models[0]).await;
    let path = format!("/api/v1/rebalance/{id}");

    for (path, status, code) in [
        (format!("{path}?version=7"), 409, "rebalance-modified"),
        (path.clone(), 400, "invalid-query"),
        (format!("{path}?version="), 400, "invalid-query"),
        (format!("{path}?version=abc"), 400, "invalid-query"),
        (format!("{path}?version=0"), 400, "invalid-query"),
        (format!("{path}?version=-1"), 400, "invalid-query"),
        (format!("/api/v1/rebalance/{NOBODY}?version=1"), 404, "rebalance-not-found"),
        ("/api/v1/rebalance/abc?version=1".to_owned(), 400, "invalid-id"),
    ] {
        server.delete(&path).await.expect_problem(status, code);
    }
    server.get(&path).await.expect(200);
    let deleted = server.delete(&format!("{path}?version=1")).await.expect(200);

    assert_eq!(deleted, json!({ "message": format!("Rebalance {id} deleted successfully") }));
    server.get(&path).await.expect_problem(404, "rebalance-not-found");
    server.get(&format!("{path}/portfolios")).await.expect_problem(404, "rebalance-not-found");
    server.get(&format!("{path}/portfolio/p1/positions")).await.expect_problem(404, "rebalance-not-found");
    server.delete(&format!("{path}?version=1")).await.expect_problem(404, "rebalance-not-found");
    assert_eq!(server.listed("/api/v1/rebalances").await, std::slice::from_ref(&other));
    assert_eq!(server.containing("", &["p1"]).await, [other]);
    server.get(&format!("/api/v1/model/{}", models[0])).await.expect(200);
}

#[tokio::test]
async fn kept_rebalances_outlive_the_process_and_their_model() {
    let (mut server, models) = desk(&[("Growth", &["p1", "poor"])]).await;
    server.sandbox.accounting.fund("poor", dec!(1), &[]);
    let id = server.rebalance(&models[0]).await;
    let path = format!("/api/v1/rebalance/{id}");
    let before = server.text(&path).await;

    server.restart().await;
    let after_restart = server.text(&path).await;
    let deleted = server.delete(&format!("/api/v1/model/{}?version=1", models[0])).await;
    let after_deletion = server.text(&path).await;

    assert_eq!(deleted.status, 204);
    assert_eq!(after_restart, before);
    assert_eq!(after_deletion, before);
    assert_eq!(server.listed("/api/v1/rebalances").await, std::slice::from_ref(&id));
    assert_eq!(server.containing("", &["p1"]).await, [id]);
}

#[tokio::test]
async fn a_hundred_positions_of_ten_portfolios_are_all_there() {
    let server = TestServer::start().await;
    let universe = server.sandbox.universe().securities();
    let securities: Vec<String> =
        universe.iter().take(100).map(|security| server.security(&security.ticker)).collect();
    let positions: Vec<Value> =
        securities.iter().map(|security| position(security, "0.005", "0.005", "0.005")).collect();
    let portfolios: Vec<String> = (0..10).map(|idx| format!("{idx:024}")).collect();
    for (idx, portfolio) in portfolios.iter().enumerate() {
        server.sandbox.accounting.fund(portfolio, Decimal::from(1_000_000 + idx), &[]);
    }
    let followers: Vec<&str> = portfolios.iter().map(String::as_str).collect();
    let model = server.create_model("Everything", &positions, &followers).await;

    let reply = server.rebalance_model(&model).await.expect(200);

    assert!(
        reply.as_array().unwrap().iter().all(|element| element["drifts"].as_array().unwrap().len() == 100)
    );
    let id = reply[0]["rebalance_id"].as_str().unwrap();
    let lazily = server.get(&format!("/api/v1/rebalance/{id}/portfolios")).await.expect(200);
    let record = server.get(&format!("/api/v1/rebalance/{id}")).await.expect(200);
    for kept in [&record["portfolios"], &lazily] {
        for (idx, portfolio) in kept.as_array().unwrap().iter().enumerate() {
            assert_eq!(portfolio["portfolio_id"], portfolios[idx]);
            assert_eq!(decimal(&portfolio["market_value"]), Decimal::from(1_000_000 + idx));
            let rows = portfolio["positions"].as_array().unwrap().iter();
            assert_eq!(
                rows.map(|row| &row["security_id"]).collect::<Vec<_>>(),
                securities.iter().collect::<Vec<_>>()
            );
        }
    }
    for portfolio in &portfolios {
        let path = format!("/api/v1/rebalance/{id}/portfolio/{portfolio}/positions");
        assert_eq!(server.get(&path).await.expect(200).as_array().unwrap().len(), 100);
    }
}

#[tokio::test]
async fn a_large_record_is_sent_piece_by_piece_and_with_the_headers_of_any_reply() {
    let followers: Vec<String> = (0..300).map(|n| format!("p{}", n * 7 % 300)).collect();
    let names: Vec<&str> = followers.iter().map(String::as_str).collect();
    let (server, models) = desk(&[("Growth", &names)]).await;
    let id = server.rebalance(&models[0]).await;
    let record = server.url.clone() + &format!("/api/v1/rebalance/{id}");

    for (path, list) in [(record.clone(), "/portfolios"), (record + "/portfolios", "")] {
        let plain = server.client.get(&path).send().await.unwrap();
        let compressed = server.client.get(&path).header("accept-encoding", "gzip").send().await.unwrap();

        for reply in [&plain, &compressed] {
            assert_eq!(reply.status(), 200);
            assert_eq!(reply.headers()["content-type"], "application/json");
            assert_eq!(reply.headers()["transfer-encoding"], "chunked");
            assert_eq!(reply.headers()["x-content-type-options"], "nosniff");
            assert!(reply.headers().contains_key("x-correlation-id"));
        }
        assert_eq!(compressed.headers()["content-encoding"], "gzip");
        let (plain, compressed) = (plain.bytes().await.unwrap(), compressed.bytes().await.unwrap());
        assert!(3 * compressed.len() < plain.len(), "{} {}", plain.len(), compressed.len());
        let body: Value = serde_json::from_slice(&plain).unwrap();
        let portfolios = body.pointer(list).unwrap().as_array().unwrap().iter();
        assert!(portfolios.map(|portfolio| portfolio["portfolio_id"].as_str().unwrap()).eq(names.clone()));
    }
}
