//! What securities cost: the Security Service knows their tickers, the Pricing Service the prices.

use std::collections::BTreeSet;
use std::sync::Arc;

use application::order_generation::ports::PriceSource;
use application::{health, upstream};
use async_trait::async_trait;
use domain::identifier::SecurityId;
use domain::order_generation::price::{Price, PriceSnapshot};
use futures_util::future::try_join_all;

use crate::config::Config;
use crate::neighbour::Error;
use crate::observer::Observer;
use crate::pricing::Prices;
use crate::security::Securities;

#[derive(Clone)]
pub struct Market {
    securities: Securities,
    prices: Prices,
}

impl Market {
    pub(crate) fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        Ok(Self { securities: Securities::new(config, observer)?, prices: Prices::new(config, observer)? })
    }

    pub(crate) fn probes(&self) -> [health::Neighbour; 2] {
        [self.securities.probe(), self.prices.probe()]
    }

    async fn price(&self, security: SecurityId) -> Result<Option<(SecurityId, Price)>, upstream::Error> {
        let Some(ticker) = self.securities.ticker(security).await? else {
            return Ok(None);
        };
        let price = self.prices.price(&ticker).await?;
        Ok(price.map(|price| (security, price)))
    }
}

#[async_trait]
impl PriceSource for Market {
    /// The first failure drops the calls that are still under way.
    async fn prices(&self, securities: &[SecurityId]) -> Result<PriceSnapshot, upstream::Error> {
        let distinct: BTreeSet<SecurityId> = securities.iter().copied().collect();
        let prices = distinct.into_iter().map(|security| self.price(security));
        Ok(try_join_all(prices).await?.into_iter().flatten().collect())
    }
}
