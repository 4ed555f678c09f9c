//! Benchmarks that answer a question each; `cargo xtask bench <name>` runs them with what they need. And the
//! soak, `cargo xtask soak`.
//!
//! Each is a module and a line of `main`.

#![forbid(unsafe_code)]

mod bulk;
mod http;
mod neighbours;
mod optimiser;
mod prices;
mod process;
mod service;
mod soak;
mod store;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

/// By this word the program becomes a worker of the optimiser that it measures.
const OPTIMIZER_WORKER: &str = "optimizer-worker";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bulk", arguments @ ..] => bulk::run(arguments),
        ["http", arguments @ ..] => http::run(arguments),
        [http::FLOOR, settings] => http::floor(settings),
        [http::COLLECTOR, port] => http::collector(port),
        ["optimiser", arguments @ ..] => optimiser::run(arguments),
        ["soak", arguments @ ..] => soak::run(arguments),
        ["prices"] => prices::run().map(|()| ExitCode::SUCCESS),
        ["store", arguments @ ..] => store::run(arguments),
        [OPTIMIZER_WORKER] => {
            optimizer_cbc::worker::serve()?;
            Ok(ExitCode::SUCCESS)
        }
        [other, ..] => {
            say(&format!("`{other}` is no benchmark\n"));
            Ok(ExitCode::from(2))
        }
        [] => {
            say("run one by `cargo xtask bench <name>`\n");
            Ok(ExitCode::from(2))
        }
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark speaks to a person")]
fn say(text: &str) {
    print!("{text}");
    // Whatever is not flushed, the exit code still tells.
    let _ = std::io::stdout().flush();
}
