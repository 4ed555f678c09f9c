//! Kept rebalances: a header each, and a document for every portfolio, so that none is too large.
//!
//! Each attempt to record one has a recording id of its own, under which the portfolios are kept and
//! never changed. A header names its recording, and readers find portfolios only through headers.

use std::collections::HashMap;
use std::time::Duration;

use application::chain::Chain;
use application::order_generation::ports::{
    Direction, OpenRebalance, Page, RebalanceKey, RebalanceRepository,
};
use application::repository::{Error, Source};
use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf, doc};
use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::version::Version;
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::ClientSession;

use super::leftovers::{self, forget, note, note_within, unawaited};
use super::models::at_version;
use super::record::{Kept, PortfolioDocument, Portfolios, RebalanceDocument, Recorded, object_id};
use super::{MODELS, PORTFOLIOS, REBALANCES, order, paged};
use crate::document::{date, read, written};
use crate::failure::{failed, taken};
use crate::{Deployment, MongoStore, in_time};

const REBALANCE: &str = "rebalance";

/// No recording takes longer: far less than the time after which what it wrote counts as left over.
const RECORDING_TIMEOUT: Duration = Duration::from_mins(1);

#[async_trait]
impl RebalanceRepository for MongoStore {
    async fn record(&self, rebalance: &Rebalance) -> Result<(), Error> {
        let deployment = self.ready().await.map_err(failed)?;
        let recording = Recording::new(rebalance);
        let recorded = match deployment {
            Deployment::Replicated => self.record_at_once(recording).await,
            Deployment::Standalone => {
                in_time(self.patience_for(&recording), self.record_in_order(recording)).await
            }
        };
        recorded.map_err(taken(&rebalance.header.id.to_string()))
    }

    async fn open(&self, id: &RebalanceId) -> Result<Option<OpenRebalance<'static>>, Error> {
        let Some(Kept { header, portfolios }) = self.kept(id).await? else {
            return Ok(None);
        };
        Ok(Some(match portfolios {
            Portfolios::Embedded(portfolios) => {
                let number = portfolios.len();
                OpenRebalance::new(header, number, stream::iter(portfolios).map(Ok))
            }
            Portfolios::Recorded { recording, number } => {
                let portfolios = self.collection(PORTFOLIOS);
                let found = portfolios.find(doc! { "recording": recording }).sort(doc! { "ordinal": 1 });
                let found = self.answers(found).await.map_err(failed)?;
                let portfolios = found.map_err(failed).and_then(async |raw| read_portfolio(&raw));
                OpenRebalance::new(header, number, portfolios)
            }
        }))
    }

    async fn list(&self, order: &[(RebalanceKey, Direction)], page: Page) -> Result<Vec<Rebalance>, Error> {
        self.rebalances(doc! {}, sort(order), page).await
    }

    async fn containing(&self, portfolios: &[PortfolioId], page: Page) -> Result<Vec<Rebalance>, Error> {
        self.ready().await.map_err(failed)?;
        let names: Vec<&str> = portfolios.iter().map(PortfolioId::as_str).collect();
        let portfolios = self.collection(PORTFOLIOS);
        let recordings = portfolios.aggregate([
            doc! { "$match": { "portfolio_id": { "$in": &names } } },
            doc! { "$group": { "_id": "$recording" } },
        ]);
        let recordings = self.in_time(recordings).await.map_err(failed)?;
        let recordings: Vec<Document> = self.in_time(recordings.try_collect()).await.map_err(failed)?;
        let recordings: Vec<ObjectId> =
            recordings.iter().filter_map(|found| found.get_object_id("_id").ok()).collect();
        let contains = doc! { "$or": [
            { "recording": { "$in": recordings } },
            { "portfolios.portfolio_id": { "$in": names } },
        ] };
        self.rebalances(contains, sort(&[]), page).await
    }

    async fn find_portfolio(
        &self,
        id: &RebalanceId,
        portfolio: &PortfolioId,
    ) -> Result<Option<PortfolioRebalance>, Error> {
        match self.kept(id).await?.map(|kept| kept.portfolios) {
            None => Ok(None),
            Some(Portfolios::Embedded(portfolios)) => {
                Ok(portfolios.into_iter().find(|embedded| embedded.portfolio == *portfolio))
            }
            Some(Portfolios::Recorded { recording, .. }) => {
                let of_it = doc! { "portfolio_id": portfolio.as_str(), "recording": recording };
                let portfolios = self.collection(PORTFOLIOS);
                let found = portfolios.find_one(of_it).sort(doc! { "ordinal": 1 });
                self.in_time(found).await.map_err(failed)?.map(|raw| read_portfolio(&raw)).transpose()
            }
        }
    }

    async fn delete(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        let deployment = self.ready().await.map_err(failed)?;
        let id = object_id(id);
        let deleted = async {
            match deployment {
                Deployment::Replicated => self.delete_at_once(id, expected).await,
                Deployment::Standalone => self.delete_in_order(id, expected).await,
            }
        };
        if !self.in_time(deleted).await.map_err(failed)? {
            return Err(self.unmatched(REBALANCES, REBALANCE, id, expected).await);
        }
        if let Err(error) = self.in_time(leftovers::sweep(&self.database)).await {
            tracing::warn!(error = %Chain(&error), "leftovers stay for now");
        }
        Ok(())
    }
}

/// What one attempt to record a rebalance writes.
struct Recording {
    id: ObjectId,
    rebalance: ObjectId,
    model: ObjectId,
    header: RawDocumentBuf,
    portfolios: Vec<Vec<RawDocumentBuf>>,
    date: bson::DateTime,
}

impl Recording {
    fn new(rebalance: &Rebalance) -> Self {
        let id = ObjectId::new();
        Self {
            id,
            rebalance: object_id(&rebalance.header.id),
            model: ObjectId::from_bytes(rebalance.header.model.bytes()),
            header: written(&RebalanceDocument::of(rebalance, id)),
            portfolios: batches(&rebalance.header, id, &rebalance.portfolios),
            date: date(rebalance.header.date),
        }
    }

    fn model_date(&self) -> (Document, Document) {
        (doc! { "_id": self.model }, doc! { "$max": { "last_rebalance_date": self.date } })
    }
}

/// No command is larger than this by more than one portfolio, nor of more documents.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_DOCUMENTS: usize = 1000;

fn batches(
    header: &RebalanceHeader,
    recording: ObjectId,
    portfolios: &[PortfolioRebalance],
) -> Vec<Vec<RawDocumentBuf>> {
    let mut batches: Vec<Vec<RawDocumentBuf>> = Vec::new();
    let mut bytes = usize::MAX;
    for (ordinal, portfolio) in (0..).zip(portfolios) {
        let document = written(&PortfolioDocument::of(header, recording, ordinal, portfolio));
        let size = document.as_bytes().len();
        match batches.last_mut() {
            Some(batch) if bytes < BATCH_BYTES && batch.len() < BATCH_DOCUMENTS => {
                bytes += size;
                batch.push(document);
            }
            Some(_) | None => {
                bytes = size;
                batches.push(vec![document]);
            }
        }
    }
    batches
}

impl MongoStore {
    async fn record_at_once(&self, recording: Recording) -> Result<(), mongodb::error::Error> {
        let store = self.clone();
        let patience = self.patience_for(&recording);
        to_the_end(async move {
            let mut session = store.client.start_session().await?;
            let transaction = session.start_transaction();
            let written =
                transaction.and_run2(async move |session| store.record_within(session, &recording).await);
            in_time(patience, written).await
        })
        .await
    }

    /// The driver repeats a transaction for two minutes, whether or not there is a server: the more there
    /// is to write, the longer it may take, but a small one must not wait long for nobody.
    fn patience_for(&self, recording: &Recording) -> Duration {
        let n_batches = u32::try_from(recording.portfolios.len()).unwrap_or(u32::MAX).max(1);
        self.patience.saturating_mul(n_batches).min(RECORDING_TIMEOUT)
    }

    /// The model comes last: whoever else writes to it waits the shorter.
    async fn record_within(
        &self,
        session: &mut ClientSession,
        recording: &Recording,
    ) -> Result<(), mongodb::error::Error> {
        self.collection(REBALANCES).insert_one(&recording.header).session(&mut *session).await?;
        for batch in &recording.portfolios {
            self.collection(PORTFOLIOS).insert_many(batch).session(&mut *session).await?;
        }
        let (model, later) = recording.model_date();
        self.collection(MODELS).update_one(model, later).session(session).await?;
        Ok(())
    }

    /// The header comes last: until then nobody sees any of it. All that a crash before it can show is a
    /// model's date.
    async fn record_in_order(&self, recording: Recording) -> Result<(), mongodb::error::Error> {
        note(&self.database, recording.id, recording.rebalance).await?;
        let id_is_taken = doc! { "_id": recording.rebalance };
        let taken = self.collection(REBALANCES).find_one(id_is_taken).projection(doc! { "_id": 1 }).await?;
        if taken.is_none() {
            for batch in &recording.portfolios {
                self.collection(PORTFOLIOS).insert_many(batch).write_concern(unawaited()).await?;
            }
            let (model, later) = recording.model_date();
            self.collection(MODELS).update_one(model, later).write_concern(unawaited()).await?;
        }
        self.collection(REBALANCES).insert_one(&recording.header).await?;
        if let Err(error) = forget(&self.database, recording.id).await {
            tracing::warn!(error = %Chain(&error), "a note of leftovers stays for now");
        }
        Ok(())
    }

    /// Whether there was one to delete.
    async fn delete_at_once(&self, id: ObjectId, expected: Version) -> Result<bool, mongodb::error::Error> {
        let store = self.clone();
        to_the_end(async move {
            let mut session = store.client.start_session().await?;
            let transaction = session.start_transaction();
            let deleted =
                transaction.and_run2(async move |session| store.delete_within(session, id, expected).await);
            in_time(RECORDING_TIMEOUT, deleted).await
        })
        .await
    }

    async fn delete_within(
        &self,
        session: &mut ClientSession,
        id: ObjectId,
        expected: Version,
    ) -> Result<bool, mongodb::error::Error> {
        let headers = self.database.collection::<Document>(REBALANCES);
        let deleted = headers
            .find_one_and_delete(at_version(id, expected))
            .projection(doc! { "recording": 1 })
            .session(&mut *session)
            .await?;
        let Some(deleted) = deleted else {
            return Ok(false);
        };
        if let Ok(recording) = deleted.get_object_id("recording") {
            note_within(session, &self.database, recording, id).await?;
        }
        Ok(true)
    }

    async fn delete_in_order(&self, id: ObjectId, expected: Version) -> Result<bool, mongodb::error::Error> {
        let headers = self.database.collection::<Document>(REBALANCES);
        let header = headers.find_one(at_version(id, expected)).projection(doc! { "recording": 1 }).await?;
        let Some(header) = header else {
            return Ok(false);
        };
        // Should nothing be deleted then, the note does no harm.
        if let Ok(recording) = header.get_object_id("recording") {
            note(&self.database, recording, id).await?;
        }
        Ok(headers.delete_one(at_version(id, expected)).await?.deleted_count != 0)
    }

    async fn kept(&self, id: &RebalanceId) -> Result<Option<Kept>, Error> {
        self.ready().await.map_err(failed)?;
        let rebalances = self.collection(REBALANCES);
        let found = self.in_time(rebalances.find_one(doc! { "_id": object_id(id) })).await;
        found.map_err(failed)?.map(|raw| read_header(&raw)).transpose()
    }

    /// Whole ones.
    async fn rebalances(&self, which: Document, sort: Document, page: Page) -> Result<Vec<Rebalance>, Error> {
        self.ready().await.map_err(failed)?;
        let headers = self.collection(REBALANCES);
        let Some(found) = paged(headers.find(which), sort, page) else {
            return Ok(Vec::new());
        };
        let found = self.answers(found).await.map_err(failed)?;
        let kept: Vec<Kept> =
            found.map_err(failed).and_then(async |raw| read_header(&raw)).try_collect().await?;

        let mut recorded = self.recorded(&kept).await?;
        kept.into_iter()
            .map(|Kept { header, portfolios }| match portfolios {
                Portfolios::Embedded(portfolios) => Ok(Rebalance { header, portfolios }),
                Portfolios::Recorded { recording, number } => {
                    let portfolios = recorded.remove(&recording).unwrap_or_default();
                    if portfolios.len() == number {
                        Ok(Rebalance { header, portfolios })
                    } else {
                        Err(incomplete(&header, portfolios.len(), number))
                    }
                }
            })
            .collect()
    }

    async fn recorded(&self, kept: &[Kept]) -> Result<HashMap<ObjectId, Vec<PortfolioRebalance>>, Error> {
        let recordings: Vec<ObjectId> = kept
            .iter()
            .filter_map(|kept| match kept.portfolios {
                Portfolios::Recorded { recording, .. } => Some(recording),
                Portfolios::Embedded(_) => None,
            })
            .collect();
        let found = self.collection(PORTFOLIOS);
        let found = found.find(doc! { "recording": { "$in": recordings } });
        let mut found =
            self.answers(found.sort(doc! { "recording": 1, "ordinal": 1 })).await.map_err(failed)?;
        let mut portfolios: HashMap<ObjectId, Vec<PortfolioRebalance>> = HashMap::new();
        while let Some(raw) = found.try_next().await.map_err(failed)? {
            let Recorded { recording, portfolio } = read::<PortfolioDocument, _>(REBALANCE, &raw)?;
            portfolios.entry(recording).or_default().push(portfolio);
        }
        Ok(portfolios)
    }
}

/// Lets a transaction come to its end even where the caller gives up.
///
/// Were it dropped, the driver's abort could overtake the command that was under way; the server would
/// then begin the transaction after its abort, and keep what it locked for a minute.
async fn to_the_end<T: Send + 'static>(
    transaction: impl Future<Output = Result<T, mongodb::error::Error>> + Send + 'static,
) -> Result<T, mongodb::error::Error> {
    #[expect(clippy::disallowed_methods, reason = "the caller awaits it, and it ends in time if not")]
    let running = tokio::spawn(transaction);
    match running.await {
        Ok(ended) => ended,
        Err(stopped) => Err(std::io::Error::other(stopped).into()),
    }
}

fn incomplete(header: &RebalanceHeader, found: usize, number: usize) -> Error {
    let source = format!("rebalance {} has {found} of its {number} portfolios", header.id);
    Error::Corrupt { entity: REBALANCE, source: Source::from(source) }
}

fn read_header(raw: &RawDocumentBuf) -> Result<Kept, Error> {
    read::<RebalanceDocument, _>(REBALANCE, raw)
}

fn read_portfolio(raw: &RawDocumentBuf) -> Result<PortfolioRebalance, Error> {
    read::<PortfolioDocument, _>(REBALANCE, raw)
}

fn sort(keys: &[(RebalanceKey, Direction)]) -> Document {
    let fields = keys.iter().map(|(key, direction)| {
        let field = match key {
            RebalanceKey::Id => "_id",
            RebalanceKey::ModelName => "model_name",
            RebalanceKey::Date => "rebalance_date",
            RebalanceKey::NumberOfPortfolios => "number_of_portfolios",
        };
        (field, *direction)
    });
    order(fields, &["_id"])
}
