//! Benchmarks, built as what is shipped is built, with the servers that they need.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::mongod::{self, Kind, Running};
use crate::{cargo, say};

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    match *arguments {
        ["store"] => store(),
        [name @ ("http" | "bulk"), ref arguments @ ..] => on_stores(name, arguments),
        // What needs no servers is told to the benchmark as it is.
        [name, ..] if !name.starts_with('-') => bench(arguments),
        _ => {
            say("usage: cargo xtask bench <name>\n");
            Ok(ExitCode::from(2))
        }
    }
}

/// With faults all the while: it measures no speed, and checks everything else.
pub(crate) fn soak(arguments: &[&str]) -> Result<ExitCode> {
    let has_store = arguments.contains(&"--store");
    let embedded = if has_store { &[][..] } else { &["--store", "sqlite"] };
    on_stores("soak", &[embedded, arguments].concat())
}

fn store() -> Result<ExitCode> {
    let program = mongod::program()?;
    let standalone = Running::start(&program, Kind::Standalone)?;
    let replica_set = Running::start(&program, Kind::ReplicaSet)?;
    bench(&["store", "--standalone", &standalone.url, "--replica-set", &replica_set.url])
}

/// Starts a server for each store that needs one, and names it to the benchmark.
fn on_stores(name: &str, arguments: &[&str]) -> Result<ExitCode> {
    let (mut stores, mut others) = (Vec::new(), Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--store" => stores.push(*words.next().context("--store wants a name")?),
            other => others.push(other.to_owned()),
        }
    }
    if stores.is_empty() {
        stores = vec!["sqlite", "standalone", "replica-set"];
    }
    let mut servers = Vec::new();
    for store in stores {
        others.push(format!("--{store}"));
        let kind = match store {
            "sqlite" => continue,
            "standalone" => Kind::Standalone,
            "replica-set" => Kind::ReplicaSet,
            _ => bail!("`{store}` is no store: sqlite, standalone or replica-set"),
        };
        let server = Running::start(&mongod::program()?, kind)?;
        others.push(server.url.clone());
        servers.push(server);
    }
    build_service()?;
    let arguments: Vec<&str> = std::iter::once(name).chain(others.iter().map(String::as_str)).collect();
    bench(&arguments)
}

/// Beside the benchmark, which starts it.
fn build_service() -> Result<()> {
    let mut command = cargo(&["build", "--release", "--locked", "--package", "server", "--bin", "globeco"]);
    if !command.status()?.success() {
        bail!("the service does not build");
    }
    Ok(())
}

fn bench(arguments: &[&str]) -> Result<ExitCode> {
    let mut command: Command = cargo(&["run", "--release", "--locked", "--package", "bench", "--"]);
    let status = command.args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
