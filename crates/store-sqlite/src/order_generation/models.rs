//! Models, one row each, with a row for every portfolio that follows.

use application::order_generation::ports::{Direction, ModelKey, ModelRepository, Page};
use application::repository::{Error, Source};
use async_trait::async_trait;
use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId};
use domain::order_generation::model::{Followers, Model, ModelContent, ModelName};
use domain::version::Version;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection, SqliteExecutor};

use super::record;
use super::rules::{read_rules, rules};
use super::{push_page, sql};
use crate::SqliteStore;
use crate::failure::{corrupt, failed, taken, unmatched};
use crate::text;

const MODEL: &str = "model";

const SELECT: &str = "\
    SELECT id, name, positions, rules, last_rebalance_date, version, created_at,
           (SELECT json_group_array(portfolio_id ORDER BY ordinal)
              FROM model_portfolios WHERE model_id = models.id) AS followers
      FROM models";

const VERSION: &str = "SELECT version FROM models WHERE id = ?";

#[derive(FromRow)]
struct ModelRow {
    id: String,
    name: String,
    positions: String,
    rules: Option<String>,
    last_rebalance_date: Option<i64>,
    version: i64,
    created_at: i64,
    /// A JSON array.
    followers: String,
}

impl TryFrom<ModelRow> for Model {
    type Error = Source;

    fn try_from(row: ModelRow) -> Result<Self, Source> {
        Ok(Self {
            id: row.id.parse()?,
            name: ModelName::new(&row.name)?,
            positions: record::read_model_positions(&row.positions)?,
            followers: read_followers(&row.followers)?,
            rules: read_rules(row.rules.as_deref())?,
            last_rebalance_date: row.last_rebalance_date.map(text::instant).transpose()?,
            version: row.version.try_into()?,
            created_at: text::instant(row.created_at)?,
        })
    }
}

fn read_followers(json: &str) -> Result<Followers, Source> {
    let names: Vec<String> = serde_json::from_str(json)?;
    let portfolios = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    Ok(Followers::new(portfolios).map_err(|mut broken| broken.swap_remove(0))?)
}

#[async_trait]
impl ModelRepository for SqliteStore {
    async fn find(&self, id: &ModelId) -> Result<Option<Model>, Error> {
        read_one(&self.readers, by_id(id)).await
    }

    async fn list(&self, order: &[(ModelKey, Direction)], page: Page) -> Result<Vec<Model>, Error> {
        let mut query = QueryBuilder::new(SELECT);
        query.push(" WHERE id IN (SELECT id FROM models");
        push_order(&mut query, order);
        push_page(&mut query, page);
        query.push(")");
        push_order(&mut query, order);
        let rows: Vec<ModelRow> =
            query.build_query_as().fetch_all(&self.readers).await.map_err(failed(MODEL))?;
        rows.into_iter().map(|row| row.try_into().map_err(corrupt(MODEL))).collect()
    }

    async fn newest_followed_by(&self, portfolio: &PortfolioId) -> Result<Option<Model>, Error> {
        let mut query = QueryBuilder::new(SELECT);
        query
            .push(" WHERE id IN (SELECT model_id FROM model_portfolios WHERE portfolio_id = ")
            .push_bind(portfolio.as_str())
            .push(")");
        push_order(&mut query, &[]);
        query.push(" LIMIT 1");
        read_one(&self.readers, query).await
    }

    async fn insert(&self, model: &Model) -> Result<(), Error> {
        let mut transaction = self.write().await.map_err(failed(MODEL))?;
        sqlx::query(
            "INSERT INTO models (id, name, positions, rules, last_rebalance_date, version, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(model.id.to_string())
        .bind(model.name.as_str())
        .bind(record::model_positions(&model.positions))
        .bind(rules(&model.rules))
        .bind(model.last_rebalance_date.map(|date| date.timestamp_millis()))
        .bind(model.version.get())
        .bind(model.created_at.timestamp_millis())
        .execute(&mut *transaction)
        .await
        .map_err(taken(MODEL, model.name.as_str()))?;
        insert_followers(&mut transaction, &model.id, &model.followers).await?;
        transaction.commit().await.map_err(failed(MODEL))
    }

    async fn replace(
        &self,
        id: &ModelId,
        content: &ModelContent,
        last_rebalance_date: Option<Timestamp>,
        expected: Version,
    ) -> Result<Model, Error> {
        let mut transaction = self.write().await.map_err(failed(MODEL))?;
        let replaced = sqlx::query(
            "UPDATE models
                SET name = ?1, positions = ?2, rules = ?3, version = ?4,
                    last_rebalance_date = max(coalesce(last_rebalance_date, ?5),
                                              coalesce(?5, last_rebalance_date))
              WHERE id = ?6 AND version = ?7",
        )
        .bind(content.name.as_str())
        .bind(record::model_positions(&content.positions))
        .bind(rules(&content.rules))
        .bind(expected.next().get())
        .bind(last_rebalance_date.map(|date| date.timestamp_millis()))
        .bind(id.to_string())
        .bind(expected.get())
        .execute(&mut *transaction)
        .await
        .map_err(taken(MODEL, content.name.as_str()))?;
        if replaced.rows_affected() == 0 {
            let id = id.to_string();
            return Err(unmatched(&mut transaction, MODEL, VERSION, id, expected).await);
        }
        sqlx::query("DELETE FROM model_portfolios WHERE model_id = ?")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed(MODEL))?;
        insert_followers(&mut transaction, id, &content.followers).await?;
        let model = read_one(&mut *transaction, by_id(id)).await?.ok_or(Error::Missing)?;
        transaction.commit().await.map_err(failed(MODEL))?;
        Ok(model)
    }

    async fn delete(&self, id: &ModelId, expected: Version) -> Result<(), Error> {
        let mut transaction = self.write().await.map_err(failed(MODEL))?;
        let deleted = sqlx::query("DELETE FROM models WHERE id = ? AND version = ?")
            .bind(id.to_string())
            .bind(expected.get())
            .execute(&mut *transaction)
            .await
            .map_err(failed(MODEL))?;
        if deleted.rows_affected() == 0 {
            let id = id.to_string();
            return Err(unmatched(&mut transaction, MODEL, VERSION, id, expected).await);
        }
        transaction.commit().await.map_err(failed(MODEL))
    }
}

fn by_id(id: &ModelId) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SELECT);
    query.push(" WHERE id = ").push_bind(id.to_string());
    query
}

async fn read_one(
    executor: impl SqliteExecutor<'_>,
    mut query: QueryBuilder<Sqlite>,
) -> Result<Option<Model>, Error> {
    let row: Option<ModelRow> =
        query.build_query_as().fetch_optional(executor).await.map_err(failed(MODEL))?;
    row.map(|row| row.try_into().map_err(corrupt(MODEL))).transpose()
}

fn push_order(query: &mut QueryBuilder<Sqlite>, order: &[(ModelKey, Direction)]) {
    query.push(" ORDER BY ");
    for (key, direction) in order {
        let column = match key {
            ModelKey::Id => "id",
            ModelKey::Name => "name",
            ModelKey::LastRebalanceDate => "last_rebalance_date",
        };
        query.push(format_args!("{column} {}, ", sql(*direction)));
    }
    query.push("created_at DESC, id DESC");
}

async fn insert_followers(
    transaction: &mut SqliteConnection,
    model: &ModelId,
    followers: &Followers,
) -> Result<(), Error> {
    let names: Vec<&str> = followers.as_slice().iter().map(PortfolioId::as_str).collect();
    sqlx::query(
        "INSERT INTO model_portfolios (model_id, ordinal, portfolio_id)
         SELECT ?, key, value FROM json_each(?)",
    )
    .bind(model.to_string())
    .bind(record::json(&names))
    .execute(transaction)
    .await
    .map_err(failed(MODEL))?;
    Ok(())
}
