use std::fs;
use std::time::Duration;

use optimizer_cbc::pool::WorkerCommand;
use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Workers that run a script for the shell; in it `$0` is a real worker.
pub(crate) struct Scripted {
    pub(crate) command: WorkerCommand,
    folder: TempDir,
}

impl Scripted {
    pub(crate) fn new(script: &str) -> Self {
        let folder = TempDir::new().unwrap();
        // Each tells its identity, in the order in which they start.
        let script = format!("echo $$ >> \"$1/pids\"\n{script}");
        let worker = crate::real_worker().program.into();
        let arguments = ["-c".into(), script.into(), worker, folder.path().into()];
        let command = WorkerCommand { program: "/bin/sh".into(), arguments: arguments.into() };
        Self { command, folder }
    }

    /// Real workers, but the first of them does as the script says.
    pub(crate) fn first(script: &str) -> Self {
        Self::new(&format!("if mkdir \"$1/first\" 2>/dev/null; then\n{script}\nfi\nexec \"$0\""))
    }

    pub(crate) fn real() -> Self {
        Self::new("exec \"$0\"")
    }

    pub(crate) fn started(&self) -> Vec<Pid> {
        let pids = fs::read_to_string(self.folder.path().join("pids")).unwrap_or_default();
        pids.lines().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    }

    /// As soon as there is one.
    pub(crate) async fn worker(&self) -> Pid {
        loop {
            if let [pid, ..] = self.started()[..] {
                return pid;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) async fn is_gone(pid: Pid) {
    let gone = async {
        while test_kill_process(pid).is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(2), gone).await.expect("the worker still runs");
}
