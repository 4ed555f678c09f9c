//! The use cases of the GlobeCo investment services, and the ports they run on.
//!
//! Ports are traits over domain types; adapters implement them, `server` chooses which.

#![forbid(unsafe_code)]

pub mod caller;
pub mod chain;
pub mod clock;
pub mod correlation;
pub mod deadline;
pub mod health;
pub mod idempotency;
pub mod identity;
pub mod order_generation;
pub mod repository;
pub mod trace;
pub mod upstream;
