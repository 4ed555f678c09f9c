//! What the clients can be told.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Config {
    pub accounting: Endpoint,
    pub security: Endpoint,
    pub pricing: Endpoint,
    pub portfolio: Endpoint,
    pub calls: Calls,
    /// What one call for a portfolio's name may take. Names decorate, so it is not repeated.
    pub name_timeout: Duration,
    /// From so many prices on that a snapshot lacks, all there are are asked for by one call; never
    /// without.
    pub bulk_threshold: Option<NonZeroUsize>,
    pub tickers: CacheSize,
    pub prices: CacheSize,
    pub names: CacheSize,
}

#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Such as `http://globeco-pricing-service:8083`; a path in it stands before every call's own.
    pub base_url: String,
    /// Such as `/actuator/health`.
    pub health_path: String,
}

/// How every neighbour is called.
#[derive(Debug, Clone)]
pub struct Calls {
    /// What making a connection may take, within an attempt's `timeout`.
    pub connect_timeout: Duration,
    /// What one attempt may take, until the last byte of its answer.
    pub timeout: Duration,
    /// How often a call is tried, the first time included.
    pub attempts: NonZeroU32,
    /// The longest pause after the first attempt. It doubles with every further one, up to a minute;
    /// each pause is drawn at random from the upper half of that, and comes on top of what a service
    /// asks for by `Retry-After`.
    pub first_backoff: Duration,
    /// Calls under way at the same time, at each neighbour, from the first attempt to the last, the
    /// pauses between them included; others wait for their turn.
    pub max_concurrent: NonZeroUsize,
    pub breaker: BreakerRules,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept, at each neighbour.
    pub pool_max_idle: usize,
}

/// When a neighbour is no longer called.
#[derive(Debug, Clone, Copy)]
pub struct BreakerRules {
    /// After that many failed calls in a row; never without.
    pub threshold: Option<NonZeroU32>,
    /// For how long; then it is tried.
    pub pause: Duration,
    /// How many calls may try it at the same time.
    pub probes: NonZeroU32,
    /// A call whose attempt has taken this long has failed, though its deadline or its caller ends it
    /// before the attempt's timeout does.
    pub slow_after: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct CacheSize {
    /// How long an answer is good for; zero asks anew every time.
    pub ttl: Duration,
    /// Answers kept.
    pub capacity: u64,
}
