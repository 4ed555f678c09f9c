//! What the service tells of its work.

mod audit;
mod collector;
mod deployed;
mod desk;
mod export;
pub(crate) mod figures;
mod outage;
mod secrets;
