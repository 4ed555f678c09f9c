//! Idempotency keys, a row each.

use std::time::Duration;

use application::idempotency::{Answer, Claim, Claimed, IdempotencyKeys, Key, OperationId};
use application::repository::{Error, Source};
use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{FromRow, Sqlite, SqliteConnection};

use crate::SqliteStore;
use crate::failure::{corrupt, failed};

const KEY: &str = "idempotency key";

/// How many that are over a claim removes besides its own: more than it adds, so they do not pile up.
const SWEPT_BY_A_CLAIM: i64 = 64;

#[derive(FromRow)]
struct KeyRow {
    fingerprint: Vec<u8>,
    operation: Vec<u8>,
    status: Option<i64>,
    headers: Option<String>,
    body: Option<Vec<u8>>,
}

#[async_trait]
impl IdempotencyKeys for SqliteStore {
    async fn claim(&self, key: &Key, claim: &Claim) -> Result<Claimed, Error> {
        let mut transaction = self.write().await.map_err(failed(KEY))?;
        sweep(&mut transaction, key, SWEPT_BY_A_CLAIM).await.map_err(failed(KEY))?;
        let operation: Option<Vec<u8>> = sqlx::query_scalar(
            "INSERT INTO idempotency_keys (key, fingerprint, operation, holder, lease_until, expires_at)
             VALUES (?1, ?2, ?3, ?3, CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?4,
                                     CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?5)
             ON CONFLICT (key) DO UPDATE
                SET holder = excluded.holder, lease_until = excluded.lease_until,
                    expires_at = excluded.expires_at
              WHERE status IS NULL AND fingerprint = excluded.fingerprint
                AND lease_until <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
             RETURNING operation",
        )
        .bind(key.as_str())
        .bind(&claim.fingerprint.0[..])
        .bind(&claim.proposed.0[..])
        .bind(millis(claim.lease))
        .bind(millis(claim.kept_for))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed(KEY))?;

        let claimed = match operation {
            Some(operation) if operation == claim.proposed.0 => Claimed::Fresh,
            Some(operation) => Claimed::Resumed(operation_id(&operation).map_err(corrupt(KEY))?),
            None => found(&mut transaction, key, claim).await?,
        };
        transaction.commit().await.map_err(failed(KEY))?;
        Ok(claimed)
    }

    async fn renew(&self, key: &Key, holder: OperationId, lease: Duration) -> Result<bool, Error> {
        let renewed = sqlx::query(
            "UPDATE idempotency_keys SET lease_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?
              WHERE key = ? AND holder = ? AND status IS NULL",
        );
        let renewed = renewed.bind(millis(lease)).bind(key.as_str()).bind(&holder.0[..]);
        self.changed(renewed).await
    }

    async fn answer(&self, key: &Key, holder: OperationId, answer: &Answer) -> Result<bool, Error> {
        let headers = serde_json::to_string(&answer.headers).expect("they are pairs of texts");
        let answered = sqlx::query(
            "UPDATE idempotency_keys SET status = ?, headers = ?, body = ?
              WHERE key = ? AND holder = ? AND status IS NULL",
        );
        let answered = answered.bind(i64::from(answer.status)).bind(headers).bind(answer.body.as_deref());
        self.changed(answered.bind(key.as_str()).bind(&holder.0[..])).await
    }

    async fn release(&self, key: &Key, holder: OperationId) -> Result<(), Error> {
        let released = sqlx::query(
            "DELETE FROM idempotency_keys
              WHERE key = ? AND holder = ? AND operation = holder AND status IS NULL",
        );
        self.changed(released.bind(key.as_str()).bind(&holder.0[..])).await?;
        Ok(())
    }

    async fn suspend(&self, key: &Key, holder: OperationId) -> Result<(), Error> {
        self.renew(key, holder, Duration::ZERO).await?;
        Ok(())
    }
}

impl SqliteStore {
    async fn changed(&self, change: Query<'_, Sqlite, SqliteArguments>) -> Result<bool, Error> {
        let mut transaction = self.write().await.map_err(failed(KEY))?;
        let changed = change.execute(&mut *transaction).await.map_err(failed(KEY))?;
        transaction.commit().await.map_err(failed(KEY))?;
        Ok(changed.rows_affected() != 0)
    }
}

/// What a key is that the claim could not take.
async fn found(transaction: &mut SqliteConnection, key: &Key, claim: &Claim) -> Result<Claimed, Error> {
    let row: KeyRow = sqlx::query_as(
        "SELECT fingerprint, operation, status, headers, body FROM idempotency_keys WHERE key = ?",
    )
    .bind(key.as_str())
    .fetch_one(transaction)
    .await
    .map_err(failed(KEY))?;
    if row.fingerprint != claim.fingerprint.0 {
        return Ok(Claimed::Reused);
    }
    let Some(status) = row.status else { return Ok(Claimed::InFlight) };
    let answered = || -> Result<Claimed, Source> {
        let headers = row.headers.ok_or("it has an answer without headers")?;
        let answer =
            Answer { status: status.try_into()?, headers: serde_json::from_str(&headers)?, body: row.body };
        Ok(Claimed::Answered(operation_id(&row.operation)?, answer))
    };
    answered().map_err(corrupt(KEY))
}

fn operation_id(bytes: &[u8]) -> Result<OperationId, Source> {
    Ok(OperationId(bytes.try_into()?))
}

/// Removes `key` if it is over, and at most so many others.
async fn sweep(transaction: &mut SqliteConnection, key: &Key, limit: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM idempotency_keys
          WHERE expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
            AND (key = ?1
                 OR key IN (SELECT key FROM idempotency_keys
                             WHERE expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
                             ORDER BY expires_at LIMIT ?2))",
    )
    .bind(key.as_str())
    .bind(limit)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Removes all that are over.
pub(crate) async fn sweep_all(transaction: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let over = "DELETE FROM idempotency_keys
                 WHERE expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    sqlx::query(over).execute(transaction).await?;
    Ok(())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}
