//! What the service tells of its work.

mod deployed;
mod figures;
