//! Kept rebalances: a small one is one document, a large one a header and a document for every portfolio,
//! so that none is too large.
//!
//! Each attempt to record a large one has a recording id of its own, under which the portfolios are kept
//! and never changed. A header names its recording, and readers find portfolios only through headers.

use std::collections::HashMap;
use std::time::Duration;

use application::chain::Chain;
use application::order_generation::ports::{
    Direction, OpenRebalance, Page, RebalanceKey, RebalanceRepository,
};
use application::repository::{Error, Source};
use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocumentBuf, doc};
use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::version::Version;
use futures_util::future::try_join;
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use mongodb::ClientSession;
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::RawBatch;

use super::leftovers::{self, forget, note, note_within, unawaited};
use super::models::at_version;
use super::record::{
    Kept, Origin, Portfolios, Recorded, header_alone, object_id, portfolio_apart, read_header,
    read_portfolios, read_recorded, whole,
};
use super::{MODELS, PORTFOLIOS, REBALANCES, order, paged};
use crate::document::{date, read};
use crate::failure::{failed, is_duplicate, taken};
use crate::fields::Value;
use crate::{Deployment, MongoStore, documents, in_time};

pub(super) const REBALANCE: &str = "rebalance";

/// No recording takes longer: far less than the time after which what it wrote counts as left over.
pub(super) const RECORDING_TIMEOUT: Duration = Duration::from_mins(1);

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
            Portfolios::Within(portfolios) => {
                let number = portfolios.len();
                OpenRebalance::new(header, number, stream::iter(portfolios).map(Ok))
            }
            Portfolios::Apart { recording, number } => {
                OpenRebalance::new(header, number, self.portfolios(recording, number))
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
        let contains = doc! { "status": COMPLETED, "$or": [
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
        self.ready().await.map_err(failed)?;
        let name = portfolio.as_str();
        let part = doc! { "recording": 1, "portfolios": { "$elemMatch": { "portfolio_id": name } } };
        let headers = self.collection(REBALANCES);
        let header = headers.find_one(doc! { "_id": object_id(id), "status": COMPLETED }).projection(part);
        let Some(header) = self.in_time(header).await.map_err(failed)? else {
            return Ok(None);
        };
        let (recording, within) = read(REBALANCE, &header, |from| {
            Ok((from.optional("recording", Value::object_id)?, read_portfolios(from)?))
        })?;
        let Some(recording) = recording else {
            return Ok(within.into_iter().next());
        };
        let portfolios = self.collection(PORTFOLIOS);
        let of_it = doc! { "portfolio_id": name, "recording": recording };
        let found = portfolios.find_one(of_it).sort(doc! { "ordinal": 1 });
        let found = self.in_time(found).await.map_err(failed)?;
        Ok(found.map(|found| read(REBALANCE, &found, read_recorded)).transpose()?.map(|it| it.portfolio))
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
    rebalance: ObjectId,
    model: ObjectId,
    date: bson::DateTime,
    header: RawDocumentBuf,
    /// `None` where the header has the portfolios.
    apart: Option<Apart>,
}

struct Apart {
    recording: ObjectId,
    portfolios: Vec<Vec<RawDocumentBuf>>,
}

/// A rebalance of at most so many portfolios and positions is one document, of some 50 kB.
///
/// It is written and read in half the time, needs no clearing up after a crash, and the reference service
/// can read it.
const FEW: usize = 128;

impl Recording {
    fn new(rebalance: &Rebalance) -> Self {
        let lines = rebalance.portfolios.iter().map(|portfolio| 1 + portfolio.positions.len());
        let (header, apart) = if lines.sum::<usize>() <= FEW {
            (whole(rebalance), None)
        } else {
            let recording = ObjectId::new();
            let RebalanceHeader { id, date, .. } = rebalance.header;
            let origin = Origin { rebalance: object_id(&id), recording, date };
            let portfolios = batches(&origin, 0, &rebalance.portfolios);
            let header = header_alone(&rebalance.header, rebalance.portfolios.len(), recording);
            (header, Some(Apart { recording, portfolios }))
        };
        Self {
            rebalance: object_id(&rebalance.header.id),
            model: ObjectId::from_bytes(rebalance.header.model.bytes()),
            date: date(rebalance.header.date),
            header,
            apart,
        }
    }

    fn model_date(&self) -> (Document, Document) {
        (doc! { "_id": self.model }, doc! { "$max": { "last_rebalance_date": self.date } })
    }

    fn batches(&self) -> &[Vec<RawDocumentBuf>] {
        self.apart.as_ref().map_or(&[], |apart| &apart.portfolios)
    }
}

/// No command is larger than this by more than one portfolio, nor of more documents.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_DOCUMENTS: usize = 1000;

pub(super) fn batches(
    origin: &Origin,
    first: usize,
    portfolios: &[PortfolioRebalance],
) -> Vec<Vec<RawDocumentBuf>> {
    let mut batches: Vec<Vec<RawDocumentBuf>> = Vec::new();
    let mut bytes = usize::MAX;
    for (ordinal, portfolio) in (ordinal(first)..).zip(portfolios) {
        let document = portfolio_apart(origin, ordinal, portfolio);
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
        let n_batches = u32::try_from(recording.batches().len()).unwrap_or(u32::MAX).max(1);
        self.patience.saturating_mul(n_batches).min(RECORDING_TIMEOUT)
    }

    /// The model comes last: whoever else writes to it waits the shorter.
    async fn record_within(
        &self,
        session: &mut ClientSession,
        recording: &Recording,
    ) -> Result<(), mongodb::error::Error> {
        self.collection(REBALANCES).insert_one(&recording.header).session(&mut *session).await?;
        for batch in recording.batches() {
            self.collection(PORTFOLIOS).insert_many(batch).session(&mut *session).await?;
        }
        let (model, later) = recording.model_date();
        self.collection(MODELS).update_one(model, later).session(session).await?;
        Ok(())
    }

    /// The header comes last: until then nobody sees any of it. All that a crash before it can show is a
    /// model's date.
    async fn record_in_order(&self, recording: Recording) -> Result<(), mongodb::error::Error> {
        if let Some(Apart { recording: id, .. }) = recording.apart {
            note(&self.database, id, recording.rebalance).await?;
        }
        for batch in recording.batches() {
            self.collection(PORTFOLIOS).insert_many(batch).write_concern(unawaited()).await?;
        }
        let date_before = self.move_date(&recording).await?;
        let inserted = self.collection(REBALANCES).insert_one(&recording.header).await;
        if inserted.as_ref().is_err_and(is_duplicate) {
            self.put_date_back(&recording, date_before).await?;
        }
        inserted?;
        if let Some(Apart { recording: id, .. }) = recording.apart
            && let Err(error) = forget(&self.database, id).await
        {
            tracing::warn!(error = %Chain(&error), "a note of leftovers stays for now");
        }
        Ok(())
    }

    /// The date that the model had.
    async fn move_date(
        &self,
        recording: &Recording,
    ) -> Result<Option<bson::DateTime>, mongodb::error::Error> {
        let (model, later) = recording.model_date();
        let models = self.database.collection::<Document>(MODELS);
        let moved = models.find_one_and_update(model, later).projection(doc! { "last_rebalance_date": 1 });
        let before = moved.write_concern(unawaited()).await?;
        Ok(before.and_then(|before| before.get_datetime("last_rebalance_date").ok().copied()))
    }

    /// Nothing was recorded, because the id was taken. To look for that first would take a small rebalance
    /// a third of its time.
    ///
    /// What took the id, and others that were recorded meanwhile, may have moved the date no further.
    async fn put_date_back(
        &self,
        recording: &Recording,
        before: Option<bson::DateTime>,
    ) -> Result<(), mongodb::error::Error> {
        let (after, until) = (before.unwrap_or(bson::DateTime::MIN), recording.date);
        let recorded = doc! {
            "rebalance_date": { "$gt": after, "$lte": until },
            "model_id": recording.model,
        };
        let rebalances = self.database.collection::<Document>(REBALANCES);
        let newest = rebalances.find_one(recorded).sort(doc! { "rebalance_date": -1, "created_at": -1 });
        let newest = newest.projection(doc! { "rebalance_date": 1 }).read_concern(ReadConcern::local());
        let newest = newest.await?.and_then(|it| it.get_datetime("rebalance_date").ok().copied());
        let models = self.collection(MODELS);
        let moved = doc! { "_id": recording.model, "last_rebalance_date": until };
        let back = doc! { "$set": { "last_rebalance_date": newest.or(before) } };
        models.update_one(moved, back).await?;
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
        found.map_err(failed)?.map(|raw| read(REBALANCE, &raw, read_header)).transpose()
    }

    /// Reads page by page, at most one ahead, and keeps nothing on the server between them: a client that
    /// stops reading must not keep a cursor and its session.
    fn portfolios(
        &self,
        recording: ObjectId,
        number: usize,
    ) -> impl Stream<Item = Result<PortfolioRebalance, Error>> + Send + use<> {
        let start =
            Reading { store: self.clone(), recording, number, next: 0, page: FIRST_PAGE, ahead: None };
        let pages = stream::try_unfold(start, Reading::page);
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten()
    }

    /// Whole ones.
    async fn rebalances(&self, which: Document, sort: Document, page: Page) -> Result<Vec<Rebalance>, Error> {
        self.ready().await.map_err(failed)?;
        let headers = self.collection(REBALANCES);
        let Some(found) = paged(headers.find(which), sort, page) else {
            return Ok(Vec::new());
        };
        let kept = self.answers(found, |raw| read(REBALANCE, raw, read_header)).await?;

        let mut recorded = self.recorded(&kept).await?;
        kept.into_iter()
            .map(|Kept { header, portfolios }| match portfolios {
                Portfolios::Within(portfolios) => Ok(Rebalance { header, portfolios }),
                Portfolios::Apart { recording, number } => {
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
                Portfolios::Apart { recording, .. } => Some(recording),
                Portfolios::Within(_) => None,
            })
            .collect();
        let found = self.collection(PORTFOLIOS);
        let found = found.find(doc! { "recording": { "$in": recordings } });
        let found = found.sort(doc! { "recording": 1, "ordinal": 1 });
        let mut portfolios: HashMap<ObjectId, Vec<PortfolioRebalance>> = HashMap::new();
        for Recorded { recording, portfolio, .. } in
            self.answers(found, |raw| read(REBALANCE, raw, read_recorded)).await?
        {
            portfolios.entry(recording).or_default().push(portfolio);
        }
        Ok(portfolios)
    }
}

/// A reader of portfolios that are kept apart.
struct Reading {
    store: MongoStore,
    recording: ObjectId,
    number: usize,
    /// The ordinal of the portfolio to read next.
    next: usize,
    /// How many portfolios to ask for.
    page: usize,
    /// Those to read next, if they were asked for already.
    ahead: Option<RawBatch>,
}

/// Before it is known how large they are.
const FIRST_PAGE: usize = 16;

/// About as much is asked for at once. With far less, the questions would take longer than the answers.
const PAGE_BYTES: usize = 1 << 20;

impl Reading {
    /// Asks for the next page while it reads this one.
    async fn page(mut self) -> Result<Option<(Vec<PortfolioRebalance>, Self)>, Error> {
        let batch = match self.ahead.take() {
            Some(batch) => batch,
            None if self.next == 0 => self.ask().await?,
            None => return Ok(None),
        };
        let first = self.next;
        let found = documents(&batch)?.count();
        if found == 0 {
            return Ok(None);
        }
        self.next += found;
        self.page = (PAGE_BYTES * found / batch.as_raw_document().as_bytes().len()).max(1);
        let page = portfolios_of(&batch, first);
        if self.number <= self.next {
            return Ok(Some((page.await?, self)));
        }
        let (page, ahead) = try_join(page, self.ask()).await?;
        self.ahead = Some(ahead);
        Ok(Some((page, self)))
    }

    async fn ask(&self) -> Result<RawBatch, Error> {
        let left = self.number.saturating_sub(self.next);
        // One more than there should be, to see that there is none.
        let limit = if left <= self.page { left + 1 } else { self.page };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let portfolios = self.store.collection(PORTFOLIOS);
        let which = doc! { "recording": self.recording, "ordinal": { "$gte": ordinal(self.next) } };
        let found = portfolios.find(which).sort(doc! { "ordinal": 1 });
        // Below zero, it leaves no cursor behind.
        let found = found.limit(-i64::from(limit)).batch_size(limit);
        let batch = self.store.batches(found).await?.try_next().await?;
        batch.ok_or_else(|| failed(std::io::ErrorKind::UnexpectedEof.into()))
    }
}

async fn portfolios_of(batch: &RawBatch, first: usize) -> Result<Vec<PortfolioRebalance>, Error> {
    let mut portfolios = Vec::new();
    for (document, expected) in documents(batch)?.zip(ordinal(first)..) {
        let portfolio = read(REBALANCE, document?, |from| match read_recorded(from)? {
            Recorded { ordinal, portfolio, .. } if ordinal == expected => Ok(portfolio),
            Recorded { .. } => Err("the portfolio before it is missing".into()),
        })?;
        portfolios.push(portfolio);
        // Others have their turn, the question for the next page first of all.
        tokio::task::yield_now().await;
    }
    Ok(portfolios)
}

pub(super) fn ordinal(portfolio: usize) -> i64 {
    i64::try_from(portfolio).expect("a list in memory is shorter than `i64::MAX`")
}

/// Lets a transaction come to its end even where the caller gives up.
///
/// Were it dropped, the driver's abort could overtake the command that was under way; the server would
/// then begin the transaction after its abort, and keep what it locked for a minute.
pub(super) async fn to_the_end<T: Send + 'static>(
    transaction: impl Future<Output = Result<T, mongodb::error::Error>> + Send + 'static,
) -> Result<T, mongodb::error::Error> {
    #[expect(clippy::disallowed_methods, reason = "the caller awaits it, and it ends in time if not")]
    let running = tokio::spawn(transaction);
    match running.await {
        Ok(ended) => ended,
        Err(stopped) => Err(std::io::Error::other(stopped).into()),
    }
}

/// The status of completed rebalances, which have none.
const COMPLETED: Bson = Bson::Null;

fn incomplete(header: &RebalanceHeader, found: usize, number: usize) -> Error {
    let source = format!("rebalance {} has {found} of its {number} portfolios", header.id);
    Error::Corrupt { entity: REBALANCE, source: Source::from(source) }
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
