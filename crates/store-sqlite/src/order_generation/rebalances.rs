//! Kept rebalances: a row each, and one for every portfolio in it.

use std::collections::HashMap;

use application::order_generation::ports::{Direction, Page, RebalanceKey, RebalanceRepository};
use application::repository::{Error, Source};
use async_trait::async_trait;
use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::model::ModelName;
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance};
use domain::version::Version;
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::record;
use super::{push_page, sql};
use crate::SqliteStore;
use crate::failure::{corrupt, failed, taken, unmatched};
use crate::text;

const REBALANCE: &str = "rebalance";

const SELECT: &str = "\
    SELECT id, model_id, model_name, rebalance_date, failed, version, created_at
      FROM rebalances";

const SELECT_PORTFOLIOS: &str = "\
    SELECT rebalance_id, portfolio_id, market_value, cash_before, cash_after, optimality, positions
      FROM rebalance_portfolios";

#[derive(FromRow)]
struct RebalanceRow {
    id: String,
    model_id: String,
    model_name: String,
    rebalance_date: i64,
    failed: String,
    version: i64,
    created_at: i64,
}

impl RebalanceRow {
    fn read(self, portfolios: Vec<PortfolioRebalance>) -> Result<Rebalance, Source> {
        Ok(Rebalance {
            id: self.id.parse()?,
            model: self.model_id.parse()?,
            model_name: ModelName::new(&self.model_name)?,
            date: text::instant(self.rebalance_date)?,
            portfolios,
            failed: record::read_failed(&self.failed)?,
            version: self.version.try_into()?,
            created_at: text::instant(self.created_at)?,
        })
    }
}

#[derive(FromRow)]
struct PortfolioRow {
    rebalance_id: String,
    portfolio_id: String,
    market_value: String,
    cash_before: String,
    cash_after: String,
    optimality: String,
    positions: String,
}

impl PortfolioRow {
    fn of(rebalance: &RebalanceId, portfolio: &PortfolioRebalance) -> Self {
        Self {
            rebalance_id: rebalance.to_string(),
            portfolio_id: portfolio.portfolio.to_string(),
            market_value: portfolio.market_value.to_string(),
            cash_before: portfolio.cash_before.to_string(),
            cash_after: portfolio.cash_after.to_string(),
            optimality: record::optimality(&portfolio.optimality),
            positions: record::rebalanced_positions(&portfolio.positions),
        }
    }
}

impl TryFrom<PortfolioRow> for PortfolioRebalance {
    type Error = Source;

    fn try_from(row: PortfolioRow) -> Result<Self, Source> {
        Ok(Self {
            portfolio: row.portfolio_id.parse()?,
            market_value: Decimal::from_str_exact(&row.market_value)?,
            cash_before: Decimal::from_str_exact(&row.cash_before)?,
            cash_after: Decimal::from_str_exact(&row.cash_after)?,
            optimality: record::read_optimality(&row.optimality)?,
            positions: record::read_rebalanced_positions(&row.positions)?,
        })
    }
}

#[async_trait]
impl RebalanceRepository for SqliteStore {
    async fn record(&self, rebalance: &Rebalance) -> Result<(), Error> {
        // Written out before the lock is taken, so that other writers need not wait for it.
        let rows: Vec<PortfolioRow> =
            rebalance.portfolios.iter().map(|portfolio| PortfolioRow::of(&rebalance.id, portfolio)).collect();

        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        insert_header(&mut transaction, rebalance).await?;
        insert_portfolios(&mut transaction, rows).await.map_err(failed(REBALANCE))?;
        sqlx::query(
            "UPDATE models SET last_rebalance_date = max(coalesce(last_rebalance_date, ?1), ?1)
              WHERE id = ?2",
        )
        .bind(rebalance.date.timestamp_millis())
        .bind(rebalance.model.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))
    }

    async fn find(&self, id: &RebalanceId) -> Result<Option<Rebalance>, Error> {
        let mut query = QueryBuilder::new(SELECT);
        query.push(" WHERE id = ").push_bind(id.to_string());
        Ok(self.rebalances(query).await?.pop())
    }

    async fn list(&self, order: &[(RebalanceKey, Direction)], page: Page) -> Result<Vec<Rebalance>, Error> {
        let mut query = QueryBuilder::new(SELECT);
        query.push(" WHERE id IN (SELECT id FROM rebalances");
        push_order(&mut query, order);
        push_page(&mut query, page);
        query.push(")");
        push_order(&mut query, order);
        self.rebalances(query).await
    }

    async fn containing(&self, portfolios: &[PortfolioId], page: Page) -> Result<Vec<Rebalance>, Error> {
        let names: Vec<&str> = portfolios.iter().map(PortfolioId::as_str).collect();
        let mut query = QueryBuilder::new(SELECT);
        query
            .push(
                " WHERE id IN (SELECT rebalance_id FROM rebalance_portfolios
                                WHERE portfolio_id IN (SELECT value FROM json_each(",
            )
            .push_bind(record::json(&names))
            .push(")))");
        push_order(&mut query, &[]);
        push_page(&mut query, page);
        self.rebalances(query).await
    }

    async fn find_portfolio(
        &self,
        id: &RebalanceId,
        portfolio: &PortfolioId,
    ) -> Result<Option<PortfolioRebalance>, Error> {
        let mut query = QueryBuilder::new(SELECT_PORTFOLIOS);
        query
            .push(" WHERE rebalance_id = ")
            .push_bind(id.to_string())
            .push(" AND portfolio_id = ")
            .push_bind(portfolio.as_str())
            .push(" ORDER BY ordinal LIMIT 1");
        let row: Option<PortfolioRow> =
            query.build_query_as().fetch_optional(&self.readers).await.map_err(failed(REBALANCE))?;
        row.map(|row| row.try_into().map_err(corrupt(REBALANCE))).transpose()
    }

    async fn delete(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        let deleted = sqlx::query("DELETE FROM rebalances WHERE id = ? AND version = ?")
            .bind(id.to_string())
            .bind(expected.get())
            .execute(&mut *transaction)
            .await
            .map_err(failed(REBALANCE))?;
        if deleted.rows_affected() == 0 {
            let version = "SELECT version FROM rebalances WHERE id = ?";
            let id = id.to_string();
            return Err(unmatched(&mut transaction, REBALANCE, version, id, expected).await);
        }
        transaction.commit().await.map_err(failed(REBALANCE))
    }
}

impl SqliteStore {
    /// The rebalances that `headers` selects, whole, as of one moment.
    async fn rebalances(&self, mut headers: QueryBuilder<Sqlite>) -> Result<Vec<Rebalance>, Error> {
        let mut moment = self.read().await.map_err(failed(REBALANCE))?;
        let headers: Vec<RebalanceRow> =
            headers.build_query_as().fetch_all(&mut *moment).await.map_err(failed(REBALANCE))?;
        let mut portfolios = portfolios_of(&mut moment, &headers).await?;
        headers
            .into_iter()
            .map(|header| {
                let portfolios = portfolios.remove(&header.id).unwrap_or_default();
                header.read(portfolios).map_err(corrupt(REBALANCE))
            })
            .collect()
    }
}

async fn portfolios_of(
    moment: &mut SqliteConnection,
    headers: &[RebalanceRow],
) -> Result<HashMap<String, Vec<PortfolioRebalance>>, Error> {
    let ids: Vec<&str> = headers.iter().map(|header| header.id.as_str()).collect();
    let mut query = QueryBuilder::new(SELECT_PORTFOLIOS);
    query
        .push(" WHERE rebalance_id IN (SELECT value FROM json_each(")
        .push_bind(record::json(&ids))
        .push(")) ORDER BY rebalance_id, ordinal");
    let mut rows = query.build_query_as::<PortfolioRow>().fetch(moment);

    let mut portfolios: HashMap<String, Vec<PortfolioRebalance>> = HashMap::new();
    while let Some(mut row) = rows.try_next().await.map_err(failed(REBALANCE))? {
        let rebalance = std::mem::take(&mut row.rebalance_id);
        let portfolio = row.try_into().map_err(corrupt(REBALANCE))?;
        portfolios.entry(rebalance).or_default().push(portfolio);
    }
    Ok(portfolios)
}

fn push_order(query: &mut QueryBuilder<Sqlite>, order: &[(RebalanceKey, Direction)]) {
    query.push(" ORDER BY ");
    for (key, direction) in order {
        let column = match key {
            RebalanceKey::Id => "id",
            RebalanceKey::ModelName => "model_name",
            RebalanceKey::Date => "rebalance_date",
            RebalanceKey::NumberOfPortfolios => "number_of_portfolios",
        };
        query.push(format_args!("{column} {}, ", sql(*direction)));
    }
    query.push("created_at DESC, id DESC");
}

async fn insert_header(transaction: &mut SqliteConnection, rebalance: &Rebalance) -> Result<(), Error> {
    let number_of_portfolios = i64::try_from(rebalance.portfolios.len())
        .expect("a list in memory is shorter than an `i64` can count");
    sqlx::query(
        "INSERT INTO rebalances (id, model_id, model_name, rebalance_date, number_of_portfolios,
                                 failed, version, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(rebalance.id.to_string())
    .bind(rebalance.model.to_string())
    .bind(rebalance.model_name.as_str())
    .bind(rebalance.date.timestamp_millis())
    .bind(number_of_portfolios)
    .bind(record::failed(&rebalance.failed))
    .bind(rebalance.version.get())
    .bind(rebalance.created_at.timestamp_millis())
    .execute(transaction)
    .await
    .map_err(taken(REBALANCE, &rebalance.id.to_string()))?;
    Ok(())
}

/// Several rows to a statement take half the time of one each; more than this gain nothing.
const ROWS_AT_ONCE: usize = 16;

async fn insert_portfolios(
    transaction: &mut SqliteConnection,
    rows: Vec<PortfolioRow>,
) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter().zip(0_i64..).peekable();
    while rows.peek().is_some() {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO rebalance_portfolios (rebalance_id, ordinal, portfolio_id, market_value,
                                               cash_before, cash_after, optimality, positions) ",
        );
        query.push_values(rows.by_ref().take(ROWS_AT_ONCE), |mut values, (row, ordinal)| {
            values
                .push_bind(row.rebalance_id)
                .push_bind(ordinal)
                .push_bind(row.portfolio_id)
                .push_bind(row.market_value)
                .push_bind(row.cash_before)
                .push_bind(row.cash_after)
                .push_bind(row.optimality)
                .push_bind(row.positions);
        });
        query.build().execute(&mut *transaction).await?;
    }
    Ok(())
}
