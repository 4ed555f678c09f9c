//! Documents as they are stored: reading them, and naming those that cannot be read.

use std::fmt::Display;
use std::str::FromStr;

use application::repository::{Error, Source};
use bson::oid::ObjectId;
use bson::{Bson, DateTime, RawDocument, RawDocumentBuf};
use domain::Timestamp;
use domain::version::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Debug, thiserror::Error)]
#[error("document {id}")]
struct Unreadable {
    id: String,
    source: Source,
}

/// The domain's view of a stored document, which must be of the shape `D`; else it is named.
pub(crate) fn read<'a, D, T>(entity: &'static str, raw: &'a RawDocument) -> Result<T, Error>
where
    D: Deserialize<'a>,
    T: TryFrom<D, Error = Source>,
{
    let decoded = bson::deserialize_from_slice::<D>(raw.as_bytes());
    decoded.map_err(Source::from).and_then(T::try_from).map_err(|source| corrupt(entity, raw, source))
}

fn corrupt(entity: &'static str, raw: &RawDocument, source: Source) -> Error {
    let id = match raw.get("_id") {
        Ok(Some(id)) => id.as_object_id().map_or_else(|| format!("{id:?}"), ObjectId::to_hex),
        Ok(None) | Err(_) => "without an id".to_owned(),
    };
    Error::Corrupt { entity, source: Unreadable { id, source }.into() }
}

pub(crate) fn written(document: &impl Serialize) -> RawDocumentBuf {
    bson::serialize_to_raw_document_buf(document).expect("documents are structs of plain values")
}

pub(crate) fn date(instant: Timestamp) -> DateTime {
    DateTime::from_millis(instant.timestamp_millis())
}

pub(crate) fn instant(date: DateTime) -> Result<Timestamp, Source> {
    let millis = date.timestamp_millis();
    Timestamp::from_timestamp_millis(millis)
        .ok_or_else(|| format!("no instant is {millis} ms from 1970").into())
}

/// An id tells to the second when it was drawn.
pub(crate) fn created(at: Option<DateTime>, id: ObjectId) -> Result<Timestamp, Source> {
    instant(at.unwrap_or_else(|| id.timestamp()))
}

pub(crate) fn version(number: Whole) -> Result<Version, Source> {
    Ok(number.0.try_into()?)
}

/// A whole number, whichever of its types some program chose for it.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub(crate) i64);

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Whole numbers up to here are exact as doubles.
        const EXACT: f64 = 9_007_199_254_740_992.0;

        let number = Bson::deserialize(deserializer)?;
        let whole = number.as_i64().or_else(|| number.as_i32().map(i64::from));
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT);
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
        let whole = whole.or_else(|| float.map(|float| float as i64));
        whole.map(Self).ok_or_else(|| de::Error::custom(format!("{number} is no whole number")))
    }
}

/// For `#[serde(with)]` on an identifier that is kept as text.
pub(crate) mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
