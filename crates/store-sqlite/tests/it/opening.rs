//! What can be opened, and what closing leaves behind.

use std::error::Error as _;
use std::path::Path;

use application::health::Probe;
use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use futures_util::future::join_all;
use port_contracts::fixtures::{assert_same_to_the_digit, model, rebalance, trading_rules};
use sqlx::migrate::Migrator;
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

/// As the release before trading rules wrote it.
const OF_THE_FIRST_RELEASE: &str = r#"
    INSERT INTO models VALUES (
        '000000000000000000000001', 'balanced',
        '[{"security":"Stock0000000000000000000","target":"0.60","low_drift":"0.020","high_drift":"0.05"},
          {"security":"Stock0000000000000000001","target":"0.35","low_drift":"0.020","high_drift":"0.05"}]',
        1700000000123, 1, 1700000000123);
    INSERT INTO model_portfolios VALUES ('000000000000000000000001', 0, 'p1');
    INSERT INTO rebalances VALUES (
        '000000000000000000000001', '000000000000000000000001', 'balanced', 1700000000123, 1, '[]', 1,
        1700000000123);
    INSERT INTO rebalance_portfolios VALUES (
        '000000000000000000000001', 0, 'p1', '100000.00', '40000', '25000.10',
        '{"status":"OPTIMAL","objective":"12.50","lower_bound":"12.50","method":"OWN_BEST"}',
        '[{"security":"Stock0000000000000000000","price":"99.9993","original_quantity":"600",
           "adjusted_quantity":"750","original_value":"60000.00","adjusted_value":"74999.475",
           "target":"0.75","high_drift":"0.050","low_drift":"0.02","actual":"0.749994750000000000",
           "actual_drift":"-0.0000070000000000000","outside_band":false,
           "trade":{"side":"BUY","quantity":150}},
          {"security":"Stock0000000000000000001","price":"99.9993","original_quantity":"600",
           "adjusted_quantity":"750","original_value":"60000.00","adjusted_value":"74999.475",
           "target":"0.75","high_drift":"0.050","low_drift":"0.02","actual":"0.749994750000000000",
           "actual_drift":"-0.0000070000000000000","outside_band":false,"trade":null}]');
"#;

#[tokio::test]
async fn a_database_of_the_first_release_is_read_and_written() {
    let directory = tempfile::tempdir().unwrap();
    let migrations = directory.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    let first = "0001_order_generation.sql";
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    std::fs::copy(ours.join(first), migrations.join(first)).unwrap();
    let path = directory.path().join("store.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.journal_mode(SqliteJournalMode::Wal).connect().await.unwrap();
    Migrator::new(migrations).await.unwrap().run(&mut connection).await.unwrap();
    sqlx::raw_sql(OF_THE_FIRST_RELEASE).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let store = open(&path).await;

    let (mut model, rebalance) = (model(1, "balanced"), rebalance(1, &["p1"]));
    model.last_rebalance_date = Some(rebalance.header.date);
    let models = ModelRepository::list(&store, &[], Page::default()).await.unwrap();
    assert_same_to_the_digit(&models, &vec![model.clone()]);
    let rebalances = RebalanceRepository::list(&store, &[], Page::default()).await.unwrap();
    assert_same_to_the_digit(&rebalances, &vec![rebalance]);
    let mut content = model.content();
    content.rules = trading_rules().pop().unwrap();
    let replaced = store.replace(&model.id, &content, None, model.version).await.unwrap();
    assert_same_to_the_digit(&replaced.content(), &content);
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
