//! `globeco config`: what a service is configured with, and whether that is sound.

use std::io::{Write, stdout};

use anyhow::anyhow;
use clap::Subcommand;

use crate::cli::{Serve, examples};
use crate::config::{Setting, reference};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print every setting, its value, and where that comes from; without secrets.
    #[command(after_help = examples::CONFIG_SHOW)]
    Show(Serve),
    /// Tell everything that is wrong with the settings, at once.
    #[command(after_help = examples::CONFIG_CHECK)]
    Check(Serve),
    /// Print what there is to set, as the documentation has it.
    #[command(hide = true)]
    Reference,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show(options) => show(&options.layers().settings().map_err(|faults| listed(&faults))?),
        Command::Check(options) => {
            options.layers().config().map_err(|faults| listed(&faults))?;
            Ok(writeln!(stdout(), "the configuration is sound")?)
        }
        Command::Reference => Ok(write!(stdout(), "{}", reference::markdown())?),
    }
}

/// A line for each fault.
fn listed(faults: &[String]) -> anyhow::Error {
    anyhow!(faults.join("\n       "))
}

/// As TOML, a section at a time; that takes every value that JSON has.
fn show(settings: &[Setting]) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    let mut section = "";
    for Setting { key, value, origin } in settings {
        let (in_section, name) = key.rsplit_once('.').unwrap_or(("", key));
        if section != in_section {
            writeln!(out, "{}[{in_section}]", if section.is_empty() { "" } else { "\n" })?;
            section = in_section;
        }
        writeln!(out, "{name} = {value}  # {origin}")?;
    }
    Ok(())
}
