//! The store that the settings pick, whichever it is.

use anyhow::Context;
use application::health::StoreProbe;
use application::idempotency::IdempotencyKeys;
use application::order_generation::ports::{ModelRepository, RebalanceRepository, RebalanceRuns};
use store_mongodb::MongoStore;
use store_sqlite::SqliteStore;

use crate::config::{self, Location};

#[derive(Clone)]
pub(crate) enum Store {
    Sqlite(SqliteStore),
    Mongodb(MongoStore),
}

/// One store, as each of the ports that it meets.
pub(crate) struct Ports {
    pub(crate) models: Box<dyn ModelRepository>,
    pub(crate) rebalances: Box<dyn RebalanceRepository>,
    pub(crate) runs: Box<dyn RebalanceRuns>,
    pub(crate) idempotency_keys: Box<dyn IdempotencyKeys>,
    pub(crate) probe: Box<dyn StoreProbe>,
}

/// A pool, how many of its connections are used, and how many idle.
pub(crate) type Pool = (&'static str, u64, u64);

impl Store {
    /// A file is opened and brought up to date; a server need not be there yet.
    pub(crate) async fn open(config: &config::Store) -> anyhow::Result<Self> {
        let max_connections = config.max_connections.get();
        match config.location()? {
            Location::Sqlite(path) => {
                let config = store_sqlite::Config { path, max_connections, busy_timeout: config.timeout };
                let store = SqliteStore::open(&config).await.context("DATABASE_URL (store.url)")?;
                Ok(Self::Sqlite(store))
            }
            Location::Mongodb { url, database } => {
                let config = store_mongodb::Config {
                    url,
                    database,
                    timeout: config.timeout,
                    min_pool_size: config.min_connections.min(max_connections),
                    max_pool_size: max_connections,
                    idle_timeout: config.idle_timeout,
                };
                let refused = "DATABASE_URL, DATABASE_NAME (store.url, store.name)";
                Ok(Self::Mongodb(MongoStore::connect(&config).await.context(refused)?))
            }
        }
    }

    /// As OpenTelemetry names it.
    pub(crate) fn system(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Mongodb(_) => "mongodb",
        }
    }

    pub(crate) fn pools(&self) -> Vec<Pool> {
        match self {
            Self::Sqlite(store) => {
                let (readers, writer) = (store.readers(), store.writer());
                vec![("readers", readers.used, readers.idle), ("writer", writer.used, writer.idle)]
            }
            Self::Mongodb(store) => {
                let connections = store.connections();
                vec![("mongodb", connections.used, connections.idle)]
            }
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        fn ports<S>(store: &S) -> Ports
        where
            S: ModelRepository
                + RebalanceRepository
                + RebalanceRuns
                + IdempotencyKeys
                + StoreProbe
                + Clone
                + 'static,
        {
            Ports {
                models: Box::new(store.clone()),
                rebalances: Box::new(store.clone()),
                runs: Box::new(store.clone()),
                idempotency_keys: Box::new(store.clone()),
                probe: Box::new(store.clone()),
            }
        }
        match self {
            Self::Sqlite(store) => ports(store),
            Self::Mongodb(store) => ports(store),
        }
    }

    /// Makes what the store lacks: tables, indexes. Harmless where nothing is lacking.
    pub(crate) async fn prepare(&self) -> anyhow::Result<()> {
        match self {
            // To open it was to prepare it.
            Self::Sqlite(_) => Ok(()),
            Self::Mongodb(store) => Ok(store.prepare().await?),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Mongodb(store) => store.close().await,
        }
    }
}
