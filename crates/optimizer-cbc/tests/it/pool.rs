use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use optimizer_cbc::pool::{Error, Pool, WorkerCommand};
use optimizer_cbc::program::{Outcome, Program};
use rustix::process::{Signal, kill_process};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::programs::{assert_solved, easy, hard, large};
use crate::scripted::{Scripted, is_gone};
use crate::{AMPLE, real_worker};

struct Workers {
    scripted: Scripted,
    pool: Pool,
}

impl From<Scripted> for Workers {
    fn from(scripted: Scripted) -> Self {
        let pool = Pool::new(scripted.command.clone(), 1);
        Self { scripted, pool }
    }
}

impl Workers {
    async fn solve(&self, program: Program, patience: Duration) -> Result<Outcome, Error> {
        self.pool.solve(program, Instant::now() + patience).await
    }

    async fn lose_one_answer(&self, program: Program) -> Error {
        let lost = self.solve(program, AMPLE).await.unwrap_err();
        assert_solved(&self.solve(easy(), AMPLE).await.unwrap());
        lost
    }
}

#[tokio::test]
async fn a_worker_is_kept_for_the_next_program() {
    let workers = Workers::from(Scripted::real());

    for _ in 0..3 {
        assert_solved(&workers.solve(easy(), AMPLE).await.unwrap());
    }

    assert_eq!(workers.scripted.started().len(), 1);
}

#[tokio::test]
async fn an_abort_costs_one_answer_and_is_told_with_its_last_words() {
    let workers =
        Workers::from(Scripted::first("read -r line; echo 'Assertion `a` failed.' >&2; kill -ABRT $$"));

    let lost = workers.lose_one_answer(easy()).await;

    assert_eq!(lost.to_string(), "a worker was killed by signal 6: Assertion `a` failed.");
}

#[tokio::test]
async fn an_exit_costs_one_answer() {
    for script in ["read -r line; exit 3", "exit 3"] {
        let lost = Workers::from(Scripted::first(script)).lose_one_answer(easy()).await;

        assert_eq!(lost.to_string(), "a worker exited with status 3");
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_solves_costs_one_answer_at_once() {
    let workers = Workers::from(Scripted::real());
    let started = Instant::now();

    let murder = async {
        let pid = workers.scripted.worker().await;
        sleep(Duration::from_millis(300)).await;
        kill_process(pid, Signal::KILL).unwrap();
    };
    let (lost, ()) = tokio::join!(workers.lose_one_answer(hard()), murder);

    assert_eq!(lost.to_string(), "a worker was killed by signal 9");
    assert!(started.elapsed() < AMPLE / 4, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_hang_costs_one_answer_at_the_deadline_and_the_process_its_life() {
    let workers = Workers::from(Scripted::first("read -r line; exec sleep 1000"));
    let started = Instant::now();

    let lost = workers.solve(easy(), Duration::from_millis(300)).await;
    let late = started.elapsed();

    assert!(matches!(lost, Err(Error::OutOfTime)), "{lost:?}");
    assert!(late < Duration::from_secs(2), "{late:?}");
    is_gone(workers.scripted.started()[0]).await;
    assert_solved(&workers.solve(easy(), AMPLE).await.unwrap());
}

#[tokio::test]
async fn garbage_costs_one_answer_and_the_process_its_life() {
    for script in ["read -r line; echo garbage; sleep 1000", "read -r line; cat /dev/zero"] {
        let workers = Workers::from(Scripted::first(script));

        let lost = workers.lose_one_answer(easy()).await;

        assert!(matches!(lost, Error::Unreadable { .. }), "{lost:?}");
        is_gone(workers.scripted.started()[0]).await;
    }
}

#[tokio::test]
async fn an_answer_to_another_program_is_garbage() {
    let solution = r#"{"Optimal":{"values":[1.0],"objective":1.0,"bound":1.0}}"#;
    let workers = Workers::from(Scripted::first(&format!("read -r line; echo '{solution}'; sleep 1000")));

    let lost = workers.lose_one_answer(easy()).await;

    assert!(matches!(lost, Error::Unreadable { .. }), "{lost:?}");
}

#[tokio::test]
async fn a_worker_that_falls_silent_costs_one_answer_and_the_process_its_life() {
    let workers = Workers::from(Scripted::first("exec >&-; exec sleep 1000"));

    let lost = workers.lose_one_answer(easy()).await;

    assert_eq!(lost.to_string(), "a worker closed its output");
    is_gone(workers.scripted.started()[0]).await;
}

#[tokio::test]
async fn a_worker_may_complain_at_length() {
    let workers = Workers::from(Scripted::new("head -c 1000000 /dev/zero >&2; exec \"$0\""));

    assert_solved(&workers.solve(easy(), AMPLE).await.unwrap());
}

#[tokio::test]
async fn a_large_program_is_solved() {
    let workers = Workers::from(Scripted::real());

    let outcome = workers.solve(large(), AMPLE).await.unwrap();

    let Outcome::Optimal(solution) = outcome else { panic!("{outcome:?}") };
    assert_eq!(solution.values, vec![1_000.0; solution.values.len()]);
}

#[tokio::test]
async fn the_time_suffices_to_hand_over_what_was_found_in_it() {
    let workers = Workers::from(Scripted::real());

    let outcome = workers.solve(hard(), Duration::from_secs(2)).await.unwrap();

    assert!(matches!(outcome, Outcome::Stopped(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_busy_worker_along() {
    let workers = Workers::from(Scripted::real());

    let left = timeout(Duration::from_millis(300), workers.solve(hard(), AMPLE)).await;

    assert!(left.is_err());
    is_gone(workers.scripted.worker().await).await;
    assert_solved(&workers.solve(easy(), AMPLE).await.unwrap());
    assert_eq!(workers.scripted.started().len(), 2);
}

#[tokio::test]
async fn an_idle_worker_that_dies_costs_no_answer() {
    let workers = Workers::from(Scripted::real());
    workers.solve(easy(), AMPLE).await.unwrap();

    let pid = workers.scripted.worker().await;
    kill_process(pid, Signal::KILL).unwrap();
    sleep(Duration::from_millis(200)).await;

    assert_solved(&workers.solve(easy(), AMPLE).await.unwrap());
    assert_eq!(workers.scripted.started().len(), 2);
}

#[tokio::test]
async fn the_wait_for_a_free_worker_counts() {
    let workers = Workers::from(Scripted::first("read -r line; exec sleep 1000"));
    let started = Instant::now();

    let (hung, stuck) = tokio::join!(
        workers.solve(easy(), Duration::from_millis(900)),
        workers.solve(easy(), Duration::from_millis(300)),
    );

    assert!(matches!(hung, Err(Error::OutOfTime)), "{hung:?}");
    assert!(matches!(stuck, Err(Error::OutOfTime)), "{stuck:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(workers.scripted.started().len(), 1);
}

#[tokio::test]
async fn many_at_once_share_the_workers() {
    let pool = Pool::new(real_worker(), 2);

    let outcomes = join_all((0..30).map(|_| pool.solve(easy(), Instant::now() + AMPLE))).await;

    for outcome in outcomes {
        assert_solved(&outcome.unwrap());
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let pool = Pool::new(WorkerCommand { program: "/no/such/program".into(), arguments: Vec::new() }, 1);

    let lost = pool.solve(easy(), Instant::now() + AMPLE).await.unwrap_err();

    assert_eq!(lost.to_string(), "cannot start `/no/such/program` as a worker");
}

#[tokio::test]
async fn workers_outlive_the_runtime_that_first_asked_for_them() {
    let pool = Arc::new(Pool::new(real_worker(), 1));

    for _ in 0..2 {
        let pool = Arc::clone(&pool);
        let on_a_runtime_of_its_own = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(pool.solve(easy(), Instant::now() + AMPLE))
        };
        let outcome = spawn_blocking(on_a_runtime_of_its_own).await.unwrap();
        assert_solved(&outcome.unwrap());
    }
}
