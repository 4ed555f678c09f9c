//! The id that follows one request through every log line and on to the neighbours.

use std::fmt;
use std::future::Future;

/// 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId(String);

impl CorrelationId {
    pub const MAX_CHARS: usize = 128;

    /// `None` when the text could not travel in a header or a log line unharmed.
    pub fn new(text: &str) -> Option<Self> {
        let legal =
            (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

tokio::task_local! {
    static CURRENT: CorrelationId;
}

/// Runs `work` under an id, which [`current`] then finds.
pub async fn scope<F: Future>(id: CorrelationId, work: F) -> F::Output {
    CURRENT.scope(id, work).await
}

/// The id of the request this task works for, if it works for one.
pub fn current() -> Option<CorrelationId> {
    CURRENT.try_with(Clone::clone).ok()
}
