//! HTTP clients of the services that order generation asks.
//!
//! One pooled client per neighbour for the whole process; the adapters of the ports are cheap clones.

#![forbid(unsafe_code)]

mod accounting;
mod attempt;
mod backoff;
mod breaker;
mod cache;
mod call;
mod config;
mod directory;
mod exact;
mod market;
mod neighbour;
mod observer;
mod pricing;
mod retry_after;
mod security;

use std::sync::Arc;

use application::health::{self, BreakerState, NeighbourProbe};
pub use http::HeaderMap;

pub use accounting::Accounting;
pub use cache::CacheUse;
pub use config::{BreakerRules, CacheSize, Calls, Config, Endpoint};
pub use directory::Directory;
pub use market::Market;
pub use neighbour::Error;
pub use observer::{Attempted, Ending, Observer};

/// Everyone the service calls.
#[derive(Clone)]
pub struct Neighbours {
    pub accounting: Accounting,
    pub market: Market,
    pub directory: Directory,
}

impl Neighbours {
    /// `observer` is told of every attempt; `&Arc::new(())` tells nobody.
    pub fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        Ok(Self {
            accounting: Accounting::new(config, observer)?,
            market: Market::new(config, observer)?,
            directory: Directory::new(config, observer)?,
        })
    }

    /// The state of each one's breaker, by the name of the service.
    pub fn breakers(&self) -> Vec<(&'static str, BreakerState)> {
        let [security, pricing] = self.market.breakers();
        vec![self.accounting.breaker(), pricing, self.directory.breaker(), security]
    }

    /// What each cache has been good for.
    pub fn caches(&self) -> [CacheUse; 4] {
        let [tickers, prices, all_prices] = self.market.caches();
        [tickers, prices, all_prices, self.directory.names()]
    }

    /// All four, for the health reports.
    pub fn probes(&self) -> health::Neighbours<Box<dyn NeighbourProbe>> {
        let [security, pricing] = self.market.probes();
        health::Neighbours {
            portfolio_accounting: self.accounting.probe(),
            pricing,
            portfolio: self.directory.probe(),
            security,
        }
    }
}
