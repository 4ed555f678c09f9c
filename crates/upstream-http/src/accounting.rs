//! The Portfolio Accounting Service: what portfolios hold.

use std::sync::Arc;

use application::health::{BreakerState, NeighbourProbe};
use application::order_generation::ports::HoldingsSource;
use application::repository::Source;
use application::upstream;
use async_trait::async_trait;
use domain::identifier::PortfolioId;
use domain::order_generation::holdings::Holdings;
use serde::Deserialize;

use crate::config::Config;
use crate::exact::Exact;
use crate::neighbour::{Error, Neighbour};
use crate::observer::Observer;

#[derive(Clone)]
pub struct Accounting(Neighbour);

// A portfolio without balances is answered with a 500 of the first text, which hides the second. A
// failing database of theirs would read the same; their contract has no other way to say "none".
const NO_BALANCES: &[&str] = &["Failed to retrieve portfolio summary", "no balances found"];

impl Accounting {
    pub(crate) fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        let service = "portfolio-accounting-service";
        Neighbour::new(service, &config.accounting, &config.calls, NO_BALANCES, observer).map(Self)
    }

    pub(crate) fn breaker(&self) -> (&'static str, BreakerState) {
        self.0.breaker_state()
    }

    pub(crate) fn probe(&self) -> Box<dyn NeighbourProbe> {
        self.0.probe()
    }
}

#[async_trait]
impl HoldingsSource for Accounting {
    async fn holdings(&self, portfolio: &PortfolioId) -> Result<Holdings, upstream::Error> {
        let endpoint = "/api/v1/portfolios/{portfolio_id}/summary";
        let about = format!("portfolio {portfolio}");
        let summary: Option<Option<Summary>> = self.0.find(endpoint, &[portfolio.as_str()], &about).await?;
        match summary.flatten() {
            Some(summary) => summary.try_into().map_err(|source: Source| self.0.malformed(&about, source)),
            None => Ok(Holdings::default()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    cash_balance: Exact,
    securities: Vec<Holding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holding {
    security_id: String,
    net_quantity: Exact,
}

impl TryFrom<Summary> for Holdings {
    type Error = Source;

    fn try_from(summary: Summary) -> Result<Self, Source> {
        let row = |holding: Holding| Ok((holding.security_id.parse()?, holding.net_quantity.0));
        let rows = summary.securities.into_iter().map(row).collect::<Result<Vec<_>, Source>>()?;
        Ok(Self::new(summary.cash_balance.0, rows)?)
    }
}
