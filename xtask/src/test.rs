//! All that a change must pass, the quickest to fail first.

use std::fmt::Display;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::mongod::{self, Kind, Running};
use crate::{cargo, fuzz_api, lint_deploy, say, tidy};

pub(crate) fn run(for_cargo_test: &[&str]) -> Result<ExitCode> {
    let started = Instant::now();
    for (name, step) in steps(for_cargo_test) {
        say(&format!("── {name}\n"));
        let begun = Instant::now();
        let exit_code = step.run()?;
        let seconds = begun.elapsed().as_secs_f64();
        if exit_code != 0 {
            say(&format!("── {name} failed after {seconds:.1} s\n"));
            return Ok(ExitCode::from(exit_code));
        }
        say(&format!("── {name} passed in {seconds:.1} s\n"));
    }
    say(&format!("── everything passed in {:.1} s\n", started.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

enum Step {
    Cargo(Command),
    Tidy,
    LintDeploy,
    /// `cargo test`, with the servers that the tests ask for.
    Test(Command),
    FuzzApi,
}

fn steps(for_cargo_test: &[&str]) -> Vec<(&'static str, Step)> {
    let fmt = cargo(&["fmt", "--all", "--check"]);
    let clippy = cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    let mut test = cargo(&["test", "--workspace", "--locked"]);
    if for_cargo_test.is_empty() {
        test.arg("--quiet");
    } else {
        test.args(for_cargo_test);
    }
    let mut steps = vec![
        ("fmt", Step::Cargo(fmt)),
        ("clippy", Step::Cargo(clippy)),
        ("tidy", Step::Tidy),
        ("lint-deploy", Step::LintDeploy),
        ("doc", Step::Cargo(doc)),
        ("test", Step::Test(test)),
    ];
    // Whoever asks for some tests is not waiting for this one.
    if for_cargo_test.is_empty() {
        steps.push(("fuzz-api", Step::FuzzApi));
    }
    steps
}

impl Step {
    /// The exit code.
    fn run(self) -> Result<u8> {
        match self {
            Self::Cargo(command) => exit_code(command),
            Self::Tidy => Ok(told(&tidy::faults(&crate::root())?)),
            Self::LintDeploy => Ok(told(&lint_deploy::faults()?)),
            Self::Test(mut command) => {
                let _servers = servers(&mut command)?;
                exit_code(command)
            }
            Self::FuzzApi => Ok(u8::from(fuzz_api::briefly()? == Some(false))),
        }
    }
}

/// The exit code of a step that found these.
fn told(faults: &[impl Display]) -> u8 {
    for fault in faults {
        say(&format!("{fault}\n"));
    }
    u8::from(!faults.is_empty())
}

fn exit_code(mut command: Command) -> Result<u8> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    // A signal leaves no code, and Windows has codes that do not fit.
    Ok(status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1)))
}

/// The variables that name a MongoDB of each kind to the tests.
const STANDALONE_URL: &str = "TEST_MONGODB_STANDALONE_URL";
const REPLICA_URL: &str = "TEST_MONGODB_REPLICA_URL";

/// Names the stores' servers to the tests: the one of `TEST_MONGODB_URL`, or else our own, which run
/// until they are dropped.
fn servers(command: &mut Command) -> Result<Vec<Running>> {
    if let Some(url) = std::env::var_os("TEST_MONGODB_URL") {
        command.env(STANDALONE_URL, &url).env(REPLICA_URL, &url);
        return Ok(Vec::new());
    }
    let started = mongod::program().and_then(|program| {
        let standalone = Running::start(&program, Kind::Standalone)?;
        let replica_set = Running::start(&program, Kind::ReplicaSet)?;
        Ok((program, standalone, replica_set))
    });
    match started {
        Ok((program, standalone, replica_set)) => {
            command.env(STANDALONE_URL, &standalone.url).env(REPLICA_URL, &replica_set.url);
            command.env("TEST_MONGOD", program);
            Ok(vec![standalone, replica_set])
        }
        Err(error) if std::env::var_os("CI").is_some() => {
            Err(error.context("there is no MongoDB to test with"))
        }
        Err(error) => {
            say(&format!("── the tests on MongoDB are left out: {error:#}\n"));
            Ok(Vec::new())
        }
    }
}
