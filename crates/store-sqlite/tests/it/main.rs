#![expect(clippy::unwrap_used, reason = "Clippy sees no test in the helpers of one")]

mod contention;
mod damage;
mod durability;
mod opening;

use std::path::Path;
use std::time::Duration;

use application::order_generation::ports::RebalanceRepository;
use application::repository::Error;
use domain::identifier::RebalanceId;
use domain::order_generation::rebalance::Rebalance;
use store_sqlite::{Config, SqliteStore};
use tempfile::TempDir;

port_contracts::model_repository!(fresh());
port_contracts::rebalance_repository!(fresh());
port_contracts::idempotency_keys!(fresh());
port_contracts::rebalance_runs!(fresh());

/// A store in a directory of its own, which must outlive it.
async fn fresh() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("store.sqlite")).await;
    (store, directory)
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(&config(path)).await.unwrap()
}

/// A whole rebalance.
async fn read(store: &SqliteStore, id: &RebalanceId) -> Result<Option<Rebalance>, Error> {
    match store.open(id).await? {
        Some(open) => open.whole().await.map(Some),
        None => Ok(None),
    }
}

fn config(path: &Path) -> Config {
    Config { path: path.to_owned(), max_connections: 4, busy_timeout: Duration::from_secs(5) }
}
