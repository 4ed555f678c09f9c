//! The servers under test, which `cargo xtask test` starts, and a database of its own for each test.

use std::time::Duration;

use domain::order_generation::rebalance::Rebalance;
use mongodb::{Client, Database};
use port_contracts::fixtures::{rebalance, rebalanced_position};
use store_mongodb::{Config, MongoStore};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// `None` where there is none to test with.
pub(crate) fn standalone() -> Option<String> {
    address("TEST_MONGODB_STANDALONE_URL")
}

/// `None` where there is none to test with.
pub(crate) fn replica_set() -> Option<String> {
    address("TEST_MONGODB_REPLICA_URL")
}

/// Those there are.
pub(crate) fn deployments() -> Vec<String> {
    [standalone(), replica_set()].into_iter().flatten().collect()
}

fn address(variable: &str) -> Option<String> {
    let url = environment("TEST_MONGODB_URL").or_else(|| environment(variable));
    if url.is_none() {
        assert!(environment("CI").is_none(), "{variable} is not set: `cargo xtask test` does it");
        eprintln!("skipped, because {variable} is not set: `cargo xtask test` does it");
    }
    url
}

#[expect(clippy::disallowed_methods, reason = "only so can tests be told where their servers are")]
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

pub(crate) fn config(url: String, database: &str) -> Config {
    Config {
        url,
        database: database.to_owned(),
        timeout: TIMEOUT,
        min_pool_size: 0,
        max_pool_size: 20,
        idle_timeout: Duration::from_mins(1),
    }
}

/// A store in a database of its own, which goes when the guard does.
pub(crate) async fn fresh(url: String) -> (MongoStore, Guard) {
    let guard = Guard::new(url);
    let store = MongoStore::connect(&config(guard.url.clone(), &guard.name)).await.unwrap();
    (store, guard)
}

/// A rebalance whose portfolios are kept in documents of their own: it has too many positions for one.
pub(crate) fn kept_apart(n: u64, names: &[&str]) -> Rebalance {
    let mut large = rebalance(n, names);
    large.portfolios[0].positions = (0..200).map(|idx| rebalanced_position(idx, 5)).collect();
    large
}

pub(crate) struct Guard {
    pub(crate) url: String,
    pub(crate) name: String,
}

impl Guard {
    pub(crate) fn new(url: String) -> Self {
        let name = format!("test_{:016x}", getrandom::u64().unwrap());
        Self { url, name }
    }

    /// Behind the store's back.
    pub(crate) async fn database(&self) -> Database {
        Client::with_uri_str(&self.url).await.unwrap().database(&self.name)
    }
}

impl Drop for Guard {
    /// On a runtime of its own, because that of the test cannot wait for anything here.
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            let dropping = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { self.database().await.drop().await })
            });
            if let Ok(Err(error)) = dropping.join() {
                eprintln!("database {} stays: {error}", self.name);
            }
        });
    }
}
