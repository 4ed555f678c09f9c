//! Documents as they are stored: naming those that cannot be read, and what all of them have.

use application::repository::{Error, Source};
use bson::oid::ObjectId;
use bson::{DateTime, RawDocument};
use domain::Timestamp;
use domain::version::Version;

use crate::fields::{self, Fields, Value};

#[derive(Debug, thiserror::Error)]
#[error("document {id}")]
struct Unreadable {
    id: String,
    source: Source,
}

/// The domain's view of a stored document; if there is none, the document is named.
pub(crate) fn read<'a, T>(
    entity: &'static str,
    raw: &'a RawDocument,
    read: impl FnOnce(&mut Fields<'a>) -> Result<T, Source>,
) -> Result<T, Error> {
    fields::read(raw, read).map_err(|source| {
        let source = Unreadable { id: id(raw), source }.into();
        Error::Corrupt { entity, source }
    })
}

fn id(raw: &RawDocument) -> String {
    match raw.get("_id") {
        Ok(Some(id)) => id.as_object_id().map_or_else(|| format!("{id:?}"), ObjectId::to_hex),
        Ok(None) | Err(_) => "without an id".to_owned(),
    }
}

pub(crate) fn date(instant: Timestamp) -> DateTime {
    DateTime::from_millis(instant.timestamp_millis())
}

/// An id tells to the second when it was drawn.
pub(crate) fn created(at: Option<Timestamp>, id: ObjectId) -> Result<Timestamp, Source> {
    let drawn = || Timestamp::from_timestamp_millis(id.timestamp().timestamp_millis());
    at.or_else(drawn).ok_or_else(|| format!("id {id} tells no instant").into())
}

pub(crate) fn version(value: Value<'_>) -> Result<Version, Source> {
    Ok(value.whole()?.try_into()?)
}
