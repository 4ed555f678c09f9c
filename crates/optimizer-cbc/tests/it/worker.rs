use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use optimizer_cbc::program::{Outcome, Program, Request};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::programs::{assert_solved, easy, hard};
use crate::{AMPLE, real_worker};

fn worker() -> Child {
    Command::new(real_worker().program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn ask(worker: &mut Child, program: Program, time_limit: Duration) {
    let mut line = serde_json::to_vec(&Request { program, time_limit }).unwrap();
    line.push(b'\n');
    worker.stdin.as_mut().unwrap().write_all(&line).await.unwrap();
}

async fn answer(worker: &mut Child) -> Outcome {
    let mut line = String::new();
    BufReader::new(worker.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap()
}

async fn soon(worker: &mut Child) -> ExitStatus {
    timeout(Duration::from_secs(2), worker.wait()).await.expect("it still runs").unwrap()
}

#[tokio::test]
async fn one_question_after_another_is_answered() {
    let mut worker = worker();

    for _ in 0..3 {
        ask(&mut worker, easy(), AMPLE).await;
        assert_solved(&answer(&mut worker).await);
    }
}

#[tokio::test]
async fn a_search_that_is_stopped_gives_what_it_has_found_and_an_honest_bound() {
    let mut worker = worker();

    ask(&mut worker, hard(), Duration::from_millis(300)).await;
    let outcome = timeout(Duration::from_secs(3), answer(&mut worker)).await.unwrap();

    let Outcome::Stopped(solution) = outcome else { panic!("{outcome:?}") };
    assert!(solution.bound.unwrap() < solution.objective, "{solution:?}");
}

#[tokio::test]
async fn it_ends_well_when_nothing_more_can_be_asked() {
    let mut worker = worker();
    ask(&mut worker, easy(), AMPLE).await;
    answer(&mut worker).await;

    drop(worker.stdin.take());

    assert!(soon(&mut worker).await.success());
}

#[tokio::test]
async fn it_ends_at_once_when_whoever_asked_is_gone() {
    let mut worker = worker();
    ask(&mut worker, hard(), AMPLE).await;
    sleep(Duration::from_millis(300)).await;

    drop(worker.stdin.take());

    assert!(!soon(&mut worker).await.success());
}

#[tokio::test]
async fn a_question_that_cannot_be_read_ends_it_with_a_complaint() {
    let mut worker = worker();

    worker.stdin.as_mut().unwrap().write_all(b"{\"program\":\n").await.unwrap();

    assert_eq!(soon(&mut worker).await.code(), Some(1));
    let mut complaint = String::new();
    worker.stderr.as_mut().unwrap().read_to_string(&mut complaint).await.unwrap();
    assert!(complaint.contains("EOF"), "{complaint}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_solver_prints_is_a_complaint_and_no_answer() {
    let mut worker = worker();
    ask(&mut worker, easy(), AMPLE).await;
    answer(&mut worker).await;

    let pid = worker.id().unwrap();
    let [printed, complaint] = [1, 2].map(|fd| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap());

    assert_eq!(printed, complaint);
}
