//! What can be opened, and what closing leaves behind.

use std::error::Error as _;
use std::path::Path;

use application::health::Probe;
use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use futures_util::future::join_all;
use port_contracts::fixtures::{model, rebalance};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};
use store_sqlite::{OpenError, SqliteStore};

use crate::{config, fresh, open};

async fn refusal(path: &Path) -> OpenError {
    let refusal = SqliteStore::open(&config(path)).await.unwrap_err();
    let named = path.display().to_string();
    assert!(refusal.to_string().contains(&named), "{refusal}");
    refusal
}

#[tokio::test]
async fn a_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();

    let refusal = refusal(directory.path()).await;

    assert!(matches!(refusal, OpenError::Directory { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let notes = "Buy low, sell high.\n".repeat(100);
    std::fs::write(&path, &notes).unwrap();

    let refusal = refusal(&path).await;

    let reason = refusal.source().unwrap().to_string();
    assert!(reason.contains("file is not a database"), "{reason}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn a_directory_that_cannot_be_created_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();

    let refusal = refusal(&file.join("store.sqlite")).await;

    assert!(matches!(refusal, OpenError::NoDirectory { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_database_of_a_later_release_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    open(&path).await.close().await;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = options.connect().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999999, 'from the future', TRUE, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();

    let refusal = refusal(&path).await;

    assert!(matches!(refusal, OpenError::Outdated { .. }), "{refusal:?}");
}

#[tokio::test]
async fn missing_directories_are_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b c/ü/store.sqlite");

    let store = open(&path).await;

    store.check().await.unwrap();
    assert!(path.is_file());
}

#[tokio::test]
async fn several_at_once_may_bring_the_tables_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let empty = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let connection = empty.journal_mode(SqliteJournalMode::Wal).connect().await.unwrap();

    let stores = join_all((0..8).map(|_| open(&path))).await;

    connection.close().await.unwrap();
    for (n, store) in (0..).zip(&stores) {
        store.insert(&model(n, &format!("model {n}"))).await.unwrap();
    }
}

#[tokio::test]
async fn all_is_there_when_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let mut model = model(1, "balanced");
    let rebalance = rebalance(1, &["p1", "p2"]);
    let store = open(&path).await;
    store.insert(&model).await.unwrap();
    store.record(&rebalance).await.unwrap();
    store.close().await;

    let store = open(&path).await;

    model.last_rebalance_date = Some(rebalance.header.date);
    let models = ModelRepository::list(&store, &[], Page::default()).await;
    assert_eq!(models.unwrap(), [model]);
    let rebalances = RebalanceRepository::list(&store, &[], Page::default()).await;
    assert_eq!(rebalances.unwrap(), [rebalance]);
}

#[tokio::test]
async fn a_closed_store_is_one_file_and_unavailable() {
    let (store, directory) = fresh().await;
    store.insert(&model(1, "balanced")).await.unwrap();

    store.close().await;

    let files = std::fs::read_dir(directory.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["store.sqlite"]);
    let refused = store.insert(&model(2, "growth")).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert!(store.check().await.is_err());
}
