//! New identifiers: the second, five random bytes of this process, and a counter, twelve bytes in all.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::Timestamp;

/// Never returned twice by one process, nor, but for a random chance of one in 2^40, by two.
pub fn fresh(now: Timestamp) -> [u8; 12] {
    static PROCESS: LazyLock<[u8; 8]> =
        LazyLock::new(|| getrandom::u64().expect("the system has a source of randomness").to_be_bytes());
    static COUNTER: LazyLock<AtomicU32> = LazyLock::new(|| {
        let [.., a, b, c] = *PROCESS;
        AtomicU32::new(u32::from_be_bytes([0, a, b, c]))
    });

    let seconds = u32::try_from(now.timestamp()).unwrap_or(u32::MAX).to_be_bytes();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut id = [0; 12];
    id[..4].copy_from_slice(&seconds);
    id[4..9].copy_from_slice(&PROCESS[..5]);
    id[9..].copy_from_slice(&count[1..]);
    id
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_the_same_instant_differ() {
        let now = Timestamp::from_timestamp_millis(1_700_000_000_000).unwrap();
        let ids: HashSet<[u8; 12]> = (0..1000).map(|_| fresh(now)).collect();
        assert_eq!(ids.len(), 1000);
    }
}
