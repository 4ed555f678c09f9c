//! The rules of the GlobeCo investment services: values, aggregates and pure algorithms.
//!
//! Nothing here performs I/O, reads a clock, draws a random number or touches a binary float.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::float_cmp)]

pub mod decimal;
pub mod identifier;
pub mod order_generation;
pub mod rounding;
pub mod version;

/// An instant in UTC, to the millisecond.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// A civil date in UTC.
pub type Date = chrono::NaiveDate;
