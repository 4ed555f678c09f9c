//! How often each caller may ask.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use application::caller::{Caller, KeyName};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// So many callers are counted at the same time. While they are, all addresses are counted as one, those
/// that were counted before too.
const MOST_ADDRESSES: usize = 100_000;

/// After so many requests, callers who have their whole burst again are forgotten.
const SWEEP_EVERY: usize = 10_000;

/// What one caller may ask for, on average and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

/// Counts the requests of every caller.
pub(crate) struct RateLimit<C: Clock = DefaultClock> {
    callers: RateLimiter<Counted, DashMapStateStore<Counted>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    most_addresses: usize,
    checks: AtomicUsize,
}

/// By whom a request is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    ApiKey(KeyName),
    Address(IpAddr),
    /// Every address, while too many callers are counted.
    Crowd,
}

impl RateLimit {
    pub(crate) fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default(), MOST_ADDRESSES)
    }
}

impl<C: Clock + Clone> RateLimit<C> {
    fn with_clock(rate: Rate, clock: C, most_addresses: usize) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            callers: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            clock,
            most_addresses,
            checks: AtomicUsize::new(0),
        }
    }

    /// Counts a request; the error is how long the caller should wait.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.callers.retain_recent();
            self.callers.shrink_to_fit();
        }
        let counted = match caller {
            Caller::ApiKey(name) => Counted::ApiKey(name.clone()),
            Caller::Address(_) if self.most_addresses <= self.callers.len() => Counted::Crowd,
            Caller::Address(address) => Counted::Address(subscriber(*address)),
        };
        self.callers.check_key(&counted).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit(per_second: u32, burst: u32) -> (RateLimit<FakeRelativeClock>, FakeRelativeClock) {
        limit_of(4, per_second, burst)
    }

    fn limit_of(
        most_addresses: usize,
        per_second: u32,
        burst: u32,
    ) -> (RateLimit<FakeRelativeClock>, FakeRelativeClock) {
        let rate = Rate { per_second: per_second.try_into().unwrap(), burst: burst.try_into().unwrap() };
        let clock = FakeRelativeClock::default();
        (RateLimit::with_clock(rate, clock.clone(), most_addresses), clock)
    }

    fn address(last: u8) -> Caller {
        Caller::Address([192, 0, 2, last].into())
    }

    #[test]
    fn a_caller_may_use_the_burst_at_once_and_then_the_rate() {
        let (limit, clock) = limit(2, 3);

        assert!((0..3).all(|_| limit.check(&address(1)).is_ok()));
        assert_eq!(limit.check(&address(1)), Err(Duration::from_millis(500)));
        clock.advance(Duration::from_millis(499));
        assert_eq!(limit.check(&address(1)), Err(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(limit.check(&address(1)), Ok(()));
    }

    #[test]
    fn callers_are_counted_apart_but_not_those_of_one_ipv6_network() {
        let (limit, _) = limit_of(5, 1, 1);
        let named = Caller::ApiKey("portal".parse().unwrap());
        let six = |text: &str| Caller::Address(text.parse().unwrap());

        for caller in [address(1), address(2), named.clone(), six("2001:db8:0:1::1")] {
            assert_eq!(limit.check(&caller), Ok(()), "{caller}");
        }
        for caller in [address(1), address(2), named, six("2001:db8:0:1:ffff::2")] {
            assert!(limit.check(&caller).is_err(), "{caller}");
        }
    }

    #[test]
    fn when_too_many_are_counted_newcomers_are_counted_as_one_and_named_callers_for_themselves() {
        let (limit, _) = limit(1, 2);
        for last in 0..4 {
            assert_eq!(limit.check(&address(last)), Ok(()));
        }

        let others: Vec<bool> = (10..20).map(|last| limit.check(&address(last)).is_ok()).collect();

        assert_eq!(others.iter().filter(|passed| **passed).count(), 2);
        assert!(limit.check(&address(0)).is_err());
        assert_eq!(limit.check(&Caller::ApiKey("portal".parse().unwrap())), Ok(()));
        assert_eq!(limit.callers.len(), 6);
    }

    #[test]
    fn whoever_has_the_whole_burst_again_is_forgotten() {
        let (limit, clock) = limit(1, 1);
        for last in 0..4 {
            assert_eq!(limit.check(&address(last)), Ok(()));
        }
        clock.advance(Duration::from_secs(10));
        for _ in 0..SWEEP_EVERY {
            let _ = limit.check(&Caller::ApiKey("portal".parse().unwrap()));
        }

        assert_eq!(limit.callers.len(), 1);
        assert_eq!(limit.check(&address(9)), Ok(()));
    }
}
