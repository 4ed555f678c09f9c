//! What is there after the process was killed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use application::order_generation::ports::{ModelRepository, RebalanceRepository};
use domain::order_generation::model::Model;
use domain::order_generation::rebalance::Rebalance;
use futures_util::future::join_all;
use port_contracts::fixtures::{model, rebalance};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::{open, read};

const ROUNDS: u64 = 6;
const WRITERS: u64 = 4;
/// Tells the child process what to write, and where.
const FIRST: &str = "STORE_SQLITE_WRITE_FROM";
const PATH: &str = "STORE_SQLITE_WRITE_TO";

#[tokio::test]
async fn every_acknowledged_write_survives_kill_9() {
    if let Some((first, path)) = orders() {
        return write_until_killed(first, Path::new(&path)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");

    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let last_round = write_and_kill(round * 1_000_000, &path).await;
        assert!(!last_round.is_empty());
        acknowledged.extend(last_round);

        assert_sound(&path).await;
        let store = open(&path).await;
        for line in &acknowledged {
            let (kind, n) = line.split_once(' ').unwrap();
            let n = n.parse().unwrap();
            let (model, rebalance) = written(n);
            let found_model = ModelRepository::find(&store, &model.id).await.unwrap();
            let found = read(&store, &rebalance.header.id).await.unwrap();
            match kind {
                "model" => assert_eq!(found_model.unwrap().content(), model.content()),
                "rebalance" => {
                    let date = found_model.unwrap().last_rebalance_date;
                    assert_eq!(date, Some(rebalance.header.date));
                    assert_eq!(found, Some(rebalance));
                }
                other => panic!("{other}"),
            }
        }
        store.close().await;
    }
}

/// Runs this test again in a process that writes, kills it at a random moment, and returns what it
/// had acknowledged.
async fn write_and_kill(first: u64, path: &Path) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::every_acknowledged_write_survives_kill_9"])
        .env(FIRST, first.to_string())
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let started = next_acknowledgement(&mut output).unwrap();

    let random = RandomState::new().hash_one(first);
    tokio::time::sleep(Duration::from_micros(random % 250_000)).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let rest = std::iter::from_fn(|| next_acknowledgement(&mut output));
    [started].into_iter().chain(rest).collect()
}

/// Skips what the test harness prints, and a line that was cut off.
fn next_acknowledgement(output: &mut BufReader<ChildStdout>) -> Option<String> {
    loop {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        if line.is_empty() {
            return None;
        }
        if let Some((_, what)) = line.split_once("acknowledged ") {
            return what.strip_suffix('\n').map(str::to_owned);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "only so can a test give its child orders")]
fn orders() -> Option<(u64, String)> {
    let first = std::env::var(FIRST).ok()?;
    Some((first.parse().unwrap(), std::env::var(PATH).unwrap()))
}

async fn write_until_killed(first: u64, path: &Path) {
    let store = open(path).await;
    let acknowledge = |what: &str, n: u64| {
        let mut output = std::io::stdout().lock();
        writeln!(output, "acknowledged {what} {n}").unwrap();
        output.flush().unwrap();
    };
    let writers = (0..WRITERS).map(async |writer| {
        let mut n = first + writer;
        loop {
            let (model, rebalance) = written(n);
            store.insert(&model).await.unwrap();
            acknowledge("model", n);
            store.record(&rebalance).await.unwrap();
            acknowledge("rebalance", n);
            n += WRITERS;
        }
    });
    join_all(writers).await;
}

fn written(n: u64) -> (Model, Rebalance) {
    (model(n, &format!("model {n}")), rebalance(n, &["p1", "p2", "p3"]))
}

async fn assert_sound(path: &Path) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let verdict: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap();
    assert_eq!(verdict, ["ok"]);
    let orphans = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(orphans.is_empty());
    connection.close().await.unwrap();
}
