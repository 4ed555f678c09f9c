use std::time::Duration;

use optimizer_exact::{Config, ExactOptimizer};

port_contracts::optimizer!(async {
    let optimizer = ExactOptimizer::new(&Config { workers: 2, timeout: Duration::from_mins(1) });
    (optimizer, ())
});
