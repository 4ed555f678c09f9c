//! Black-box tests: the real service over its real store, against the sandbox's neighbours, through HTTP.

#![expect(clippy::unwrap_used, reason = "Clippy sees no test in the helpers of one")]

mod commands;
mod concurrency;
mod configuration;
mod crash;
mod documents;
mod dry_run;
mod faults;
mod harness;
mod health;
mod health_command;
mod idempotency;
mod interface;
mod mathematics;
mod models;
mod mongod;
mod mongodb;
mod neighbours;
mod problems;
mod process;
mod protection;
mod rebalance;
mod rebalances;
mod runs;
mod telemetry;
mod trading_rules;
