//! The binary itself, as an operator starts it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// How often an ending process is looked at, 10 milliseconds apart, before the test gives up.
const PATIENCE: usize = 3000;

/// `globeco serve order-generation`, in a folder, with nothing in its environment but what is given here.
pub(crate) fn serve(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    run(&[&["serve", "order-generation"], arguments].concat(), folder, variables)
}

/// `globeco`, likewise.
pub(crate) fn run(arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_globeco"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// A service that listens. Killed when dropped.
pub(crate) struct Process {
    command: Command,
    child: Child,
    pub(crate) url: String,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Waits for the line of the log that says where the service listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| {
            let line = line.unwrap();
            serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("{line:?}"))
        });
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keep = lines.clone();
        let line = printed
            .by_ref()
            .inspect(|line| keep.lock().unwrap().push(line.clone()))
            .find(|line| line["message"] == "order generation is listening");
        // A full pipe would hold the service up.
        let keep = lines.clone();
        let reader = thread::spawn(move || printed.for_each(|line| keep.lock().unwrap().push(line)));

        let line = line.unwrap_or_else(|| panic!("{command:?} does not listen"));
        let url = format!("http://{}", line["address"].as_str().unwrap());
        Self { command, child, url, lines, reader: Some(reader) }
    }

    /// What was printed until the process ended, by itself.
    pub(crate) async fn lines(&mut self) -> Vec<Value> {
        assert!(self.ended().await.code().is_some());
        self.reader.take().map(JoinHandle::join);
        self.lines.lock().unwrap().clone()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.id());
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child, &self.command).await
    }
}

/// Sends a signal such as `TERM` to a process.
pub(crate) fn signal(name: &str, id: u32) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -s \"$0\" \"$1\"", name, &id.to_string()]);
    assert!(shell.status().unwrap().success());
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process that refuses to start says on standard error.
pub(crate) async fn refusal(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = ended(&mut child, &command).await;
    assert!(status.code().is_some_and(|code| code != 0), "{command:?}: {status}");
    let mut said = String::new();
    child.stderr.take().as_mut().map(|stderr: &mut ChildStderr| stderr.read_to_string(&mut said));
    said
}

/// Waits until a process has ended by itself.
pub(crate) async fn ended(child: &mut Child, command: &Command) -> ExitStatus {
    for _ in 0..PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().unwrap();
    panic!("{command:?} goes on");
}
