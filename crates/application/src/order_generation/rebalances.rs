//! Reading and deleting kept rebalances.

use std::collections::HashMap;

use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::rebalance::{FailedPortfolio, PortfolioRebalance, Rebalance};
use domain::version::Version;

use super::ports::{Direction, OpenRebalance, Page, RebalanceKey};
use super::rebalance::{Outcome, PortfolioOutcome};
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

    /// What the rebalance answered when it was made, with the names that its portfolios have by now;
    /// `None` if there is no such rebalance.
    ///
    /// Portfolios that follow its model no more come last, those that failed after the others.
    pub async fn kept_outcome(&self, id: &RebalanceId) -> Result<Option<Outcome<FailedPortfolio>>, Error> {
        let Some(open) = self.rebalances.open(id).await? else { return Ok(None) };
        let Rebalance { header, portfolios } = open.whole().await?;
        let rebalanced = portfolios.into_iter().map(|it| (it.portfolio.clone(), Ok(it)));
        let failed = header.failed.into_iter().map(|it| (it.portfolio.clone(), Err(it)));
        let mut results: Vec<_> = rebalanced.chain(failed).collect();
        if let Some(model) = self.models.find(&header.model).await? {
            let places: HashMap<_, _> = model.followers.as_slice().iter().zip(0..).collect();
            results.sort_by_key(|(portfolio, _)| places.get(portfolio).copied().unwrap_or(usize::MAX));
        }

        let portfolios: Vec<PortfolioId> = results.iter().map(|(portfolio, _)| portfolio.clone()).collect();
        let names = self.names_of(&portfolios).await;
        let outcome = |((portfolio, result), name)| PortfolioOutcome { portfolio, name, result };
        Ok(Some(Outcome {
            model: header.model,
            kept_as: Some(*id),
            date: header.date,
            rules: header.rules,
            portfolios: results.into_iter().zip(names).map(outcome).collect(),
        }))
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

    pub async fn delete_rebalance(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        let deleted = self.rebalances.delete(id, expected).await.map_err(|error| match error {
            repository::Error::Missing => Error::UnknownRebalance(*id),
            repository::Error::Conflict { .. } => Error::RebalanceModified { source: error },
            repository::Error::Duplicate { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        });
        self.journal.rebalance_deletion(id, deleted.as_ref().map(|()| expected));
        deleted
    }
}
