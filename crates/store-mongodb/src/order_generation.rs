//! The collections of order generation.

mod leftovers;
mod models;
mod rebalances;
mod record;
mod rules;
mod runs;

use application::order_generation::ports::{Direction, Page};
use bson::{Document, RawDocumentBuf, doc};
use mongodb::action::Find;
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

pub(crate) use leftovers::sweep;

const MODELS: &str = "models";
const REBALANCES: &str = "rebalances";
const PORTFOLIOS: &str = "rebalance_portfolios";
const LEFTOVERS: &str = "rebalance_leftovers";

/// Names and options of indexes that the reference service has too are the same there.
pub(crate) async fn create_indexes(database: &Database) -> Result<(), mongodb::error::Error> {
    let models = [
        unique(doc! { "name": 1 }),
        index(doc! { "portfolios": 1, "created_at": -1, "_id": -1 }),
        index(doc! { "created_at": -1, "_id": -1 }),
        sorting("last_rebalance_date", 1),
        sorting("last_rebalance_date", -1),
    ];
    let rebalances = [
        index(doc! { "recording": 1 }),
        index(doc! { "portfolios.portfolio_id": 1 }),
        index(doc! { "created_at": -1, "_id": -1 }),
        sorting("model_name", 1),
        sorting("model_name", -1),
        sorting("rebalance_date", 1),
        sorting("rebalance_date", -1),
        sorting("number_of_portfolios", 1),
        sorting("number_of_portfolios", -1),
        running(),
    ];
    let portfolios = [
        unique(doc! { "recording": 1, "ordinal": 1 }),
        index(doc! { "portfolio_id": 1, "recording": 1, "ordinal": 1 }),
    ];
    let leftovers = [index(doc! { "since": 1 })];

    create(database, MODELS, models).await?;
    create(database, REBALANCES, rebalances).await?;
    create(database, PORTFOLIOS, portfolios).await?;
    create(database, LEFTOVERS, leftovers).await
}

async fn create(
    database: &Database,
    collection: &str,
    indexes: impl IntoIterator<Item = IndexModel>,
) -> Result<(), mongodb::error::Error> {
    let collection = database.collection::<RawDocumentBuf>(collection);
    collection.create_indexes(indexes).await?;
    Ok(())
}

fn index(keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).build()
}

fn unique(keys: Document) -> IndexModel {
    let options = IndexOptions::builder().unique(true).build();
    IndexModel::builder().keys(keys).options(options).build()
}

/// Few at a time, whatever there was before.
fn running() -> IndexModel {
    let options =
        IndexOptions::builder().partial_filter_expression(doc! { "status": record::RUNNING }).build();
    IndexModel::builder().keys(doc! { "status": 1 }).options(options).build()
}

/// Lists sorted by `field`, and then as all lists are.
fn sorting(field: &str, direction: i32) -> IndexModel {
    index(doc! { field: direction, "created_at": -1, "_id": -1 })
}

/// `None` for a page of nothing; to the driver, a limit of zero is none.
fn paged(found: Find<'_, RawDocumentBuf>, sort: Document, page: Page) -> Option<Find<'_, RawDocumentBuf>> {
    /// Together they must not wrap. No collection has as many documents.
    const MOST: i64 = i64::MAX / 2;

    let within = |documents: u64| i64::try_from(documents).map_or(MOST, |documents| documents.min(MOST));
    let found = found.sort(sort).skip(within(page.offset).unsigned_abs()).allow_disk_use(true);
    match page.limit {
        None => Some(found),
        Some(0) => None,
        Some(limit) => Some(found.limit(within(limit))),
    }
}

/// What follows a field that no two documents share decides nothing.
fn order(fields: impl Iterator<Item = (&'static str, Direction)>, unique: &[&str]) -> Document {
    let mut order = Document::new();
    for (field, direction) in fields {
        if !order.contains_key(field) {
            order.insert(field, sign(direction));
        }
        if unique.contains(&field) {
            return order;
        }
    }
    order.extend(doc! { "created_at": -1, "_id": -1 });
    order
}

fn sign(direction: Direction) -> i32 {
    match direction {
        Direction::Ascending => 1,
        Direction::Descending => -1,
    }
}
