//! What the driver's errors mean to a repository.

use application::repository::Error;
use mongodb::error::{ErrorKind, WriteFailure};

const DUPLICATE_KEY: i32 = 11000;

/// Documents are decoded here and not by the driver, so whatever it reports is a store out of order.
pub(crate) fn failed(error: mongodb::error::Error) -> Error {
    Error::Unavailable { source: error.into() }
}

/// As `failed`, but a unique index that refused the write says that `key` is taken.
pub(crate) fn taken(key: &str) -> impl Fn(mongodb::error::Error) -> Error {
    move |error| {
        if is_duplicate(&error) { Error::Duplicate { key: key.to_owned() } } else { failed(error) }
    }
}

/// Each kind of command reports it in a place of its own.
pub(crate) fn is_duplicate(error: &mongodb::error::Error) -> bool {
    let kind = error.kind.as_ref();
    matches!(kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
        || matches!(kind, ErrorKind::Command(error) if error.code == DUPLICATE_KEY)
        || matches!(kind, ErrorKind::InsertMany(error)
            if error.write_errors.iter().flatten().any(|error| error.code == DUPLICATE_KEY))
}
