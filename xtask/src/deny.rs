//! What the dependencies may be: their licences, their sources, who may use which, and what is known against them.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::{cargo, root, target};

/// The checks that need nothing but this repository.
const WITHIN: &[&str] = &["bans", "licenses", "sources"];

const VERSION: &str = "0.20.2";

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let checks = if arguments.is_empty() { WITHIN } else { arguments };
    let home = target().join("cargo-deny").join(VERSION);
    let program = home.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = cargo(&["install", "--locked", "--version", VERSION, "cargo-deny"]);
        // It runs for a second: to optimise it would take minutes.
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
        ensure!(install.arg("--root").arg(&home).status()?.success(), "cargo-deny does not install");
    }
    let mut deny = Command::new(program);
    deny.args(["--locked", "check"]).args(checks).current_dir(root());
    Ok(if deny.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
