//! Who calls: what limits are counted by, and what an audit names.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Whoever sent a request, as far as the service knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The holder of an API key, by the key's name.
    ApiKey(KeyName),
    /// Somebody who showed no key that is known.
    Address(IpAddr),
}

/// `api-key:portal` or `address:192.0.2.7`: one word, which no other caller shares.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKey(name) => write!(f, "api-key:{name}"),
            Self::Address(address) => write!(f, "address:{address}"),
        }
    }
}

/// What an API key is called: 1 to 64 letters, digits, hyphens, dots and underscores. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName(Arc<str>);

impl KeyName {
    pub const MAX_CHARS: usize = 64;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's name has 1 to {} letters, digits, hyphens, dots and underscores", KeyName::MAX_CHARS)]
pub struct NoKeyName;

impl FromStr for KeyName {
    type Err = NoKeyName;

    fn from_str(text: &str) -> Result<Self, NoKeyName> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let legal = (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(is_legal);
        if legal { Ok(Self(text.into())) } else { Err(NoKeyName) }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

tokio::task_local! {
    static CURRENT: Caller;
}

/// Runs `work` on behalf of a caller, whom [`current`] then finds.
pub async fn scope<F: Future>(caller: Caller, work: F) -> F::Output {
    CURRENT.scope(caller, work).await
}

/// On whose behalf this task works, if it works for a request.
pub fn current() -> Option<Caller> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_word_that_can_stand_in_a_log() {
        for name in ["portal", "load-generator.2", "A_b", &"x".repeat(64)] {
            assert_eq!(name.parse::<KeyName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        for text in ["", "two words", "a:b", "a,b", "a=b", "café", "line\nbreak", &"x".repeat(65)] {
            assert_eq!(text.parse::<KeyName>(), Err(NoKeyName), "{text:?}");
        }
    }

    #[test]
    fn no_two_callers_are_written_alike() {
        let key = Caller::ApiKey("192.0.2.7".parse().unwrap());
        let address = Caller::Address([192, 0, 2, 7].into());

        assert_eq!(
            (key.to_string(), address.to_string()),
            ("api-key:192.0.2.7".into(), "address:192.0.2.7".into())
        );
    }
}
