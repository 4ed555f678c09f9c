//! How far a rebalance has come, and how it ended.

use super::problem::Refusal;

/// The portfolios of a rebalance that has not completed, by what has become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub total: usize,
    pub rebalanced: usize,
    pub failed: usize,
}

/// Why a rebalance failed, as a whole or one portfolio of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Short and stable; what programs match on.
    pub code: String,
    pub detail: String,
}

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code().to_owned(), detail: refusal.to_string() }
    }
}

/// Only of a completed rebalance can the portfolios be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebalanceStatus {
    Running(Progress),
    /// Every portfolio was rebalanced, or failed for a reason of its own.
    Completed,
    Failed {
        reason: Reason,
        progress: Progress,
    },
    Cancelled(Progress),
}
