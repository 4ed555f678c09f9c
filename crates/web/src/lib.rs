//! The HTTP face of the services: the only crate that serves HTTP.
//!
//! Bodies are read and written here; what they mean is decided below.

#![forbid(unsafe_code)]

mod body;
mod caller;
mod health;
mod idempotency;
mod openapi;
pub mod order_generation;
mod paging;
mod parameters;
mod passage;
mod problem;
mod routing;
mod scalar;
mod server;
mod streamed;
mod telemetry;

pub use openapi::description;
pub use server::{Settings, serve};
pub use telemetry::{ABANDONED, Exchange, OTHER_METHOD, Telemetry, UNMATCHED};
