//! What a crash between two steps leaves, and who removes it.

use std::time::Duration;

use application::order_generation::ports::{Ending, Holder, Lease, Page, RebalanceRepository, RebalanceRuns};
use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use domain::order_generation::progress::{Progress, Reason, RebalanceStatus};
use domain::order_generation::rebalance::RebalanceHeader;
use domain::version::Version;
use mongodb::Database;
use port_contracts::fixtures::{portfolio, portfolios, rebalance};
use store_mongodb::MongoStore;

use crate::server::{config, deployments, fresh, kept_apart};

async fn kept(database: &Database) -> u64 {
    database.collection::<Document>("rebalance_portfolios").count_documents(doc! {}).await.unwrap()
}

async fn notes(database: &Database) -> u64 {
    database.collection::<Document>("rebalance_leftovers").count_documents(doc! {}).await.unwrap()
}

async fn make_overdue(database: &Database) {
    let long_ago = doc! { "$set": { "since": DateTime::from_millis(1_000_000_000_000) } };
    database.collection::<Document>("rebalance_leftovers").update_many(doc! {}, long_ago).await.unwrap();
}

#[tokio::test]
async fn portfolios_whose_header_never_came_are_seen_by_nobody_and_removed_in_time() {
    for url in deployments() {
        let (store, guard) = fresh(url.clone()).await;
        let database = guard.database().await;
        let whole = kept_apart(1, &["p1", "p2"]);
        let cut = kept_apart(2, &["p1", "p2", "p3"]);
        store.record(&whole).await.unwrap();
        store.record(&cut).await.unwrap();
        let headers = database.collection::<Document>("rebalances");
        let id = ObjectId::from_bytes(cut.header.id.bytes());
        let header = headers.find_one_and_delete(doc! { "_id": id }).await.unwrap().unwrap();
        let recording = header.get_object_id("recording").unwrap();
        let note = doc! { "_id": recording, "rebalance_id": id, "since": DateTime::now() };
        database.collection::<Document>("rebalance_leftovers").insert_one(note).await.unwrap();

        assert!(store.open(&cut.header.id).await.unwrap().is_none());
        assert_eq!(store.find_portfolio(&cut.header.id, &portfolio("p3")).await.unwrap(), None);
        assert_eq!(store.containing(&portfolios(&["p1"]), Page::default()).await.unwrap(), [whole]);

        started_again(&url, &guard.name).await;
        assert_eq!(kept(&database).await, 5, "they may be of a call under way");
        make_overdue(&database).await;
        started_again(&url, &guard.name).await;
        assert_eq!((kept(&database).await, notes(&database).await), (2, 0));
    }
}

#[tokio::test]
async fn what_was_recorded_is_no_leftover_even_where_the_note_stayed() {
    for url in deployments() {
        let (store, guard) = fresh(url.clone()).await;
        let database = guard.database().await;
        let given = kept_apart(1, &["p1", "p2"]);
        store.record(&given).await.unwrap();
        assert_eq!(notes(&database).await, 0);
        let headers = database.collection::<Document>("rebalances");
        let header = headers.find_one(doc! {}).await.unwrap().unwrap();
        let note = doc! { "_id": header.get_object_id("recording").unwrap(),
        "rebalance_id": header.get_object_id("_id").unwrap() };
        database.collection::<Document>("rebalance_leftovers").insert_one(note).await.unwrap();
        make_overdue(&database).await;

        started_again(&url, &guard.name).await;

        assert_eq!((kept(&database).await, notes(&database).await), (2, 0));
        let opened = store.open(&given.header.id).await.unwrap().unwrap();
        assert_eq!(opened.whole().await.unwrap(), given);
    }
}

#[tokio::test]
async fn the_portfolios_of_a_deleted_rebalance_are_removed_in_time() {
    for url in deployments() {
        let (store, guard) = fresh(url.clone()).await;
        let database = guard.database().await;
        for n in [1, 2] {
            store.record(&kept_apart(n, &["p1", "p2"])).await.unwrap();
        }
        let [first, second] = [1, 2].map(|n| rebalance(n, &[]).header);

        RebalanceRepository::delete(&store, &first.id, first.version).await.unwrap();
        assert_eq!(kept(&database).await, 4, "someone may be reading them");
        make_overdue(&database).await;
        RebalanceRepository::delete(&store, &second.id, second.version).await.unwrap();

        assert_eq!((kept(&database).await, notes(&database).await), (2, 1));
    }
}

async fn started_again(url: &str, database: &str) {
    let store = MongoStore::connect(&config(url.to_owned(), database)).await.unwrap();
    store.prepare().await.unwrap();
}

#[tokio::test]
async fn a_small_rebalance_leaves_nothing() {
    for url in deployments() {
        let (store, guard) = fresh(url.clone()).await;
        let database = guard.database().await;
        let given = rebalance(1, &["p1", "p2"]);
        store.record(&given).await.unwrap();

        RebalanceRepository::delete(&store, &given.header.id, given.header.version).await.unwrap();

        assert_eq!((kept(&database).await, notes(&database).await), (0, 0));
    }
}

const LEASE: Lease = Lease { holder: Holder::new(1), length: Duration::from_mins(1) };

async fn start(store: &MongoStore, n: u64) -> RebalanceHeader {
    let status = RebalanceStatus::Running(Progress { total: 9, ..Progress::default() });
    let run = RebalanceHeader { status, ..rebalance(n, &[]).header };
    store.start(&run, LEASE).await.unwrap();
    let portfolios = rebalance(n, &["p1", "p2"]).portfolios;
    assert!(store.append(&run.id, LEASE.holder, 0, &portfolios).await.unwrap());
    run
}

fn outage() -> Reason {
    Reason { code: "outage".to_owned(), detail: "nobody answered".to_owned() }
}

#[tokio::test]
async fn the_portfolios_of_runs_that_do_not_complete_are_removed_in_time() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let database = guard.database().await;
        let [cancelled, failed, lost, deleted] =
            [start(&store, 1).await, start(&store, 2).await, start(&store, 3).await, start(&store, 4).await];
        make_overdue(&database).await;
        store.expire(&outage()).await.unwrap();
        assert_eq!(kept(&database).await, 8, "they all run still");

        store.cancel(&cancelled.id, Version::FIRST).await.unwrap();
        let ending = Ending { failure: Some(outage()), rebalanced: 2, failed: Vec::new() };
        assert!(store.finish(&failed.id, LEASE.holder, &ending).await.unwrap());
        RebalanceRepository::delete(&store, &deleted.id, Version::FIRST).await.unwrap();
        let long_ago = doc! { "$set": { "lease.until": DateTime::from_millis(0) } };
        let of_lost = doc! { "_id": ObjectId::from_bytes(lost.id.bytes()) };
        database.collection::<Document>("rebalances").update_one(of_lost, long_ago).await.unwrap();
        assert_eq!(store.expire(&outage()).await.unwrap(), [lost.id]);
        assert_eq!(kept(&database).await, 8, "someone may be adding to them");

        make_overdue(&database).await;
        store.expire(&outage()).await.unwrap();
        assert_eq!((kept(&database).await, notes(&database).await), (0, 0));
    }
}

#[tokio::test]
async fn a_run_that_takes_longer_than_leftovers_stay_keeps_its_portfolios() {
    for url in deployments() {
        let (store, guard) = fresh(url.clone()).await;
        let database = guard.database().await;
        let run = start(&store, 1).await;

        make_overdue(&database).await;
        started_again(&url, &guard.name).await;
        let portfolios = rebalance(1, &["p3"]).portfolios;
        assert!(store.append(&run.id, LEASE.holder, 2, &portfolios).await.unwrap());
        make_overdue(&database).await;
        started_again(&url, &guard.name).await;
        let ending = Ending { failure: None, rebalanced: 3, failed: Vec::new() };
        assert!(store.finish(&run.id, LEASE.holder, &ending).await.unwrap());

        assert_eq!((kept(&database).await, notes(&database).await), (3, 0));
        let whole = store.open(&run.id).await.unwrap().unwrap().whole().await.unwrap();
        assert_eq!(whole.portfolios, rebalance(1, &["p1", "p2", "p3"]).portfolios);
    }
}
