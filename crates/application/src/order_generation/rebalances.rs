//! Reading and deleting kept rebalances.

use domain::identifier::{PortfolioId, RebalanceId};
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance};
use domain::version::Version;

use super::ports::{Direction, OpenRebalance, Page, RebalanceKey};
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
        self.rebalances.delete(id, expected).await.map_err(|error| match error {
            repository::Error::Missing => Error::UnknownRebalance(*id),
            repository::Error::Conflict { .. } => Error::RebalanceModified { source: error },
            repository::Error::Duplicate { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        })?;
        tracing::info!(rebalance_id = %id, "rebalance deleted");
        Ok(())
    }
}
