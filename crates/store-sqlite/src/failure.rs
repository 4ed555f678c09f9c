//! What SQLite's errors mean to a repository.

use application::repository::{Error, Source};
use domain::version::Version;
use sqlx::SqliteConnection;
use sqlx::error::DatabaseError;

/// A row that is not of the shape its table promises is corrupt; all else is a store out of order.
pub(crate) fn failed(entity: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        let source = Source::from(error);
        match source.downcast_ref() {
            Some(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
                Error::Corrupt { entity, source }
            }
            Some(sqlx::Error::Database(error)) if is_damage(error.as_ref()) => {
                Error::Corrupt { entity, source }
            }
            Some(_) | None => Error::Unavailable { source },
        }
    }
}

pub(crate) fn corrupt(entity: &'static str) -> impl Fn(Source) -> Error {
    move |source| Error::Corrupt { entity, source }
}

/// As `failed`, but a broken `UNIQUE` constraint says that `key` is taken.
pub(crate) fn taken(entity: &'static str, key: &str) -> impl Fn(sqlx::Error) -> Error {
    move |error| match error.as_database_error() {
        Some(violation) if violation.is_unique_violation() => Error::Duplicate { key: key.to_owned() },
        Some(_) | None => failed(entity)(error),
    }
}

/// Why no row has that id at the version `expected`, as the transaction that looked for it sees it.
pub(crate) async fn unmatched(
    transaction: &mut SqliteConnection,
    entity: &'static str,
    version_by_id: &'static str,
    id: String,
    expected: Version,
) -> Error {
    let found = sqlx::query_scalar::<_, i64>(version_by_id).bind(id).fetch_optional(transaction).await;
    match found.map(|version| version.map(Version::try_from)) {
        Ok(None) => Error::Missing,
        Ok(Some(Ok(found))) => Error::Conflict { expected, found },
        Ok(Some(Err(invalid))) => corrupt(entity)(invalid.into()),
        Err(error) => failed(entity)(error),
    }
}

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`, whatever their extension.
fn is_damage(error: &dyn DatabaseError) -> bool {
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    matches!(code.map(|code| code & 0xff), Some(11 | 26))
}
