//! Many at once, in this process and in another.

use std::time::Duration;

use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use futures_util::StreamExt;
use futures_util::future::join_all;
use port_contracts::fixtures::{give_up_after, model, portfolios, rebalance};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use store_sqlite::{Config, SqliteStore};

use crate::{config, fresh, open};

#[tokio::test]
async fn racing_writers_of_two_processes_are_never_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let stores = [open(&path).await, open(&path).await];

    let writers = (0..32).map(async |n| {
        let store = &stores[usize::try_from(n % 2).unwrap()];
        let mut model = model(n, &format!("model {n}"));
        store.insert(&model).await.unwrap();
        for round in 0..5 {
            model = store.replace(&model.id, &model.content(), None, model.version).await.unwrap();
            store.record(&rebalance(round * 32 + n, &["p1"])).await.unwrap();
        }
    });
    join_all(writers).await;

    let models = ModelRepository::list(&stores[0], &[], Page::default()).await.unwrap();
    assert!(models.iter().all(|model| model.version.get() == 6));
    let rebalances = RebalanceRepository::list(&stores[1], &[], Page::default()).await;
    assert_eq!(rebalances.unwrap().len(), 160);
}

#[tokio::test]
async fn a_file_locked_for_too_long_is_unavailable_to_writers_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::open(&Config { busy_timeout: Duration::from_millis(50), ..config(&path) })
        .await
        .unwrap();
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let refused = store.insert(&model(1, "balanced")).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert_eq!(ModelRepository::list(&store, &[], Page::default()).await.unwrap(), []);

    lock.rollback().await.unwrap();
    store.insert(&model(1, "balanced")).await.unwrap();
}

#[tokio::test]
async fn readers_that_stop_reading_keep_no_connection_from_others() {
    let (store, _directory) = fresh().await;
    let given = rebalance(1, &["p3", "p1", "p2"]);
    store.record(&given).await.unwrap();

    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut portfolios = store.open(&given.header.id).await.unwrap().unwrap().into_portfolios();
        portfolios.next().await.unwrap().unwrap();
        stalled.push(portfolios);
    }

    assert_eq!(store.open(&given.header.id).await.unwrap().unwrap().whole().await.unwrap(), given);
}

#[tokio::test]
async fn a_read_given_up_keeps_neither_its_connection_nor_its_view() {
    let (store, directory) = fresh().await;
    let names = ["p1"; 200];
    for n in 0..3 {
        store.record(&rebalance(n, &names)).await.unwrap();
    }

    for polls in 0..40 {
        let list = RebalanceRepository::list(&store, &[], Page::default());
        give_up_after(polls, list).await;
        let p1 = portfolios(&["p1"]);
        give_up_after(polls, store.containing(&p1, Page::default())).await;
    }

    assert_eq!(store.containing(&portfolios(&["p1"]), Page::default()).await.unwrap().len(), 3);
    let path = directory.path().join("store.sqlite");
    let mut other = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut other).await.unwrap();
    assert_eq!(busy, 0);
}
