//! A call: one attempt after another, until there is an answer, no more attempts, or no more time.

use std::time::Duration;

use application::chain::Chain;
use application::deadline;
use reqwest::Url;
use tokio::select;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use crate::attempt::{Allowance, Answer, Failure};
use crate::backoff;
use crate::breaker::{Admission, Rejection};
use crate::neighbour::Neighbour;

/// A longer pause than this is not made, whatever the service asks for.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

pub(crate) struct Call<'a> {
    pub(crate) neighbour: &'a Neighbour,
    /// The route that `url` follows.
    pub(crate) endpoint: &'static str,
    pub(crate) url: Url,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("after {attempts} attempt{}", if *attempts == 1 { "" } else { "s" })]
    Exhausted { attempts: u32, source: Failure },
    #[error("it asks for a pause of {pause:.1?}, longer than is waited for")]
    LongPause { pause: Duration, source: Failure },
    #[error("the deadline of the request ended attempt {attempt} after {took:.1?}")]
    CutShort { attempt: u32, took: Duration, source: Failure },
    #[error("the deadline of the request, in {left:.1?}, leaves no time to try again after {pause:.1?}")]
    NoTimeLeft { pause: Duration, left: Duration, source: Failure },
    #[error("the deadline of the request passed before its turn")]
    NoTurn,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl NoAnswer {
    /// When it is worth another try, where that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Exhausted { source, .. }
            | Self::LongPause { source, .. }
            | Self::CutShort { source, .. }
            | Self::NoTimeLeft { source, .. } => source.retry_after(),
            Self::Rejected(rejection) => Some(rejection.next_try),
            Self::NoTurn => None,
        }
    }

    /// Whether it speaks against the service. That our deadline left no time for another attempt does
    /// not, unless the service itself asked for longer than there was.
    fn is_a_failure(&self) -> bool {
        match self {
            Self::Exhausted { source, .. } | Self::LongPause { source, .. } => source.is_the_services_own(),
            Self::NoTimeLeft { source, .. } => source.retry_after().is_some() && source.is_the_services_own(),
            Self::CutShort { .. } | Self::NoTurn | Self::Rejected(_) => false,
        }
    }

    /// Whether who has more time may have better luck.
    pub(crate) fn is_of_time(&self) -> bool {
        match self {
            Self::CutShort { .. } | Self::NoTimeLeft { .. } | Self::NoTurn => true,
            Self::Exhausted { .. } | Self::LongPause { .. } | Self::Rejected(_) => false,
        }
    }
}

impl Call<'_> {
    /// The answer, whose sense the breaker has still to be told.
    pub(crate) async fn answer(&self) -> Result<(Answer, Admission<'_>), NoAnswer> {
        // Who would be turned away need not wait for a turn.
        if let Some(rejection) = self.neighbour.breaker.rejection() {
            return Err(rejection.into());
        }
        // Kept through the pauses: who is in trouble is not asked by others meanwhile.
        let _turn = self.turn().await?;
        let mut admission = select! {
            biased;
            admission = self.neighbour.breaker.admit() => admission?,
            () = deadline::passed() => return Err(NoAnswer::NoTurn),
        };
        let mut last_failure = None;
        for attempt in 1.. {
            let allowance = self.allowance()?;
            let started = Instant::now();
            admission.attempt_begins();
            let failure = match self.attempt(attempt, allowance).await {
                Ok(answer) => {
                    if let Some(failure) = last_failure {
                        self.tell_of_repetition(attempt, &failure);
                    }
                    return Ok((answer, admission));
                }
                Err(source) if allowance.is_cut && source.is_timeout() => {
                    return Err(NoAnswer::CutShort { attempt, took: started.elapsed(), source });
                }
                Err(failure) => failure,
            };
            admission.attempt_ends();
            last_failure = match self.pause(attempt, failure).await {
                Ok(failure) => Some(failure),
                Err(reason) => {
                    if reason.is_a_failure() {
                        admission.failed();
                    }
                    return Err(reason);
                }
            };
            admission.may_go_on()?;
        }
        unreachable!("the last attempt has no pause after it")
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, NoAnswer> {
        select! {
            biased;
            turn = self.neighbour.turns.acquire() => Ok(turn.expect("nobody closes the semaphore")),
            () = deadline::passed() => Err(NoAnswer::NoTurn),
            rejection = self.neighbour.breaker.rejects() => Err(rejection.into()),
        }
    }

    /// No attempt begins without time.
    fn allowance(&self) -> Result<Allowance, NoAnswer> {
        let timeout = self.neighbour.calls.timeout;
        match deadline::remaining() {
            Some(Duration::ZERO) => Err(NoAnswer::NoTurn),
            Some(left) if left < timeout => Ok(Allowance { timeout: left, is_cut: true }),
            Some(_) | None => Ok(Allowance { timeout, is_cut: false }),
        }
    }

    /// Whoever asked learns nothing of it; of a call that fails in the end, they learn it all.
    fn tell_of_repetition(&self, attempts: u32, last_failure: &Failure) {
        tracing::warn!(
            neighbour = self.neighbour.service,
            called = self.url.path(),
            attempts,
            error = %Chain(last_failure),
            "a neighbour answered only when asked again"
        );
    }

    /// Waits until it is time for another attempt, if there is to be one; the failure is given back then.
    async fn pause(&self, attempt: u32, source: Failure) -> Result<Failure, NoAnswer> {
        let calls = &self.neighbour.calls;
        if attempt == calls.attempts.get() {
            return Err(NoAnswer::Exhausted { attempts: attempt, source });
        }
        let asked_for = source.retry_after().unwrap_or_default();
        let pause = asked_for.saturating_add(backoff::after(attempt, calls.first_backoff));
        if LONGEST_PAUSE < asked_for {
            return Err(NoAnswer::LongPause { pause: asked_for, source });
        }
        if let Some(left) = deadline::remaining().filter(|left| *left <= pause) {
            return Err(NoAnswer::NoTimeLeft { pause, left, source });
        }
        tracing::debug!(
            neighbour = self.neighbour.service,
            called = self.url.path(),
            attempt,
            error = %Chain(&source),
            pause_ms = pause.as_millis(),
            "trying again"
        );
        select! {
            () = sleep(pause) => Ok(source),
            rejection = self.neighbour.breaker.rejects() => Err(rejection.into()),
        }
    }
}
