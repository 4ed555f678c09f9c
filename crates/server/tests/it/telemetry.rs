//! What the service tells of its work.

mod collector;
mod deployed;
mod desk;
mod export;
mod figures;
