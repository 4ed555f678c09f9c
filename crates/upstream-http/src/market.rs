//! What securities cost: the Security Service knows their tickers, the Pricing Service the prices.

use std::collections::BTreeSet;
use std::sync::Arc;

use application::health::{BreakerState, NeighbourProbe};
use application::order_generation::ports::PriceSource;
use application::upstream;
use async_trait::async_trait;
use domain::identifier::SecurityId;
use domain::order_generation::price::{Price, PriceSnapshot};
use futures_util::future::try_join_all;

use crate::cache::CacheUse;
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

    pub(crate) fn breakers(&self) -> [(&'static str, BreakerState); 2] {
        [self.securities.breaker(), self.prices.breaker()]
    }

    pub(crate) fn caches(&self) -> [CacheUse; 3] {
        let [prices, all_prices] = self.prices.caches();
        [self.securities.tickers(), prices, all_prices]
    }

    pub(crate) fn probes(&self) -> [Box<dyn NeighbourProbe>; 2] {
        [self.securities.probe(), self.prices.probe()]
    }

    /// Price by price, each as soon as its ticker is known.
    async fn one_by_one(&self, securities: BTreeSet<SecurityId>) -> Result<PriceSnapshot, upstream::Error> {
        let prices = securities.into_iter().map(|security| self.price(security));
        Ok(try_join_all(prices).await?.into_iter().flatten().collect())
    }

    /// Once all tickers are known, and with them how many prices are lacking.
    async fn together(&self, securities: BTreeSet<SecurityId>) -> Result<PriceSnapshot, upstream::Error> {
        let named = securities.into_iter().map(async |security| {
            let ticker = self.securities.ticker(security).await?;
            Ok::<_, upstream::Error>(ticker.map(|ticker| (security, ticker)))
        });
        let named: Vec<_> = try_join_all(named).await?.into_iter().flatten().collect();
        let tickers = named.iter().map(|(_, ticker)| ticker.clone()).collect();
        let board = self.prices.prices(&tickers).await?;
        let priced = |(security, ticker)| Some((security, *board.get(&ticker)?));
        Ok(named.into_iter().filter_map(priced).collect())
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
        if self.prices.are_many(distinct.len()) {
            self.together(distinct).await
        } else {
            self.one_by_one(distinct).await
        }
    }
}
