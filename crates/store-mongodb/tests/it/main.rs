#![expect(clippy::unwrap_used, reason = "Clippy sees no test in the helpers of one")]

mod connecting;
mod contention;
mod damage;
mod leftovers;
mod outage;
mod plans;
mod server;
mod size;
mod takeover;

use server::{fresh, replica_set, standalone};

/// Servers with and without transactions take different ways to the same promises.
mod on_a_standalone_server {
    use super::{fresh, standalone};

    port_contracts::model_repository!({
        let Some(url) = standalone() else { return };
        fresh(url)
    });
    port_contracts::rebalance_repository!({
        let Some(url) = standalone() else { return };
        fresh(url)
    });
    port_contracts::idempotency_keys!({
        let Some(url) = standalone() else { return };
        fresh(url)
    });
    port_contracts::rebalance_runs!({
        let Some(url) = standalone() else { return };
        fresh(url)
    });
}

mod on_a_replica_set {
    use super::{fresh, replica_set};

    port_contracts::model_repository!({
        let Some(url) = replica_set() else { return };
        fresh(url)
    });
    port_contracts::rebalance_repository!({
        let Some(url) = replica_set() else { return };
        fresh(url)
    });
    port_contracts::idempotency_keys!({
        let Some(url) = replica_set() else { return };
        fresh(url)
    });
    port_contracts::rebalance_runs!({
        let Some(url) = replica_set() else { return };
        fresh(url)
    });
}
