//! What was done to models and portfolios, for those who keep account of it.

use std::time::Duration;

use domain::identifier::{ModelId, PortfolioId, RebalanceId};
use domain::order_generation::rebalance::PortfolioRebalance;
use domain::version::Version;
use tokio::time::Instant;

use super::Error;
use super::rebalance::Outcome;

/// Is told what was done, or refused; it has no say in it, and must be quick.
///
/// `()` takes no notice.
pub trait Journal: Send + Sync {
    fn model(&self, _entry: &ModelEntry<'_>) {}

    /// A rebalance that was to be kept has ended.
    fn rebalance(&self, _entry: &RebalanceEntry<'_>) {}

    /// A run has begun.
    fn run_begun(&self, _entry: &RunBegun<'_>) {}

    /// A part of a run is written: what was rebalanced, and how many portfolios could not be. Whether any
    /// of it counts in the end is not known yet.
    fn run_advanced(&self, _rebalanced: &[PortfolioRebalance], _failed: usize) {}

    /// A run has ended, or could not begin.
    fn run_ended(&self, _entry: &RunEntry<'_>) {}

    /// A run was failed because its process is gone, and cannot tell so itself.
    fn run_lost(&self, _rebalance: &RebalanceId) {}

    fn rebalance_deletion(&self, _id: &RebalanceId, _result: Result<Version, &Error>) {}

    /// What a stage of a rebalance took, be it kept or dry.
    fn stage(&self, _stage: Stage, _took: Duration) {}
}

impl Journal for () {}

impl dyn Journal {
    /// Tells how long the work took, unless it is given up.
    pub(super) async fn timed<T>(&self, stage: Stage, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.stage(stage, begun.elapsed());
        done
    }

    pub(super) fn timed_at_once<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.stage(stage, begun.elapsed());
        done
    }
}

/// What a rebalance spends its time on. The first two and the last are told once for all portfolios that are
/// together, the others for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Holdings,
    Prices,
    /// Into integers, with a range for each security.
    Statement,
    Solution,
    /// And making trades of it.
    Verification,
    /// Of a run, two chunks at a time.
    Writing,
}

/// What someone does to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelAct {
    Create,
    Replace,
    Delete,
    AddPosition,
    ReplacePosition,
    RemovePosition,
    AddPortfolios,
    RemovePortfolios,
}

#[derive(Debug)]
pub struct ModelEntry<'a> {
    pub act: ModelAct,
    pub model: &'a ModelId,
    pub result: Result<Versions, &'a Error>,
}

/// Of a model; equal where it changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// `None` if there was no such model before.
    pub before: Option<Version>,
    /// `None` if there is no such model any more.
    pub after: Option<Version>,
}

pub struct RebalanceEntry<'a> {
    pub subject: Subject<'a>,
    pub rebalance: &'a RebalanceId,
    pub result: Result<&'a Outcome, &'a Error>,
}

pub struct RunBegun<'a> {
    pub model: &'a ModelId,
    pub model_version: Version,
    pub rebalance: &'a RebalanceId,
    pub portfolios: usize,
}

pub struct RunEntry<'a> {
    pub model: &'a ModelId,
    /// `None` if there is no such model.
    pub model_version: Option<Version>,
    pub rebalance: &'a RebalanceId,
    /// How many portfolios were rebalanced, and how many failed.
    pub result: Result<(usize, usize), &'a Error>,
}

/// What is rebalanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// All portfolios of it.
    Model(&'a ModelId),
    Portfolio(&'a PortfolioId),
}
