//! The time of day as the services print it.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

#[expect(
    clippy::disallowed_methods,
    reason = "the neighbours stand for other processes, which have clocks of their own"
)]
pub(crate) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
