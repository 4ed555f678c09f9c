//! The optimiser that the settings pick.

use application::order_generation::ports::Optimizer;
use optimizer_exact::ExactOptimizer;

use crate::compose::or_cores;
use crate::config::{Choice, Rebalance};

#[cfg(feature = "cbc")]
pub(crate) mod cbc;

pub(crate) fn optimizer(config: &Rebalance) -> anyhow::Result<Box<dyn Optimizer>> {
    match config.optimizer {
        Choice::Exact => Ok(Box::new(exact(config))),
        #[cfg(feature = "cbc")]
        Choice::Cbc => Ok(Box::new(cbc::optimizer(config)?)),
        #[cfg(not(feature = "cbc"))]
        Choice::Cbc => {
            anyhow::bail!(
                "OPTIMIZER (rebalance.optimizer): this program is built without cbc; use exact or auto"
            )
        }
        #[cfg(feature = "cbc")]
        Choice::Auto => Ok(Box::new(cbc::Auto { exact: exact(config), cbc: cbc::optimizer(config)? })),
        #[cfg(not(feature = "cbc"))]
        Choice::Auto => Ok(Box::new(exact(config))),
    }
}

fn exact(config: &Rebalance) -> ExactOptimizer {
    ExactOptimizer::new(&optimizer_exact::Config {
        workers: or_cores(config.optimization_workers),
        timeout: config.optimization_timeout,
    })
}
