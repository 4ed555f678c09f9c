//! What can go wrong with a neighbour.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The faults of one service; the default is health.
///
/// Over HTTP: `{"latencyMs":50,"failures":{"rate":0.3,"kind":{"status":{"code":503}}}}`, where
/// `kind` may also be `"outage"`, `"lostAnswer"`, `"brokenOff"`, `{"malformed":"truncated"}` or
/// `{"malformed":{"numbers":"NaN"}}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Faults {
    /// Every answer, good or bad, waits this long.
    #[serde(rename = "latencyMs", with = "millis", default)]
    pub latency: Duration,
    pub failures: Option<Failures>,
}

impl Faults {
    pub fn latency(latency: Duration) -> Self {
        Self { latency, failures: None }
    }

    /// Every call fails.
    pub fn always(kind: Failure) -> Self {
        Self::sometimes(1.0, kind)
    }

    /// The given share of the calls fails, each by its own draw.
    pub fn sometimes(rate: f64, kind: Failure) -> Self {
        Self { latency: Duration::ZERO, failures: Some(Failures { rate, kind }) }
    }

    pub fn outage() -> Self {
        Self::always(Failure::Outage)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// From 0, never, to 1, always.
    #[serde(default = "always")]
    pub rate: f64,
    pub kind: Failure,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Failure {
    /// An error answer in the service's own form.
    Status { code: u16, retry_after_seconds: Option<u64> },
    /// The connection closes without an answer, and nothing is done.
    Outage,
    /// The request is carried out, then the connection closes without an answer.
    LostAnswer,
    /// The request is carried out, and the connection closes in the middle of the answer.
    BrokenOff,
    /// The request is carried out, and its answer cannot be understood.
    Malformed(Malformed),
}

impl Failure {
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after_seconds: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Malformed {
    /// The first half of the body, with a length to match.
    Truncated,
    /// Bytes that are no text, under the name of JSON.
    Garbage,
    /// The right keys with an array in place of every value.
    WrongTypes,
    /// This in place of every number, and of every string that holds one; of a number a string if it is
    /// none.
    Numbers(String),
    /// An HTML page, as a proxy in between would answer.
    WrongContentType,
}

fn always() -> f64 {
    1.0
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(latency: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
