//! What can go wrong in any store.

use domain::version::Version;

/// A driver's own error, kept for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing is stored under that id")]
    Missing,
    #[error("version {found} is stored, {expected} was expected")]
    Conflict { expected: Version, found: Version },
    #[error("{key} is already taken")]
    Duplicate { key: String },
    #[error("stored {entity} cannot be read")]
    Corrupt { entity: &'static str, source: Source },
    #[error("store unavailable")]
    Unavailable { source: Source },
}
