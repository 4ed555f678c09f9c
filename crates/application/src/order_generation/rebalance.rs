//! Rebalancing: fetch, decide, record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use domain::order_generation::holdings::Holdings;
use domain::order_generation::model::Model;
use domain::order_generation::price::PriceSnapshot;
use domain::order_generation::priced_model::PricedModel;
use domain::order_generation::problem::Refusal;
use domain::order_generation::progress::RebalanceStatus;
use domain::order_generation::rebalance::{FailedPortfolio, PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::order_generation::trading_rules::TradingRules;
use domain::version::Version;
use futures_util::future::join;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::journal::{RebalanceEntry, Stage, Subject};
use super::ports::OptimizerError;
use super::runs::IN_MEMORY;
use super::{Error, OrderGeneration};
use crate::chain::Chain;
use crate::{identity, repository, upstream};

/// How to rebalance, whatever is rebalanced.
#[derive(Debug, Clone)]
pub struct RebalanceRequest {
    /// What it is kept as; [`Error::RebalanceExists`] if that was given before. `None` for a dry run, of
    /// which nothing is kept.
    pub keep_as: Option<RebalanceId>,
    /// In the place of the model's, for this time.
    pub rules: Option<TradingRules>,
}

/// What a rebalance did, portfolio by portfolio in the model's order; `Failure` says why one failed.
pub struct Outcome<Failure = Refusal> {
    pub model: ModelId,
    /// To which it was rebalanced.
    pub model_version: Version,
    pub kept_as: Option<RebalanceId>,
    pub date: Timestamp,
    pub rules: TradingRules,
    pub portfolios: Vec<PortfolioOutcome<Failure>>,
}

/// What a rebalance of one model did.
pub enum Rebalanced {
    InMemory(Box<Outcome>),
    /// It has more portfolios than are held in memory.
    Kept(KeptOutcome),
}

/// An outcome that is read from its record, portfolio by portfolio in the model's order.
pub struct KeptOutcome {
    pub id: RebalanceId,
    pub date: Timestamp,
    pub portfolios: BoxStream<'static, Result<PortfolioOutcome<FailedPortfolio>, repository::Error>>,
}

pub struct PortfolioOutcome<Failure = Refusal> {
    pub portfolio: PortfolioId,
    /// `None` when the directory does not know it, or could not be asked.
    pub name: Option<String>,
    pub result: Result<PortfolioRebalance, Failure>,
}

impl OrderGeneration {
    pub fn new_rebalance_id(&self) -> RebalanceId {
        RebalanceId::from_bytes(identity::fresh(self.clock.now()))
    }

    /// Finds the trades that bring every portfolio of the model back inside its bands, and records them.
    ///
    /// A portfolio that cannot be rebalanced does not keep the others from it; if none can, nothing is
    /// recorded. Neither is it when a neighbour is out.
    ///
    /// More than [`IN_MEMORY`] portfolios are rebalanced as a run, which others see while it is under way.
    #[tracing::instrument(name = "rebalance", level = "debug", skip_all, fields(otel.name = "rebalance model", model_id = %id))]
    pub async fn rebalance_model(
        self: &Arc<Self>,
        id: &ModelId,
        request: RebalanceRequest,
    ) -> Result<Rebalanced, Error> {
        let keep_as = request.keep_as;
        let done = match self.model(id).await {
            Ok(model) => match keep_as.filter(|_| IN_MEMORY < model.followers.as_slice().len()) {
                Some(keep_as) => return self.rebalance_as_run(model, keep_as, request.rules).await,
                None => self.try_model(&model, request).await,
            },
            Err(error) => Err(error),
        };
        let done = self.told(Subject::Model(id), keep_as, done);
        done.map(|outcome| Rebalanced::InMemory(Box::new(outcome)))
    }

    async fn try_model(&self, model: &Model, request: RebalanceRequest) -> Result<Outcome, Error> {
        let outcome = self.decide(model, request, model.followers.as_slice()).await?;
        if let Some(refusal) = refused_by_all(&outcome) {
            return Err(refusal);
        }
        self.keep(model, &outcome).await?;
        Ok(outcome)
    }

    /// The run tells what becomes of it.
    async fn rebalance_as_run(
        self: &Arc<Self>,
        model: Model,
        keep_as: RebalanceId,
        rules: Option<TradingRules>,
    ) -> Result<Rebalanced, Error> {
        self.run_to_the_end(model.clone(), keep_as, rules).await?;
        let open = self.rebalance(&keep_as).await?;
        Ok(Rebalanced::Kept(self.outcome_of(open, Some(&model))))
    }

    /// Rebalances one portfolio to a model that it follows: `model`, or else the newest.
    #[tracing::instrument(name = "rebalance", level = "debug", skip_all, fields(otel.name = "rebalance portfolio", portfolio_id = %portfolio))]
    pub async fn rebalance_portfolio(
        &self,
        portfolio: &PortfolioId,
        model: Option<&ModelId>,
        request: RebalanceRequest,
    ) -> Result<Outcome, Error> {
        let keep_as = request.keep_as;
        let done = self.try_portfolio(portfolio, model, request).await;
        self.told(Subject::Portfolio(portfolio), keep_as, done)
    }

    async fn try_portfolio(
        &self,
        portfolio: &PortfolioId,
        model: Option<&ModelId>,
        request: RebalanceRequest,
    ) -> Result<Outcome, Error> {
        let model = match model {
            Some(id) => self.model(id).await?,
            None => self
                .models
                .newest_followed_by(portfolio)
                .await?
                .ok_or_else(|| Error::UnknownPortfolio(portfolio.clone()))?,
        };
        if !model.followers.as_slice().contains(portfolio) {
            return Err(Error::DoesNotFollow { model: model.id, portfolio: portfolio.clone() });
        }
        let outcome = self.decide(&model, request, std::slice::from_ref(portfolio)).await?;
        if let Some(Err(refusal)) = outcome.portfolios.first().map(|decided| &decided.result) {
            return Err(Error::Refused(refusal.clone()));
        }
        self.keep(&model, &outcome).await?;
        Ok(outcome)
    }

    /// A dry run changes nothing that an account would be kept of.
    pub(super) fn told(
        &self,
        subject: Subject<'_>,
        keep_as: Option<RebalanceId>,
        done: Result<Outcome, Error>,
    ) -> Result<Outcome, Error> {
        if let Some(rebalance) = &keep_as {
            self.journal.rebalance(&RebalanceEntry { subject, rebalance, result: done.as_ref() });
        }
        done
    }

    async fn decide(
        &self,
        model: &Model,
        request: RebalanceRequest,
        portfolios: &[PortfolioId],
    ) -> Result<Outcome, Error> {
        let RebalanceRequest { keep_as, rules } = request;
        let rules = rules.unwrap_or_else(|| model.rules.clone());
        if model.positions.is_empty() {
            return Err(Error::Refused(Refusal::EmptyModel));
        }
        let (holdings, names) = join(self.holdings_of(portfolios), self.names_of(portfolios)).await;
        let holdings = holdings?;
        let prices = self.snapshot(model, &holdings).await?;
        let priced_model =
            PricedModel::new(&model.positions, &prices, &rules, self.policy.bands).map_err(Error::Refused)?;

        let decided = self.decide_all(&priced_model, portfolios, &holdings).await?;

        let outcome = |((portfolio, name), result): ((&PortfolioId, _), _)| PortfolioOutcome {
            portfolio: portfolio.clone(),
            name,
            result,
        };
        Ok(Outcome {
            model: model.id,
            model_version: model.version,
            kept_as: keep_as,
            date: self.clock.now(),
            rules,
            portfolios: portfolios.iter().zip(names).zip(decided).map(outcome).collect(),
        })
    }

    /// The first failure drops the calls that are still under way.
    pub(super) async fn holdings_of(
        &self,
        portfolios: &[PortfolioId],
    ) -> Result<Vec<Holdings>, upstream::Error> {
        let holdings = stream::iter(0..portfolios.len())
            .map(|idx| self.holdings.holdings(&portfolios[idx]))
            .buffered(self.policy.max_parallel)
            .try_collect();
        self.journal.timed(Stage::Holdings, holdings).await
    }

    /// Names decorate a reply; no trade depends on them, so a failure costs only names. After the first
    /// failure nobody is asked any more: a hanging directory must not hold up a large model.
    pub(super) async fn names_of(&self, portfolios: &[PortfolioId]) -> Vec<Option<String>> {
        let is_out = AtomicBool::new(false);
        let name = async |idx: usize| {
            if is_out.load(Ordering::Relaxed) {
                return None;
            }
            self.portfolios.name(&portfolios[idx]).await.unwrap_or_else(|error| {
                if !is_out.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error = %Chain(&error), "portfolios go without names");
                }
                None
            })
        };
        stream::iter(0..portfolios.len()).map(name).buffered(self.policy.max_parallel).collect().await
    }

    /// One price for every security that the model wants or a portfolio holds.
    async fn snapshot(&self, model: &Model, holdings: &[Holdings]) -> Result<PriceSnapshot, upstream::Error> {
        let wanted = model.positions.iter().map(|position| position.security);
        let held = holdings.iter().flat_map(Holdings::securities);
        let securities: Vec<SecurityId> = wanted.chain(held).collect::<BTreeSet<_>>().into_iter().collect();
        self.prices_of(&securities).await
    }

    pub(super) async fn prices_of(
        &self,
        securities: &[SecurityId],
    ) -> Result<PriceSnapshot, upstream::Error> {
        self.journal.timed(Stage::Prices, self.prices.prices(securities)).await
    }

    pub(super) async fn decide_all(
        &self,
        priced: &PricedModel<'_>,
        portfolios: &[PortfolioId],
        holdings: &[Holdings],
    ) -> Result<Vec<Result<PortfolioRebalance, Refusal>>, Error> {
        stream::iter(0..portfolios.len())
            .map(|idx| self.decide_portfolio(priced, &portfolios[idx], &holdings[idx]))
            .buffered(self.policy.max_parallel)
            .try_collect()
            .await
    }

    async fn decide_portfolio(
        &self,
        priced: &PricedModel<'_>,
        portfolio: &PortfolioId,
        holdings: &Holdings,
    ) -> Result<Result<PortfolioRebalance, Refusal>, Error> {
        let problem = match self.journal.timed_at_once(Stage::Statement, || priced.problem(holdings)) {
            Ok(problem) => Arc::new(problem),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let solution = self.optimizer.solve(Arc::clone(&problem));
        let answer = match self.journal.timed(Stage::Solution, solution).await {
            Ok(answer) => answer,
            Err(OptimizerError::NoSolution) => return Ok(Err(Refusal::RulesLeaveNoSolution)),
            Err(OptimizerError::Unsupported(rule)) => return Ok(Err(Refusal::RuleNotSupported(rule))),
            Err(error @ (OptimizerError::OutOfTime | OptimizerError::Broken { .. })) => {
                return Err(error.into());
            }
        };
        let rebalanced = self
            .journal
            .timed_at_once(Stage::Verification, || problem.accept(&answer, portfolio.clone()))
            .map_err(|source| Error::Unsound { portfolio: portfolio.clone(), source })?;
        Ok(Ok(rebalanced))
    }

    async fn keep(&self, model: &Model, outcome: &Outcome) -> Result<(), Error> {
        let Some(id) = outcome.kept_as else {
            return Ok(());
        };
        let header = RebalanceHeader {
            id,
            model: model.id,
            model_name: model.name.clone(),
            date: outcome.date,
            rules: outcome.rules.clone(),
            status: RebalanceStatus::Completed,
            failed: outcome.portfolios.iter().filter_map(failed_one).collect(),
            version: Version::FIRST,
            created_at: outcome.date,
        };
        let rebalanced = outcome.portfolios.iter().filter_map(|decided| decided.result.clone().ok());
        let rebalance = Rebalance { header, portfolios: rebalanced.collect() };
        let recorded = self.journal.timed(Stage::Writing, self.rebalances.record(&rebalance)).await;
        recorded.map_err(|error| match error {
            repository::Error::Duplicate { .. } => Error::RebalanceExists(id),
            repository::Error::Missing
            | repository::Error::Conflict { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        })
    }
}

fn failed_one(decided: &PortfolioOutcome) -> Option<FailedPortfolio> {
    Some(failed(&decided.portfolio, decided.result.as_ref().err()?))
}

pub(super) fn failed(portfolio: &PortfolioId, refusal: &Refusal) -> FailedPortfolio {
    let (code, detail) = (refusal.code().to_owned(), refusal.to_string());
    FailedPortfolio { portfolio: portfolio.clone(), code, detail }
}

fn refused_by_all(outcome: &Outcome) -> Option<Error> {
    let refusals: Option<Vec<_>> = outcome
        .portfolios
        .iter()
        .map(|decided| Some((&decided.portfolio, decided.result.as_ref().err()?)))
        .collect();
    let refusals = refusals?;
    let (portfolio, refusal) = refusals.first()?;
    Some(Error::AllRefused {
        count: refusals.len(),
        portfolio: (*portfolio).clone(),
        refusal: (*refusal).clone(),
    })
}
