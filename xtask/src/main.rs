//! Commands for those who work on this repository: `cargo xtask <command>`.

mod bench;
mod deny;
mod dist;
mod docs;
mod fuzz_api;
mod lint_deploy;
mod mongod;
mod pip;
mod test;
mod tidy;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask <command>

  test [-- <arguments>]  all that a change must pass: fmt, clippy, tidy, lint-deploy, doc,
                         test, and a minute of fuzz-api;
                         the arguments go to `cargo test`, whose output is then shown whole
  docs                   writes the documents that are made from the code: the description of the
                         interface and the table of settings
  fuzz-api [--minutes N | --examples N] [--seed N]
                         the running service against the description of its interface, with
                         requests that Schemathesis makes of it; the same seed makes the same ones
  bench optimiser [--class NAME]... [--size N]... [--no-cbc]
                         how long an answer takes, exactly and by CBC, and how many portfolios a second
  bench store            how fast models and rebalances are kept and read, in each store and by
                         its bare driver, and how much memory a large rebalance takes
  bench http [--store sqlite|standalone|replica-set]... [--requests N] [--connections C]
             [--telemetry] [--url BASE --neighbours ACCOUNTING,SECURITY,PRICING,PORTFOLIO]
                         how many rebalances a second over HTTP, and how many a handler that does no
                         more than the calls and the writes; also another server of the same API;
                         or what telemetry costs, with a collector and with a dead one
  bench bulk [--store sqlite|standalone|replica-set]... [--portfolios N] [--positions N]
             [--beside PROGRAM]
                         how many portfolios a second in one large rebalance, where the time goes, and
                         how much memory it takes; also beside another build of the service
  soak [--minutes N] [--clients N] [--seed N] [--store sqlite|standalone|replica-set] [--kill]
                         the service under load while its neighbours fail at random, and with --kill
                         is killed now and then: everything that it says and keeps is checked
  deny [CHECK]...        bans, licenses and sources of the dependencies, or the checks of cargo-deny that
                         are named; builds it once, into the target directory
  dist [--program FILE]  the program as the image has it, tried in a root that holds what the image does
  lint-deploy            the Dockerfile, the workflows, the compose files and the manifests
  mongod install         the MongoDB server of the tests, into the target directory
  mongod start [--replica-set] [--port N]
                         runs it on this machine, on a free port unless one is given; prints its URL
  mongod stop            all that were started
  tidy                   the rules of this repository that no compiler checks
  help                   this text
";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            say(USAGE);
            Ok(ExitCode::SUCCESS)
        }
        ["test"] => test::run(&[]),
        ["test", "--", for_cargo_test @ ..] => test::run(for_cargo_test),
        ["docs"] => docs::run(),
        ["fuzz-api", arguments @ ..] => fuzz_api::run(arguments),
        ["soak", arguments @ ..] => bench::soak(arguments),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["deny", arguments @ ..] => deny::run(arguments),
        ["dist", arguments @ ..] => dist::run(arguments),
        ["lint-deploy"] => lint_deploy::run(),
        ["mongod", "install"] => mongod::install(),
        ["mongod", "start", arguments @ ..] => mongod::start(arguments),
        ["mongod", "stop"] => mongod::stop(),
        ["tidy"] => tidy::run(),
        _ => {
            say(&format!("`{}` is no command\n\n{USAGE}", words.join(" ")));
            Ok(ExitCode::from(2))
        }
    }
}

/// The only way to the terminal, so that what is said keeps its order.
#[expect(clippy::print_stdout, reason = "these commands speak to a person")]
fn say(text: &str) {
    print!("{text}");
    // Whatever is not flushed, the exit code still tells.
    let _ = std::io::stdout().flush();
}

fn root() -> PathBuf {
    // Asked when run: checkouts that share a target directory may share this program too.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(xtask).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Where what is built and installed goes.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// The cargo that runs this program, in the workspace's root.
fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_this_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo describes xtask to xtask; a build script that watches these would run again for it.
fn describes_this_package(variable: &str) -> bool {
    ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}
