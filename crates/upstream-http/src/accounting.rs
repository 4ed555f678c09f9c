//! The Portfolio Accounting Service: what portfolios hold.

use application::order_generation::ports::HoldingsSource;
use application::repository::Source;
use application::{health, upstream};
use async_trait::async_trait;
use domain::identifier::PortfolioId;
use domain::order_generation::holdings::Holdings;
use serde::Deserialize;

use crate::config::Config;
use crate::exact::Exact;
use crate::neighbour::{Error, Neighbour};

#[derive(Clone)]
pub struct Accounting(Neighbour);

// A portfolio without balances is answered with a 500 of the first text, which hides the second. A
// failing database of theirs would read the same; their contract has no other way to say "none".
const NO_BALANCES: &[&str] = &["Failed to retrieve portfolio summary", "no balances found"];

impl Accounting {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        Neighbour::new("portfolio-accounting-service", &config.accounting, &config.calls, NO_BALANCES)
            .map(Self)
    }

    pub(crate) fn probe(&self) -> health::Neighbour {
        self.0.probe("portfolio_accounting")
    }
}

#[async_trait]
impl HoldingsSource for Accounting {
    async fn holdings(&self, portfolio: &PortfolioId) -> Result<Holdings, upstream::Error> {
        let path = ["api", "v1", "portfolios", portfolio.as_str(), "summary"];
        let about = format!("portfolio {portfolio}");
        let summary: Option<Option<Summary>> = self.0.find(&path, &about).await?;
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
