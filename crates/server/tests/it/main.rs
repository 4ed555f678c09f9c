//! Black-box tests: the real service over its real store, against the sandbox's neighbours, through HTTP.

mod harness;
mod models;
