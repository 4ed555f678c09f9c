//! Warm worker processes. One that crashes, errs or is late is killed and not used again.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::program::{Outcome, Program, Request};
use process::Process;

mod process;

/// CBC looks at its clock now and then only, and what it has found by its limit shall not come too late.
const SHARE_OF_TIME: f64 = 0.8;

/// Starts a process that calls [`worker::serve`](crate::worker::serve).
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no worker had an answer in time")]
    OutOfTime,
    #[error("cannot start `{program}` as a worker", program = program.display())]
    Unstartable { program: PathBuf, source: io::Error },
    #[error("a worker {end}{said}")]
    Lost { end: String, said: String },
    #[error("a worker's answer cannot be read")]
    Unreadable { source: serde_json::Error },
}

pub struct Pool {
    command: WorkerCommand,
    places: Semaphore,
    idle: Mutex<Vec<Process>>,
    /// A pipe lives no longer than the runtime that it was opened in.
    runtime: Handle,
}

impl Pool {
    /// Starts no worker yet. The runtime that this is called in must outlive the last solve.
    pub fn new(command: WorkerCommand, workers: usize) -> Self {
        let places = Semaphore::new(workers.clamp(1, Semaphore::MAX_PERMITS));
        Self { command, places, idle: Mutex::default(), runtime: Handle::current() }
    }

    /// Until `deadline`, the wait for a free worker included. Whoever drops this kills the worker.
    pub async fn solve(&self, program: Program, deadline: Instant) -> Result<Outcome, Error> {
        let Ok(place) = timeout_at(deadline, self.places.acquire()).await else {
            return Err(Error::OutOfTime);
        };
        let mut worker = self.worker()?;
        let time = deadline.saturating_duration_since(Instant::now());
        let request = Request { program, time_limit: time.mul_f64(SHARE_OF_TIME) };

        let answer = timeout_at(deadline, worker.answer(&request)).await;

        let lost = match answer {
            Ok(Ok(outcome)) => {
                self.idle().push(worker);
                drop(place);
                return Ok(outcome);
            }
            Ok(Err(fault)) => worker.lost_to(fault).await,
            Err(_) => {
                worker.kill().await;
                Error::OutOfTime
            }
        };
        warn!(error = %lost, "a worker is lost");
        Err(lost)
    }

    fn worker(&self) -> Result<Process, Error> {
        let latest_idle = || self.idle().pop();
        while let Some(mut worker) = latest_idle() {
            if worker.is_alive() {
                return Ok(worker);
            }
            warn!("a worker is lost that had nothing to do");
        }
        let _entered = self.runtime.enter();
        Process::start(&self.command).map_err(|source| {
            let program = self.command.program.clone();
            Error::Unstartable { program, source }
        })
    }

    /// Nothing can panic while it is held.
    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
