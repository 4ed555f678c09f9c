//! By when a request must be answered, and so whatever is done for it.
//!
//! The deadline belongs to the task: what is spawned, or done in the background, has none.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

tokio::task_local! {
    static CURRENT: Instant;
}

/// Runs `work` under a deadline, which [`remaining`] then counts down to. Inside another scope the
/// earlier of the two counts.
///
/// Nothing is stopped when it passes: what waits for others must see to it itself.
pub async fn scope<F: Future>(deadline: Instant, work: F) -> F::Output {
    let outer = CURRENT.try_with(|outer| *outer).unwrap_or(deadline);
    CURRENT.scope(deadline.min(outer), work).await
}

/// What is left to the request that this task works for, zero once it is late; `None` if it works for
/// none.
pub fn remaining() -> Option<Duration> {
    CURRENT.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// Completes when nothing is left; never for work that has no deadline.
pub async fn passed() {
    match CURRENT.try_with(|deadline| *deadline) {
        Ok(deadline) => sleep_until(deadline).await,
        Err(_) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_that_passes_is_taken_off_until_nothing_is_left() {
        scope(Instant::now() + 3 * SECOND, async {
            assert_eq!(remaining(), Some(3 * SECOND));
            tokio::time::advance(2 * SECOND).await;
            assert_eq!(remaining(), Some(SECOND));
            tokio::time::advance(2 * SECOND).await;
            assert_eq!(remaining(), Some(Duration::ZERO));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_within_another_shortens_what_is_left_and_never_prolongs_it() {
        let now = Instant::now();
        scope(now + 3 * SECOND, async {
            scope(now + SECOND, async { assert_eq!(remaining(), Some(SECOND)) }).await;
            scope(now + 9 * SECOND, async { assert_eq!(remaining(), Some(3 * SECOND)) }).await;
            assert_eq!(remaining(), Some(3 * SECOND));
        })
        .await;
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "it is awaited in the next line")]
    async fn work_for_no_request_and_spawned_work_have_no_deadline() {
        assert_eq!(remaining(), None);
        let spawned = async { tokio::spawn(async { remaining() }).await };
        assert_eq!(scope(Instant::now() + SECOND, spawned).await.unwrap(), None);
    }
}
