//! The statements of the embedded store, by the bare driver.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{FromRow, SqliteConnection};
use store_sqlite::SqliteStore;

use super::store::{Stencil, now};
use super::{Content, Position};

pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    positions: Stencil,
    header: HeaderRow,
    portfolios: Vec<PortfolioRow>,
}

const PATIENCE: Duration = Duration::from_secs(30);

const MODEL: &str = "\
    SELECT name, positions, rules, last_rebalance_date, version, created_at,
           (SELECT json_group_array(portfolio_id ORDER BY ordinal)
              FROM model_portfolios WHERE model_id = models.id) AS followers
      FROM models WHERE id = ?";

#[derive(FromRow)]
#[expect(dead_code, reason = "to read them is the work")]
struct ModelRow {
    name: String,
    positions: String,
    rules: Option<String>,
    last_rebalance_date: Option<i64>,
    version: i64,
    created_at: i64,
    followers: String,
}

#[derive(FromRow)]
struct HeaderRow {
    model_id: String,
    model_name: String,
    number_of_portfolios: i64,
    rules: Option<String>,
    failed: String,
    version: i64,
}

#[derive(FromRow)]
struct PortfolioRow {
    portfolio_id: String,
    market_value: String,
    cash_before: String,
    cash_after: String,
    trading_costs: String,
    optimality: String,
    positions: String,
}

const PORTFOLIOS: &str = "\
    SELECT portfolio_id, market_value, cash_before, cash_after, trading_costs, optimality, positions
      FROM rebalance_portfolios WHERE rebalance_id = ? ORDER BY ordinal";

impl Sqlite {
    pub(super) async fn open(path: &Path, like: &Path) -> Result<Self> {
        let tables =
            store_sqlite::Config { path: path.to_owned(), max_connections: 1, busy_timeout: PATIENCE };
        SqliteStore::open(&tables).await?.close().await;
        let connecting = |path: &Path| SqliteConnectOptions::new().filename(path).foreign_keys(true);

        let service = SqlitePool::connect_with(connecting(like).read_only(true)).await?;
        let (model_id, rebalance_id): (String, String) =
            sqlx::query_as("SELECT model_id, id FROM rebalances").fetch_one(&service).await?;
        let model: ModelRow = sqlx::query_as(MODEL).bind(model_id).fetch_one(&service).await?;
        let header = "SELECT * FROM rebalances WHERE id = ?";
        let header: HeaderRow = sqlx::query_as(header).bind(&rebalance_id).fetch_one(&service).await?;
        let portfolios: Vec<PortfolioRow> =
            sqlx::query_as(PORTFOLIOS).bind(&rebalance_id).fetch_all(&service).await?;
        service.close().await;

        let securities = securities(&model.positions)?;
        let writing =
            connecting(path).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        Ok(Self {
            writer: pool(1).connect_with(writing).await?,
            readers: pool(32).connect_with(connecting(path).read_only(true)).await?,
            positions: Stencil::new(model.positions.as_bytes(), &words(&securities))?,
            header,
            portfolios,
        })
    }

    pub(super) async fn insert_model(&self, id: &str, model: &Content) -> Result<()> {
        let positions = self.positions.with(&words(&model.positions))?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO models (id, name, positions, rules, last_rebalance_date, version, created_at)
             VALUES (?, ?, ?, NULL, NULL, 1, ?)",
        )
        .bind(id)
        .bind(&model.name)
        .bind(String::from_utf8(positions)?)
        .bind(now()?)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO model_portfolios (model_id, ordinal, portfolio_id)
             SELECT ?, key, value FROM json_each(?)",
        )
        .bind(id)
        .bind(serde_json::to_string(&model.portfolios)?)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    pub(super) async fn model(&self, id: &str) -> Result<Content> {
        let row: ModelRow = sqlx::query_as(MODEL).bind(id).fetch_one(&self.readers).await?;
        Ok(Content {
            positions: securities(&row.positions)?,
            portfolios: serde_json::from_str(&row.followers)?,
            name: row.name,
        })
    }

    pub(super) async fn record(&self, id: &str, model: &str) -> Result<()> {
        let date = now()?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO rebalances (id, model_id, model_name, rebalance_date, number_of_portfolios,
                                     rules, failed, version, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(model)
        .bind(&self.header.model_name)
        .bind(date)
        .bind(self.header.number_of_portfolios)
        .bind(&self.header.rules)
        .bind(&self.header.failed)
        .bind(self.header.version)
        .bind(date)
        .execute(&mut *transaction)
        .await?;
        self.insert_portfolios(&mut transaction, id).await?;
        sqlx::query(
            "UPDATE models SET last_rebalance_date = max(coalesce(last_rebalance_date, ?1), ?1) WHERE id = ?2",
        )
        .bind(date)
        .bind(model)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    async fn insert_portfolios(&self, transaction: &mut SqliteConnection, id: &str) -> Result<()> {
        let mut query = sqlx::QueryBuilder::<sqlx::Sqlite>::new(
            "INSERT INTO rebalance_portfolios (rebalance_id, ordinal, portfolio_id, market_value,
                                               cash_before, cash_after, trading_costs, optimality,
                                               positions) ",
        );
        query.push_values(self.portfolios.iter().zip(0_i64..), |mut values, (row, ordinal)| {
            values
                .push_bind(id)
                .push_bind(ordinal)
                .push_bind(&row.portfolio_id)
                .push_bind(&row.market_value)
                .push_bind(&row.cash_before)
                .push_bind(&row.cash_after)
                .push_bind(&row.trading_costs)
                .push_bind(&row.optimality)
                .push_bind(&row.positions);
        });
        query.build().execute(transaction).await?;
        Ok(())
    }

    /// The model it is of.
    pub(super) async fn read_record(&self, id: &str) -> Result<String> {
        let header = "SELECT * FROM rebalances WHERE id = ?";
        let header: HeaderRow = sqlx::query_as(header).bind(id).fetch_one(&self.readers).await?;
        let portfolios: Vec<PortfolioRow> =
            sqlx::query_as(PORTFOLIOS).bind(id).fetch_all(&self.readers).await?;
        anyhow::ensure!(portfolios.len() == self.portfolios.len(), "portfolios are missing");
        Ok(header.model_id)
    }
}

fn securities(positions: &str) -> Result<Vec<Position>> {
    #[derive(serde::Deserialize)]
    struct Kept {
        security: String,
    }
    let kept: Vec<Kept> = serde_json::from_str(positions).context("no positions")?;
    Ok(kept.into_iter().map(|kept| Position { security_id: kept.security }).collect())
}

fn words(positions: &[Position]) -> Vec<&[u8]> {
    positions.iter().map(|position| position.security_id.as_bytes()).collect()
}
