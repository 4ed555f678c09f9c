//! What order generation needs of the outside world.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use domain::order_generation::holdings::Holdings;
use domain::order_generation::model::{Model, ModelContent};
use domain::order_generation::optimum::Answer;
use domain::order_generation::price::PriceSnapshot;
use domain::order_generation::problem::Problem;
use domain::order_generation::progress::{Progress, Reason};
use domain::order_generation::rebalance::{FailedPortfolio, PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::order_generation::trading_rules::Rule;
use domain::version::Version;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::repository::{self, Source};
use crate::upstream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKey {
    Id,
    /// By the bytes of the name.
    Name,
    /// Models never rebalanced come first in ascending order.
    LastRebalanceDate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceKey {
    Id,
    /// By the bytes of the name.
    ModelName,
    Date,
    /// Of those rebalanced, so far while it is running; failed ones do not count.
    NumberOfPortfolios,
}

/// A stretch of a sorted list; to its end without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    pub offset: u64,
    pub limit: Option<u64>,
}

/// Keeps models.
#[async_trait]
pub trait ModelRepository: Send + Sync {
    async fn find(&self, id: &ModelId) -> Result<Option<Model>, repository::Error>;

    /// Sorted by `order`, then the newest created first, then the largest id.
    async fn list(
        &self,
        order: &[(ModelKey, Direction)],
        page: Page,
    ) -> Result<Vec<Model>, repository::Error>;

    /// Of the models that `portfolio` follows, the newest created; among equals the largest id.
    async fn newest_followed_by(&self, portfolio: &PortfolioId) -> Result<Option<Model>, repository::Error>;

    /// Stores a model; `Duplicate` if its id or its name is taken (case matters).
    async fn insert(&self, model: &Model) -> Result<(), repository::Error>;

    /// Gives the model read at `expected` a new content and the next version, in one conditional step,
    /// and returns it as stored.
    ///
    /// Its last rebalance date becomes `last_rebalance_date` only where that is later.
    /// `Conflict` if the model moved on since, `Missing` if it is gone, else `Duplicate` if the name is
    /// taken.
    async fn replace(
        &self,
        id: &ModelId,
        content: &ModelContent,
        last_rebalance_date: Option<Timestamp>,
        expected: Version,
    ) -> Result<Model, repository::Error>;

    /// Removes the model read at `expected`; `Conflict` if it moved on since, `Missing` if it is gone.
    async fn delete(&self, id: &ModelId, expected: Version) -> Result<(), repository::Error>;
}

/// Keeps rebalances. Of one that is not completed there are no portfolios to be read or found.
#[async_trait]
pub trait RebalanceRepository: Send + Sync {
    /// Stores a completed rebalance, all of it or nothing, and in the same step moves its model's last rebalance
    /// date forward to the rebalance's, without touching the model's version. `Duplicate` if its id is
    /// taken.
    ///
    /// A model deleted meanwhile does not matter.
    async fn record(&self, rebalance: &Rebalance) -> Result<(), repository::Error>;

    /// The rebalance, its portfolios still to be read. Once it is deleted, reading them may fail, but
    /// never ends early.
    async fn open(&self, id: &RebalanceId) -> Result<Option<OpenRebalance<'static>>, repository::Error>;

    /// Sorted by `order`, then the newest created first, then the largest id.
    async fn list(
        &self,
        order: &[(RebalanceKey, Direction)],
        page: Page,
    ) -> Result<Vec<Rebalance>, repository::Error>;

    /// Whole rebalances in which any of `portfolios` was rebalanced, not merely failed, the newest
    /// created first, then the largest id.
    async fn containing(
        &self,
        portfolios: &[PortfolioId],
        page: Page,
    ) -> Result<Vec<Rebalance>, repository::Error>;

    /// One rebalanced portfolio; `None` if the rebalance is unknown, or the portfolio not in it.
    async fn find_portfolio(
        &self,
        id: &RebalanceId,
        portfolio: &PortfolioId,
    ) -> Result<Option<PortfolioRebalance>, repository::Error>;

    /// Removes a rebalance; `Conflict` if `expected` is not its version, `Missing` if it is gone.
    async fn delete(&self, id: &RebalanceId, expected: Version) -> Result<(), repository::Error>;
}

/// Keeps rebalances while they are under way, a part at a time.
///
/// A run is its holder's as long as it is running, renewed or not; its lease tells the others when they
/// may give it up for lost. Whoever ends it gives it the next version, so that of two only one can.
#[async_trait]
pub trait RebalanceRuns: Send + Sync {
    /// Stores a running rebalance, still without portfolios. `Duplicate` if its id is taken.
    async fn start(&self, header: &RebalanceHeader, lease: Lease) -> Result<(), repository::Error>;

    /// Adds rebalanced portfolios, of which the first is the `first`, counted from zero in the model's
    /// order. Nobody sees any of them before the run is completed.
    ///
    /// `false`, and nothing is ever seen of them, if the run is not `holder`'s any more.
    async fn append(
        &self,
        id: &RebalanceId,
        holder: Holder,
        first: usize,
        portfolios: &[PortfolioRebalance],
    ) -> Result<bool, repository::Error>;

    /// Tells how far the run has come, and lets the lease begin anew. `false` if the run is not the
    /// holder's any more.
    async fn renew(
        &self,
        id: &RebalanceId,
        lease: Lease,
        progress: Progress,
    ) -> Result<bool, repository::Error>;

    /// Ends the run. Completed, its portfolios can be read, and its model's last rebalance date has moved
    /// forward to the rebalance's; failed, they are gone. `false` if the run is not `holder`'s any more.
    async fn finish(
        &self,
        id: &RebalanceId,
        holder: Holder,
        ending: &Ending,
    ) -> Result<bool, repository::Error>;

    /// Ends the run of anyone, whose portfolios are gone then. `Conflict` if `expected` is not its version,
    /// `Missing` if it is gone, or not running.
    async fn cancel(&self, id: &RebalanceId, expected: Version) -> Result<(), repository::Error>;

    /// Fails, for `reason`, the runs whose leases have ended by the store's own clock.
    async fn expire(&self, reason: &Reason) -> Result<Vec<RebalanceId>, repository::Error>;
}

/// Who works on a run: one for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(u64);

impl Holder {
    /// Whoever has the same number is the same holder.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// For how long from now the others must not give up a run for lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub holder: Holder,
    pub length: Duration,
}

/// How a run ends that nobody cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why it failed; `None` if it is completed.
    pub failure: Option<Reason>,
    /// How many portfolios were appended.
    pub rebalanced: usize,
    pub failed: Vec<FailedPortfolio>,
}

/// A kept rebalance whose portfolios are still to be read, one after another.
///
/// Whatever the store holds for the reader, such as a connection, is given back when this is dropped.
pub struct OpenRebalance<'a> {
    pub header: RebalanceHeader,
    number_of_portfolios: usize,
    portfolios: BoxStream<'a, Result<PortfolioRebalance, repository::Error>>,
}

impl<'a> OpenRebalance<'a> {
    /// `portfolios` must come in the model's order. Should there not be `number_of_portfolios` of them,
    /// as recorded, reading them ends in `Corrupt`.
    pub fn new(
        header: RebalanceHeader,
        number_of_portfolios: usize,
        portfolios: impl Stream<Item = Result<PortfolioRebalance, repository::Error>> + Send + 'a,
    ) -> Self {
        Self { header, number_of_portfolios, portfolios: exactly(number_of_portfolios, portfolios.boxed()) }
    }

    /// One that is not completed: there is nothing to be read of it.
    pub fn unreadable(header: RebalanceHeader) -> Self {
        Self::new(header, 0, stream::empty())
    }

    /// As many as there are to read, or reading them fails.
    pub fn number_of_portfolios(&self) -> usize {
        self.number_of_portfolios
    }

    /// In the model's order. Nothing follows an error.
    pub fn into_portfolios(self) -> BoxStream<'a, Result<PortfolioRebalance, repository::Error>> {
        self.portfolios
    }

    /// Reads it to the end.
    pub async fn whole(self) -> Result<Rebalance, repository::Error> {
        Ok(Rebalance { header: self.header, portfolios: self.portfolios.try_collect().await? })
    }
}

fn exactly(
    expected: usize,
    portfolios: BoxStream<'_, Result<PortfolioRebalance, repository::Error>>,
) -> BoxStream<'_, Result<PortfolioRebalance, repository::Error>> {
    stream::try_unfold((portfolios, 0), move |(mut portfolios, found)| async move {
        match portfolios.try_next().await? {
            Some(portfolio) if found < expected => Ok(Some((portfolio, (portfolios, found + 1)))),
            None if found == expected => Ok(None),
            Some(_) | None => {
                let source = format!("there are not the {expected} portfolios it was recorded with").into();
                Err(repository::Error::Corrupt { entity: "rebalance", source })
            }
        }
    })
    .boxed()
}

/// Knows what portfolios hold.
#[async_trait]
pub trait HoldingsSource: Send + Sync {
    /// Empty for a portfolio without balances.
    async fn holdings(&self, portfolio: &PortfolioId) -> Result<Holdings, upstream::Error>;
}

/// Knows what securities cost now.
#[async_trait]
pub trait PriceSource: Send + Sync {
    /// The prices of `securities`, each asked for once. One that is unknown, or has no price above
    /// zero, is not in the snapshot; that is no error.
    async fn prices(&self, securities: &[SecurityId]) -> Result<PriceSnapshot, upstream::Error>;
}

/// Knows what portfolios are called.
#[async_trait]
pub trait PortfolioDirectory: Send + Sync {
    /// `None` for a portfolio it does not know.
    async fn name(&self, portfolio: &PortfolioId) -> Result<Option<String>, upstream::Error>;
}

/// Finds the whole lots that deviate least from a model, the costs of trading included.
#[async_trait]
pub trait Optimizer: Send + Sync {
    /// Quantities inside every band, the budget and the rules, with a bound that no solution falls below.
    ///
    /// Equal problems have equal answers. Whoever uses one must have the problem accept it first.
    async fn solve(&self, problem: Arc<Problem>) -> Result<Answer, OptimizerError>;
}

#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// Of this problem the optimum without the rule breaks it, and this optimiser cannot do with it.
    #[error("the optimiser does not support the rule {}", .0.name())]
    Unsupported(Rule),
    /// Nobody's fault: the rules that tie positions together leave none.
    #[error("the problem has no solution")]
    NoSolution,
    #[error("the optimiser had no answer in time")]
    OutOfTime,
    #[error("the optimiser broke down")]
    Broken { source: Source },
}
