//! The Pricing Service: what tickers cost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use application::chain::Chain;
use application::health::{BreakerState, NeighbourProbe};
use application::upstream;
use domain::decimal::InvalidDecimal;
use domain::order_generation::price::Price;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::Value;

use crate::cache::{Cache, CacheUse};
use crate::config::Config;
use crate::exact::Exact;
use crate::neighbour::{Error, Neighbour};
use crate::observer::Observer;
use crate::security::Ticker;

#[derive(Clone)]
pub(crate) struct Prices {
    neighbour: Neighbour,
    single: Cache<Ticker, Price>,
    board: Cache<(), Arc<Board>>,
    bulk_threshold: Option<NonZeroUsize>,
}

/// What was answered when all prices were asked for. A ticker that is listed without a price has none
/// above zero; of one that is not listed, nothing is known.
type Board = HashMap<Ticker, Option<Price>>;

impl Prices {
    pub(crate) fn new(config: &Config, observer: &Arc<dyn Observer>) -> Result<Self, Error> {
        Ok(Self {
            neighbour: Neighbour::new("pricing-service", &config.pricing, &config.calls, &[], observer)?,
            single: Cache::new("prices", config.prices),
            board: Cache::new("all_prices", config.prices),
            bulk_threshold: config.bulk_threshold,
        })
    }

    pub(crate) fn breaker(&self) -> (&'static str, BreakerState) {
        self.neighbour.breaker_state()
    }

    /// Of single prices, and of all of them together.
    pub(crate) fn caches(&self) -> [CacheUse; 2] {
        [self.single.told(), self.board.told()]
    }

    pub(crate) fn probe(&self) -> Box<dyn NeighbourProbe> {
        self.neighbour.probe()
    }

    /// `None` for a ticker it does not know, or has no price above zero for.
    pub(crate) async fn price(&self, ticker: &Ticker) -> Result<Option<Price>, upstream::Error> {
        self.single.find(ticker.clone(), || self.ask(ticker)).await
    }

    /// Whether for so many prices it may be better to ask for all there are.
    pub(crate) fn are_many(&self, prices: usize) -> bool {
        self.bulk_threshold.is_some_and(|threshold| threshold.get() <= prices)
    }

    /// Without those that [`price`](Self::price) has none for. Many that are not kept are asked for
    /// together; whatever that leaves open is asked for singly, so that a board that lacks a row, or
    /// makes no sense, costs calls and never a price.
    pub(crate) async fn prices(
        &self,
        tickers: &BTreeSet<Ticker>,
    ) -> Result<BTreeMap<Ticker, Price>, upstream::Error> {
        let mut prices = BTreeMap::new();
        let mut lacking = Vec::new();
        for ticker in tickers {
            match self.single.kept(ticker).await {
                Some(price) => drop(prices.insert(ticker.clone(), price)),
                None => lacking.push(ticker),
            }
        }
        if self.are_many(lacking.len()) {
            let board = self.board().await?;
            let listed = |ticker: &&Ticker| board.get(*ticker).copied();
            prices.extend(lacking.iter().filter_map(|it| Some(((*it).clone(), listed(it)??))));
            let n_lacking = lacking.len();
            lacking.retain(|ticker| listed(ticker).is_none());
            self.single.missed(n_lacking - lacking.len());
        }
        let singly = lacking.into_iter().map(async |ticker| {
            let price = self.price(ticker).await?;
            Ok::<_, upstream::Error>(price.map(|price| (ticker.clone(), price)))
        });
        prices.extend(try_join_all(singly).await?.into_iter().flatten());
        Ok(prices)
    }

    async fn board(&self) -> Result<Arc<Board>, upstream::Error> {
        match self.board.find((), || self.ask_for_all()).await {
            Ok(board) => Ok(board.unwrap_or_default()),
            Err(error @ upstream::Error::Malformed { .. }) => {
                tracing::warn!(error = %Chain(&error), "prices are asked for singly");
                Ok(Arc::default())
            }
            Err(error @ (upstream::Error::Unavailable { .. } | upstream::Error::OutOfTime { .. })) => {
                Err(error)
            }
        }
    }

    async fn ask_for_all(&self) -> Result<Option<Arc<Board>>, upstream::Error> {
        let rows: Option<Vec<Value>> = self.neighbour.find("/api/v1/prices", &[], "all prices").await?;
        let Some(rows) = rows else {
            return Ok(None);
        };
        // A row that makes no sense must not cost the others.
        let rows = rows.into_iter().filter_map(|row| Row::deserialize(row).ok());
        let board: Board = rows.map(|row| (row.ticker, row.close.0)).collect();
        for (ticker, price) in &board {
            if let Some(price) = price {
                self.single.keep(ticker.clone(), *price).await;
            }
        }
        Ok(Some(Arc::new(board)))
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

#[derive(Deserialize)]
struct Row {
    ticker: Ticker,
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
