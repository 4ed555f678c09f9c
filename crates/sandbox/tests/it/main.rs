//! The sandbox as its callers see it: over HTTP.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]

mod accounting;
mod client;
mod faults;
mod opening;
mod portfolios;
mod prices;
mod securities;
mod universe;
