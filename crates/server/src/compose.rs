//! Wires order generation: the store, which optimiser, which neighbours.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use application::health::Health;
use application::idempotency::Idempotency;
use application::order_generation::runs::{RunSettings, UnderWay};
use application::order_generation::{OrderGeneration, Policy};
use upstream_http::{BreakerRules, CacheSize, Calls, Endpoint, Neighbours, Observer};

use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::optimizer::optimizer;
use crate::store::{Ports, Store};
use crate::telemetry::journal::Account;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::neighbours::{self, NeighbourFigures};
use crate::telemetry::optimizer::ObservedOptimizer;
use crate::telemetry::store::{Observed, StoreFigures};
use crate::telemetry::traces;

/// The use cases, wired, and what must be closed when they are done with.
pub(crate) struct Composed {
    pub(crate) app: Arc<OrderGeneration>,
    pub(crate) idempotency: Arc<Idempotency>,
    pub(crate) health: Arc<Health>,
    pub(crate) store: Store,
}

pub(crate) async fn order_generation(config: &Config, metrics: &Metrics) -> anyhow::Result<Composed> {
    let meter = metrics.meter();
    let store = Store::open(&config.store).await?;
    let Ports { models, rebalances, runs, idempotency_keys, probe } = store.ports();
    let observer: Arc<dyn Observer> = Arc::new(NeighbourFigures::new(meter));
    let neighbours = Neighbours::new(&upstream(config), &observer)?;
    for (service, state) in neighbours.breakers() {
        observer.breaker(service, state);
    }
    neighbours::observe_caches(meter, neighbours.clone());
    let figures = StoreFigures::new(meter, store.system());
    StoreFigures::observe_connections(meter, store.clone());
    let health = Health::new(probe, neighbours.probes());
    let app = OrderGeneration {
        models: Box::new(Observed { inner: models, figures: figures.clone() }),
        rebalances: Box::new(Observed { inner: rebalances, figures: figures.clone() }),
        runs: Box::new(Observed { inner: runs, figures: figures.clone() }),
        under_way: UnderWay::new(RunSettings {
            at_most: config.rebalance.max_async,
            lease: config.rebalance.lease,
            follow: traces::follow,
        }),
        holdings: Box::new(neighbours.accounting),
        prices: Box::new(neighbours.market),
        portfolios: Box::new(neighbours.directory),
        optimizer: Box::new(ObservedOptimizer::new(optimizer(&config.rebalance)?, meter)),
        clock: Box::new(SystemClock),
        journal: Box::new(Account::new(meter)),
        policy: Policy {
            max_parallel: config.rebalance.max_parallel.get(),
            bands: config.rebalance.band_policy,
        },
    };
    let idempotency = Idempotency {
        keys: Box::new(Observed { inner: idempotency_keys, figures }),
        kept_for: config.idempotency.kept_for,
    };
    Ok(Composed { app: Arc::new(app), idempotency: Arc::new(idempotency), health: Arc::new(health), store })
}

/// Zero asks for one for each core.
pub(crate) fn or_cores(count: usize) -> usize {
    match count {
        0 => available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

fn upstream(config: &Config) -> upstream_http::Config {
    let deadline = config.http.request_deadline();
    let config = &config.neighbours;
    let endpoint = |url: &config::HttpUrl, health_path: &str| Endpoint {
        base_url: url.as_str().to_owned(),
        health_path: health_path.to_owned(),
    };
    let cache = |ttl: Duration| CacheSize { ttl, capacity: config.cache_capacity };
    upstream_http::Config {
        accounting: endpoint(&config.portfolio_accounting_url, &config.portfolio_accounting_health_path),
        security: endpoint(&config.security_url, &config.security_health_path),
        pricing: endpoint(&config.pricing_url, &config.pricing_health_path),
        portfolio: endpoint(&config.portfolio_url, &config.portfolio_health_path),
        calls: Calls {
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            attempts: config.attempts,
            first_backoff: config.first_backoff,
            max_concurrent: config.max_concurrent,
            breaker: BreakerRules {
                threshold: NonZeroU32::new(config.breaker_threshold),
                pause: config.breaker_pause,
                probes: config.breaker_probes,
                // Under a deadline shorter than the timeout, no attempt would ever be slow to its end.
                slow_after: deadline.map_or(config.timeout, |deadline| config.timeout.min(deadline / 2)),
            },
            pool_idle_timeout: Duration::from_mins(1),
            pool_max_idle: config.max_concurrent.get(),
        },
        name_timeout: config.name_timeout,
        bulk_threshold: NonZeroUsize::new(config.prices_bulk_threshold),
        tickers: cache(config.ticker_ttl),
        prices: cache(config.price_ttl),
        names: cache(config.name_ttl),
    }
}
