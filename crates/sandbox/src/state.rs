//! What a service remembers between calls.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex without poisoning: one panicking handler must not put the whole neighbour out.
#[derive(Debug, Default)]
pub(crate) struct State<T>(Mutex<T>);

impl<T> State<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
