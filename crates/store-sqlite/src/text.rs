//! Values kept as they are written.

use std::fmt::Display;
use std::str::FromStr;

use application::repository::Source;
use domain::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de};

/// For `#[serde(with)]` on an identifier.
pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// For `#[serde(with)]` on an identifier.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

pub(crate) fn instant(millis: i64) -> Result<Timestamp, Source> {
    Timestamp::from_timestamp_millis(millis)
        .ok_or_else(|| format!("no instant is {millis} ms from 1970").into())
}

/// For `#[serde(with)]` on a decimal. Trailing zeros are kept, and nothing is rounded.
pub(crate) mod exact {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, de};

    pub(crate) use super::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = String::deserialize(deserializer)?;
        Decimal::from_str_exact(&text).map_err(de::Error::custom)
    }
}
