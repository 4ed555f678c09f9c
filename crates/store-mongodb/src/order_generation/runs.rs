//! Rebalances under way: a header that says so, and under its recording the portfolios so far.
//!
//! A header that ends otherwise than completed loses its recording, and what was kept under that is left
//! over. That it may come to this is noted before.

use std::time::Duration;

use application::chain::Chain;
use application::order_generation::ports::{Ending, Holder, Lease, RebalanceRuns};
use application::repository::Error;
use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use domain::identifier::RebalanceId;
use domain::order_generation::progress::{Progress, Reason};
use domain::order_generation::rebalance::{FailedPortfolio, PortfolioRebalance, RebalanceHeader};
use domain::version::Version;
use mongodb::{ClientSession, Collection};

use super::leftovers::{self, forget, note};
use super::models::at_version;
use super::rebalances::{REBALANCE, RECORDING_TIMEOUT, batches, ordinal, to_the_end};
use super::record::{CANCELLED, FAILED, Origin, RUNNING, header_alone, object_id};
use super::{MODELS, PORTFOLIOS, REBALANCES};
use crate::document::read;
use crate::failure::{failed, taken};
use crate::fields::Value;
use crate::{Deployment, MongoStore, in_time};

#[async_trait]
impl RebalanceRuns for MongoStore {
    async fn start(&self, header: &RebalanceHeader, lease: Lease) -> Result<(), Error> {
        self.ready().await.map_err(failed)?;
        let recording = ObjectId::new();
        let alone =
            Document::try_from(header_alone(header, 0, recording)).map_err(|error| failed(error.into()))?;
        let held = doc! { "lease": { "holder": lease.holder.to_string(), "until": until(lease) } };
        let started = doc! { "$replaceWith": { "$mergeObjects": [{ "$literal": alone }, held] } };
        // No header has this recording, so that one of the same id is in the way.
        let nobody = doc! { "_id": object_id(&header.id), "recording": recording };
        let headers = self.headers();
        let started = headers.update_one(nobody, vec![started]).upsert(true);
        self.in_time(started).await.map_err(taken(&header.id.to_string()))?;
        Ok(())
    }

    async fn append(
        &self,
        id: &RebalanceId,
        holder: Holder,
        first: usize,
        portfolios: &[PortfolioRebalance],
    ) -> Result<bool, Error> {
        self.ready().await.map_err(failed)?;
        let headers = self.collection(REBALANCES);
        let header =
            headers.find_one(held(id, holder)).projection(doc! { "rebalance_date": 1, "recording": 1 });
        let Some(header) = self.in_time(header).await.map_err(failed)? else {
            return Ok(false);
        };
        let origin = read(REBALANCE, &header, |from| {
            Ok(Origin {
                rebalance: object_id(id),
                date: from.get("rebalance_date", Value::instant)?,
                recording: from.get("recording", Value::object_id)?,
            })
        })?;
        // Should the run end now, what comes later is left over all the same.
        let noted = note(&self.database, origin.recording, origin.rebalance);
        self.in_time(noted).await.map_err(failed)?;
        for batch in batches(&origin, first, portfolios) {
            self.in_time(self.collection(PORTFOLIOS).insert_many(batch)).await.map_err(failed)?;
        }
        Ok(true)
    }

    async fn renew(&self, id: &RebalanceId, lease: Lease, progress: Progress) -> Result<bool, Error> {
        self.ready().await.map_err(failed)?;
        let renewed = doc! { "$set": {
            "number_of_portfolios": ordinal(progress.rebalanced),
            "portfolios_failed": ordinal(progress.failed),
            "lease.until": until(lease),
        } };
        let headers = self.headers();
        let renewed = headers.update_one(held(id, lease.holder), vec![renewed]);
        Ok(self.in_time(renewed).await.map_err(failed)?.matched_count != 0)
    }

    async fn finish(&self, id: &RebalanceId, holder: Holder, ending: &Ending) -> Result<bool, Error> {
        let deployment = self.ready().await.map_err(failed)?;
        let which = held(id, holder);
        if let Some(reason) = &ending.failure {
            let mut why = failure(reason);
            why.extend(doc! {
                "number_of_portfolios": ordinal(ending.rebalanced),
                "portfolios_failed": ordinal(ending.failed.len()),
                "failed": failures(&ending.failed),
            });
            return self.in_time(self.give_up(which, why)).await.map_err(failed);
        }
        let ended = doc! {
            "$set": {
                "number_of_portfolios": ordinal(ending.rebalanced),
                "failed": failures(&ending.failed),
            },
            "$unset": { "status": 1, "portfolios_total": 1, "portfolios_failed": 1, "lease": 1 },
            "$inc": { "version": 1_i64 },
        };
        let completed = match deployment {
            Deployment::Replicated => self.complete_at_once(which, ended).await,
            Deployment::Standalone => self.in_time(self.complete_in_order(which, ended)).await,
        };
        let Some(recording) = completed.map_err(failed)? else {
            return Ok(false);
        };
        if let Err(error) = self.in_time(forget(&self.database, recording)).await {
            tracing::warn!(error = %Chain(&error), "a note of leftovers stays for now");
        }
        Ok(true)
    }

    async fn cancel(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        self.ready().await.map_err(failed)?;
        let id = object_id(id);
        let mut which = at_version(id, expected);
        which.insert("status", RUNNING);
        let cancelled = self.in_time(self.give_up(which, doc! { "status": CANCELLED })).await;
        if cancelled.map_err(failed)? {
            return Ok(());
        }
        let error = self.unmatched(REBALANCES, REBALANCE, id, expected).await;
        let is_over = matches!(error, Error::Conflict { found, .. } if found == expected);
        Err(if is_over { Error::Missing } else { error })
    }

    async fn expire(&self, reason: &Reason) -> Result<Vec<RebalanceId>, Error> {
        self.ready().await.map_err(failed)?;
        let overdue = doc! { "status": RUNNING, "$expr": { "$lt": ["$lease.until", "$$NOW"] } };
        let headers = self.collection(REBALANCES);
        let found = headers.find(overdue.clone()).projection(doc! { "_id": 1 });
        let found = self.answers(found, |raw| read(REBALANCE, raw, |from| from.get("_id", Value::object_id)));
        let mut expired = Vec::new();
        for id in found.await? {
            let mut which = overdue.clone();
            which.insert("_id", id);
            match self.in_time(self.give_up(which, failure(reason))).await {
                Ok(true) => expired.push(RebalanceId::from_bytes(id.bytes())),
                Ok(false) => {}
                // A transaction that a killed process left open locks it for a minute: not a reason to leave
                // the others.
                Err(error) => tracing::warn!(rebalance_id = %id, error = %Chain(&error), "not given up yet"),
            }
        }
        self.in_time(leftovers::sweep(&self.database)).await.map_err(failed)?;
        Ok(expired)
    }
}

impl MongoStore {
    /// The header of the run that `which` selects gets the fields of `why`; whether there was one.
    async fn give_up(&self, which: Document, why: Document) -> Result<bool, mongodb::error::Error> {
        let header = self.headers().find_one(which.clone()).projection(doc! { "recording": 1 }).await?;
        let Some(header) = header else {
            return Ok(false);
        };
        // Should someone else end the run first, the note does no harm.
        if let (Ok(recording), Ok(id)) = (header.get_object_id("recording"), header.get_object_id("_id")) {
            note(&self.database, recording, id).await?;
        }
        let given_up = doc! {
            "$set": why,
            "$unset": { "recording": 1, "lease": 1 },
            "$inc": { "version": 1_i64 },
        };
        let headers = self.headers();
        let given_up = headers.find_one_and_update(which, given_up).projection(doc! { "_id": 1 });
        Ok(given_up.max_time(self.patience).await?.is_some())
    }

    /// The recording of the run that is completed now, if there was one.
    async fn complete_at_once(
        &self,
        which: Document,
        ended: Document,
    ) -> Result<Option<ObjectId>, mongodb::error::Error> {
        let store = self.clone();
        let patience = self.patience;
        to_the_end(async move {
            let mut session = store.client.start_session().await?;
            let transaction = session.start_transaction();
            let completed = transaction
                .and_run2(async move |session| store.complete_within(session, &which, &ended).await);
            in_time(patience.min(RECORDING_TIMEOUT), completed).await
        })
        .await
    }

    async fn complete_within(
        &self,
        session: &mut ClientSession,
        which: &Document,
        ended: &Document,
    ) -> Result<Option<ObjectId>, mongodb::error::Error> {
        let headers = self.headers();
        let header = headers.find_one_and_update(which.clone(), ended.clone()).session(&mut *session).await?;
        let Some(header) = header else {
            return Ok(None);
        };
        let (model, later) = model_date(&header)?;
        self.collection(MODELS).update_one(model, later).session(session).await?;
        Ok(Some(recording(&header)?))
    }

    /// The header decides who ended the run, so it comes first. A crash before the second step leaves the
    /// model's date where it was.
    async fn complete_in_order(
        &self,
        which: Document,
        ended: Document,
    ) -> Result<Option<ObjectId>, mongodb::error::Error> {
        let Some(header) = self.headers().find_one_and_update(which, ended).await? else {
            return Ok(None);
        };
        let (model, later) = model_date(&header)?;
        self.collection(MODELS).update_one(model, later).await?;
        Ok(Some(recording(&header)?))
    }

    fn headers(&self) -> Collection<Document> {
        self.database.collection(REBALANCES)
    }
}

fn held(id: &RebalanceId, holder: Holder) -> Document {
    doc! { "_id": object_id(id), "status": RUNNING, "lease.holder": holder.to_string() }
}

/// By the server's clock, which is the same for all.
fn until(Lease { length, .. }: Lease) -> Document {
    doc! { "$add": ["$$NOW", millis(length)] }
}

fn millis(length: Duration) -> i64 {
    /// A hundred years.
    const MOST: i64 = 100 * 365 * 86_400_000;
    i64::try_from(length.as_millis()).map_or(MOST, |millis| millis.min(MOST))
}

fn failure(reason: &Reason) -> Document {
    doc! { "status": FAILED, "reason": { "code": &reason.code, "detail": &reason.detail } }
}

fn failures(failed: &[FailedPortfolio]) -> Bson {
    let one = |failed: &FailedPortfolio| {
        doc! { "portfolio_id": failed.portfolio.as_str(), "code": &failed.code, "detail": &failed.detail }
    };
    failed.iter().map(one).collect::<Vec<_>>().into()
}

fn model_date(header: &Document) -> Result<(Document, Document), mongodb::error::Error> {
    let model = header.get_object_id("model_id").map_err(mongodb::error::Error::custom)?;
    let date = header.get_datetime("rebalance_date").map_err(mongodb::error::Error::custom)?;
    Ok((doc! { "_id": model }, doc! { "$max": { "last_rebalance_date": *date } }))
}

fn recording(header: &Document) -> Result<ObjectId, mongodb::error::Error> {
    header.get_object_id("recording").map_err(mongodb::error::Error::custom)
}
