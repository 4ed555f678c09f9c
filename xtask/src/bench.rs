//! Benchmarks, built as what is shipped is built, with the servers that they need.

use std::process::ExitCode;

use anyhow::Result;

use crate::mongod::{self, Kind, Running};
use crate::{cargo, say};

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    match *arguments {
        ["store"] => store(),
        // What needs no servers is told to the benchmark as it is.
        [name, ..] if !name.starts_with('-') => bench(arguments),
        _ => {
            say("usage: cargo xtask bench <name>\n");
            Ok(ExitCode::from(2))
        }
    }
}

fn store() -> Result<ExitCode> {
    let program = mongod::program()?;
    let standalone = Running::start(&program, Kind::Standalone)?;
    let replica_set = Running::start(&program, Kind::ReplicaSet)?;
    bench(&["store", "--standalone", &standalone.url, "--replica-set", &replica_set.url])
}

fn bench(arguments: &[&str]) -> Result<ExitCode> {
    let mut command = cargo(&["run", "--release", "--locked", "--package", "bench", "--"]);
    let status = command.args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
