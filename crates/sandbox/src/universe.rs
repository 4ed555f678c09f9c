//! The listed companies of the sandbox: which are securities, and which have a price.

mod builtin;
mod files;

use std::path::Path;

use chrono::NaiveDate;
use rust_decimal::Decimal;

pub use self::files::UniverseError;

/// What is listed and priced on one date. Not every security has a price, and not every priced
/// ticker is a security.
#[derive(Debug, Clone)]
pub struct Universe {
    date: NaiveDate,
    securities: Vec<Security>,
    quotes: Vec<Quote>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    pub ticker: String,
    pub description: String,
}

/// The price of a ticker on the universe's date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub ticker: String,
    pub mean: Decimal,
    pub deviation: Decimal,
}

impl Universe {
    /// About a hundred well-known companies, all of them priced.
    pub fn builtin() -> Self {
        builtin::universe()
    }

    /// Reads `ticker,description` and `price_date,ticker,price,price_std`, and keeps the prices of
    /// the date nearest to `date`; of two equally near, the earlier.
    pub fn from_csv(securities: &Path, prices: &Path, date: NaiveDate) -> Result<Self, UniverseError> {
        files::read(securities, prices, date)
    }

    /// The date the prices are of.
    pub fn date(&self) -> NaiveDate {
        self.date
    }

    pub fn securities(&self) -> &[Security] {
        &self.securities
    }

    pub fn quotes(&self) -> &[Quote] {
        &self.quotes
    }

    pub fn quote(&self, ticker: &str) -> Option<&Quote> {
        self.quotes.iter().find(|quote| quote.ticker == ticker)
    }
}
