//! Many callers at once: nobody's change is lost, and nobody wins twice.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use reqwest::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, position};

const CALLERS: usize = 32;

/// With as many threads for requests as there are in production.
async fn start() -> TestServer {
    TestServer::start_with(|config| config.http.workers = 4).await
}

fn count(replies: &[Reply], status: StatusCode) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[tokio::test]
async fn of_replacements_of_one_version_exactly_one_wins() {
    let server = start().await;
    let id = server.create_model("Contested", &[], &["p"]).await;
    let path = format!("/api/v1/model/{id}");

    let replies = join_all((0..CALLERS).map(async |caller| {
        let body = json!({ "name": format!("By {caller}"), "portfolios": ["p"], "version": 1 });
        server.put(&path, &body).await
    }))
    .await;

    assert_eq!(count(&replies, StatusCode::OK), 1);
    assert_eq!(count(&replies, StatusCode::CONFLICT), CALLERS - 1);
    let stored = server.get(&path).await.expect(200);
    for reply in replies {
        if reply.status == StatusCode::OK {
            assert_eq!(reply.body, stored);
        } else {
            reply.expect_problem(409, "model-modified");
        }
    }
    assert_eq!(stored["version"], 2);
}

#[tokio::test]
async fn of_creations_with_one_name_exactly_one_wins() {
    let server = start().await;
    let body = json!({ "name": "Contested", "portfolios": ["p"] });

    let replies = join_all((0..CALLERS).map(|_| server.post("/api/v1/models", &body))).await;

    assert_eq!(count(&replies, StatusCode::CREATED), 1);
    let mut created = Vec::new();
    for reply in replies {
        if reply.status == StatusCode::CREATED {
            created.push(reply.body);
        } else {
            reply.expect_problem(409, "name-taken");
        }
    }
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!(created));
}

#[tokio::test]
async fn creations_with_different_names_all_win() {
    let server = start().await;

    let ids = join_all(
        (0..CALLERS).map(async |caller| server.create_model(&format!("Model {caller}"), &[], &["p"]).await),
    )
    .await;

    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), CALLERS);
    assert_eq!(server.get("/api/v1/models").await.expect(200).as_array().unwrap().len(), CALLERS);
}

#[tokio::test]
async fn portfolios_added_at_the_same_time_are_all_there() {
    let server = start().await;
    let id = server.create_model("Popular", &[], &["first"]).await;
    let path = format!("/api/v1/model/{id}/portfolio");

    let replies = join_all(
        (0..CALLERS)
            .map(async |caller| server.post(&path, &json!({ "portfolios": [format!("p{caller}")] })).await),
    )
    .await;

    let versions: BTreeSet<i64> =
        replies.into_iter().map(|reply| reply.expect(200)["version"].as_i64().unwrap()).collect();
    let model = server.get(&format!("/api/v1/model/{id}")).await.expect(200);
    let portfolios: BTreeSet<&str> =
        model["portfolios"].as_array().unwrap().iter().map(|portfolio| portfolio.as_str().unwrap()).collect();
    assert_eq!(versions, (2..).take(CALLERS).collect());
    assert_eq!(model["version"], CALLERS + 1);
    assert_eq!(portfolios.len(), CALLERS + 1);
}

#[tokio::test]
async fn positions_and_portfolios_changed_at_the_same_time_are_all_there() {
    let server = start().await;
    let id = server.create_model("Busy", &[], &["first"]).await;
    let path = format!("/api/v1/model/{id}");
    let security = |caller: usize| format!("{caller:0>24}");

    join_all((0..CALLERS / 2).map(async |caller| {
        let added = position(&security(caller), "0.005", "0", "0.01");
        let portfolio = json!({ "portfolios": [format!("p{caller}")] });
        let (with_position, with_portfolio) = (format!("{path}/position"), format!("{path}/portfolio"));
        let both = join(server.post(&with_position, &added), server.post(&with_portfolio, &portfolio));
        let (position, portfolio) = both.await;
        (position.expect(200), portfolio.expect(200))
    }))
    .await;

    let model = server.get(&path).await.expect(200);
    assert_eq!(model["version"], CALLERS + 1);
    assert_eq!(model["positions"].as_array().unwrap().len(), CALLERS / 2);
    assert_eq!(model["portfolios"].as_array().unwrap().len(), CALLERS / 2 + 1);
}

#[tokio::test]
async fn of_deletions_of_one_model_exactly_one_wins() {
    let server = start().await;
    let id = server.create_model("Doomed", &[], &["p"]).await;
    let path = format!("/api/v1/model/{id}?version=1");

    let replies = join_all((0..CALLERS).map(|_| server.delete(&path))).await;

    assert_eq!(count(&replies, StatusCode::NO_CONTENT), 1);
    assert_eq!(count(&replies, StatusCode::NOT_FOUND), CALLERS - 1);
}

#[tokio::test]
async fn edits_and_rebalances_at_the_same_time_lose_neither() {
    let server = start().await;
    let security = server.security("AAPL");
    server.sandbox.accounting.fund("p", Decimal::from(100_000), &[]);
    let id = server.create_model("Busy", &[position(&security, "0.5", "0.05", "0.05")], &["p"]).await;
    let path = format!("/api/v1/model/{id}");

    // A manager who edits ten times, each time what the last reply said.
    let edits = async {
        let mut model = server.get(&path).await.expect(200);
        for edit in 0..10 {
            let mut body = model.clone();
            body["name"] = json!(format!("Edit {edit}"));
            model = server.put(&path, &body).await.expect(200);
        }
        model
    };
    let rebalances = join_all((0..10).map(|_| server.rebalance_model(&id)));
    let (edited, rebalances) = join(edits, rebalances).await;

    let ids: BTreeSet<String> = rebalances
        .into_iter()
        .map(|reply| reply.expect(200)[0]["rebalance_id"].as_str().unwrap().to_owned())
        .collect();
    let model = server.get(&path).await.expect(200);
    let kept = server.get("/api/v1/rebalances?limit=100").await.expect(200);
    let kept = kept.as_array().unwrap();
    let kept_ids: BTreeSet<String> =
        kept.iter().map(|rebalance| rebalance["rebalance_id"].as_str().unwrap().to_owned()).collect();
    let latest = kept.iter().map(|rebalance| rebalance["rebalance_date"].as_str().unwrap()).max();
    assert_eq!((ids.len(), kept_ids), (10, ids));
    assert_eq!((&model["name"], &model["version"]), (&json!("Edit 9"), &json!(11)));
    assert_eq!((&edited["name"], &edited["version"]), (&model["name"], &model["version"]));
    assert_eq!(model["last_rebalance_date"], latest.map_or(Value::Null, |latest| json!(latest)));
}
