//! What the service tells of its work.

mod audit;
mod collector;
mod deployed;
mod desk;
mod export;
mod figures;
mod outage;
mod secrets;
