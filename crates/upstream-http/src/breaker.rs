//! Leaves a neighbour alone that has failed often, and finds out when it is back.
//!
//! What counts is calls, each with all its attempts. An answer that makes sense, also that nothing is
//! known, is a success; a 5xx, a broken connection or slowness to the end is a failure. A 4xx, or a 200
//! that makes no sense, is neither: it costs one quick attempt, it is most often about the one thing
//! that was asked for, and it must not cut us off from all others. Nor is a call that was given up by
//! whoever it was made for, unless the neighbour had been slow by then.

mod circuit;

use std::sync::{Arc, Mutex};

use application::health::BreakerState;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::BreakerRules;
use crate::observer::Observer;
pub(crate) use circuit::Rejection;
use circuit::{Circuit, Epoch, Refusal};

pub(crate) struct Breaker {
    service: &'static str,
    rules: BreakerRules,
    observer: Arc<dyn Observer>,
    circuit: Mutex<Circuit>,
    state: watch::Sender<BreakerState>,
}

impl Breaker {
    pub(crate) fn new(service: &'static str, rules: BreakerRules, observer: Arc<dyn Observer>) -> Self {
        let circuit = Circuit::new(rules);
        let (state, _) = watch::channel(circuit.state());
        Self { service, rules, observer, circuit: Mutex::new(circuit), state }
    }

    pub(crate) fn state(&self) -> BreakerState {
        *self.state.borrow()
    }

    /// Whether a call that asked now would be turned away; asking changes nothing.
    pub(crate) fn rejection(&self) -> Option<Rejection> {
        self.step(|circuit| circuit.rejection(Instant::now()))
    }

    /// Lets a call through, at once or, where others find out whether the neighbour is back, when they
    /// have: several calls of one request must not fail by each other, and take the probe with them.
    pub(crate) async fn admit(&self) -> Result<Admission<'_>, Rejection> {
        let mut changes = self.state.subscribe();
        loop {
            match self.step(|circuit| circuit.admit(Instant::now())) {
                Ok(epoch) => return Ok(Admission::new(self, epoch)),
                Err(Refusal::Open(rejection)) => return Err(rejection),
                Err(Refusal::Probed) => changes.changed().await.expect("the sender is in `self`"),
            }
        }
    }

    /// Completes when calls are turned away.
    pub(crate) async fn rejects(&self) -> Rejection {
        let mut changes = self.state.subscribe();
        loop {
            if let Some(rejection) = self.rejection() {
                return rejection;
            }
            changes.changed().await.expect("the sender is in `self`");
        }
    }

    /// What changes the state is told under the lock, and so in the order in which it happens.
    fn step<T>(&self, step: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.circuit.lock().expect("no holder of this lock panics");
        let outcome = step(&mut circuit);
        let state = circuit.state();
        if self.state.send_if_modified(|known| std::mem::replace(known, state) != state) {
            self.tell(state);
        }
        outcome
    }

    /// Gives back a place; who waits for one may have it.
    fn withdraw(&self, epoch: Epoch) {
        self.step(|circuit| circuit.withdraw(epoch));
        if self.state() == BreakerState::HalfOpen {
            self.state.send_modify(|_| {});
        }
    }

    fn tell(&self, state: BreakerState) {
        let neighbour = self.service;
        match state {
            BreakerState::Open => {
                tracing::error!(neighbour, pause = ?self.rules.pause, "circuit opened: it is not called");
            }
            BreakerState::HalfOpen => tracing::info!(neighbour, "circuit half open: it is tried"),
            BreakerState::Closed => tracing::info!(neighbour, "circuit closed: it is called again"),
        }
        self.observer.breaker(neighbour, state);
    }
}

/// A call that was let through. Dropped without a verdict, it is a failure where the neighbour was slow,
/// and else gives back its place.
pub(crate) struct Admission<'a> {
    breaker: &'a Breaker,
    epoch: Epoch,
    attempt_since: Option<Instant>,
    was_slow: bool,
    is_settled: bool,
}

impl<'a> Admission<'a> {
    fn new(breaker: &'a Breaker, epoch: Epoch) -> Self {
        Self { breaker, epoch, attempt_since: None, was_slow: false, is_settled: false }
    }

    pub(crate) fn attempt_begins(&mut self) {
        self.attempt_since = Some(Instant::now());
    }

    pub(crate) fn attempt_ends(&mut self) {
        self.was_slow |= self.is_slow();
        self.attempt_since = None;
    }

    /// Whether another attempt may be made.
    pub(crate) fn may_go_on(&self) -> Result<(), Rejection> {
        self.breaker.step(|circuit| circuit.may_go_on(self.epoch, Instant::now()))
    }

    pub(crate) fn succeeded(mut self) {
        self.is_settled = true;
        self.breaker.step(|circuit| circuit.succeed(self.epoch));
    }

    pub(crate) fn failed(mut self) {
        self.is_settled = true;
        self.breaker.step(|circuit| circuit.fail(self.epoch, Instant::now()));
    }

    /// It answered, and nothing follows from that.
    pub(crate) fn answered(mut self) {
        self.is_settled = true;
        self.breaker.withdraw(self.epoch);
    }

    fn is_slow(&self) -> bool {
        self.attempt_since.is_some_and(|since| self.breaker.rules.slow_after <= since.elapsed())
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        if self.was_slow || self.is_slow() {
            self.breaker.step(|circuit| circuit.fail(self.epoch, Instant::now()));
        } else {
            self.breaker.withdraw(self.epoch);
        }
    }
}
