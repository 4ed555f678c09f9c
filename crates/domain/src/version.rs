//! The version that guards a stored thing against lost updates.

use std::fmt;

/// Counts the changes users made; starts at 1 and grows by one with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("version must be at least 1")]
pub struct InvalidVersion;

impl Version {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Version {
    type Error = InvalidVersion;

    fn try_from(number: i64) -> Result<Self, InvalidVersion> {
        if number < 1 { Err(InvalidVersion) } else { Ok(Self(number)) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
