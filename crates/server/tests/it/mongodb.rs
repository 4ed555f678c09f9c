//! The service over a real MongoDB: the same promises, and what becomes of them while the server is
//! away or killed.

mod crash;
mod outage;

use std::collections::BTreeSet;
use std::process::Stdio;

use futures_util::future::join_all;
use serde_json::{Value, json};
use server::config::Config;

use crate::harness::{TestServer, position};
use crate::mongod::{Kind, drop_database, fresh_name, shared};
use crate::process::{Process, run, serve};
use crate::telemetry::figures::Figures;

const KINDS: [Kind; 2] = [Kind::Standalone, Kind::ReplicaSet];

/// Over a database of its own.
pub(crate) fn on(url: &str, database: &str) -> impl Fn(&mut Config) {
    move |config| {
        url.clone_into(&mut config.store.url);
        database.clone_into(&mut config.store.name);
        config.http.workers = 4;
    }
}

#[tokio::test]
async fn a_model_is_made_changed_rebalanced_and_removed() {
    for kind in KINDS {
        let Some(url) = shared(kind) else { return };
        let database = fresh_name();
        let mut server = TestServer::start_with(on(&url, &database)).await;
        let (apple, microsoft) = (server.security("AAPL"), server.security("MSFT"));
        server.sandbox.accounting.fund("p1", 100_000.into(), &[]);
        server.sandbox.accounting.fund("p2", 5000.into(), &[(&apple, 30.into())]);
        assert_eq!(server.get("/health/ready").await.expect(200)["status"], "ready");

        let positions = [&apple, &microsoft].map(|security| position(security, "0.40", "0.05", "0.05"));
        let id = server.create_model("Balanced", &positions, &["p1", "p2"]).await;
        let path = format!("/api/v1/model/{id}");
        let model = server.get(&path).await.expect(200);
        assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
        let again = server.post("/api/v1/models", &json!({ "name": "Balanced", "portfolios": ["p"] })).await;
        again.expect_problem(409, "name-taken");

        let winner = of_32_replacements_one_wins(&server, &path, &positions).await;
        assert_eq!(server.get(&path).await.expect(200), winner);

        let elements = server.rebalance_model(&id).await.expect(200);
        assert_eq!(elements.as_array().unwrap().len(), 2);
        let record = server.record_of(&elements[0]).await;
        crate::crash::assert_complete(&record, &elements);
        assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([record]));
        let rebalanced = server.get(&path).await.expect(200);
        assert_eq!(rebalanced["last_rebalance_date"], record["rebalance_date"]);
        assert_eq!(rebalanced["version"], 2);

        server.restart_with(on(&url, &database)).await;
        assert_eq!(server.record_of(&elements[0]).await, record);
        let kept = format!("/api/v1/rebalance/{}", record["rebalance_id"].as_str().unwrap());
        server.delete(&format!("{kept}?version=7")).await.expect_problem(409, "rebalance-modified");
        server.delete(&format!("{kept}?version=1")).await.expect(200);
        server.get(&kept).await.expect_problem(404, "rebalance-not-found");
        server.delete(&format!("{path}?version=2")).await.expect(204);
        assert_eq!(server.get("/api/v1/models").await.expect(200), json!([]));
        server.stop().await;
        drop_database(&url, &database).await;
    }
}

#[tokio::test]
async fn the_connections_of_the_driver_are_told() {
    let Some(url) = shared(Kind::ReplicaSet) else { return };
    let database = fresh_name();
    let mut server = TestServer::start_with(|config| {
        on(&url, &database)(config);
        config.store.min_connections = 3;
    })
    .await;
    server.create_model("Balanced", &[], &["p"]).await;

    let figures = Figures::of(&server).await;

    let count =
        |state: &str| figures.count(&format!("database_connections{{pool=\"mongodb\",state=\"{state}\"}}"));
    assert_eq!(count("used"), 0);
    assert!(1 <= count("idle"), "{:#?}", figures.series);
    server.stop().await;
    drop_database(&url, &database).await;
}

/// The model as the winner was told.
async fn of_32_replacements_one_wins(server: &TestServer, path: &str, positions: &[Value]) -> Value {
    let replies = join_all((0..32).map(async |caller| {
        let body = json!({
            "name": format!("By {caller}"), "positions": positions, "portfolios": ["p1", "p2"], "version": 1,
        });
        server.put(path, &body).await
    }))
    .await;

    let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status.is_success());
    assert_eq!((won.len(), lost.len()), (1, 31));
    for reply in lost {
        reply.expect_problem(409, "model-modified");
    }
    won.into_iter().next().unwrap().body
}

#[tokio::test]
async fn a_store_is_prepared_by_a_command_of_its_own_as_often_as_one_likes() {
    let Some(url) = shared(Kind::ReplicaSet) else { return };
    let (database, folder) = (fresh_name(), tempfile::tempdir().unwrap());
    let variables = [("MONGODB_URL", url.as_str()), ("DATABASE_NAME", &database)];

    for _ in 0..2 {
        let mut migrate = run(&["migrate", "order-generation"], folder.path(), &variables);
        assert_eq!(migrate.stdout(Stdio::null()).status().unwrap().code(), Some(0));
    }

    let store = mongodb::Client::with_uri_str(&url).await.unwrap().database(&database);
    let collections = store.list_collection_names().await.unwrap();
    assert!(collections.iter().any(|name| name == "models"), "{collections:?}");
    let indexes = store.collection::<Value>("models").list_index_names().await.unwrap();
    assert!(indexes.iter().any(|name| name == "name_1"), "{indexes:?}");
    drop_database(&url, &database).await;
}

#[tokio::test]
async fn the_store_is_picked_by_either_variable_and_the_documented_one_wins() {
    let Some(url) = shared(Kind::Standalone) else { return };
    let (database, folder) = (fresh_name(), tempfile::tempdir().unwrap());
    let place = [("HOST", "127.0.0.1"), ("PORT", "0"), ("DATABASE_NAME", database.as_str())];
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut seen = BTreeSet::new();

    for (name, store) in [("MONGODB_URL", url.as_str()), ("DATABASE_URL", "sqlite:store.db")] {
        let variables = [&place[..], &[("MONGODB_URL", &url), (name, store)]].concat();
        let process = Process::start(serve(folder.path(), &[], &variables));
        let body = json!({ "name": "Only here", "portfolios": ["p"] });
        let created = client.post(format!("{}/api/v1/models", process.url)).json(&body).send().await.unwrap();
        assert_eq!(created.status(), 201);
        seen.insert(folder.path().join("store.db").is_file());
    }

    assert_eq!(seen, BTreeSet::from([false, true]));
    drop_database(&url, &database).await;
}
