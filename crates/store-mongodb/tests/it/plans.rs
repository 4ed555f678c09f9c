//! How the server finds what it is asked for, told by its own profiler.

use std::time::Duration;

use application::idempotency::{Answer, Claim, Fingerprint, IdempotencyKeys, Key, OperationId};
use application::order_generation::ports::{
    Direction, Ending, Holder, Lease, ModelKey, ModelRepository, Page, RebalanceKey, RebalanceRepository,
    RebalanceRuns,
};
use bson::{Document, doc};
use domain::order_generation::progress::{Progress, Reason, RebalanceStatus};
use domain::order_generation::rebalance::RebalanceHeader;
use domain::version::Version;
use futures_util::TryStreamExt;
use port_contracts::fixtures::{minute, model, portfolio, portfolios, rebalance};
use store_mongodb::MongoStore;

use crate::server::{deployments, fresh, kept_apart};

#[tokio::test]
async fn no_call_makes_the_server_read_a_whole_collection_or_sort_in_memory() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        store.prepare().await.unwrap();
        for n in 0..50 {
            let mut given = model(n, &format!("model {n}"));
            given.created_at = minute(i64::try_from(n).unwrap());
            store.insert(&given).await.unwrap();
        }
        let database = guard.database().await;
        database.run_command(doc! { "profile": 2 }).await.unwrap();

        every_call(&store).await;

        database.run_command(doc! { "profile": 0 }).await.unwrap();
        let profile = database.collection::<Document>("system.profile");
        let planned = profile.find(doc! { "planSummary": { "$exists": true } }).await.unwrap();
        let planned: Vec<Document> = planned.try_collect().await.unwrap();
        assert!(20 < planned.len(), "{}", planned.len());
        for operation in planned {
            let summary = operation.get_str("planSummary").unwrap();
            assert!(!summary.contains("COLLSCAN"), "{operation}");
            let gathers = operation.get_str("ns").unwrap().ends_with("rebalances")
                && operation.to_string().contains("$or");
            assert!(gathers || !operation.get_bool("hasSortStage").unwrap_or(false), "{operation}");
        }
    }
}

async fn every_call(store: &MongoStore) {
    let page = Page { offset: 1, limit: Some(5) };
    let first = model(1, "model 1");
    ModelRepository::find(store, &first.id).await.unwrap();
    ModelRepository::list(store, &[], page).await.unwrap();
    for key in [ModelKey::Id, ModelKey::Name, ModelKey::LastRebalanceDate] {
        for direction in [Direction::Ascending, Direction::Descending] {
            ModelRepository::list(store, &[(key, direction)], page).await.unwrap();
        }
    }
    store.newest_followed_by(&portfolio("p1")).await.unwrap();
    store.replace(&first.id, &first.content(), Some(minute(1)), first.version).await.unwrap();
    store.replace(&first.id, &first.content(), None, first.version).await.unwrap_err();
    ModelRepository::delete(store, &first.id, first.version.next()).await.unwrap();

    for n in 0..10 {
        store.record(&rebalance(n, &["p1", "p2"])).await.unwrap();
        store.record(&kept_apart(100 + n, &["p1", "p2"])).await.unwrap();
    }
    store.record(&rebalance(1, &["p1"])).await.unwrap_err();
    for recorded in [rebalance(1, &[]).header, rebalance(101, &[]).header] {
        store.open(&recorded.id).await.unwrap().unwrap().whole().await.unwrap();
        store.find_portfolio(&recorded.id, &portfolio("p2")).await.unwrap();
    }
    RebalanceRepository::list(store, &[], page).await.unwrap();
    let keys =
        [RebalanceKey::Id, RebalanceKey::ModelName, RebalanceKey::Date, RebalanceKey::NumberOfPortfolios];
    for key in keys {
        for direction in [Direction::Ascending, Direction::Descending] {
            RebalanceRepository::list(store, &[(key, direction)], page).await.unwrap();
        }
    }
    store.containing(&portfolios(&["p1", "p9"]), page).await.unwrap();
    every_call_for_a_key(store).await;
    every_call_of_runs(store).await;
    for recorded in [rebalance(1, &[]).header, rebalance(101, &[]).header] {
        RebalanceRepository::delete(store, &recorded.id, recorded.version).await.unwrap();
    }
}

async fn every_call_for_a_key(store: &MongoStore) {
    let key = Key::new("POST /api/v1/models", "k").unwrap();
    let holder = |n| OperationId([n; 12]);
    let claim = |n| Claim {
        fingerprint: Fingerprint([0; 32]),
        proposed: holder(n),
        lease: Duration::ZERO,
        kept_for: Duration::from_hours(1),
    };
    for n in 0..3 {
        store.claim(&key, &claim(n)).await.unwrap();
    }
    assert!(IdempotencyKeys::renew(store, &key, holder(2), Duration::ZERO).await.unwrap());
    store.suspend(&key, holder(2)).await.unwrap();
    store.release(&key, holder(2)).await.unwrap();
    let answer = Answer { status: 201, headers: Vec::new(), body: None };
    assert!(store.answer(&key, holder(2), &answer).await.unwrap());
}

async fn every_call_of_runs(store: &MongoStore) {
    let lease = Lease { holder: Holder::new(1), length: Duration::ZERO };
    let reason = Reason { code: "interrupted".to_owned(), detail: String::new() };
    let completed = Ending { failure: None, rebalanced: 2, failed: Vec::new() };
    let failed = Ending { failure: Some(reason.clone()), ..completed.clone() };
    for n in 200..204 {
        let status = RebalanceStatus::Running(Progress::default());
        let run = RebalanceHeader { status, ..rebalance(n, &[]).header };
        store.start(&run, lease).await.unwrap();
        store.append(&run.id, lease.holder, 0, &rebalance(n, &["p1", "p2"]).portfolios).await.unwrap();
        RebalanceRuns::renew(store, &run.id, lease, Progress::default()).await.unwrap();
        match n {
            200 => assert!(store.finish(&run.id, lease.holder, &completed).await.unwrap()),
            201 => assert!(store.finish(&run.id, lease.holder, &failed).await.unwrap()),
            202 => store.cancel(&run.id, Version::FIRST).await.unwrap(),
            _ => {}
        }
    }
    store.expire(&reason).await.unwrap();
}
