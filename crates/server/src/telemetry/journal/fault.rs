//! Why something was not done, in words that tell of no amounts.

use application::order_generation::Error;
use application::order_generation::ports::OptimizerError;
use application::repository;
use domain::order_generation::model::ChangeRefused;

/// Nobody's fault but the caller's.
const REFUSED: &str = "refused";
/// Worth another try.
const UNAVAILABLE: &str = "unavailable";
/// Ours.
const FAILED: &str = "failed";

/// Whose fault it is, and the code of the problem that the caller is told.
pub(super) fn fault(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::UnknownModel(_) => (REFUSED, "model-not-found"),
        Error::UnknownRebalance(_) => (REFUSED, "rebalance-not-found"),
        Error::NotInRebalance { .. } => (REFUSED, "portfolio-not-in-rebalance"),
        Error::UnknownPortfolio(_) | Error::DoesNotFollow { .. } => (REFUSED, "portfolio-not-found"),
        Error::NameTaken(_) => (REFUSED, "name-taken"),
        Error::ModelExists(_) => (REFUSED, "model-exists"),
        Error::RebalanceExists(_) => (REFUSED, "rebalance-exists"),
        Error::RunEnded(_) => (REFUSED, "rebalance-cancelled"),
        Error::TooManyRuns => (UNAVAILABLE, "too-many-rebalances"),
        Error::Interrupted => (UNAVAILABLE, "interrupted"),
        Error::ModelModified { .. } => (REFUSED, "model-modified"),
        Error::RebalanceModified { .. } => (REFUSED, "rebalance-modified"),
        Error::ChangeRefused(refused) => (REFUSED, of_a_change(refused)),
        Error::Refused(refusal) | Error::AllRefused { refusal, .. } => (REFUSED, refusal.code()),
        Error::Upstream(_) => (UNAVAILABLE, "external-service-unavailable"),
        Error::Optimizer(OptimizerError::OutOfTime) => (UNAVAILABLE, "optimizer-out-of-time"),
        Error::Unsound { .. } => (FAILED, "unsound-answer"),
        Error::Repository(repository::Error::Unavailable { .. }) => (UNAVAILABLE, "store-unavailable"),
        Error::Optimizer(
            OptimizerError::Unsupported(_) | OptimizerError::NoSolution | OptimizerError::Broken { .. },
        )
        | Error::Repository(
            repository::Error::Missing
            | repository::Error::Conflict { .. }
            | repository::Error::Duplicate { .. }
            | repository::Error::Corrupt { .. },
        ) => (FAILED, "internal-error"),
    }
}

fn of_a_change(refused: &ChangeRefused) -> &'static str {
    match refused {
        ChangeRefused::SecurityAlreadyInModel(_) => "security-already-in-model",
        ChangeRefused::PositionDiffers(_) => "position-differs",
        ChangeRefused::SecurityNotInModel(_) => "position-not-found",
        ChangeRefused::Positions(_) => "invalid-positions",
        ChangeRefused::Followers(_) => "invalid-portfolios",
    }
}
