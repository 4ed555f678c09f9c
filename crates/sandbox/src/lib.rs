//! The neighbours of the order generation service, served over HTTP on loopback: portfolio
//! accounting, security, pricing and portfolio, each on its own port with its own wire habits.
//!
//! Every neighbour counts its calls and can be made slow, faulty or absent while it runs, from
//! here or over HTTP under `/sandbox`.

mod accounting;
mod clock;
mod fast_api;
mod neighbour;
mod opening;
mod portfolio;
mod pricing;
mod security;
mod seeded;
mod state;
mod universe;

use std::{io, sync::Arc};

pub use crate::{
    accounting::{Accounting, Books, Summary},
    neighbour::{
        Neighbour,
        faults::{Failure, Failures, Faults, Malformed},
    },
    portfolio::{Portfolios, Register},
    pricing::{Market, PriceOverride, Prices},
    security::{Securities, SecurityMaster},
    universe::{Quote, Security, Universe, UniverseError},
};

#[derive(Debug, Clone)]
pub struct Config {
    pub universe: Universe,
    pub draws: Draws,
    pub ports: Ports,
    /// Decides every identifier, price and injected fault.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { universe: Universe::builtin(), draws: Draws::Random, ports: Ports::default(), seed: 0 }
    }
}

/// How the pricing service arrives at a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draws {
    /// Always the mean.
    Fixed,
    /// A fresh draw round the mean for every answer. The nth draw of a ticker depends on the seed
    /// alone, whatever else is asked in between.
    Random,
}

/// Where each service listens; 0 takes any free port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    pub accounting: u16,
    pub security: u16,
    pub pricing: u16,
    pub portfolio: u16,
}

impl Ports {
    /// The ports the services are known by. Security and portfolio are both documented on 8000,
    /// which one host cannot offer twice, so portfolio is moved to 8001.
    pub fn documented() -> Self {
        Self { accounting: 8087, security: 8000, pricing: 8083, portfolio: 8001 }
    }
}

/// The four neighbours, running until stopped or dropped.
pub struct Sandbox {
    pub accounting: Accounting,
    pub security: Securities,
    pub pricing: Prices,
    pub portfolio: Portfolios,
    universe: Universe,
    seed: u64,
}

impl Sandbox {
    /// Binds the four listeners on 127.0.0.1 and serves them; needs a tokio runtime. The ports are
    /// open when this returns.
    #[expect(clippy::unused_async, reason = "a signature that cannot be called outside a runtime by mistake")]
    pub async fn start(config: Config) -> io::Result<Self> {
        let Config { universe, draws, ports, seed } = config;
        let master = SecurityMaster::new(&universe, seed);
        let market = Market::new(&universe, draws, seed);
        Ok(Self {
            accounting: Neighbour::start(Arc::new(Books::default()), ports.accounting, seed)?,
            security: Neighbour::start(Arc::new(master), ports.security, seed)?,
            pricing: Neighbour::start(Arc::new(market), ports.pricing, seed)?,
            portfolio: Neighbour::start(Arc::new(Register::new(seed)), ports.portfolio, seed)?,
            universe,
            seed,
        })
    }

    /// Stops the four services and waits until they have let go of their ports.
    pub async fn stop(self) {
        self.accounting.stop().await;
        self.security.stop().await;
        self.pricing.stop().await;
        self.portfolio.stop().await;
    }

    pub fn universe(&self) -> &Universe {
        &self.universe
    }
}
