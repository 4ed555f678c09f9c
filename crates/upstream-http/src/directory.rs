//! The Portfolio Service: what portfolios are called.

use std::num::NonZeroU32;
use std::sync::Arc;

use application::health::{BreakerState, NeighbourProbe};
use application::order_generation::ports::PortfolioDirectory;
use application::upstream;
use async_trait::async_trait;
use domain::identifier::PortfolioId;
use serde::Deserialize;

use crate::cache::{Cache, CacheUse};
use crate::config::{Calls, Config};
use crate::neighbour::{Error, Neighbour};
use crate::observer::Observer;

#[derive(Clone)]
pub struct Directory {
    neighbour: Neighbour,
    names: Cache<PortfolioId, String>,
}

impl Directory {
    pub(crate) fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        let calls = Calls { timeout: config.name_timeout, attempts: NonZeroU32::MIN, ..config.calls.clone() };
        Ok(Self {
            neighbour: Neighbour::new("portfolio-service", &config.portfolio, &calls, &[], observer)?,
            names: Cache::new("names", config.names),
        })
    }

    pub(crate) fn breaker(&self) -> (&'static str, BreakerState) {
        self.neighbour.breaker_state()
    }

    pub(crate) fn names(&self) -> CacheUse {
        self.names.told()
    }

    pub(crate) fn probe(&self) -> Box<dyn NeighbourProbe> {
        self.neighbour.probe()
    }

    async fn ask(&self, portfolio: &PortfolioId) -> Result<Option<String>, upstream::Error> {
        let endpoint = "/api/v1/portfolio/{portfolio_id}";
        let about = format!("name of portfolio {portfolio}");
        let body: Option<PortfolioBody> =
            self.neighbour.find(endpoint, &[portfolio.as_str()], &about).await?;
        Ok(body.map(|body| body.name))
    }
}

#[async_trait]
impl PortfolioDirectory for Directory {
    async fn name(&self, portfolio: &PortfolioId) -> Result<Option<String>, upstream::Error> {
        self.names.find(portfolio.clone(), || self.ask(portfolio)).await
    }
}

#[derive(Deserialize)]
struct PortfolioBody {
    name: String,
}
