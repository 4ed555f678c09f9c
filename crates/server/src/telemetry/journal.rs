//! The audit trail, and what managers want counted: what was done to which model or portfolio, and what
//! came of it. Who did it is on every line. No weights, no quantities, no amounts.

mod fault;

use std::time::Duration;

use application::order_generation::Error;
use application::order_generation::journal::{
    Journal, ModelAct, ModelEntry, RebalanceEntry, RunBegun, RunEntry, Stage, Subject, Versions,
};
use application::order_generation::rebalance::Outcome;
use domain::identifier::RebalanceId;
use domain::order_generation::rebalance::PortfolioRebalance;
use domain::version::Version;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use fault::fault;

/// Of a market value: what lies away from its target.
const DRIFTS: [f64; 12] = [0.0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];

/// In seconds: to state a problem takes microseconds, to read the holdings of many portfolios seconds.
const STAGES: [f64; 8] = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0];

/// Of a rebalance whose process ended before it did.
const INTERRUPTED: &str = "interrupted";

pub(crate) struct Account {
    rebalances: Counter<u64>,
    portfolios: Counter<u64>,
    drifts: Histogram<f64>,
    stages: Histogram<f64>,
}

impl Account {
    pub(crate) fn new(meter: &Meter) -> Self {
        let rebalances = meter
            .u64_counter("rebalances_total")
            .with_description("Rebalances that were to be kept, by what they came to")
            .build();
        // An increase can be told from the first one on.
        rebalances.add(0, &[KeyValue::new("scope", "model"), KeyValue::new("status", INTERRUPTED)]);
        Self {
            rebalances,
            portfolios: meter
                .u64_counter("rebalance_portfolios_total")
                .with_description(
                    "Portfolios of these rebalances, by what each came to; of large ones as they go on",
                )
                .build(),
            drifts: meter
                .f64_histogram("rebalance_portfolio_drift")
                .with_unit("1")
                .with_description(
                    "Of each rebalanced portfolio: the sum over its positions of |value / market value - target|",
                )
                .with_boundaries(DRIFTS.to_vec())
                .build(),
            stages: meter
                .f64_histogram("rebalance_stage_duration_seconds")
                .with_unit("s")
                .with_description("Time that the stages of rebalances took, dry runs included")
                .with_boundaries(STAGES.to_vec())
                .build(),
        }
    }

    fn count(&self, scope: &'static str, result: Result<&Outcome, &Error>) {
        self.count_end(scope, result.map(failed));
        let (rebalanced, failed) = portfolios(result);
        self.count_portfolios(rebalanced, failed);
        for portfolio in result.iter().flat_map(|outcome| &outcome.portfolios) {
            if let Ok(portfolio) = &portfolio.result {
                self.drift(portfolio);
            }
        }
    }

    /// Of a rebalance that came to something, `failed` is how many portfolios did not.
    fn count_end(&self, scope: &'static str, failed: Result<usize, &Error>) {
        let status = match failed {
            Ok(0) => "rebalanced",
            Ok(_) => "partial",
            Err(Error::Interrupted) => INTERRUPTED,
            Err(error) => fault(error).0,
        };
        self.rebalances.add(1, &[KeyValue::new("scope", scope), KeyValue::new("status", status)]);
    }

    fn count_portfolios(&self, rebalanced: usize, failed: usize) {
        for (status, count) in [("rebalanced", rebalanced), ("failed", failed)] {
            if 0 < count {
                self.portfolios.add(count as u64, &[KeyValue::new("status", status)]);
            }
        }
    }

    fn drift(&self, portfolio: &PortfolioRebalance) {
        let [before, after] = drifts(portfolio);
        self.drifts.record(before, &[KeyValue::new("when", "before")]);
        self.drifts.record(after, &[KeyValue::new("when", "after")]);
    }
}

impl Journal for Account {
    fn model(&self, entry: &ModelEntry<'_>) {
        let ModelEntry { act, model, result } = entry;
        let versions = result.as_ref().copied().unwrap_or(Versions { before: None, after: None });
        let (outcome, reason) = match result {
            Ok(versions) if versions.before == versions.after => ("unchanged", None),
            done => outcome(done),
        };
        tracing::info!(
            target: "audit",
            action = name(*act),
            model_id = %model,
            version_before = versions.before.map(Version::get),
            version_after = versions.after.map(Version::get),
            outcome,
            reason,
            "model"
        );
    }

    fn rebalance(&self, entry: &RebalanceEntry<'_>) {
        let RebalanceEntry { subject, rebalance, result } = *entry;
        let (action, model, portfolio) = match subject {
            Subject::Model(model) => ("rebalance-model", Some(model), None),
            Subject::Portfolio(portfolio) => {
                ("rebalance-portfolio", result.ok().map(|outcome| &outcome.model), Some(portfolio))
            }
        };
        let (outcome, reason) = outcome(&result);
        let (rebalanced, failed) = portfolios(result);
        tracing::info!(
            target: "audit",
            action,
            rebalance_id = %rebalance,
            model_id = model.map(tracing::field::display),
            model_version = result.ok().map(|outcome| outcome.model_version.get()),
            portfolio_id = portfolio.map(tracing::field::display),
            rebalanced,
            failed,
            outcome,
            reason,
            "rebalance"
        );
        self.count(if portfolio.is_none() { "model" } else { "portfolio" }, result);
    }

    fn run_begun(&self, entry: &RunBegun<'_>) {
        let RunBegun { model, model_version, rebalance, portfolios } = *entry;
        tracing::info!(
            target: "audit",
            action = "rebalance-model",
            rebalance_id = %rebalance,
            model_id = %model,
            model_version = model_version.get(),
            portfolios,
            outcome = "begun",
            "rebalance"
        );
    }

    fn run_advanced(&self, rebalanced: &[PortfolioRebalance], failed: usize) {
        self.count_portfolios(rebalanced.len(), failed);
        for portfolio in rebalanced {
            self.drift(portfolio);
        }
    }

    fn run_ended(&self, entry: &RunEntry<'_>) {
        let RunEntry { model, model_version, rebalance, result } = *entry;
        let (outcome, reason) = outcome(&result);
        let (rebalanced, failed) = match result {
            Ok(counts) => counts,
            Err(Error::AllRefused { count, .. }) => (0, *count),
            Err(_) => (0, 0),
        };
        tracing::info!(
            target: "audit",
            action = "rebalance-model",
            rebalance_id = %rebalance,
            model_id = %model,
            model_version = model_version.map(Version::get),
            rebalanced,
            failed,
            outcome,
            reason,
            "rebalance"
        );
        self.count_end("model", result.map(|(_, failed)| failed));
    }

    fn run_lost(&self, rebalance: &RebalanceId) {
        let error = Error::Interrupted;
        let (outcome, reason) = fault(&error);
        tracing::info!(
            target: "audit",
            action = "rebalance-model",
            rebalance_id = %rebalance,
            outcome,
            reason,
            "rebalance"
        );
        self.count_end("model", Err(&error));
    }

    fn rebalance_deletion(&self, id: &RebalanceId, result: Result<Version, &Error>) {
        let (outcome, reason) = outcome(&result);
        tracing::info!(
            target: "audit",
            action = "delete-rebalance",
            rebalance_id = %id,
            version_before = result.ok().map(Version::get),
            outcome,
            reason,
            "rebalance"
        );
    }

    fn stage(&self, stage: Stage, took: Duration) {
        let stage = match stage {
            Stage::Holdings => "holdings",
            Stage::Prices => "prices",
            Stage::Statement => "statement",
            Stage::Solution => "solution",
            Stage::Verification => "verification",
            Stage::Writing => "writing",
        };
        self.stages.record(took.as_secs_f64(), &[KeyValue::new("stage", stage)]);
    }
}

/// In a word, and why.
fn outcome<T>(result: &Result<T, &Error>) -> (&'static str, Option<&'static str>) {
    match result {
        Ok(_) => ("done", None),
        Err(error) => {
            let (outcome, reason) = fault(error);
            (outcome, Some(reason))
        }
    }
}

fn name(act: ModelAct) -> &'static str {
    match act {
        ModelAct::Create => "create-model",
        ModelAct::Replace => "replace-model",
        ModelAct::Delete => "delete-model",
        ModelAct::AddPosition => "add-position",
        ModelAct::ReplacePosition => "replace-position",
        ModelAct::RemovePosition => "remove-position",
        ModelAct::AddPortfolios => "add-portfolios",
        ModelAct::RemovePortfolios => "remove-portfolios",
    }
}

fn failed(outcome: &Outcome) -> usize {
    outcome.portfolios.iter().filter(|portfolio| portfolio.result.is_err()).count()
}

/// How many were rebalanced, and how many could not be. After an outage nobody knows.
fn portfolios(result: Result<&Outcome, &Error>) -> (usize, usize) {
    match result {
        Ok(outcome) => (outcome.portfolios.len() - failed(outcome), failed(outcome)),
        Err(Error::AllRefused { count, .. }) => (0, *count),
        Err(Error::Refused(_)) => (0, 1),
        Err(_) => (0, 0),
    }
}

/// Before and after: what lies away from its target, as a share of the market value.
fn drifts(portfolio: &PortfolioRebalance) -> [f64; 2] {
    let of = |value: fn(&_) -> Decimal| -> f64 {
        let away = portfolio
            .positions
            .iter()
            .map(|position| (value(position) - position.target * portfolio.market_value).abs());
        let away: Decimal = away.sum();
        // Only to be looked at.
        away.checked_div(portfolio.market_value).and_then(|share| share.to_f64()).unwrap_or_default()
    };
    [of(|position| position.original_value), of(|position| position.adjusted_value)]
}
