//! What time it is.

use domain::Timestamp;

pub trait Clock: Send + Sync {
    /// Now, cut to the millisecond.
    fn now(&self) -> Timestamp;
}
