//! Models over HTTP.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, position, reply};

const STOCK: &str = "STOCK1234567890123456789";
const BOND: &str = "BOND1111111111111111111A";
const PORTFOLIO: &str = "683b6d88a29ee10e8b499643";
const OTHER_PORTFOLIO: &str = "683b6d88a29ee10e8b499644";
const UNKNOWN: &str = "507f1f77bcf86cd799439011";

/// A model of 60 % stock, as it is served.
async fn balanced(server: &TestServer) -> Value {
    let body = content("Balanced", &[position(STOCK, "0.600", "0.03", "0.05")]);
    server.post("/api/v1/models", &body).await.expect(201)
}

fn content(name: &str, positions: &[Value]) -> Value {
    json!({ "name": name, "positions": positions, "portfolios": [PORTFOLIO] })
}

/// `n` securities with the same target.
fn positions(n: usize, target: &str) -> Vec<Value> {
    (0..n).map(|idx| position(&format!("{idx:0>24}"), target, "0.01", "0.01")).collect()
}

fn path(model: &Value) -> String {
    format!("/api/v1/model/{}", model["model_id"].as_str().unwrap())
}

/// What a client sends back after reading a model, with some members changed.
fn replacement(model: &Value, changes: Value) -> Value {
    let mut body = model.clone();
    let Value::Object(changes) = changes else { panic!("{changes} are no changes") };
    body.as_object_mut().unwrap().remove("model_id");
    body.as_object_mut().unwrap().extend(changes);
    body
}

/// Sends a body as it is written here.
async fn post_text(server: &TestServer, path: &str, body: String) -> Reply {
    let request = server.client.request(Method::POST, format!("{}{path}", server.url));
    reply(request.header("content-type", "application/json").body(body)).await
}

#[track_caller]
fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect()
}

#[track_caller]
fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_created_model_is_served_with_its_decimals_as_written() {
    let server = TestServer::start().await;
    let body = content(" Growth ", &[position(STOCK, "0.600", "0.03", "0.05")]);

    let created = server.post("/api/v1/models", &body).await;

    let location = created.headers["location"].to_str().unwrap().to_owned();
    let created = created.expect(201);
    let id = created["model_id"].as_str().unwrap();
    let expected = json!({
        "model_id": id, "name": "Growth", "positions": [position(STOCK, "0.600", "0.03", "0.05")],
        "portfolios": [PORTFOLIO], "trading_rules": null, "last_rebalance_date": null, "version": 1,
    });
    assert_eq!(created, expected);
    assert_eq!(location, path(&created));
    assert_eq!(server.get(&location).await.expect(200), created);
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([created]));
}

#[tokio::test]
async fn decimals_are_read_from_numbers_and_strings_and_keep_their_scale() {
    let server = TestServer::start().await;

    for (idx, (sent, shown)) in [
        ("0.6", "0.6"),
        ("0.60", "0.60"),
        (r#""0.600""#, "0.600"),
        (r#"" 0.6 ""#, "0.6"),
        ("6e-1", "0.6"),
        (r#""6E-1""#, "0.6"),
        ("0.00060E3", "0.60"),
        ("0.1234567890123456789012345678", "0.1234567890123456789012345678"),
        (r#""1e-10""#, "0.0000000001"),
        ("0", "0"),
        (r#""0.0""#, "0.0"),
        (r#""+1""#, "1"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(
            r#"{{"name":"{idx}","portfolios":["p"],
                "positions":[{{"security_id":"{STOCK}","target":0.6,"low_drift":{sent},"high_drift":"1"}}]}}"#
        );
        let created = post_text(&server, "/api/v1/models", body).await.expect(201);
        assert_eq!(created["positions"][0]["low_drift"], shown, "{sent}");
        assert_eq!(server.get(&path(&created)).await.expect(200), created, "{sent}");
    }
}

#[tokio::test]
async fn a_number_that_is_not_exactly_on_the_grid_is_refused() {
    let server = TestServer::start().await;

    for target in ["0.30000000000000004", "0.123", "0.001", "0.955", "-0.005", "0.95000000000000001", "1e400"]
    {
        let body = format!(
            r#"{{"name":"m","portfolios":["p"],
                "positions":[{{"security_id":"{STOCK}","target":{target},"low_drift":0,"high_drift":0}}]}}"#
        );
        let problem = post_text(&server, "/api/v1/models", body).await.expect_problem(422, "invalid-body");
        assert_eq!(pointers(&problem), ["/positions/0/target"], "{target}");
    }
}

#[tokio::test]
async fn camel_case_is_read_and_snake_case_written() {
    let server = TestServer::start().await;
    let body = json!({
        "name": "Published example", "portfolios": [PORTFOLIO],
        "positions": [{ "securityId": STOCK, "target": 0.60, "lowDrift": 0.03, "highDrift": 0.05 }],
    });

    let created = server.post("/api/v1/models", &body).await.expect(201);
    let body = json!({
        "name": "Published example", "portfolios": [PORTFOLIO], "version": 1,
        "positions": [{ "securityId": STOCK, "target": 0.55, "lowDrift": 0.03, "highDrift": 0.05 }],
        "lastRebalanceDate": "2024-12-19T10:30:00Z",
    });
    let replaced = server.put(&path(&created), &body).await.expect(200);

    assert_eq!(created["positions"], json!([position(STOCK, "0.6", "0.03", "0.05")]));
    assert_eq!(replaced["positions"], json!([position(STOCK, "0.55", "0.03", "0.05")]));
    assert_eq!(replaced["last_rebalance_date"], "2024-12-19T10:30:00.000Z");
}

#[tokio::test]
async fn members_that_mean_nothing_here_are_ignored() {
    let server = TestServer::start().await;
    let mut body = content("Balanced", &[]);
    body["model_id"] = json!(UNKNOWN);
    body["version"] = json!("whatever");
    body["created_at"] = json!([]);

    let created = server.post("/api/v1/models", &body).await.expect(201);

    assert_ne!(created["model_id"], UNKNOWN);
    assert_eq!(created["version"], 1);
}

#[tokio::test]
async fn positions_may_be_left_out_and_portfolios_may_not() {
    let server = TestServer::start().await;

    let created = server.post("/api/v1/models", &json!({ "name": "Cash", "portfolios": ["p"] })).await;
    assert_eq!(created.expect(201)["positions"], json!([]));

    for (portfolios, pointer) in [
        (json!(null), "/portfolios"),
        (json!([]), "/portfolios"),
        (json!("p"), "/portfolios"),
        (json!([null]), "/portfolios/0"),
        (json!(["p", 1]), "/portfolios/1"),
        (json!(["", "p"]), "/portfolios/0"),
        (json!(["p", "q", "p"]), "/portfolios/2"),
        (json!(["a b"]), "/portfolios/0"),
        (json!(["p\u{0}"]), "/portfolios/0"),
        (json!(["x".repeat(65)]), "/portfolios/0"),
    ] {
        let body = json!({ "name": "Refused", "portfolios": portfolios });
        let problem = server.post("/api/v1/models", &body).await.expect_problem(422, "invalid-body");
        assert_eq!(pointers(&problem), [pointer], "{body}");
    }
    let missing = server.post("/api/v1/models", &json!({ "name": "Refused" })).await;
    assert_eq!(pointers(&missing.expect_problem(422, "invalid-body")), ["/portfolios"]);
}

#[tokio::test]
async fn any_name_of_1_to_255_characters_is_kept_trimmed() {
    let server = TestServer::start().await;
    let longest = "é".repeat(255);

    for (sent, kept) in [
        (" Growth\t", "Growth"),
        ("成長 📈", "成長 📈"),
        ("Robert'); DROP TABLE models;--", "Robert'); DROP TABLE models;--"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("%s %00 ${jndi:x}", "%s %00 ${jndi:x}"),
        (&longest, &longest),
        (" 255 and blanks around ", "255 and blanks around"),
    ] {
        let created = server.post("/api/v1/models", &content(sent, &[])).await.expect(201);
        assert_eq!(created["name"], kept);
        assert_eq!(server.get(&path(&created)).await.expect(200)["name"], kept);
    }
    for refused in ["", "   ", "\u{a0}\u{2003}", "a\u{0}b", "a\nb", &"x".repeat(256)] {
        let problem = server.post("/api/v1/models", &content(refused, &[])).await;
        assert_eq!(pointers(&problem.expect_problem(422, "invalid-body")), ["/name"], "{refused:?}");
    }
}

#[tokio::test]
async fn a_name_is_taken_once_and_its_case_matters() {
    let server = TestServer::start().await;
    let growth = server.post("/api/v1/models", &content("Growth", &[])).await.expect(201);
    let income = server.post("/api/v1/models", &content("growth", &[])).await.expect(201);

    let created = server.post("/api/v1/models", &content(" Growth ", &[])).await;
    let renamed = server.put(&path(&income), &replacement(&income, json!({ "name": "Growth" }))).await;

    let problem = created.expect_problem(409, "name-taken");
    assert_eq!(problem["detail"], "Model with name 'Growth' already exists");
    renamed.expect_problem(409, "name-taken");
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([income, growth]));
}

#[tokio::test]
async fn a_name_is_free_again_once_its_model_is_renamed_or_deleted() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;

    server.put(&path(&model), &replacement(&model, json!({ "name": "Other" }))).await.expect(200);
    let second = balanced(&server).await;
    server.delete(&format!("{}?version=1", path(&second))).await.expect(204);

    balanced(&server).await;
}

#[tokio::test]
async fn positions_with_a_target_of_zero_are_dropped() {
    let server = TestServer::start().await;
    let sent = [
        position(STOCK, "0", "0", "0"),
        position(BOND, "0.3", "0.02", "0.02"),
        position(UNKNOWN, "0.000", "0", "1"),
    ];

    let created = server.post("/api/v1/models", &content("Balanced", &sent)).await.expect(201);

    assert_eq!(created["positions"], json!([sent[1]]));
}

#[tokio::test]
async fn a_hundred_positions_are_the_most_and_those_of_zero_do_not_count() {
    let server = TestServer::start().await;
    let create =
        async |name, positions: &[Value]| server.post("/api/v1/models", &content(name, positions)).await;
    let with_a_zero = [positions(100, "0.005"), vec![position(STOCK, "0", "0", "0")]].concat();

    let hundred = create("hundred", &positions(100, "0.005")).await.expect(201);
    let one_more = create("one more", &positions(101, "0.005")).await;
    let a_zero_more = create("a zero more", &with_a_zero).await.expect(201);

    assert_eq!(hundred["positions"], json!(positions(100, "0.005")));
    assert_eq!(pointers(&one_more.expect_problem(422, "invalid-body")), ["/positions"]);
    assert_eq!(a_zero_more["positions"], hundred["positions"]);
}

#[tokio::test]
async fn every_rule_of_positions_is_kept() {
    let server = TestServer::start().await;
    let good = position(STOCK, "0.5", "0.02", "0.02");
    let with = |key: &str, value: Value| {
        let mut position = good.clone();
        position[key] = value;
        position
    };

    for (positions, pointer) in [
        (json!([good, position(BOND, "0.5", "0.02", "0.02")]), "/positions"),
        (json!([good, position(STOCK, "0.1", "0.02", "0.02")]), "/positions/1"),
        (json!([good, position(STOCK, "0", "0", "0")]), "/positions/1"),
        (json!([position(STOCK, "0.1", "0.05", "0.02")]), "/positions/0/low_drift"),
        (json!([with("security_id", json!("SHORT"))]), "/positions/0/security_id"),
        (json!([with("security_id", json!("STOCK_234567890123456789"))]), "/positions/0/security_id"),
        (json!([with("security_id", json!("STOCK12345678901234567890"))]), "/positions/0/security_id"),
        (json!([with("security_id", json!(null))]), "/positions/0/security_id"),
        (json!([with("target", json!("0.96"))]), "/positions/0/target"),
        (json!([with("target", json!("-0.1"))]), "/positions/0/target"),
        (json!([with("target", json!("0.123"))]), "/positions/0/target"),
        (json!([with("target", json!("NaN"))]), "/positions/0/target"),
        (json!([with("target", json!(true))]), "/positions/0/target"),
        (json!([with("target", json!(null))]), "/positions/0/target"),
        (json!([with("target", json!(""))]), "/positions/0/target"),
        (json!([with("target", json!("0,5"))]), "/positions/0/target"),
        (json!([with("target", json!("0x1"))]), "/positions/0/target"),
        (json!([with("target", json!([0.5]))]), "/positions/0/target"),
        (json!([with("high_drift", json!("1.01"))]), "/positions/0/high_drift"),
        (json!([with("high_drift", json!("Infinity"))]), "/positions/0/high_drift"),
        (json!([with("low_drift", json!("-0.01"))]), "/positions/0/low_drift"),
        (json!(null), "/positions"),
        (json!({}), "/positions"),
        (json!([null]), "/positions/0"),
        (json!([[]]), "/positions/0"),
        (json!([good, "STOCK"]), "/positions/1"),
    ] {
        let body = json!({ "name": "Refused", "positions": positions, "portfolios": ["p"] });
        let problem = server.post("/api/v1/models", &body).await.expect_problem(422, "invalid-body");
        assert_eq!(pointers(&problem), [pointer], "{body}");
    }
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([]));
}

#[tokio::test]
async fn targets_may_add_up_to_exactly_95_percent() {
    let server = TestServer::start().await;
    let full = [position(STOCK, "0.6", "0", "0"), position(BOND, "0.350", "0", "0")];

    server.post("/api/v1/models", &content("full", &full)).await.expect(201);

    let over = [position(STOCK, "0.6", "0", "0"), position(BOND, "0.355", "0", "0")];
    let problem = server.post("/api/v1/models", &content("over", &over)).await;
    assert!(problem.expect_problem(422, "invalid-body")["detail"].as_str().unwrap().contains("0.955"));
}

#[tokio::test]
async fn a_page_of_models_is_any_stretch_of_the_list() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        server.create_model(name, &[], &["p"]).await;
    }

    for (query, expected) in [
        ("", "gfedcba"),
        ("?limit=3", "gfe"),
        ("?offset=5", "ba"),
        ("?offset=2&limit=3", "edc"),
        ("?offset=0&limit=0", ""),
        ("?limit=0", ""),
        ("?offset=7", ""),
        ("?offset=1000", ""),
        ("?offset=9223372036854775807&limit=9223372036854775807", ""),
        ("?limit=9223372036854775807", "gfedcba"),
        ("?limit=%203%20", "gfe"),
        ("?unknown=1&sort_dir=up", "gfedcba"),
        ("?sort_by=name&offset=2&limit=2", "cd"),
        ("?sort_by=-name&offset=6&limit=2", "a"),
    ] {
        let list = server.get(&format!("/api/v1/models{query}")).await.expect(200);
        assert_eq!(names(&list).concat(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_page_that_makes_no_sense_is_malformed() {
    let server = TestServer::start().await;

    for (query, detail) in [
        ("offset=-1", "Offset must be a non-negative integer"),
        ("limit=-1", "Limit must be a non-negative integer"),
        ("limit=abc&offset=1.5", "Offset must be a non-negative integer"),
        ("offset=", "Offset must be a non-negative integer"),
        ("offset=1e3", "Offset must be a non-negative integer"),
        ("offset=9223372036854775808", "Offset must be a non-negative integer"),
        ("limit=99999999999999999999999999", "Limit must be a non-negative integer"),
        ("limit=%EF%BC%91", "Limit must be a non-negative integer"),
        ("offset=-1&sort_by=colour", "Invalid sort field: colour"),
    ] {
        let problem = server.get(&format!("/api/v1/models?{query}")).await;
        let problem = problem.expect_problem(400, "invalid-query");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{query}: {problem}");
    }
}

#[tokio::test]
async fn models_are_sorted_by_any_fields_in_either_direction() {
    let server = TestServer::start().await;
    // Created in this order; A, b and É say how letters compare, and the dates hold a tie and two gaps.
    for (name, date) in [
        ("b", json!("2024-01-02")),
        ("A", json!(null)),
        ("c", json!("2024-01-02")),
        ("É", json!("2024-01-01")),
        ("a", json!(null)),
    ] {
        let id = server.create_model(name, &[], &["p"]).await;
        let body = json!({ "name": name, "portfolios": ["p"], "version": 1, "last_rebalance_date": date });
        server.put(&format!("/api/v1/model/{id}"), &body).await.expect(200);
    }

    for (sort_by, expected) in [
        ("", "aÉcAb"),
        (",, ,", "aÉcAb"),
        ("name", "AabcÉ"),
        ("%2Bname", "AabcÉ"),
        ("+name", "AabcÉ"),
        ("-name", "ÉcbaA"),
        ("model_id", "bAcÉa"),
        ("-model_id", "aÉcAb"),
        ("last_rebalance_date", "aAÉcb"),
        ("-last_rebalance_date", "cbÉaA"),
        ("last_rebalance_date,name", "AaÉbc"),
        ("last_rebalance_date, name", "AaÉbc"),
        ("%2Blast_rebalance_date,-name", "aAÉcb"),
        ("-last_rebalance_date,model_id", "bcÉAa"),
        ("-last_rebalance_date,%2Bname,-model_id", "bcÉAa"),
        ("%20%2Bname%20,%20-model_id%20", "AabcÉ"),
        ("-%20name", "ÉcbaA"),
        ("name,name,-name,last_rebalance_date,model_id", "AabcÉ"),
    ] {
        let list = server.get(&format!("/api/v1/models?sort_by={sort_by}")).await.expect(200);
        assert_eq!(names(&list).concat(), expected, "{sort_by}");
    }
}

#[tokio::test]
async fn pages_of_a_sorted_list_with_ties_show_every_model_once() {
    let server = TestServer::start().await;
    for idx in 0..9 {
        server.create_model(&format!("model {idx}"), &[], &["p"]).await;
    }
    let whole = server.get("/api/v1/models?sort_by=last_rebalance_date").await.expect(200);

    let pages = (0..5).map(|page| {
        let path = format!("/api/v1/models?sort_by=last_rebalance_date&limit=2&offset={}", 2 * page);
        async { server.get(&{ path }).await.expect(200) }
    });
    let pages = join_all(pages).await;

    let shown: Vec<&str> = pages.iter().flat_map(names).collect();
    assert_eq!(shown, names(&whole));
}

#[tokio::test]
async fn a_field_that_models_do_not_have_cannot_sort_them() {
    let server = TestServer::start().await;

    for field in [
        "colour",
        "%2Bcolour",
        "-colour",
        "name,colour",
        "--name",
        "NAME",
        "version",
        "name%20desc",
        "id;--",
        "'",
    ] {
        let problem = server.get(&format!("/api/v1/models?sort_by={field}")).await;
        let problem = problem.expect_problem(400, "invalid-query");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("Invalid sort field"), "{field}: {detail}");
        assert!(detail.contains("model_id, name, last_rebalance_date"), "{field}: {detail}");
    }
}

#[tokio::test]
async fn a_model_is_found_by_its_id_in_either_case() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let id = model["model_id"].as_str().unwrap();

    let found = server.get(&format!("/api/v1/model/{}", id.to_uppercase())).await;

    assert_eq!(found.expect(200), model);
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
}

#[tokio::test]
async fn a_model_that_is_not_there_is_not_found_by_any_route() {
    let server = TestServer::start().await;
    let model = format!("/api/v1/model/{UNKNOWN}");
    let mut whole = content("m", &[]);
    whole["version"] = json!(1);
    let stock = position(STOCK, "0.1", "0", "0");
    let followers = json!({ "portfolios": ["p"] });

    for (method, path, body) in [
        (Method::GET, model.clone(), Value::Null),
        (Method::PUT, model.clone(), whole),
        (Method::DELETE, format!("{model}?version=1"), Value::Null),
        (Method::POST, format!("{model}/position"), stock.clone()),
        (Method::PUT, format!("{model}/position"), stock.clone()),
        (Method::DELETE, format!("{model}/position"), stock),
        (Method::POST, format!("{model}/portfolio"), followers.clone()),
        (Method::DELETE, format!("{model}/portfolio"), followers),
        (Method::POST, format!("{model}/rebalance"), Value::Null),
    ] {
        let request = server.client.request(method, format!("{}{path}", server.url));
        let request = if body.is_null() { request } else { request.json(&body) };
        let problem = reply(request).await.expect_problem(404, "model-not-found");
        assert_eq!(problem["detail"], format!("Model {UNKNOWN} not found"), "{path}");
    }
}

#[tokio::test]
async fn a_model_is_created_read_and_replaced_as_a_manager_would() {
    let server = TestServer::start().await;
    let securities = ["V", "W", "X", "Y", "Z"].map(|letter| letter.repeat(24));
    let shares = [("0.35", "0.02", "0.05"), ("0.15", "0.01", "0.03"), ("0.25", "0.02", "0.04")];
    let shares = shares.into_iter().chain([("0.10", "0.01", "0.02"), ("0.08", "0.005", "0.01")]);
    let positions: Vec<Value> = securities
        .iter()
        .zip(shares)
        .map(|(security, (target, low, high))| position(security, target, low, high))
        .collect();
    let body = json!({ "name": "Moderate", "positions": positions, "portfolios": ["p1", "p2", "p3"] });

    let created = server.post("/api/v1/models", &body).await.expect(201);
    let read = server.get(&path(&created)).await.expect(200);
    let body = replacement(&read, json!({ "portfolios": ["p4", "p1", "p2", "p3"] }));
    let replaced = server.put(&path(&created), &body).await.expect(200);

    assert_eq!(read["positions"], json!(positions));
    assert_eq!(replaced["portfolios"], json!(["p4", "p1", "p2", "p3"]));
    assert_eq!(replaced["version"], 2);
    assert_eq!(replaced["model_id"], created["model_id"]);
    assert_eq!(server.get(&path(&created)).await.expect(200), replaced);
}

#[tokio::test]
async fn a_replacement_leaves_nothing_of_what_it_does_not_name() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let body = json!({ "name": "Cash", "portfolios": [OTHER_PORTFOLIO], "version": 1 });

    let replaced = server.put(&path(&model), &body).await.expect(200);

    assert_eq!(replaced["name"], "Cash");
    assert_eq!(replaced["positions"], json!([]));
    assert_eq!(replaced["portfolios"], json!([OTHER_PORTFOLIO]));
}

#[tokio::test]
async fn a_stale_version_loses_against_what_is_stored() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let body = replacement(&model, json!({ "name": "Newer" }));
    let newer = server.put(&path(&model), &body).await.expect(200);

    for version in [json!(1), json!(3), json!(i64::MAX)] {
        let body = replacement(&model, json!({ "name": "Late", "version": version }));
        let problem = server.put(&path(&model), &body).await.expect_problem(409, "model-modified");
        assert_eq!(problem["detail"], "Model has been modified by another process");
    }
    // Late is late, even with what is stored anyway.
    let body = replacement(&newer, json!({ "version": 1 }));
    server.put(&path(&model), &body).await.expect_problem(409, "model-modified");
    assert_eq!(server.get(&path(&model)).await.expect(200), newer);
}

#[tokio::test]
async fn a_replacement_that_changes_nothing_keeps_the_version() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;

    for changes in [
        json!({}),
        json!({ "name": " Balanced " }),
        json!({ "positions": [position(STOCK, "0.6", "0.030", "5e-2")] }),
        json!({ "positions": [position(STOCK, "0.6", "0.03", "0.05"), position(BOND, "0", "0", "0")] }),
        json!({ "last_rebalance_date": null }),
    ] {
        let body = replacement(&model, changes);
        let replaced = server.put(&path(&model), &body).await.expect(200);
        assert_eq!(replaced, model, "{body}");
    }
}

#[tokio::test]
async fn the_version_of_a_replacement_is_a_positive_whole_number() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;

    for version in [
        json!(0),
        json!(-1),
        json!(3.5),
        json!(null),
        json!("one"),
        json!(""),
        json!(true),
        json!([1]),
        json!(u64::MAX),
        json!(1e30),
    ] {
        let body = replacement(&model, json!({ "version": version }));
        let problem = server.put(&path(&model), &body).await.expect_problem(422, "invalid-body");
        assert_eq!(pointers(&problem), ["/version"], "{version}");
    }
    let mut missing = replacement(&model, json!({}));
    missing.as_object_mut().unwrap().remove("version");
    let problem = server.put(&path(&model), &missing).await.expect_problem(422, "invalid-body");
    assert_eq!(problem["errors"], json!([{ "pointer": "/version", "detail": "is missing" }]));

    for version in [json!(1), json!("1"), json!(1.0), json!("1e0")] {
        let body = replacement(&model, json!({ "version": version }));
        assert_eq!(server.put(&path(&model), &body).await.expect(200), model, "{version}");
    }
}

#[tokio::test]
async fn the_last_rebalance_date_only_ever_moves_forward() {
    let server = TestServer::start().await;
    let mut model = balanced(&server).await;
    let replace = async |model: &Value, date: Option<Value>| {
        let mut body = replacement(model, json!({}));
        match date {
            Some(date) => body["last_rebalance_date"] = date,
            None => drop(body.as_object_mut().unwrap().remove("last_rebalance_date")),
        }
        server.put(&path(model), &body).await.expect(200)
    };

    for (sent, stored, moves) in [
        (None, json!(null), false),
        (Some(json!("2024-12-19T10:30:00+02:00")), json!("2024-12-19T08:30:00.000Z"), true),
        (None, json!("2024-12-19T08:30:00.000Z"), false),
        (Some(json!(null)), json!("2024-12-19T08:30:00.000Z"), false),
        (Some(json!("2024-12-19T08:29:59.999Z")), json!("2024-12-19T08:30:00.000Z"), false),
        (Some(json!("1970-01-01")), json!("2024-12-19T08:30:00.000Z"), false),
        (Some(json!("2024-12-19T08:30:00.0009Z")), json!("2024-12-19T08:30:00.000Z"), false),
        (Some(json!("2024-12-19T08:30:00.001")), json!("2024-12-19T08:30:00.001Z"), true),
        (Some(json!("2024-12-20")), json!("2024-12-20T00:00:00.000Z"), true),
    ] {
        let replaced = replace(&model, sent.clone()).await;
        assert_eq!(replaced["last_rebalance_date"], stored, "{sent:?}");
        let grown = replaced["version"].as_i64().unwrap() - model["version"].as_i64().unwrap();
        assert_eq!(grown, i64::from(moves), "{sent:?}");
        model = replaced;
    }
}

#[tokio::test]
async fn a_last_rebalance_date_that_is_none_is_refused() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;

    for date in [
        json!(""),
        json!("yesterday"),
        json!("2024-13-01"),
        json!("2024-02-30"),
        json!("2024-12-19T25:00:00Z"),
        json!("2024-12-19T10:30:00+99:00"),
        json!("19/12/2024"),
        json!("99999-01-01"),
        json!(1_734_604_200),
        json!(false),
        json!({}),
    ] {
        let body = replacement(&model, json!({ "last_rebalance_date": date }));
        let problem = server.put(&path(&model), &body).await.expect_problem(422, "invalid-body");
        assert_eq!(pointers(&problem), ["/last_rebalance_date"], "{date}");
    }
    assert_eq!(server.get(&path(&model)).await.expect(200), model);
}

#[tokio::test]
async fn a_position_is_added_changed_and_removed() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let positions = format!("{}/position", path(&model));
    let (stock, bond) = (position(STOCK, "0.600", "0.03", "0.05"), position(BOND, "0.30", "0.02", "0.02"));
    let heavier = position(STOCK, "0.65", "0.01", "0.01");

    let added = server.post(&positions, &bond).await.expect(200);
    assert_eq!((&added["positions"], &added["version"]), (&json!([stock, bond]), &json!(2)));

    let changed = server.put(&positions, &heavier).await.expect(200);
    assert_eq!((&changed["positions"], &changed["version"]), (&json!([heavier, bond]), &json!(3)));

    let as_stored = position(BOND, "0.3", "2e-2", "0.020");
    let removed = server.delete_with(&positions, &as_stored).await.expect(200);
    assert_eq!((&removed["positions"], &removed["version"]), (&json!([heavier]), &json!(4)));

    let emptied = server.put(&positions, &position(STOCK, "0", "0", "0")).await.expect(200);
    assert_eq!((&emptied["positions"], &emptied["version"]), (&json!([]), &json!(5)));
    assert_eq!(server.get(&path(&model)).await.expect(200), emptied);
}

#[tokio::test]
async fn a_change_of_positions_that_breaks_a_rule_changes_nothing() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let path_of_positions = format!("{}/position", path(&model));
    let send = async |method: &Method, body: &Value| {
        let url = format!("{}{path_of_positions}", server.url);
        reply(server.client.request(method.clone(), url).json(body)).await
    };

    for (method, body, status, code) in [
        (Method::POST, position(STOCK, "0.1", "0", "0"), 409, "security-already-in-model"),
        (Method::POST, position(STOCK, "0", "0", "0"), 409, "security-already-in-model"),
        (Method::POST, position(BOND, "0.355", "0", "0"), 422, "invalid-positions"),
        (Method::POST, position(BOND, "0.123", "0", "0"), 422, "invalid-body"),
        (Method::POST, position("SHORT", "0.1", "0", "0"), 422, "invalid-body"),
        (Method::PUT, position(BOND, "0.1", "0", "0"), 404, "position-not-found"),
        (Method::PUT, position(BOND, "0", "0", "0"), 404, "position-not-found"),
        (Method::PUT, position(STOCK, "0.96", "0", "0"), 422, "invalid-body"),
        (Method::PUT, position(STOCK, "0.1", "0.2", "0.1"), 422, "invalid-body"),
        (Method::DELETE, position(BOND, "0.1", "0", "0"), 404, "position-not-found"),
        (Method::DELETE, position(STOCK, "0.605", "0.03", "0.05"), 409, "position-differs"),
        (Method::DELETE, position(STOCK, "0.6", "0.02", "0.05"), 409, "position-differs"),
        (Method::DELETE, position(STOCK, "0.6", "0.03", "0.06"), 409, "position-differs"),
        (Method::DELETE, json!({ "security_id": STOCK }), 422, "invalid-body"),
        (Method::DELETE, Value::Null, 422, "invalid-body"),
    ] {
        send(&method, &body).await.expect_problem(status, code);
        assert_eq!(server.get(&path(&model)).await.expect(200), model, "{method} {body}");
    }
    let without_body = server.delete(&path_of_positions).await;
    without_body.expect_problem(400, "malformed-json");
}

#[tokio::test]
async fn the_hundred_and_first_position_is_refused_however_it_comes() {
    let server = TestServer::start().await;
    let full = server.post("/api/v1/models", &content("Full", &positions(100, "0.005"))).await.expect(201);
    let path_of_positions = format!("{}/position", path(&full));

    let refused = server.post(&path_of_positions, &position(STOCK, "0.005", "0", "0")).await;
    let zero = server.post(&path_of_positions, &position(STOCK, "0", "0", "0")).await;

    refused.expect_problem(422, "invalid-positions");
    assert_eq!(zero.expect(200), full);
}

#[tokio::test]
async fn a_change_of_positions_that_changes_nothing_keeps_the_version() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let positions = format!("{}/position", path(&model));

    let added_zero = server.post(&positions, &position(BOND, "0.0", "0", "1")).await;
    let same_values = server.put(&positions, &position(STOCK, "0.6", "0.03", "0.05")).await;

    assert_eq!(added_zero.expect(200), model);
    assert_eq!(same_values.expect(200), model);
}

#[tokio::test]
async fn portfolios_come_and_go_and_what_is_so_already_is_ignored() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let portfolios = format!("{}/portfolio", path(&model));
    let named = |portfolios: &[&str]| json!({ "portfolios": portfolios });

    let added = server.post(&portfolios, &named(&[OTHER_PORTFOLIO, PORTFOLIO, "p3"])).await.expect(200);
    assert_eq!(added["portfolios"], json!([PORTFOLIO, OTHER_PORTFOLIO, "p3"]));
    assert_eq!(added["version"], 2);

    let again = server.post(&portfolios, &named(&[OTHER_PORTFOLIO, "p3"])).await.expect(200);
    assert_eq!(again, added);

    let removed = server.delete_with(&portfolios, &named(&["p3", "stranger"])).await.expect(200);
    assert_eq!(removed["portfolios"], json!([PORTFOLIO, OTHER_PORTFOLIO]));
    assert_eq!(removed["version"], 3);

    let strangers = server.delete_with(&portfolios, &named(&["stranger"])).await.expect(200);
    assert_eq!(strangers, removed);

    let last = server.delete_with(&portfolios, &named(&[PORTFOLIO, OTHER_PORTFOLIO])).await;
    last.expect_problem(422, "invalid-portfolios");
    assert_eq!(server.get(&path(&model)).await.expect(200), removed);
}

#[tokio::test]
async fn a_change_of_portfolios_names_them_soundly() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;
    let url = format!("{}{}/portfolio", server.url, path(&model));

    for method in [Method::POST, Method::DELETE] {
        for (body, pointer) in [
            (json!({}), "/portfolios"),
            (json!({ "portfolios": [] }), "/portfolios"),
            (json!({ "portfolios": null }), "/portfolios"),
            (json!({ "portfolios": PORTFOLIO }), "/portfolios"),
            (json!({ "portfolios": ["p", "p"] }), "/portfolios/1"),
            (json!({ "portfolios": ["p", " "] }), "/portfolios/1"),
            (json!([PORTFOLIO]), ""),
        ] {
            let problem = reply(server.client.request(method.clone(), &url).json(&body)).await;
            assert_eq!(pointers(&problem.expect_problem(422, "invalid-body")), [pointer], "{method} {body}");
        }
        let without_body = reply(server.client.request(method, &url)).await;
        without_body.expect_problem(400, "malformed-json");
    }
    assert_eq!(server.get(&path(&model)).await.expect(200), model);
}

#[tokio::test]
async fn a_model_is_deleted_at_the_version_that_was_read() {
    let server = TestServer::start().await;
    let model = balanced(&server).await;

    for query in
        ["", "?version=", "?version=one", "?version=0", "?version=-1", "?version=1.5", "?version=1e0"]
    {
        let problem = server.delete(&format!("{}{query}", path(&model))).await;
        problem.expect_problem(400, "invalid-query");
    }
    let stale = server.delete(&format!("{}?version=2", path(&model))).await;
    stale.expect_problem(409, "model-modified");
    assert_eq!(server.get(&path(&model)).await.expect(200), model);

    let deleted = server.delete(&format!("{}?version=1", path(&model))).await;
    assert_eq!(deleted.expect(204), Value::Null);
    server.get(&path(&model)).await.expect_problem(404, "model-not-found");
    let again = server.delete(&format!("{}?version=1", path(&model))).await;
    again.expect_problem(404, "model-not-found");
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([]));
}

#[tokio::test]
async fn models_outlive_the_service() {
    let mut server = TestServer::start().await;
    let model = balanced(&server).await;

    server.restart().await;

    assert_eq!(server.get(&path(&model)).await.expect(200), model);
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
}
