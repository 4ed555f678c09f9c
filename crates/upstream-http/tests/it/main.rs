//! The clients against real HTTP, well-behaved and otherwise.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails like a test")]

mod accounting;
mod breaker;
mod bulk;
mod caching;
mod calls;
mod deadline;
mod directory;
mod health;
mod market;
mod neighbourhood;
mod observed;
mod outlaw;
mod retry_after;
