//! The documents that are made from the code, so that they cannot be wrong; a test of `server` compares them.

use std::fs;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::{cargo, root, say};

/// Where each document lies, and what prints it.
const DOCUMENTS: [(&str, &[&str]); 2] = [
    ("docs/openapi/order-generation.json", &["openapi", "order-generation"]),
    ("docs/configuration.md", &["config", "reference"]),
];

pub(crate) fn run() -> Result<ExitCode> {
    for (path, arguments) in DOCUMENTS {
        let mut command = cargo(&["run", "--quiet", "--locked", "--package", "server", "--"]);
        let output = command.args(arguments).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "`globeco {}`: {}", arguments.join(" "), output.status);
        let path = root().join(path);
        let is_new = fs::read(&path).ok().as_ref() != Some(&output.stdout);
        if is_new {
            fs::write(&path, &output.stdout).with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        say(&format!("{} {}\n", path.display(), if is_new { "is new" } else { "is up to date" }));
    }
    Ok(ExitCode::SUCCESS)
}
