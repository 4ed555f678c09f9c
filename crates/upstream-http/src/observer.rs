//! Who wants to know what becomes of calls: metrics and traces, which this crate knows nothing of.

use std::fmt;
use std::time::Duration;

use application::health::BreakerState;
use http::HeaderMap;

/// Told of every attempt at every neighbour. All of it happens on the caller's task, and so must be quick.
///
/// `()` takes no notice.
pub trait Observer: Send + Sync {
    /// An attempt is about to leave with these headers, and its span is the current one.
    fn outgoing(&self, _headers: &mut HeaderMap) {}

    /// An attempt has ended; its span is the current one.
    fn attempt(&self, _attempt: &Attempted) {}

    /// The breaker of a neighbour has changed to `state`.
    fn breaker(&self, _service: &'static str, _state: BreakerState) {}
}

impl Observer for () {}

/// One attempt, which may have been followed by others of the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// Such as `pricing-service`.
    pub service: &'static str,
    /// The route, such as `/api/v1/price/{ticker}`.
    pub endpoint: &'static str,
    pub ending: Ending,
    /// Making a connection included.
    pub took: Duration,
}

/// How an attempt ended. Shown as the status, or as one word, such as metrics take for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Answered to the last byte, with this status.
    Answered(u16),
    /// It had its whole timeout.
    TimedOut,
    /// The deadline of the request it worked for came first.
    OutOfTime,
    /// No connection could be made.
    NotConnected,
    /// The connection broke, or what came was no HTTP.
    Broken,
    /// Nobody wanted the answer any more.
    Abandoned,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => status.fmt(f),
            Self::TimedOut => f.write_str("timeout"),
            Self::OutOfTime => f.write_str("deadline"),
            Self::NotConnected => f.write_str("connect"),
            Self::Broken => f.write_str("broken"),
            Self::Abandoned => f.write_str("abandoned"),
        }
    }
}
