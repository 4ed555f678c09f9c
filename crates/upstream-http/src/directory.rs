//! The Portfolio Service: what portfolios are called.

use std::num::NonZeroU32;

use application::order_generation::ports::PortfolioDirectory;
use application::{health, upstream};
use async_trait::async_trait;
use domain::identifier::PortfolioId;
use serde::Deserialize;

use crate::cache::Cache;
use crate::config::{Calls, Config};
use crate::neighbour::{Error, Neighbour};

#[derive(Clone)]
pub struct Directory {
    neighbour: Neighbour,
    names: Cache<PortfolioId, String>,
}

impl Directory {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let calls = Calls { timeout: config.name_timeout, attempts: NonZeroU32::MIN, ..config.calls.clone() };
        Ok(Self {
            neighbour: Neighbour::new("portfolio-service", &config.portfolio, &calls, &[])?,
            names: Cache::new(config.names),
        })
    }

    pub(crate) fn probe(&self) -> health::Neighbour {
        self.neighbour.probe("portfolio")
    }

    async fn ask(&self, portfolio: &PortfolioId) -> Result<Option<String>, upstream::Error> {
        let path = ["api", "v1", "portfolio", portfolio.as_str()];
        let about = format!("name of portfolio {portfolio}");
        let body: Option<PortfolioBody> = self.neighbour.find(&path, &about).await?;
        Ok(body.map(|body| body.name))
    }
}

#[async_trait]
impl PortfolioDirectory for Directory {
    async fn name(&self, portfolio: &PortfolioId) -> Result<Option<String>, upstream::Error> {
        self.names.find(portfolio.clone(), self.ask(portfolio)).await
    }
}

#[derive(Deserialize)]
struct PortfolioBody {
    name: String,
}
