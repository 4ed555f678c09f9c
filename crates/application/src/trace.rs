//! The trace that a request is part of, by its caller's word (W3C Trace Context).

use std::future::Future;

/// What the caller sent, as it was; it need not make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: Option<String>,
}

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs `work` as a part of a trace, which [`current`] then finds.
pub async fn scope<F: Future>(trace: Option<TraceContext>, work: F) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// The trace of whoever sent the request that this task works for, if there is one.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}
