//! Kept rebalances: a row each, and one for every portfolio in it.

use application::order_generation::ports::{
    Direction, OpenRebalance, Page, RebalanceKey, RebalanceRepository,
};
use application::repository::{Error, Source};
use async_trait::async_trait;
use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::model::ModelName;
use domain::order_generation::progress::{Progress, RebalanceStatus};
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::version::Version;
use futures_util::stream::{self, Stream};
use rust_decimal::Decimal;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection, SqliteExecutor};

use super::record;
use super::rules::{read_rules, rules};
use super::{push_page, sql};
use crate::SqliteStore;
use crate::failure::{corrupt, failed, taken, unmatched};
use crate::text;

pub(super) const REBALANCE: &str = "rebalance";

const SELECT: &str = "\
    SELECT id, model_id, model_name, rebalance_date, number_of_portfolios, rules, status, portfolios_total,
           portfolios_failed, reason, failed, version, created_at
      FROM rebalances";

pub(super) const VERSION: &str = "SELECT version FROM rebalances WHERE id = ?";

const SELECT_PORTFOLIOS: &str = "\
    SELECT portfolio_id, market_value, cash_before, cash_after, trading_costs, optimality, positions
      FROM rebalance_portfolios";

#[derive(FromRow)]
struct RebalanceRow {
    id: String,
    model_id: String,
    model_name: String,
    rebalance_date: i64,
    number_of_portfolios: i64,
    rules: Option<String>,
    status: String,
    portfolios_total: Option<i64>,
    portfolios_failed: Option<i64>,
    reason: Option<String>,
    failed: String,
    version: i64,
    created_at: i64,
}

impl TryFrom<RebalanceRow> for RebalanceHeader {
    type Error = Source;

    fn try_from(row: RebalanceRow) -> Result<Self, Source> {
        let status = row.status()?;
        Ok(Self {
            id: row.id.parse()?,
            model: row.model_id.parse()?,
            model_name: ModelName::new(&row.model_name)?,
            date: text::instant(row.rebalance_date)?,
            rules: read_rules(row.rules.as_deref())?,
            status,
            failed: record::read_failed(&row.failed)?,
            version: row.version.try_into()?,
            created_at: text::instant(row.created_at)?,
        })
    }
}

impl RebalanceRow {
    fn status(&self) -> Result<RebalanceStatus, Source> {
        let progress = || -> Result<Progress, Source> {
            Ok(Progress {
                total: self.portfolios_total.ok_or("the number of its portfolios is missing")?.try_into()?,
                rebalanced: self.number_of_portfolios.try_into()?,
                failed: self.portfolios_failed.ok_or("the number of failed ones is missing")?.try_into()?,
            })
        };
        match self.status.as_str() {
            RUNNING => Ok(RebalanceStatus::Running(progress()?)),
            COMPLETED => Ok(RebalanceStatus::Completed),
            FAILED => {
                let reason = record::read_reason(self.reason.as_deref().ok_or("its reason is missing")?)?;
                Ok(RebalanceStatus::Failed { reason, progress: progress()? })
            }
            CANCELLED => Ok(RebalanceStatus::Cancelled(progress()?)),
            other => Err(format!("`{other}` is no status").into()),
        }
    }
}

const RUNNING: &str = "RUNNING";
const COMPLETED: &str = "COMPLETED";
const FAILED: &str = "FAILED";
const CANCELLED: &str = "CANCELLED";

#[derive(FromRow)]
pub(super) struct PortfolioRow {
    portfolio_id: String,
    market_value: String,
    cash_before: String,
    cash_after: String,
    trading_costs: String,
    optimality: String,
    positions: String,
}

impl From<&PortfolioRebalance> for PortfolioRow {
    fn from(portfolio: &PortfolioRebalance) -> Self {
        Self {
            portfolio_id: portfolio.portfolio.to_string(),
            market_value: portfolio.market_value.to_string(),
            cash_before: portfolio.cash_before.to_string(),
            cash_after: portfolio.cash_after.to_string(),
            trading_costs: portfolio.trading_costs.to_string(),
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
            trading_costs: Decimal::from_str_exact(&row.trading_costs)?,
            optimality: record::read_optimality(&row.optimality)?,
            positions: record::read_rebalanced_positions(&row.positions)?,
        })
    }
}

#[async_trait]
impl RebalanceRepository for SqliteStore {
    async fn record(&self, rebalance: &Rebalance) -> Result<(), Error> {
        // Written out before the lock is taken, so that other writers need not wait for it.
        let rows: Vec<PortfolioRow> = rebalance.portfolios.iter().map(PortfolioRow::from).collect();
        let header = &rebalance.header;

        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        insert_header(&mut transaction, header, rows.len()).await?;
        insert_portfolios(&mut transaction, &header.id, 0, rows).await.map_err(failed(REBALANCE))?;
        sqlx::query(
            "UPDATE models SET last_rebalance_date = max(coalesce(last_rebalance_date, ?1), ?1)
              WHERE id = ?2",
        )
        .bind(header.date.timestamp_millis())
        .bind(header.model.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))
    }

    async fn open(&self, id: &RebalanceId) -> Result<Option<OpenRebalance<'static>>, Error> {
        let mut query = QueryBuilder::new(SELECT);
        query.push(" WHERE id = ").push_bind(id.to_string());
        let row: Option<RebalanceRow> =
            query.build_query_as().fetch_optional(&self.readers).await.map_err(failed(REBALANCE))?;
        let Some(row) = row else { return Ok(None) };
        let portfolios = self.portfolios(row.id.clone());
        opened(row, portfolios).map(Some).map_err(corrupt(REBALANCE))
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
                " WHERE status = 'COMPLETED'
                    AND id IN (SELECT rebalance_id FROM rebalance_portfolios
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
            .push(
                " AND EXISTS (SELECT 1 FROM rebalances WHERE id = rebalance_id AND status = 'COMPLETED')
                  ORDER BY ordinal LIMIT 1",
            );
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
            return Err(unmatched(&mut transaction, REBALANCE, VERSION, id.to_string(), expected).await);
        }
        transaction.commit().await.map_err(failed(REBALANCE))
    }
}

impl SqliteStore {
    /// The rebalances that `headers` selects, whole, as of one moment.
    async fn rebalances(&self, mut headers: QueryBuilder<Sqlite>) -> Result<Vec<Rebalance>, Error> {
        let mut moment = self.read().await.map_err(failed(REBALANCE))?;
        let rows: Vec<RebalanceRow> =
            headers.build_query_as().fetch_all(&mut *moment).await.map_err(failed(REBALANCE))?;
        let mut rebalances = Vec::with_capacity(rows.len());
        for row in rows {
            let mut portfolios = Vec::new();
            while row.status == COMPLETED
                && let Some(portfolio) = portfolio_at(&mut *moment, &row.id, portfolios.len()).await?
            {
                portfolios.push(Ok(portfolio));
            }
            let open = opened(row, stream::iter(portfolios)).map_err(corrupt(REBALANCE))?;
            rebalances.push(open.whole().await?);
        }
        Ok(rebalances)
    }

    /// Reads a portfolio when it is asked for, and holds no connection meanwhile: a client that stops
    /// reading must not keep one from the others.
    fn portfolios(
        &self,
        rebalance: String,
    ) -> impl Stream<Item = Result<PortfolioRebalance, Error>> + Send + use<> {
        let start = (self.readers.clone(), rebalance, 0);
        stream::try_unfold(start, async |(readers, rebalance, ordinal)| {
            let portfolio = portfolio_at(&readers, &rebalance, ordinal).await?;
            Ok(portfolio.map(|portfolio| (portfolio, (readers, rebalance, ordinal + 1))))
        })
    }
}

async fn portfolio_at(
    reader: impl SqliteExecutor<'_>,
    rebalance: &str,
    ordinal: usize,
) -> Result<Option<PortfolioRebalance>, Error> {
    let mut query = QueryBuilder::new(SELECT_PORTFOLIOS);
    query.push(" WHERE rebalance_id = ").push_bind(rebalance);
    query.push(" AND ordinal = ").push_bind(count(ordinal));
    let row: Option<PortfolioRow> =
        query.build_query_as().fetch_optional(reader).await.map_err(failed(REBALANCE))?;
    row.map(|row| row.try_into().map_err(corrupt(REBALANCE))).transpose()
}

fn opened<'a>(
    row: RebalanceRow,
    portfolios: impl Stream<Item = Result<PortfolioRebalance, Error>> + Send + 'a,
) -> Result<OpenRebalance<'a>, Source> {
    let number_of_portfolios = row.number_of_portfolios.try_into()?;
    let header = RebalanceHeader::try_from(row)?;
    Ok(match header.status {
        RebalanceStatus::Completed => OpenRebalance::new(header, number_of_portfolios, portfolios),
        RebalanceStatus::Running(_) | RebalanceStatus::Failed { .. } | RebalanceStatus::Cancelled(_) => {
            OpenRebalance::unreadable(header)
        }
    })
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

pub(super) async fn insert_header(
    transaction: &mut SqliteConnection,
    header: &RebalanceHeader,
    number_of_portfolios: usize,
) -> Result<(), Error> {
    let (status, progress, reason) = match &header.status {
        RebalanceStatus::Running(progress) => (RUNNING, Some(progress), None),
        RebalanceStatus::Completed => (COMPLETED, None, None),
        RebalanceStatus::Failed { reason, progress } => (FAILED, Some(progress), Some(reason)),
        RebalanceStatus::Cancelled(progress) => (CANCELLED, Some(progress), None),
    };
    sqlx::query(
        "INSERT INTO rebalances (id, model_id, model_name, rebalance_date, number_of_portfolios, rules,
                                 status, portfolios_total, portfolios_failed, reason, failed, version,
                                 created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(header.id.to_string())
    .bind(header.model.to_string())
    .bind(header.model_name.as_str())
    .bind(header.date.timestamp_millis())
    .bind(count(number_of_portfolios))
    .bind(rules(&header.rules))
    .bind(status)
    .bind(progress.map(|progress| count(progress.total)))
    .bind(progress.map(|progress| count(progress.failed)))
    .bind(reason.map(record::reason))
    .bind(record::failed(&header.failed))
    .bind(header.version.get())
    .bind(header.created_at.timestamp_millis())
    .execute(transaction)
    .await
    .map_err(taken(REBALANCE, &header.id.to_string()))?;
    Ok(())
}

pub(super) fn count(portfolios: usize) -> i64 {
    i64::try_from(portfolios).expect("a list in memory is shorter than an `i64` can count")
}

/// Several rows to a statement take half the time of one each; more than this gain nothing.
const ROWS_AT_ONCE: usize = 16;

pub(super) async fn insert_portfolios(
    transaction: &mut SqliteConnection,
    rebalance: &RebalanceId,
    first: usize,
    rows: Vec<PortfolioRow>,
) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter().zip(count(first)..).peekable();
    while rows.peek().is_some() {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO rebalance_portfolios (rebalance_id, ordinal, portfolio_id, market_value,
                                               cash_before, cash_after, trading_costs, optimality,
                                               positions) ",
        );
        query.push_values(rows.by_ref().take(ROWS_AT_ONCE), |mut values, (row, ordinal)| {
            values
                .push_bind(rebalance.to_string())
                .push_bind(ordinal)
                .push_bind(row.portfolio_id)
                .push_bind(row.market_value)
                .push_bind(row.cash_before)
                .push_bind(row.cash_after)
                .push_bind(row.trading_costs)
                .push_bind(row.optimality)
                .push_bind(row.positions);
        });
        query.build().execute(&mut *transaction).await?;
    }
    Ok(())
}
