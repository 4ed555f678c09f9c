//! What every adapter of a port must do, as tests: one clause, one sentence, one function.
//!
//! Each port's macro names its clauses once and expands, in the adapter's tests, to one test for each.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a contract is a test")]

pub mod fixtures;
pub mod idempotency_keys;
pub mod model_repository;
pub mod optimizer;
mod ordering;
pub mod rebalance_repository;
pub mod rebalance_runs;

/// Expands to one test for each clause, on an adapter of its own.
///
/// The setup is an expression whose future gives `(adapter, guard)`. The guard, such as a temporary
/// directory, lives as long as the test. What stands in a clause's parentheses names the ports that
/// the clause is told to find in the adapter.
#[doc(hidden)]
#[macro_export]
macro_rules! clauses {
    ($contract:ident, $setup:expr, $($clause:ident($($port:ident),+),)+) => {
        mod $contract {
            use super::*;

            $(
                #[tokio::test]
                async fn $clause() {
                    let (adapter, _guard) = $setup.await;
                    $(let $port = &adapter;)+
                    $crate::$contract::$clause($($port),+).await;
                }
            )+
        }
    };
}
