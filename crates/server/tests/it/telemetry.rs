//! What the service tells of its work.

mod figures;
