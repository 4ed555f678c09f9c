//! How long to wait before another attempt.

use std::time::Duration;

const LONGEST: Duration = Duration::from_mins(1);

/// Doubles with every attempt that failed, up to a minute; drawn at random from its upper half, so that
/// those who failed together do not come back together.
pub(crate) fn after(attempt: u32, first: Duration) -> Duration {
    let doubled = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
    let longest = first.saturating_mul(doubled).min(LONGEST);
    let half = longest / 2;
    half + half.saturating_mul(random()) / u32::MAX
}

fn random() -> u32 {
    getrandom::u32().expect("the system has a source of randomness")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_from_the_upper_half_of_twice_the_last() {
        let first = Duration::from_millis(200);
        for (attempt, longest) in [(1, 200), (2, 400), (3, 800), (9, 51_200), (10, 60_000), (99, 60_000)] {
            let longest = Duration::from_millis(longest);
            for _ in 0..100 {
                let pause = after(attempt, first);
                assert!((longest / 2..=longest).contains(&pause), "{pause:?} after attempt {attempt}");
            }
        }
    }

    #[test]
    fn pauses_differ() {
        let first = Duration::from_secs(10);
        assert!((0..100).any(|_| after(1, first) != after(1, first)));
    }

    #[test]
    fn without_a_first_pause_there_is_none() {
        assert_eq!(after(3, Duration::ZERO), Duration::ZERO);
    }
}
