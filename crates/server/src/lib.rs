//! The composition root: configuration, wiring, and the commands of the `globeco` binary.

mod api_key_command;
mod cli;
mod clock;
mod compose;
pub mod config;
mod config_command;
mod demo;
mod health_command;
mod optimizer;
mod sandbox_command;
pub mod service;
mod store;
mod telemetry;

pub use cli::run;
