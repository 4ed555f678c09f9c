//! The states of a breaker and what moves it from one to the next; what time it is, the caller says.

use std::time::Duration;

use application::health::BreakerState;
use tokio::time::Instant;

use crate::config::BreakerRules;

#[derive(Debug)]
pub(super) struct Circuit {
    rules: BreakerRules,
    stage: Stage,
    /// How often the state has changed: what was admitted before is told from what was admitted since.
    epoch: Epoch,
}

/// Between two changes of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// That many calls in a row failed.
    Closed {
        failures: u32,
    },
    Open {
        since: Instant,
    },
    /// That many probes are under way.
    HalfOpen {
        since: Instant,
        under_way: u32,
    },
}

/// Why a call is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the circuit has been open for {open_for:.1?}; next try in {next_try:.1?}")]
pub(crate) struct Rejection {
    pub(crate) open_for: Duration,
    pub(crate) next_try: Duration,
}

/// Why a call is not let through now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Open(Rejection),
    /// As many probes as may be are under way: soon it is known how it goes on.
    Probed,
}

impl Circuit {
    pub(super) fn new(rules: BreakerRules) -> Self {
        Self { rules, stage: Stage::Closed { failures: 0 }, epoch: Epoch(0) }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.stage {
            Stage::Closed { .. } => BreakerState::Closed,
            Stage::Open { .. } => BreakerState::Open,
            Stage::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// While it is open, and until it may be tried.
    pub(super) fn rejection(&self, now: Instant) -> Option<Rejection> {
        match self.stage {
            Stage::Open { since } => {
                Some(self.since(since, now)).filter(|rejection| !rejection.next_try.is_zero())
            }
            Stage::Closed { .. } | Stage::HalfOpen { .. } => None,
        }
    }

    /// Lets a call through or not. What is let through must [`succeed`](Self::succeed),
    /// [`fail`](Self::fail) or [`withdraw`](Self::withdraw), with the epoch returned here.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Epoch, Refusal> {
        if let Some(rejection) = self.rejection(now) {
            return Err(Refusal::Open(rejection));
        }
        match &mut self.stage {
            Stage::Closed { .. } => {}
            &mut Stage::Open { since } => self.change_to(Stage::HalfOpen { since, under_way: 1 }),
            Stage::HalfOpen { under_way, .. } if *under_way < self.rules.probes.get() => *under_way += 1,
            Stage::HalfOpen { .. } => return Err(Refusal::Probed),
        }
        Ok(self.epoch)
    }

    /// Whether a call let through in `epoch` may make another attempt.
    pub(super) fn may_go_on(&self, epoch: Epoch, now: Instant) -> Result<(), Rejection> {
        match self.stage {
            Stage::Open { since } | Stage::HalfOpen { since, .. } if epoch != self.epoch => {
                Err(self.since(since, now))
            }
            Stage::Closed { .. } | Stage::Open { .. } | Stage::HalfOpen { .. } => Ok(()),
        }
    }

    fn since(&self, since: Instant, now: Instant) -> Rejection {
        let open_for = now.saturating_duration_since(since);
        Rejection { open_for, next_try: self.rules.pause.saturating_sub(open_for) }
    }

    pub(super) fn succeed(&mut self, epoch: Epoch) {
        if epoch != self.epoch {
            return;
        }
        match &mut self.stage {
            Stage::Closed { failures } => *failures = 0,
            Stage::HalfOpen { .. } => self.change_to(Stage::Closed { failures: 0 }),
            Stage::Open { .. } => {}
        }
    }

    pub(super) fn fail(&mut self, epoch: Epoch, now: Instant) {
        if epoch != self.epoch {
            return;
        }
        match &mut self.stage {
            Stage::Closed { failures } => {
                *failures = failures.saturating_add(1);
                let is_enough = self.rules.threshold.is_some_and(|it| it.get() <= *failures);
                if is_enough {
                    self.change_to(Stage::Open { since: now });
                }
            }
            Stage::HalfOpen { .. } => self.change_to(Stage::Open { since: now }),
            Stage::Open { .. } => {}
        }
    }

    /// The call says nothing about the service: it only gives back its place.
    pub(super) fn withdraw(&mut self, epoch: Epoch) {
        if epoch != self.epoch {
            return;
        }
        match &mut self.stage {
            Stage::HalfOpen { under_way, .. } => *under_way -= 1,
            Stage::Closed { .. } | Stage::Open { .. } => {}
        }
    }

    fn change_to(&mut self, stage: Stage) {
        self.stage = stage;
        self.epoch = Epoch(self.epoch.0 + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroU32;

    use super::BreakerState::{Closed, HalfOpen, Open};
    use super::*;

    const PAUSE: Duration = Duration::from_mins(1);
    const MOMENT: Duration = Duration::from_millis(1);

    fn circuit(threshold: u32, probes: u32) -> (Circuit, Instant) {
        let probes = NonZeroU32::new(probes).unwrap();
        let rules =
            BreakerRules { threshold: NonZeroU32::new(threshold), pause: PAUSE, probes, slow_after: PAUSE };
        (Circuit::new(rules), Instant::now())
    }

    /// Opened by `threshold` failures at the returned instant.
    fn opened(threshold: u32, probes: u32) -> (Circuit, Instant) {
        let (mut circuit, now) = circuit(threshold, probes);
        for _ in 0..threshold {
            let epoch = circuit.admit(now).unwrap();
            circuit.fail(epoch, now);
        }
        assert_eq!(circuit.state(), Open);
        (circuit, now)
    }

    #[test]
    fn it_opens_at_the_threshold_and_not_before() {
        let (mut circuit, now) = circuit(5, 1);
        for n_failures in 1..=5 {
            assert_eq!(circuit.state(), Closed, "before failure {n_failures}");
            let epoch = circuit.admit(now).unwrap();
            circuit.fail(epoch, now);
        }
        assert_eq!(circuit.state(), Open);
    }

    #[test]
    fn a_success_starts_the_count_afresh_and_a_withdrawal_does_not_touch_it() {
        let (mut circuit, now) = circuit(2, 1);
        let mut call = |end: fn(&mut Circuit, Epoch, Instant)| {
            let epoch = circuit.admit(now).unwrap();
            end(&mut circuit, epoch, now);
            circuit.state()
        };
        assert_eq!(call(Circuit::fail), Closed);
        assert_eq!(call(|it, epoch, _| it.succeed(epoch)), Closed);
        assert_eq!(call(Circuit::fail), Closed);
        assert_eq!(call(|it, epoch, _| it.withdraw(epoch)), Closed);
        assert_eq!(call(Circuit::fail), Open);
    }

    #[test]
    fn without_a_threshold_it_never_opens() {
        let (mut circuit, now) = circuit(0, 1);
        for _ in 0..10_000 {
            let epoch = circuit.admit(now).unwrap();
            circuit.fail(epoch, now);
        }
        assert_eq!(circuit.state(), Closed);
    }

    #[test]
    fn open_it_turns_everyone_away_and_says_for_how_long() {
        let (mut circuit, at) = opened(5, 1);
        let third = PAUSE / 3;
        let expect = Rejection { open_for: third, next_try: 2 * third };
        assert_eq!(circuit.admit(at + third), Err(Refusal::Open(expect)));
        assert_eq!(circuit.rejection(at + third), Some(expect));
        assert_eq!(expect.to_string(), "the circuit has been open for 20.0s; next try in 40.0s");
        assert!(circuit.admit(at + PAUSE - MOMENT).is_err());
        assert_eq!(circuit.state(), Open);
    }

    #[test]
    fn after_the_pause_as_many_probes_as_allowed_go_through() {
        for probes in 1..5 {
            let (mut circuit, at) = opened(5, probes);
            let admitted = (0..50).filter(|_| circuit.admit(at + PAUSE).is_ok()).count();
            assert_eq!(admitted, probes as usize);
            assert_eq!(circuit.state(), HalfOpen);
            assert_eq!(circuit.admit(at + PAUSE), Err(Refusal::Probed));
            assert_eq!(circuit.rejection(at + PAUSE), None);
        }
    }

    #[test]
    fn a_probe_closes_or_reopens_it_for_another_pause() {
        let (mut circuit, at) = opened(5, 2);
        let failing = circuit.admit(at + PAUSE).unwrap();
        circuit.fail(failing, at + PAUSE);
        assert_eq!(circuit.state(), Open);
        assert!(circuit.admit(at + 2 * PAUSE - MOMENT).is_err());

        let succeeding = circuit.admit(at + 2 * PAUSE).unwrap();
        circuit.succeed(succeeding);
        assert_eq!(circuit.state(), Closed);
        for _ in 0..4 {
            let epoch = circuit.admit(at).unwrap();
            circuit.fail(epoch, at);
        }
        assert_eq!(circuit.state(), Closed, "the count starts afresh");
    }

    #[test]
    fn a_probe_that_is_withdrawn_gives_its_place_to_another() {
        let (mut circuit, at) = opened(5, 1);
        for _ in 0..10 {
            let probe = circuit.admit(at + PAUSE).unwrap();
            assert!(circuit.admit(at + PAUSE).is_err());
            circuit.withdraw(probe);
            assert_eq!(circuit.state(), HalfOpen);
        }
    }

    #[test]
    fn what_was_let_through_before_a_change_moves_nothing_after_it() {
        let (mut circuit, at) = circuit(1, 1);
        let [first, second, third] = [(); 3].map(|()| circuit.admit(at).unwrap());
        circuit.fail(first, at);
        circuit.succeed(second);
        assert_eq!(circuit.state(), Open);
        let probe = circuit.admit(at + PAUSE).unwrap();
        circuit.withdraw(third);
        circuit.fail(third, at + PAUSE);
        circuit.succeed(third);
        assert_eq!(circuit.state(), HalfOpen);
        assert!(circuit.admit(at + PAUSE).is_err(), "the probe still has its place");
        circuit.succeed(probe);
        circuit.fail(probe, at + PAUSE);
        assert_eq!(circuit.state(), Closed);
    }

    #[test]
    fn another_attempt_is_made_in_the_same_epoch_or_once_it_is_closed() {
        let (mut circuit, at) = circuit(1, 1);
        let [first, second] = [(); 2].map(|()| circuit.admit(at).unwrap());
        assert!(circuit.may_go_on(second, at).is_ok());
        circuit.fail(first, at);
        assert!(circuit.may_go_on(second, at).is_err());
        let probe = circuit.admit(at + PAUSE).unwrap();
        assert!(circuit.may_go_on(second, at + PAUSE).is_err());
        assert!(circuit.may_go_on(probe, at + PAUSE).is_ok());
        circuit.succeed(probe);
        assert!(circuit.may_go_on(second, at + PAUSE).is_ok());
    }

    /// Every sequence of events up to a length, against what must hold of any breaker.
    #[test]
    fn no_sequence_of_events_lets_too_many_through_or_locks_anyone_out_for_good() {
        const LENGTH: u32 = 8;
        for sequence in 0..5_usize.pow(LENGTH) {
            let (mut circuit, mut now) = circuit(2, 2);
            let mut calls = VecDeque::new();
            let mut rest = sequence;
            for _ in 0..LENGTH {
                let was = circuit.state();
                match rest % 5 {
                    0 => calls.extend(circuit.admit(now)),
                    1 => now += PAUSE,
                    event => {
                        if let Some(call) = calls.pop_front() {
                            match event {
                                2 => circuit.succeed(call),
                                3 => circuit.fail(call, now),
                                _ => circuit.withdraw(call),
                            }
                        }
                    }
                }
                rest /= 5;
                let current = calls.iter().filter(|call| **call == circuit.epoch).count();
                match (was, circuit.state()) {
                    (_, HalfOpen) => assert!(current <= 2, "sequence {sequence}"),
                    (_, Open) => assert_eq!(current, 0, "sequence {sequence}"),
                    (_, Closed) => {}
                }
                assert!(!matches!((was, circuit.state()), (Closed, HalfOpen) | (Open, Closed)));
            }
            // Once all have ended and the pause is over, a success closes it.
            for call in calls {
                circuit.withdraw(call);
            }
            now += PAUSE;
            let probe = circuit.admit(now).unwrap();
            circuit.succeed(probe);
            assert_eq!(circuit.state(), Closed, "sequence {sequence}");
        }
    }
}
