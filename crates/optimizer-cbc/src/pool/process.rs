//! One worker process, as its parent sees it.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::de::Error as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Error, WorkerCommand};
use crate::program::{Outcome, Request, Solution};

/// How long the end of a process may take to show.
const MOMENT: Duration = Duration::from_millis(100);

/// Ample for a number as JSON, and for what stands around the numbers.
const BYTES_PER_NUMBER: usize = 40;
const BYTES_BESIDE: usize = 1_000;

/// Bytes of what a process complained of last.
const KEPT: usize = 400;

/// Killed when dropped.
pub(super) struct Process {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    complaints: Complaints,
}

pub(super) enum Fault {
    /// It ended, or closed its pipes.
    Silent,
    Unreadable(serde_json::Error),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Silent
    }
}

impl Process {
    pub(super) fn start(command: &WorkerCommand) -> io::Result<Self> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            // It needs none of ours, and secrets may be among them.
            .env_clear()
            // Whoever interrupts the service at its terminal lets it finish what it does.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(requests), Some(answers), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three were just asked for")
        };
        let complaints = Complaints { stderr, last: Vec::new() };
        Ok(Self { child, requests, answers: BufReader::new(answers), complaints })
    }

    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Only if this comes to a good end the process is fit for another request.
    pub(super) async fn answer(&mut self, request: &Request) -> Result<Outcome, Fault> {
        let n_columns = request.program.columns.len();
        let mut line = serde_json::to_vec(request).map_err(Fault::Unreadable)?;
        line.push(b'\n');
        let answer = tokio::select! {
            answer = converse(&mut self.requests, &mut self.answers, &line, n_columns) => answer?,
            // One whose complaints nobody takes stands still when the pipe is full.
            never = self.complaints.heard_forever() => match never {},
        };
        let outcome = serde_json::from_slice(&answer).map_err(Fault::Unreadable)?;
        match &outcome {
            Outcome::Optimal(Solution { values, .. }) | Outcome::Stopped(Solution { values, .. })
                if values.len() != n_columns =>
            {
                Err(Fault::Unreadable(serde_json::Error::invalid_length(values.len(), &"a value a column")))
            }
            Outcome::Optimal(_)
            | Outcome::Stopped(_)
            | Outcome::StoppedWithout
            | Outcome::Infeasible
            | Outcome::Unbounded
            | Outcome::Abandoned { .. } => Ok(outcome),
        }
    }

    pub(super) async fn lost_to(mut self, fault: Fault) -> Error {
        if let Fault::Unreadable(source) = fault {
            self.kill().await;
            return Error::Unreadable { source };
        }
        let end = if let Ok(Ok(status)) = timeout(MOMENT, self.child.wait()).await {
            end(status)
        } else {
            self.kill().await;
            "closed its output".to_owned()
        };
        // What it started in turn may hold the pipe open.
        let _ = timeout(MOMENT, self.complaints.hear()).await;
        Error::Lost { end, said: self.complaints.last_words() }
    }

    /// Waits for its end too, lest it stays as a zombie, but not for one that the kernel holds back.
    pub(super) async fn kill(&mut self) {
        let _ = timeout(MOMENT, self.child.kill()).await;
    }
}

async fn converse(
    requests: &mut ChildStdin,
    answers: &mut BufReader<ChildStdout>,
    request: &[u8],
    n_columns: usize,
) -> Result<Vec<u8>, Fault> {
    requests.write_all(request).await?;
    let most = BYTES_BESIDE + BYTES_PER_NUMBER * n_columns;
    let mut answer = Vec::new();
    answers.take(most as u64).read_until(b'\n', &mut answer).await?;
    if answer.len() < most && !answer.ends_with(b"\n") {
        return Err(Fault::Silent);
    }
    Ok(answer)
}

fn end(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("exited with status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The standard error, of which the end is kept.
struct Complaints {
    stderr: ChildStderr,
    last: Vec<u8>,
}

impl Complaints {
    async fn heard_forever(&mut self) -> Infallible {
        self.hear().await;
        pending().await
    }

    /// To the end, or for as long as the caller cares.
    async fn hear(&mut self) {
        let mut chunk = [0; KEPT];
        while let Ok(n @ 1..) = self.stderr.read(&mut chunk).await {
            self.last.extend_from_slice(&chunk[..n]);
            let surplus = self.last.len().saturating_sub(KEPT);
            self.last.drain(..surplus);
        }
    }

    /// Ready to stand behind how the process ended.
    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.last);
        let words: Vec<_> = text.split_whitespace().collect();
        if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) }
    }
}
