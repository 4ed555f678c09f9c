//! HTTP clients of the services that order generation asks.
//!
//! One pooled client per neighbour for the whole process; the adapters of the ports are cheap clones.

#![forbid(unsafe_code)]

mod accounting;
mod attempt;
mod cache;
mod config;
mod directory;
mod exact;
mod market;
mod neighbour;
mod pricing;
mod security;

use application::health;

pub use accounting::Accounting;
pub use config::{CacheSize, Calls, Config, Endpoint};
pub use directory::Directory;
pub use market::Market;
pub use neighbour::Error;

/// Everyone the service calls.
#[derive(Clone)]
pub struct Neighbours {
    pub accounting: Accounting,
    pub market: Market,
    pub directory: Directory,
}

impl Neighbours {
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            accounting: Accounting::new(config)?,
            market: Market::new(config)?,
            directory: Directory::new(config)?,
        })
    }

    /// All four, for the health reports.
    pub fn probes(&self) -> Vec<health::Neighbour> {
        let [security, pricing] = self.market.probes();
        vec![self.accounting.probe(), pricing, self.directory.probe(), security]
    }
}
