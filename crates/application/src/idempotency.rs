//! Requests that may be sent twice and must be done once.
//!
//! A caller marks a request with a key of its own, and whoever repeats it is told what became of it. The
//! key holds the id that the operation uses from the first, so that the key and what was recorded under
//! that id are one fact without a transaction around both.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::repository;

/// For how long a key is in nobody else's hands unless it is renewed.
///
/// Long enough for a busy machine to renew it several times, short enough for a client that retries
/// after a crash. Nothing breaks where a lease ends early: two then work under one id, and the store of
/// what they record admits that id once.
pub const LEASE: Duration = Duration::from_secs(5);

/// Where requests that were done once are remembered, and for how long.
pub struct Idempotency {
    pub keys: Box<dyn IdempotencyKeys>,
    pub kept_for: Duration,
}

/// A caller's key, with everything within which it is the caller's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be 1 to 255 visible ASCII characters")]
pub struct InvalidKey;

impl Key {
    pub const MAX_CHARS: usize = 255;

    /// The same text in another scope is another key.
    pub fn new(scope: &str, text: &str) -> Result<Self, InvalidKey> {
        let legal =
            (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        // No blank in the text: where the scope ends is never in doubt.
        if legal { Ok(Self(format!("{scope} {text}"))) } else { Err(InvalidKey) }
    }

    /// Scope and text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By which a request is known to be the same: a digest of all that it asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The id that an operation gives to what it makes. The one a claim proposes also says who holds the
/// key, since no two claims propose the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId(pub [u8; 12]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub fingerprint: Fingerprint,
    pub proposed: OperationId,
    /// From now, by the store's own clock: those of two replicas may differ.
    pub lease: Duration,
    /// After which the key is as if it had never been used; likewise.
    pub kept_for: Duration,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody had the key. It is the claim's now, and the operation uses the proposed id.
    Fresh,
    /// Whoever had the key let its lease end without an answer. It is the claim's now, and the operation
    /// uses this id: something may have been made under it, or still be.
    Resumed(OperationId),
    /// Somebody else has the key.
    InFlight,
    /// The request was answered, and the operation used this id.
    Answered(OperationId, Answer),
    /// The key belongs to another request.
    Reused,
}

/// What a successful request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Those that a repetition needs too, in their order.
    pub headers: Vec<(String, String)>,
    /// Compressed, as whoever answers likes it. `None` where it is too large to be kept twice: it is made
    /// again of what the operation recorded.
    pub body: Option<Vec<u8>>,
}

impl Answer {
    /// A store need not take a larger body.
    pub const MAX_BODY_BYTES: usize = 4 << 20;
}

/// Remembers requests by their keys.
///
/// Each call is one conditional step, and an acknowledged one outlives a crash. A key that was kept long
/// enough is gone, be it removed already or not.
#[async_trait]
pub trait IdempotencyKeys: Send + Sync {
    /// Takes the key if nobody has it, or if whoever had it asked for the same and let its lease end. Of
    /// any number of claims at once, at most one takes it.
    async fn claim(&self, key: &Key, claim: &Claim) -> Result<Claimed, repository::Error>;

    /// Lets the holder's lease begin anew; `false` if the key is not the holder's any more.
    async fn renew(&self, key: &Key, holder: OperationId, lease: Duration)
    -> Result<bool, repository::Error>;

    /// Keeps the answer for whoever repeats the request; `false`, and nothing is kept, if the key is not
    /// the holder's any more.
    async fn answer(
        &self,
        key: &Key,
        holder: OperationId,
        answer: &Answer,
    ) -> Result<bool, repository::Error>;

    /// Forgets a key for whose request nothing was done: it may be used again, for any request.
    ///
    /// Only of a claim that was fresh: whoever held the key before may still be at work.
    async fn release(&self, key: &Key, holder: OperationId) -> Result<(), repository::Error>;

    /// Ends the lease of a holder that cannot tell what was done: the same request may be resumed at once.
    async fn suspend(&self, key: &Key, holder: OperationId) -> Result<(), repository::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_to_255_visible_ascii_characters() {
        for text in ["a", "4f0c-2a", "~!\"#$%&'()*+,./:;<=>?@[\\]^_`{|}", &"x".repeat(255)] {
            assert!(Key::new("POST /a", text).is_ok(), "{text}");
        }
        for text in ["", " ", "a b", "a\t", "a\n", "\u{7f}", "ä", &"x".repeat(256)] {
            assert_eq!(Key::new("POST /a", text), Err(InvalidKey), "{text:?}");
        }
    }

    #[test]
    fn keys_of_two_scopes_differ() {
        assert_ne!(Key::new("POST /a", "k"), Key::new("POST /b", "k"));
        assert_ne!(Key::new("a b", "c"), Key::new("a", "bc"));
    }
}
