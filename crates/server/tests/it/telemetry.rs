//! What the service tells of its work.

mod collector;
mod desk;
mod export;
mod figures;
