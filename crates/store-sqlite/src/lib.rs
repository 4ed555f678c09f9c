//! The embedded store: everything in one SQLite file, for a service that runs alone.
//!
//! SQLite admits one writer at a time. So one connection writes, and writers queue for it in order of
//! arrival instead of finding the file busy; the others read the last committed state meanwhile.

#![forbid(unsafe_code)]

mod failure;
mod idempotency;
mod order_generation;
mod text;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use application::chain::Chain;
use application::health::{Probe, StoreProbe};
use application::repository::Source;
use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Takes the write lock at once. To read first and ask for it later would fail with `SQLITE_BUSY` if
/// another process wrote in between.
const WRITE: &str = "BEGIN IMMEDIATE";

/// In KB, as a negative number is understood. Each reader has its own, and the system keeps the file in memory
/// besides: the 2 MB that SQLite takes by itself would be 64 MB for 32 readers, filled over minutes.
const READER_CACHE: &str = "-512";

#[derive(Debug, Clone)]
pub struct Config {
    /// The database file; it and its directory are created when missing.
    pub path: PathBuf,
    /// How many connections read, at least one. One more writes.
    pub max_connections: u32,
    /// How long a call waits for a connection, and for another process that has the file locked.
    pub busy_timeout: Duration,
}

/// A handle on the open database; clones share it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: SqlitePool,
}

/// The connections of a pool right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub used: u64,
    pub idle: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{}` is a directory, not a database file", path.display())]
    Directory { path: PathBuf },
    #[error("cannot create the directory of database `{}`", path.display())]
    NoDirectory { path: PathBuf, source: io::Error },
    #[error("cannot open database `{}`", path.display())]
    Unusable { path: PathBuf, source: sqlx::Error },
    #[error("cannot bring the tables of database `{}` up to date", path.display())]
    Outdated { path: PathBuf, source: MigrateError },
}

impl SqliteStore {
    /// Opens the database and brings its tables up to date.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let path = &config.path;
        if path.is_dir() {
            return Err(OpenError::Directory { path: path.clone() });
        }
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|source| OpenError::NoDirectory { path: path.clone(), source })?;
        }

        let unusable = |source| OpenError::Unusable { path: path.clone(), source };
        let writing = connecting(config)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = pool(config, 1).connect_with(writing).await.map_err(unusable)?;
        migrate(&writer).await.map_err(|source| OpenError::Outdated { path: path.clone(), source })?;
        let reading = connecting(config).read_only(true).pragma("cache_size", READER_CACHE);
        let readers =
            pool(config, config.max_connections.max(1)).connect_with(reading).await.map_err(unusable)?;
        Ok(Self { readers, writer })
    }

    /// Waits for the calls under way, folds the write-ahead log into the file and closes it.
    ///
    /// All clones are closed with it. Nothing is lost without: the next `open` recovers.
    pub async fn close(&self) {
        self.readers.close().await;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        if let Err(error) = checkpoint.execute(&self.writer).await {
            tracing::warn!(
                error = %Chain(&error),
                "the write-ahead log stays beside the database"
            );
        }
        self.writer.close().await;
    }

    /// Of those that read.
    pub fn readers(&self) -> Connections {
        connections(&self.readers)
    }

    /// Of the one that writes.
    pub fn writer(&self) -> Connections {
        connections(&self.writer)
    }

    /// A view of one moment, given up by dropping it.
    async fn read(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.readers.begin().await
    }

    /// Undone when dropped before its commit.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with(WRITE).await
    }
}

#[async_trait]
impl Probe for SqliteStore {
    async fn check(&self) -> Result<(), Source> {
        sqlx::query("SELECT 1 FROM models LIMIT 1").fetch_optional(&self.readers).await?;
        Ok(())
    }
}

#[async_trait]
impl StoreProbe for SqliteStore {
    /// A file that was put in the place of ours has no tables, or those of another version.
    async fn check_prepared(&self) -> Result<(), Source> {
        let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&self.readers)
            .await?;
        match MIGRATIONS.iter().find(|migration| !applied.contains(&migration.version)) {
            None => Ok(()),
            Some(lacking) => {
                Err(format!("the tables lack {}: {}", lacking.version, lacking.description).into())
            }
        }
    }
}

/// All at once, because another process may be opening the same file.
async fn migrate(writer: &SqlitePool) -> Result<(), MigrateError> {
    let mut transaction = writer.begin_with(WRITE).await?;
    MIGRATIONS.run(&mut transaction).await?;
    idempotency::sweep_all(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

fn connections(pool: &SqlitePool) -> Connections {
    let (open, idle) = (u64::from(pool.size()), pool.num_idle() as u64);
    Connections { used: open.saturating_sub(idle), idle }
}

fn connecting(config: &Config) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(&config.path).foreign_keys(true).busy_timeout(config.busy_timeout)
}

/// Connections to a file do not go stale, so they are neither tested nor replaced.
fn pool(config: &Config, size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(config.busy_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}
