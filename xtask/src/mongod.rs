//! A MongoDB server for tests and for trying things out: installed into the target directory, on loopback.

mod command;
mod install;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{say, target};

pub(crate) use install::program;

/// How long a server may take to become writable: a tenth of this will do on a quiet machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs the rest of its arguments until its standard input ends, which it does however the one at the
/// other end dies; then stops it, and removes the folder named first.
const WHILE_WANTED: &str = r#"
    trap '' INT HUP
    exec 3<&0
    "$@" & server=$!
    { read -r _ <&3; kill "$server"; } & watch=$!
    wait "$server"
    kill "$watch"
    rm -rf "$0"
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Standalone,
    /// Of one member: the only kind that has transactions.
    ReplicaSet,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::ReplicaSet => "replica-set",
        }
    }

    fn url(self, port: u16) -> String {
        match self {
            Self::Standalone => format!("mongodb://127.0.0.1:{port}/"),
            Self::ReplicaSet => format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0"),
        }
    }
}

/// `cargo xtask mongod install`.
pub(crate) fn install() -> Result<ExitCode> {
    say(&format!("{}\n", program()?.display()));
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask mongod start`: runs on until it is stopped; the same port has the same data again.
pub(crate) fn start(arguments: &[&str]) -> Result<ExitCode> {
    let Some((kind, port)) = parsed(arguments) else {
        say("usage: cargo xtask mongod start [--replica-set] [--port N]\n");
        return Ok(ExitCode::from(2));
    };
    let port = port.map_or_else(free_port, Ok)?;
    let folder = folder().join("data").join(format!("{}-{port}", kind.name()));
    let mut server = server(&program()?, kind, port, &folder)?;
    server.arg("--fork").arg("--logappend").arg("--logpath").arg(folder.join("log")).stdout(Stdio::null());
    let status = server.status().with_context(|| format!("cannot run {server:?}"))?;
    ensure!(status.success(), "mongod does not start: see {}", folder.join("log").display());
    until_writable(kind, port, || Ok(()))?;
    say(&format!("{}\n", kind.url(port)));
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask mongod stop`: all that `start` has started.
pub(crate) fn stop() -> Result<ExitCode> {
    let Ok(entries) = fs::read_dir(folder().join("data")) else {
        return Ok(ExitCode::SUCCESS);
    };
    for entry in entries {
        let data = entry?.path();
        // Empty once the server has ended.
        let runs = fs::read_to_string(data.join("mongod.lock")).is_ok_and(|pid| !pid.is_empty());
        if runs {
            let mut shutdown = Command::new(program()?);
            shutdown.arg("--shutdown").arg("--dbpath").arg(&data);
            let done = shutdown.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            let outcome = if done.success() { "stopped" } else { "was gone already" };
            say(&format!("{} {outcome}\n", data.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A server with fresh data that ends, and takes its data along, when this is dropped, and also when
/// this program is interrupted or killed.
pub(crate) struct Running {
    keeper: Child,
    pub(crate) url: String,
}

impl Running {
    pub(crate) fn start(program: &Path, kind: Kind) -> Result<Self> {
        let port = free_port()?;
        let data = folder().join(format!("test-{}-{}", std::process::id(), kind.name()));
        let log = folder().join(format!("{}.log", kind.name()));
        let server = server(program, kind, port, &data)?;
        let mut keeper = Command::new("sh");
        keeper.args(["-c", WHILE_WANTED]).arg(&data).arg(server.get_program()).args(server.get_args());
        keeper.stdin(Stdio::piped()).stdout(File::create(&log)?).stderr(Stdio::null());
        let keeper = keeper.spawn().context("cannot run `sh`")?;
        let mut running = Self { keeper, url: kind.url(port) };
        until_writable(kind, port, || match running.keeper.try_wait()? {
            None => Ok(()),
            Some(_) => bail!("mongod ended at once: see {}", log.display()),
        })?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Whether it ended well or not, it ended.
        let _ = self.keeper.wait();
    }
}

fn parsed(arguments: &[&str]) -> Option<(Kind, Option<u16>)> {
    let (kind, rest) = match arguments {
        ["--replica-set", rest @ ..] | [rest @ .., "--replica-set"] => (Kind::ReplicaSet, rest),
        rest => (Kind::Standalone, rest),
    };
    match rest {
        [] => Some((kind, None)),
        ["--port", port] => Some((kind, Some(port.parse().ok()?))),
        _ => None,
    }
}

/// Where everything of these servers lives.
fn folder() -> PathBuf {
    target().join("mongod")
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn server(program: &Path, kind: Kind, port: u16, data: &Path) -> Result<Command> {
    fs::create_dir_all(data).with_context(|| format!("cannot make `{}`", data.display()))?;
    let mut server = Command::new(program);
    server.arg("--dbpath").arg(data);
    server.args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1", "--nounixsocket"]);
    server.args(["--wiredTigerCacheSizeGB", "0.25"]);
    // Without it, the journal of an empty server takes 300 MB.
    server.args(["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"]);
    if kind == Kind::ReplicaSet {
        server.args(["--replSet", "rs0"]);
    }
    Ok(server)
}

/// Makes the replica set if it is to be one, and waits for its election.
fn until_writable(kind: Kind, port: u16, mut still_runs: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    let mut initiated = kind == Kind::Standalone;
    while begun.elapsed() < PATIENCE {
        still_runs()?;
        if !initiated {
            initiated = command::replica_set_is_initiated(port).unwrap_or(false);
        } else if command::is_writable(port).unwrap_or(false) {
            return Ok(());
        }
        pause();
    }
    bail!("mongod on port {port} takes no writes after {} s", PATIENCE.as_secs())
}

#[expect(clippy::disallowed_methods, reason = "there is no executor here")]
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_start_is_said_in_any_order() {
        for (arguments, expected) in [
            (&[][..], Some((Kind::Standalone, None))),
            (&["--port", "27611"], Some((Kind::Standalone, Some(27611)))),
            (&["--replica-set", "--port", "1"], Some((Kind::ReplicaSet, Some(1)))),
            (&["--port", "1", "--replica-set"], Some((Kind::ReplicaSet, Some(1)))),
            (&["--port"], None),
            (&["--port", "70000"], None),
            (&["--prot", "1"], None),
        ] {
            assert_eq!(parsed(arguments), expected, "{arguments:?}");
        }
    }
    #[test]
    fn a_server_takes_writes_until_it_is_dropped_and_leaves_nothing() {
        let Some(program) = std::env::var_os("TEST_MONGOD").map(PathBuf::from) else {
            say("skipped: no TEST_MONGOD\n");
            return;
        };

        let running = Running::start(&program, Kind::ReplicaSet).unwrap();

        let port: u16 =
            running.url["mongodb://127.0.0.1:".len()..].split('/').next().unwrap().parse().unwrap();
        assert!(command::is_writable(port).unwrap());
        drop(running);
        assert!(command::is_writable(port).is_err());
        let data = folder().join(format!("test-{}-replica-set", std::process::id()));
        assert!(!data.exists());
    }
}
