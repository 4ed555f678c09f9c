//! Portfolios of rebalances that are no more, or were never whole.
//!
//! Readers come to portfolios through a header, so these are in nobody's way. They stay a while: who
//! opened the rebalance before it was deleted may still be reading. What may become a leftover is noted
//! beforehand, so that nothing needs to be searched for.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::error::Error;
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{ClientSession, Collection, Database};

use super::{LEFTOVERS, PORTFOLIOS, REBALANCES};

/// How long a leftover stays. Whoever reads or records a rebalance must be done by then.
pub(super) const KEPT_FOR: Duration = Duration::from_mins(15);

/// Removes the leftovers whose time has come.
pub(crate) async fn sweep(database: &Database) -> Result<(), Error> {
    // The server's clock, which is the same for all.
    let overdue = doc! { "$expr": { "$lt": ["$since", { "$subtract": ["$$NOW", millis(KEPT_FOR)] }] } };
    let mut notes = notes(database).find(overdue).await?;
    while let Some(note) = notes.try_next().await? {
        let (Ok(recording), Ok(rebalance)) = (note.get_object_id("_id"), note.get_object_id("rebalance_id"))
        else {
            tracing::warn!(leftover = %note, "a note of leftovers makes no sense");
            continue;
        };
        let rebalances = database.collection::<RawDocumentBuf>(REBALANCES);
        let header = rebalances.find_one(doc! { "_id": rebalance, "recording": recording });
        if header.projection(doc! { "_id": 1 }).await?.is_none() {
            let portfolios = database.collection::<RawDocumentBuf>(PORTFOLIOS);
            let removed = portfolios.delete_many(doc! { "recording": recording }).await?.deleted_count;
            tracing::info!(rebalance_id = %rebalance, portfolios = removed, "leftovers removed");
        }
        forget(database, recording).await?;
    }
    Ok(())
}

/// Notes that the portfolios of `recording` may become leftovers.
pub(super) async fn note(database: &Database, recording: ObjectId, rebalance: ObjectId) -> Result<(), Error> {
    let (which, what) = noted(recording, rebalance);
    notes(database).update_one(which, what).upsert(true).write_concern(unawaited()).await?;
    Ok(())
}

pub(super) async fn note_within(
    session: &mut ClientSession,
    database: &Database,
    recording: ObjectId,
    rebalance: ObjectId,
) -> Result<(), Error> {
    let (which, what) = noted(recording, rebalance);
    notes(database).update_one(which, what).upsert(true).session(session).await?;
    Ok(())
}

pub(super) async fn forget(database: &Database, recording: ObjectId) -> Result<(), Error> {
    notes(database).delete_one(doc! { "_id": recording }).write_concern(unawaited()).await?;
    Ok(())
}

/// For all but the last step on a standalone server, whose journal keeps the order: where the last
/// survives a crash, so do those before it.
pub(super) fn unawaited() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(false).build()
}

fn noted(recording: ObjectId, rebalance: ObjectId) -> (Document, Document) {
    let what = doc! { "$set": { "rebalance_id": rebalance }, "$currentDate": { "since": true } };
    (doc! { "_id": recording }, what)
}

fn notes(database: &Database) -> Collection<Document> {
    database.collection(LEFTOVERS)
}

fn millis(time: Duration) -> Bson {
    i64::try_from(time.as_millis()).expect("it is minutes").into()
}
