//! What can go wrong with any neighbour.

use std::time::Duration;

/// A client's own error, kept for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `retry_after`: when it is worth another try, if that is known.
    #[error("{service} did not answer the call for {about}")]
    Unavailable { service: &'static str, about: String, retry_after: Option<Duration>, source: Source },
    /// With more time it might have.
    #[error("{service} did not answer the call for {about} before the deadline")]
    OutOfTime { service: &'static str, about: String, retry_after: Option<Duration>, source: Source },
    #[error("{service} answered the call for {about} with something that makes no sense")]
    Malformed { service: &'static str, about: String, source: Source },
}
