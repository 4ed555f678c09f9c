//! What the service tells of its work.

mod audit;
mod collector;
mod deployed;
mod desk;
mod export;
mod failures;
pub(crate) mod figures;
mod outage;
mod secrets;
