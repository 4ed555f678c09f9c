//! A worker for the tests of this crate; the service starts its own binary as one.

use std::process::ExitCode;

fn main() -> ExitCode {
    match optimizer_cbc::worker::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
