//! What can go wrong with any neighbour.

/// A client's own error, kept for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{service} did not answer the call for {about}")]
    Unavailable { service: &'static str, about: String, source: Source },
    #[error("{service} answered the call for {about} with something that makes no sense")]
    Malformed { service: &'static str, about: String, source: Source },
}
