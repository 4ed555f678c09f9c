//! Randomness that depends on the seed and a purpose alone.

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// An independent generator for each purpose, so that one consumer never shifts another.
pub(crate) fn rng(seed: u64, purpose: &str) -> StdRng {
    // FNV-1a rather than std's hasher, whose values may change between releases.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in seed.to_le_bytes().into_iter().chain(purpose.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    StdRng::seed_from_u64(hash)
}

/// 24 lower-case hex digits, the form of every identifier in the suite.
pub(crate) fn object_id(rng: &mut StdRng) -> String {
    format!("{:016x}{:08x}", rng.random::<u64>(), rng.random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_depends_on_seed_and_purpose() {
        let id = |seed, purpose| object_id(&mut rng(seed, purpose));

        assert_eq!(id(7, "security AAPL"), id(7, "security AAPL"));
        assert_ne!(id(7, "security AAPL"), id(8, "security AAPL"));
        assert_ne!(id(7, "security AAPL"), id(7, "security MSFT"));
        assert_eq!(id(7, "security AAPL").len(), 24);
    }
}
