//! Order generation: keeps models, rebalances the portfolios that follow them, keeps the record.

pub mod journal;
pub mod models;
pub mod ports;
pub mod rebalance;
pub mod rebalances;
pub mod runs;
mod self_test;

use domain::identifier::{ModelId, PortfolioId, RebalanceId};
use domain::order_generation::model::ChangeRefused;
use domain::order_generation::problem::{BandPolicy, Refusal};
use domain::order_generation::progress::Reason;
use domain::order_generation::rebalance::Unsound;

use crate::clock::Clock;
use crate::{repository, upstream};

pub use self_test::is_self_test;

use journal::Journal;
use ports::{
    HoldingsSource, ModelRepository, Optimizer, OptimizerError, PortfolioDirectory, PriceSource,
    RebalanceRepository, RebalanceRuns,
};
use runs::UnderWay;

/// The order-generation use cases and the ports they run on.
pub struct OrderGeneration {
    pub models: Box<dyn ModelRepository>,
    pub rebalances: Box<dyn RebalanceRepository>,
    pub runs: Box<dyn RebalanceRuns>,
    pub under_way: UnderWay,
    pub holdings: Box<dyn HoldingsSource>,
    pub prices: Box<dyn PriceSource>,
    pub portfolios: Box<dyn PortfolioDirectory>,
    pub optimizer: Box<dyn Optimizer>,
    pub clock: Box<dyn Clock>,
    pub journal: Box<dyn Journal>,
    pub policy: Policy,
}

/// How portfolios are rebalanced.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Portfolios of one rebalance that are read or solved at the same time.
    pub max_parallel: usize,
    pub bands: BandPolicy,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Model {0} not found")]
    UnknownModel(ModelId),
    #[error("Rebalance {0} not found")]
    UnknownRebalance(RebalanceId),
    #[error("No portfolio {portfolio} in rebalance {rebalance}")]
    NotInRebalance { rebalance: RebalanceId, portfolio: PortfolioId },
    #[error("Portfolio {0} not found: no model is followed by it")]
    UnknownPortfolio(PortfolioId),
    #[error("Portfolio {portfolio} does not follow model {model}")]
    DoesNotFollow { model: ModelId, portfolio: PortfolioId },
    #[error("Model with name '{0}' already exists")]
    NameTaken(String),
    #[error("Model {0} already exists")]
    ModelExists(ModelId),
    #[error("Rebalance {0} already exists")]
    RebalanceExists(RebalanceId),
    #[error("Rebalance {0} was cancelled before it was completed")]
    RunEnded(RebalanceId),
    #[error("as many rebalances are under way as may be")]
    TooManyRuns,
    #[error("the service was stopped before the rebalance was completed")]
    Interrupted,
    #[error("Model has been modified by another process")]
    ModelModified { source: repository::Error },
    #[error("Rebalance has been modified by another process")]
    RebalanceModified { source: repository::Error },
    #[error(transparent)]
    ChangeRefused(#[from] ChangeRefused),
    #[error(transparent)]
    Refused(Refusal),
    #[error("none of the model's {count} portfolios can be rebalanced; of {portfolio}: {refusal}")]
    AllRefused { count: usize, portfolio: PortfolioId, refusal: Refusal },
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    #[error("the answer for portfolio {portfolio} was rejected")]
    Unsound { portfolio: PortfolioId, source: Unsound },
    #[error(transparent)]
    Repository(#[from] repository::Error),
}

impl Error {
    /// Why a rebalance failed, for its record: with the code and the words that a caller who waited for it
    /// is told.
    pub fn reason(&self) -> Reason {
        let internal = "Internal server error";
        let (code, detail) = match self {
            Self::Refused(refusal) | Self::AllRefused { refusal, .. } => {
                return Reason { code: refusal.code().to_owned(), detail: self.to_string() };
            }
            Self::Interrupted => {
                return Reason { code: "interrupted".to_owned(), detail: self.to_string() };
            }
            Self::Upstream(_) => ("external-service-unavailable", "External service unavailable"),
            Self::Optimizer(OptimizerError::OutOfTime) => {
                ("optimizer-out-of-time", "The optimiser had no answer in time")
            }
            Self::Repository(repository::Error::Unavailable { .. }) => {
                ("store-unavailable", "The store is unavailable")
            }
            Self::Unsound { .. } => ("unsound-answer", internal),
            Self::Optimizer(_)
            | Self::Repository(_)
            | Self::UnknownModel(_)
            | Self::UnknownRebalance(_)
            | Self::NotInRebalance { .. }
            | Self::UnknownPortfolio(_)
            | Self::DoesNotFollow { .. }
            | Self::NameTaken(_)
            | Self::ModelExists(_)
            | Self::RebalanceExists(_)
            | Self::RunEnded(_)
            | Self::TooManyRuns
            | Self::ModelModified { .. }
            | Self::RebalanceModified { .. }
            | Self::ChangeRefused(_) => ("internal-error", internal),
        };
        Reason { code: code.to_owned(), detail: detail.to_owned() }
    }
}
