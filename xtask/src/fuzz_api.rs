//! The service against the description of its interface: Schemathesis sends what the description allows and
//! what it forbids, and follows what answers lead to.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{cargo, pip, root, say, target};

const REQUIREMENTS: &str = include_str!("../schemathesis-requirements.txt");

const LOG: &str = "service.log";

const USAGE: &str = "usage: cargo xtask fuzz-api [--minutes N | --examples N] [--seed N]\n";

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    Minutes(u32),
    /// Of each operation and each kind.
    Examples(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Options {
    effort: Effort,
    /// The same again for the same number; a fresh one unless told.
    seed: Option<u32>,
}

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Some(options) = parsed(arguments) else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    let passed = fuzz(&Schemathesis::installed()?, options)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The short run of `cargo xtask test`: the same requests every time. `None` where it cannot be made, and
/// why, unless `CI` is set, where it must be.
pub(crate) fn briefly() -> Result<Option<bool>> {
    match Schemathesis::installed() {
        Ok(program) => fuzz(&program, Options { effort: Effort::Examples(8), seed: Some(1) }).map(Some),
        Err(error) if std::env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            say(&format!("── the interface is not tested against its description: {error:#}\n"));
            Ok(None)
        }
    }
}

fn parsed(arguments: &[&str]) -> Option<Options> {
    let mut options = Options { effort: Effort::Examples(100), seed: None };
    for pair in arguments.chunks(2) {
        match *pair {
            ["--minutes", minutes] => options.effort = Effort::Minutes(minutes.parse().ok()?),
            ["--examples", examples] => options.effort = Effort::Examples(examples.parse().ok()?),
            ["--seed", seed] => options.seed = Some(seed.parse().ok()?),
            _ => return None,
        }
    }
    Some(options)
}

/// Where everything of this command lives.
fn folder() -> PathBuf {
    target().join("fuzz-api")
}

struct Schemathesis {
    home: PathBuf,
}

impl Schemathesis {
    fn installed() -> Result<Self> {
        let program = Self { home: folder().join("schemathesis") };
        let works = |_: &Path| pip::said(program.command().arg("--version"));
        pip::install(REQUIREMENTS, &program.home, works)
            .context("Schemathesis cannot be installed, which needs Python 3.11 or newer with pip")?;
        Ok(program)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("python3");
        command
            .env("PYTHONPATH", &self.home)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", "schemathesis.cli"]);
        command
    }
}

/// Whether nothing was found.
fn fuzz(program: &Schemathesis, options: Options) -> Result<bool> {
    let built = cargo(&["build", "--quiet", "--locked", "--package", "server"]).status()?;
    ensure!(built.success(), "the service cannot be built");
    let globeco = target().join("debug/globeco");
    let sandbox = Sandbox::start(&globeco)?;
    let service = Service::start(&globeco, &sandbox)?;

    let mut command = program.command();
    command.current_dir(folder()).envs(sandbox.variables.iter().cloned()).env("SERVICE_URL", &service.url);
    command.env("SCHEMATHESIS_HOOKS", root().join("xtask/fuzz-api/rules.py"));
    // In its place stands a check of rules.py, which knows what no schema can say.
    command.args(["run", "--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    match options.effort {
        Effort::Minutes(minutes) => command.args(["--max-time", &(60 * minutes).to_string()]),
        Effort::Examples(examples) => command.args(["--max-examples", &examples.to_string()]),
    };
    match options.seed {
        Some(seed) => command.args(["--generation-deterministic", "--seed", &seed.to_string()]),
        None => command.args(["--generation-database", "none"]),
    };
    let status =
        command.arg(format!("{}/openapi.json", service.url)).status().context("cannot run `python3`")?;
    if !status.success() {
        say(&format!("the log of the service is {}\n", folder().join(LOG).display()));
    }
    Ok(status.success())
}

/// Ends when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Sandbox {
    _running: Running,
    /// Where each neighbour is, as the service takes it.
    variables: Vec<(String, String)>,
}

impl Sandbox {
    fn start(globeco: &Path) -> Result<Self> {
        let mut command = Command::new(globeco);
        command.args(["sandbox", "--free-ports", "--fixed-prices"]);
        let (running, lines) = spawned(&mut command)?;
        let variables = lines.take(4).map(|line| {
            let line = line?;
            let (name, value) = line.split_once('=').with_context(|| format!("{line:?} is no variable"))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        Ok(Self { variables: variables.collect::<Result<_>>()?, _running: running })
    }
}

struct Service {
    _running: Running,
    url: String,
}

impl Service {
    /// With a new store.
    fn start(globeco: &Path, sandbox: &Sandbox) -> Result<Self> {
        let data = folder().join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("cannot remove `{}`", data.display()))?;
        }
        let mut command = Command::new(globeco);
        command.args(["serve", "order-generation", "--host", "127.0.0.1", "--port", "0"]);
        command.arg("--database-url").arg(format!("sqlite:{}", data.join("store.db").display()));
        command.envs(sandbox.variables.iter().cloned());
        // Nobody waits for what it asks to be done, and to be busy is no fault.
        command.env("MAX_ASYNC_REBALANCES", "100000");
        let (running, mut lines) = spawned(&mut command)?;
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            let listens = line["message"] == "order generation is listening";
            listens.then(|| line["address"].as_str().map(ToOwned::to_owned)).flatten()
        });
        let address = address.context("the service does not start; `globeco serve` says why")?;
        // A full pipe would hold the service up; and its complaints are wanted if a test fails.
        std::thread::spawn(move || {
            let mut log = File::create(folder().join(LOG))?;
            lines.map_while(Result::ok).try_for_each(|line| writeln!(log, "{line}"))
        });
        Ok(Self { url: format!("http://{address}"), _running: running })
    }
}

fn spawned(command: &mut Command) -> Result<(Running, Lines<BufReader<ChildStdout>>)> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    let output = child.stdout.take().context("it was piped")?;
    Ok((Running(child), BufReader::new(output).lines()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_and_from_which_seed_is_said_in_any_order() {
        let options = |effort, seed| Some(Options { effort, seed });
        for (arguments, expected) in [
            (&[][..], options(Effort::Examples(100), None)),
            (&["--minutes", "10"], options(Effort::Minutes(10), None)),
            (&["--seed", "7", "--examples", "3"], options(Effort::Examples(3), Some(7))),
            (&["--minutes"], None),
            (&["--minutes", "ten"], None),
            (&["--hours", "1"], None),
        ] {
            assert_eq!(parsed(arguments), expected, "{arguments:?}");
        }
    }
}
