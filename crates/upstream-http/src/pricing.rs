//! The Pricing Service: what tickers cost.

use std::sync::Arc;

use application::{health, upstream};
use domain::decimal::InvalidDecimal;
use domain::order_generation::price::Price;
use serde::Deserialize;
use serde_json::Value;

use crate::cache::Cache;
use crate::config::Config;
use crate::exact::Exact;
use crate::neighbour::{Error, Neighbour};
use crate::observer::Observer;
use crate::security::Ticker;

#[derive(Clone)]
pub(crate) struct Prices {
    neighbour: Neighbour,
    prices: Cache<Ticker, Price>,
}

impl Prices {
    pub(crate) fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        Ok(Self {
            neighbour: Neighbour::new("pricing-service", &config.pricing, &config.calls, &[], observer)?,
            prices: Cache::new(config.prices),
        })
    }

    pub(crate) fn probe(&self) -> health::Neighbour {
        self.neighbour.probe("pricing")
    }

    /// `None` for a ticker it does not know, or has no price above zero for.
    pub(crate) async fn price(&self, ticker: &Ticker) -> Result<Option<Price>, upstream::Error> {
        self.prices.find(ticker.clone(), || self.ask(ticker)).await
    }

    async fn ask(&self, ticker: &Ticker) -> Result<Option<Price>, upstream::Error> {
        let ticker = ticker.as_str();
        let about = format!("price of {ticker}");
        let body: Option<PriceBody> =
            self.neighbour.find("/api/v1/price/{ticker}", &[ticker], &about).await?;
        Ok(body.and_then(|body| body.close.0))
    }
}

#[derive(Deserialize)]
struct PriceBody {
    close: Close,
}

/// A price above zero, if there is one.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Close(Option<Price>);

impl TryFrom<Value> for Close {
    type Error = InvalidDecimal;

    fn try_from(value: Value) -> Result<Self, InvalidDecimal> {
        let none = value.is_null() || matches!(value.as_str(), Some("NaN" | "Infinity" | "-Infinity"));
        if none {
            return Ok(Self(None));
        }
        let Exact(amount) = value.try_into()?;
        Ok(Self(Price::try_from(amount).ok()))
    }
}
