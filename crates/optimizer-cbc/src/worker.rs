//! The worker: a process that solves one program after another, and ends with whoever started it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::abort;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use rustix::stdio::dup2_stdout;

use crate::program::{Outcome, Request};
use crate::solver;

/// CBC looks at its clock now and then only. A pool has lost its patience long before.
const GRACE: Duration = Duration::from_secs(5);

enum Event {
    Asked(Request),
    Solved(Outcome),
    /// Nothing will be asked any more.
    Deserted(io::Result<()>),
}

/// Answers requests from the standard input on the standard output until the input ends.
///
/// Must be the only user of both, and be called in the main thread, where a panic is the end of the
/// process. So is an input that ends during a solve, and a solve that overruns its limit by far.
pub fn serve() -> io::Result<()> {
    let answers = claim_stdout()?;
    die_first_without_memory();
    let (tell, events) = mpsc::channel();
    let (ask, requests) = mpsc::channel();
    let reader = tell.clone();
    thread::spawn(move || {
        let end = read(&reader);
        // Fails only where nobody cares any more.
        let _ = reader.send(Event::Deserted(end));
    });
    let supervisor = thread::spawn(move || supervise(&events, &ask, answers));

    for request in requests {
        let _ = tell.send(Event::Solved(solver::solve(&request)));
    }
    supervisor.join().unwrap_or_else(|_| abort())
}

/// CBC's C++ may write to the standard output whatever it likes: from here on that is the standard error.
fn claim_stdout() -> io::Result<File> {
    let answers = io::stdout().as_fd().try_clone_to_owned()?;
    dup2_stdout(io::stderr())?;
    Ok(answers.into())
}

/// Rather than the service. Where the system knows no such thing, it chooses as ever.
fn die_first_without_memory() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

fn read(asked: &Sender<Event>) -> io::Result<()> {
    for line in io::stdin().lines() {
        let request = serde_json::from_str(&line?)?;
        let _ = asked.send(Event::Asked(request));
    }
    Ok(())
}

fn supervise(events: &Receiver<Event>, requests: &Sender<Request>, mut answers: File) -> io::Result<()> {
    loop {
        let request = match events.recv() {
            Ok(Event::Asked(request)) => request,
            Ok(Event::Deserted(end)) => return end,
            Ok(Event::Solved(_)) | Err(_) => die(),
        };
        let patience = request.time_limit.saturating_add(GRACE);
        let _ = requests.send(request);
        let outcome = match events.recv_timeout(patience) {
            Ok(Event::Solved(outcome)) => outcome,
            Ok(Event::Asked(_) | Event::Deserted(_)) | Err(_) => die(),
        };
        let mut line = serde_json::to_vec(&outcome)?;
        line.push(b'\n');
        answers.write_all(&line)?;
    }
}

/// Not an exit: that would run C++'s destructors under the feet of the solving thread.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    abort()
}
