//! The system's clock.

use application::clock::Clock;
use domain::Timestamp;

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the adapter of the `Clock` port")]
        let now = chrono::Utc::now();
        Timestamp::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }
}
