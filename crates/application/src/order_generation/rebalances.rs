//! Reading and deleting kept rebalances.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::model::Model;
use domain::order_generation::progress::RebalanceStatus;
use domain::order_generation::rebalance::{FailedPortfolio, PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::version::Version;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryChunksError, TryStreamExt};

use super::ports::{Direction, OpenRebalance, Page, RebalanceKey};
use super::rebalance::{KeptOutcome, PortfolioOutcome};
use super::runs::IN_MEMORY;
use super::{Error, OrderGeneration};
use crate::repository;

impl OrderGeneration {
    pub async fn rebalances(
        &self,
        order: &[(RebalanceKey, Direction)],
        page: Page,
    ) -> Result<Vec<Rebalance>, Error> {
        Ok(self.rebalances.list(order, page).await?)
    }

    pub async fn rebalances_of(
        &self,
        portfolios: &[PortfolioId],
        page: Page,
    ) -> Result<Vec<Rebalance>, Error> {
        Ok(self.rebalances.containing(portfolios, page).await?)
    }

    pub async fn rebalance(&self, id: &RebalanceId) -> Result<OpenRebalance<'static>, Error> {
        self.rebalances.open(id).await?.ok_or(Error::UnknownRebalance(*id))
    }

    /// What the completed rebalance `open` answered when it was made, with the names that its portfolios
    /// have by now.
    ///
    /// In the order of the model as it is now. Portfolios that follow it no more come last, those that
    /// failed after the others.
    pub async fn kept_outcome(self: &Arc<Self>, open: OpenRebalance<'static>) -> Result<KeptOutcome, Error> {
        let model = self.models.find(&open.header.model).await?;
        if IN_MEMORY < open.number_of_portfolios() + open.header.failed.len() {
            // Too many to be sorted; the order was the model's when they were kept.
            return Ok(self.outcome_of(open, model.as_ref()));
        }
        let (id, date) = (open.header.id, open.header.date);
        let Rebalance { header, portfolios } = open.whole().await?;
        let rebalanced = portfolios.into_iter().map(|it| (it.portfolio.clone(), Ok(it)));
        let failed = header.failed.into_iter().map(|it| (it.portfolio.clone(), Err(it)));
        let mut results: Vec<_> = rebalanced.chain(failed).collect();
        let places = places(model.as_ref());
        results.sort_by_key(|(portfolio, _)| places.get(portfolio).copied().unwrap_or(usize::MAX));
        Ok(KeptOutcome { id, date, portfolios: self.named(stream::iter(results.into_iter().map(Ok))) })
    }

    /// The failed portfolios of a rebalance among those that are read, each in its place in `model`.
    pub(super) fn outcome_of(
        self: &Arc<Self>,
        open: OpenRebalance<'static>,
        model: Option<&Model>,
    ) -> KeptOutcome {
        let (id, date) = (open.header.id, open.header.date);
        let mut failed: VecDeque<FailedPortfolio> = open.header.failed.clone().into();
        let places = places(model);
        let place = move |portfolio: &PortfolioId| places.get(portfolio).copied().unwrap_or(usize::MAX);
        let last = stream::once(async { Ok(None) });
        let results = open.into_portfolios().map_ok(Some).chain(last).map_ok(move |next| {
            let end = next.as_ref().map(|next| place(&next.portfolio));
            let before =
                failed.iter().take_while(|failed| end.is_none_or(|end| place(&failed.portfolio) < end));
            let before: Vec<FailedPortfolio> = failed.drain(..before.count()).collect();
            let before = before.into_iter().map(|failed| (failed.portfolio.clone(), Err(failed)));
            let next = next.map(|next| (next.portfolio.clone(), Ok(next)));
            stream::iter(before.chain(next).map(Ok::<_, repository::Error>))
        });
        KeptOutcome { id, date, portfolios: self.named(results.try_flatten()) }
    }

    /// Asks for the names of as many at a time as are solved at a time.
    fn named(
        self: &Arc<Self>,
        results: impl Stream<Item = Result<(PortfolioId, Kept), repository::Error>> + Send + 'static,
    ) -> BoxStream<'static, Result<PortfolioOutcome<FailedPortfolio>, repository::Error>> {
        let app = Arc::clone(self);
        let chunks = results.try_chunks(IN_MEMORY).map_err(|TryChunksError(_, error)| error);
        let named = chunks.and_then(move |results| {
            let app = Arc::clone(&app);
            async move {
                let portfolios: Vec<PortfolioId> =
                    results.iter().map(|(portfolio, _)| portfolio.clone()).collect();
                let names = app.names_of(&portfolios).await;
                let outcome = |((portfolio, result), name)| PortfolioOutcome { portfolio, name, result };
                let outcomes: Vec<_> = results.into_iter().zip(names).map(outcome).collect();
                Ok(stream::iter(outcomes.into_iter().map(Ok)))
            }
        });
        named.try_flatten().boxed()
    }

    /// Removes what is left of a rebalance that did not complete, so that its id is free.
    pub async fn forget_incomplete(&self, header: &RebalanceHeader) -> Result<(), Error> {
        match self.rebalances.delete(&header.id, header.version).await {
            // Someone else did.
            Ok(()) | Err(repository::Error::Missing | repository::Error::Conflict { .. }) => Ok(()),
            Err(
                error @ (repository::Error::Duplicate { .. }
                | repository::Error::Corrupt { .. }
                | repository::Error::Unavailable { .. }),
            ) => Err(error.into()),
        }
    }

    pub async fn rebalanced_portfolio(
        &self,
        id: &RebalanceId,
        portfolio: &PortfolioId,
    ) -> Result<PortfolioRebalance, Error> {
        match self.rebalances.find_portfolio(id, portfolio).await? {
            Some(found) => Ok(found),
            None => match self.rebalances.open(id).await? {
                Some(_) => Err(Error::NotInRebalance { rebalance: *id, portfolio: portfolio.clone() }),
                None => Err(Error::UnknownRebalance(*id)),
            },
        }
    }

    /// Deletes a rebalance; one under way is cancelled, and stays as that.
    pub async fn delete_rebalance(&self, id: &RebalanceId, expected: Version) -> Result<Deleted, Error> {
        let is_running = matches!(self.rebalance(id).await?.header.status, RebalanceStatus::Running(_));
        let deleted = if is_running {
            self.cancel(id, expected).await.map(|()| Deleted::Cancelled)
        } else {
            self.rebalances.delete(id, expected).await.map(|()| Deleted::Removed)
        };
        let deleted = deleted.map_err(|error| match error {
            repository::Error::Missing => Error::UnknownRebalance(*id),
            repository::Error::Conflict { .. } => Error::RebalanceModified { source: error },
            repository::Error::Duplicate { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        });
        self.journal.rebalance_deletion(id, deleted.as_ref().map(|_| expected));
        deleted
    }
}

/// What a delete came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Removed,
    Cancelled,
}

type Kept = Result<PortfolioRebalance, FailedPortfolio>;

fn places(model: Option<&Model>) -> HashMap<PortfolioId, usize> {
    let followers = model.map_or(&[][..], |model| model.followers.as_slice());
    followers.iter().cloned().zip(0..).collect()
}
