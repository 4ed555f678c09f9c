//! The Security Service: what securities are called on the exchange.

use std::sync::Arc;

use application::health::{BreakerState, NeighbourProbe};
use application::upstream;
use domain::identifier::SecurityId;
use serde::Deserialize;

use crate::cache::{Cache, CacheUse};
use crate::config::Config;
use crate::neighbour::{Error, Neighbour};
use crate::observer::Observer;

#[derive(Clone)]
pub(crate) struct Securities {
    neighbour: Neighbour,
    tickers: Cache<SecurityId, Ticker>,
}

impl Securities {
    pub(crate) fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        Ok(Self {
            neighbour: Neighbour::new("security-service", &config.security, &config.calls, &[], observer)?,
            tickers: Cache::new("tickers", config.tickers),
        })
    }

    pub(crate) fn breaker(&self) -> (&'static str, BreakerState) {
        self.neighbour.breaker_state()
    }

    pub(crate) fn tickers(&self) -> CacheUse {
        self.tickers.told()
    }

    pub(crate) fn probe(&self) -> Box<dyn NeighbourProbe> {
        self.neighbour.probe()
    }

    /// `None` for a security it does not know.
    pub(crate) async fn ticker(&self, security: SecurityId) -> Result<Option<Ticker>, upstream::Error> {
        // It knows none without a hexadecimal id, and answers such a question as if it had broken down.
        if !security.is_hexadecimal() {
            return Ok(None);
        }
        self.tickers.find(security, || self.ask(security)).await
    }

    async fn ask(&self, security: SecurityId) -> Result<Option<Ticker>, upstream::Error> {
        let endpoint = "/api/v1/security/{security_id}";
        let about = format!("ticker of security {security}");
        let body: Option<SecurityBody> = self.neighbour.find(endpoint, &[security.as_str()], &about).await?;
        Ok(body.map(|body| body.ticker))
    }
}

/// 1 to 50 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Ticker(String);

#[derive(Debug, thiserror::Error)]
#[error("a ticker has 1 to {} characters and no control characters", Ticker::MAX_CHARS)]
pub(crate) struct InvalidTicker;

impl Ticker {
    const MAX_CHARS: usize = 50;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Ticker {
    type Error = InvalidTicker;

    fn try_from(text: String) -> Result<Self, InvalidTicker> {
        let legal =
            (1..=Self::MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if legal { Ok(Self(text)) } else { Err(InvalidTicker) }
    }
}

#[derive(Deserialize)]
struct SecurityBody {
    ticker: Ticker,
}
