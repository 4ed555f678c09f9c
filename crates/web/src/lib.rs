//! The HTTP face of the services: the only crate that serves HTTP.
//!
//! Bodies are read and written here; what they mean is decided below.

#![forbid(unsafe_code)]

mod api_keys;
mod body;
mod caller;
mod cors;
mod gate;
mod health;
mod idempotency;
mod leaving;
mod openapi;
pub mod order_generation;
mod paging;
mod parameters;
mod passage;
mod problem;
mod protection;
mod rate_limit;
mod routing;
mod scalar;
mod server;
mod streamed;
mod telemetry;

pub use api_keys::{ApiKeys, NoApiKey};
pub use cors::{AnyOf, Cors, HeaderNames, Methods};
pub use openapi::description;
pub use protection::{Frames, Guarded, Protection, SecurityHeaders};
pub use rate_limit::Rate;
pub use server::{Settings, serve};
pub use telemetry::{ABANDONED, Exchange, OTHER_METHOD, Telemetry, UNMATCHED};
