//! Rebalances under way: their portfolios come before anyone may read them.

use std::time::Duration;

use application::order_generation::ports::{Ending, Holder, Lease, RebalanceRuns};
use application::repository::Error;
use async_trait::async_trait;
use domain::identifier::RebalanceId;
use domain::order_generation::progress::{Progress, Reason};
use domain::order_generation::rebalance::{PortfolioRebalance, RebalanceHeader};
use domain::version::Version;
use sqlx::SqliteConnection;

use super::rebalances::{PortfolioRow, REBALANCE, VERSION, count, insert_header, insert_portfolios};
use super::record;
use crate::SqliteStore;
use crate::failure::{corrupt, failed, unmatched};

#[async_trait]
impl RebalanceRuns for SqliteStore {
    async fn start(&self, header: &RebalanceHeader, lease: Lease) -> Result<(), Error> {
        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        insert_header(&mut transaction, header, 0).await?;
        sqlx::query(
            "UPDATE rebalances
                SET holder = ?, lease_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?
              WHERE id = ?",
        )
        .bind(lease.holder.to_string())
        .bind(millis(lease.length))
        .bind(header.id.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))
    }

    async fn append(
        &self,
        id: &RebalanceId,
        holder: Holder,
        first: usize,
        portfolios: &[PortfolioRebalance],
    ) -> Result<bool, Error> {
        // Written out before the lock is taken, so that other writers need not wait for it; and one by one, so
        // that whoever has the lock comes to its turn meanwhile.
        let mut rows = Vec::with_capacity(portfolios.len());
        for portfolio in portfolios {
            rows.push(PortfolioRow::from(portfolio));
            tokio::task::yield_now().await;
        }

        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        let running = "SELECT 1 FROM rebalances WHERE id = ? AND holder = ? AND status = 'RUNNING'";
        let running = sqlx::query(running).bind(id.to_string()).bind(holder.to_string());
        if running.fetch_optional(&mut *transaction).await.map_err(failed(REBALANCE))?.is_none() {
            return Ok(false);
        }
        insert_portfolios(&mut transaction, id, first, rows).await.map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))?;
        Ok(true)
    }

    async fn renew(&self, id: &RebalanceId, lease: Lease, progress: Progress) -> Result<bool, Error> {
        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        let renewed = sqlx::query(
            "UPDATE rebalances
                SET number_of_portfolios = ?, portfolios_failed = ?,
                    lease_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?
              WHERE id = ? AND holder = ? AND status = 'RUNNING'",
        )
        .bind(count(progress.rebalanced))
        .bind(count(progress.failed))
        .bind(millis(lease.length))
        .bind(id.to_string())
        .bind(lease.holder.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))?;
        Ok(renewed.rows_affected() != 0)
    }

    async fn finish(&self, id: &RebalanceId, holder: Holder, ending: &Ending) -> Result<bool, Error> {
        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        let ended = sqlx::query(
            "UPDATE rebalances
                SET status = iif(?1 IS NULL, 'COMPLETED', 'FAILED'), reason = ?1,
                    portfolios_total = iif(?1 IS NULL, NULL, portfolios_total),
                    portfolios_failed = iif(?1 IS NULL, NULL, ?2),
                    number_of_portfolios = ?3, failed = ?4,
                    version = version + 1, holder = NULL, lease_until = NULL
              WHERE id = ?5 AND holder = ?6 AND status = 'RUNNING'",
        )
        .bind(ending.failure.as_ref().map(record::reason))
        .bind(count(ending.failed.len()))
        .bind(count(ending.rebalanced))
        .bind(record::failed(&ending.failed))
        .bind(id.to_string())
        .bind(holder.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        if ending.failure.is_none() {
            move_date_of_model(&mut transaction, id).await.map_err(failed(REBALANCE))?;
        } else {
            remove_portfolios(&mut transaction, &[id.to_string()]).await.map_err(failed(REBALANCE))?;
        }
        transaction.commit().await.map_err(failed(REBALANCE))?;
        Ok(true)
    }

    async fn cancel(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        let cancelled = sqlx::query(
            "UPDATE rebalances
                SET status = 'CANCELLED', version = version + 1, holder = NULL, lease_until = NULL
              WHERE id = ? AND version = ? AND status = 'RUNNING'",
        )
        .bind(id.to_string())
        .bind(expected.get())
        .execute(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        if cancelled.rows_affected() == 0 {
            let error = unmatched(&mut transaction, REBALANCE, VERSION, id.to_string(), expected).await;
            let is_over = matches!(error, Error::Conflict { found, .. } if found == expected);
            return Err(if is_over { Error::Missing } else { error });
        }
        remove_portfolios(&mut transaction, &[id.to_string()]).await.map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))
    }

    async fn expire(&self, reason: &Reason) -> Result<Vec<RebalanceId>, Error> {
        let mut transaction = self.write().await.map_err(failed(REBALANCE))?;
        let expired: Vec<String> = sqlx::query_scalar(
            "UPDATE rebalances
                SET status = 'FAILED', reason = ?, version = version + 1, holder = NULL, lease_until = NULL
              WHERE status = 'RUNNING' AND lease_until < CAST(unixepoch('subsec') * 1000 AS INTEGER)
              RETURNING id",
        )
        .bind(record::reason(reason))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed(REBALANCE))?;
        remove_portfolios(&mut transaction, &expired).await.map_err(failed(REBALANCE))?;
        transaction.commit().await.map_err(failed(REBALANCE))?;
        expired.iter().map(|id| id.parse().map_err(|error| corrupt(REBALANCE)(Box::new(error)))).collect()
    }
}

async fn move_date_of_model(transaction: &mut SqliteConnection, id: &RebalanceId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE models
            SET last_rebalance_date = max(coalesce(last_rebalance_date, rebalance_date), rebalance_date)
           FROM rebalances
          WHERE rebalances.id = ? AND models.id = model_id",
    )
    .bind(id.to_string())
    .execute(transaction)
    .await?;
    Ok(())
}

async fn remove_portfolios(
    transaction: &mut SqliteConnection,
    rebalances: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM rebalance_portfolios WHERE rebalance_id IN (SELECT value FROM json_each(?))")
        .bind(record::json(&rebalances))
        .execute(transaction)
        .await?;
    Ok(())
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2)
}
