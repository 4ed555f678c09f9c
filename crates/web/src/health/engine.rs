//! Whether the optimiser still thinks, without asking it each time that somebody wants to know.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};

use application::chain::Chain;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::body::{EngineBody, Wellness};

/// For how long an outcome is good: a storm of probes must not keep rebalances from being solved.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// A problem of three securities takes microseconds; this is for a machine that is out of breath.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Works,
    Fails,
    Silent,
}

/// The last outcome of the self-test, and when it was. Held while the test runs, so that it runs once.
#[derive(Default)]
pub(super) struct EngineWatch(Mutex<Option<(Instant, Engine)>>);

impl EngineWatch {
    pub(super) async fn check<E: Error + 'static>(
        &self,
        self_test: impl Future<Output = Result<(), E>>,
    ) -> Engine {
        let mut last = self.0.lock().await;
        if let Some((at, engine)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return engine;
        }
        let engine = match timeout(PATIENCE, self_test).await {
            Ok(Ok(())) => Engine::Works,
            Ok(Err(error)) => {
                tracing::error!(error = %Chain(&error), "the optimiser failed its self-test");
                Engine::Fails
            }
            Err(_) => {
                tracing::error!(timeout = ?PATIENCE, "the optimiser did not finish its self-test");
                Engine::Silent
            }
        };
        *last = Some((Instant::now(), engine));
        engine
    }
}

impl Engine {
    pub(super) fn is_well(self) -> bool {
        self == Self::Works
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Works => "Optimization engine operational",
            Self::Fails => "Optimization engine failed its self-test",
            Self::Silent => "Optimization engine did not finish its self-test",
        }
    }

    pub(super) fn body(self) -> EngineBody {
        EngineBody {
            status: if self.is_well() { Wellness::Healthy } else { Wellness::Unhealthy },
            message: self.message(),
            solver_status: self.is_well().then_some("optimal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::io;

    use futures_util::future::join_all;

    use super::*;

    #[actix_web::test]
    async fn a_storm_of_probes_runs_one_test() {
        let (watch, runs) = (EngineWatch::default(), Cell::new(0));
        let self_test = async || {
            runs.set(runs.get() + 1);
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(())
        };

        let engines = join_all((0..100).map(|_| watch.check(self_test()))).await;

        assert_eq!(engines, [Engine::Works; 100]);
        assert_eq!(runs.get(), 1);
    }

    #[actix_web::test]
    async fn a_failure_is_kept_as_long_as_a_success() {
        let watch = EngineWatch::default();

        let first = watch.check(async { Err(io::Error::other("no optimum")) }).await;
        let second = watch.check(async { Ok::<_, Infallible>(()) }).await;

        assert_eq!((first, second), (Engine::Fails, Engine::Fails));
        assert!(!first.is_well());
    }
}
