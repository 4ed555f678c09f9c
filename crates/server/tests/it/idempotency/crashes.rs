//! `kill -9` of the service at moments drawn at random, while clients repeat by key until they are
//! answered: each request is done once, and each answer given again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::Value;

use super::Raw;
use crate::crash::Site;
use crate::mongod::{Kind, Mongod};
use crate::process::Process;

/// As many as a suite has time for; `KILL_ROUNDS` asks for others.
const ROUNDS: usize = 5;
const WRITERS: usize = 4;
/// What each writer asks for in a round, a model and its rebalance each.
const REQUESTS: usize = 2;
/// Of a kill, after as many answers as were drawn. The service answers in a few milliseconds.
const LONGEST_DELAY_MICROSECONDS: u64 = 15_000;
const PAUSE: Duration = Duration::from_millis(50);
/// How often a client tries before the test gives up: leases end after seconds.
const PATIENCE: usize = 1200;

#[tokio::test]
async fn on_sqlite_each_key_is_done_once_whenever_the_service_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("store.db").display());
    each_key_is_done_once(&Site::on(database, folder).await).await;
}

#[tokio::test]
async fn on_a_standalone_server_each_key_is_done_once_whenever_the_service_is_killed() {
    over(Kind::Standalone).await;
}

#[tokio::test]
async fn on_a_replica_set_each_key_is_done_once_whenever_the_service_is_killed() {
    over(Kind::ReplicaSet).await;
}

async fn over(kind: Kind) {
    let Some(mut mongod) = Mongod::new(kind) else { return };
    mongod.start().await;
    each_key_is_done_once(&Site::on(mongod.url(), tempfile::tempdir().unwrap()).await).await;
}

/// What a client asked for until it was answered.
struct Answered {
    path: String,
    body: Value,
    key: String,
    answer: Raw,
}

async fn each_key_is_done_once(site: &Site) {
    let mut answered: Vec<Answered> = Vec::new();
    for round in 0..rounds() {
        let process = RefCell::new(site.start(&[]));
        let (count, writing) = (Cell::new(0), Cell::new(WRITERS));
        let last = rand::random_range(0..2 * WRITERS * REQUESTS);
        let delay = Duration::from_micros(rand::random_range(0..LONGEST_DELAY_MICROSECONDS));

        let writers = join_all((0..WRITERS).map(async |writer| {
            let mut all = Vec::new();
            for n in 0..REQUESTS {
                let key = format!("{round}.{writer}.{n}");
                let create = until_answered(site, &process, "/api/v1/models", site.model(&key), &key).await;
                count.set(count.get() + 1);
                let model = create.answer.json()["model_id"].as_str().unwrap().to_owned();
                let path = format!("/api/v1/model/{model}/rebalance");
                let rebalance = until_answered(site, &process, &path, Value::Null, &key).await;
                count.set(count.get() + 1);
                all.extend([create, rebalance]);
            }
            writing.set(writing.get() - 1);
            all
        }));
        let killer = async {
            while count.get() < last && 0 < writing.get() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(delay).await;
            process.borrow_mut().kill();
            let next = site.start(&[]);
            process.replace(next);
        };
        let (told, ()) = join(writers, killer).await;
        answered.extend(told.into_iter().flatten());

        let url = process.borrow().url.clone();
        for Answered { path, body, key, answer } in &answered {
            let again = send(site, &url, path, body, key).await.unwrap();
            assert!(again.is_replayed(), "{again:?}");
            again.assert_same_as(answer);
        }
    }
    assert_nothing_was_done_twice(site, &answered).await;
    let repeated = answered.iter().filter(|it| it.answer.is_replayed()).count();
    #[expect(clippy::print_stderr, reason = "how much was tried is worth knowing")]
    {
        eprintln!(
            "{} rounds: {} keys, {repeated} of them done before they were answered",
            rounds(),
            answered.len()
        );
    }
}

fn rounds() -> usize {
    let asked = std::env::var_os("KILL_ROUNDS");
    asked.map_or(ROUNDS, |rounds| rounds.to_str().unwrap().parse().unwrap())
}

async fn until_answered(
    site: &Site,
    process: &RefCell<Process>,
    path: &str,
    body: Value,
    key: &str,
) -> Answered {
    for _ in 0..PATIENCE {
        let url = process.borrow().url.clone();
        match send(site, &url, path, &body, key).await {
            Ok(answer) if answer.status.is_success() => {
                return Answered { path: path.to_owned(), body, key: key.to_owned(), answer };
            }
            // A transaction that was cut off holds what it wrote until the server ends it.
            Ok(blocked) if blocked.status == 503 => {
                blocked.into_reply().expect_problem(503, "store-unavailable");
            }
            // Nobody else has the name or the key: it can only be its own request.
            Ok(waiting) => {
                waiting.into_reply().expect_problem(409, "request-in-flight");
            }
            // The service is gone, perhaps halfway through its reply.
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{path} with key {key} is never answered");
}

async fn send(site: &Site, url: &str, path: &str, body: &Value, key: &str) -> Result<Raw, reqwest::Error> {
    let request = site.client.post(format!("{url}{path}")).header("Idempotency-Key", key);
    Raw::of(if body.is_null() { request } else { request.json(body) }).await
}

async fn assert_nothing_was_done_twice(site: &Site, answered: &[Answered]) {
    let process = site.start(&[]);
    let told = |field: &str| -> BTreeSet<String> {
        let bodies = answered.iter().map(|it| it.answer.json());
        let ids = bodies.filter_map(|body| {
            let first = body.get(0).unwrap_or(&body);
            first[field].as_str().map(str::to_owned)
        });
        ids.collect()
    };
    let models = told("model_id");
    let rebalances = told("rebalance_id");
    assert_eq!((models.len(), rebalances.len()), (answered.len() / 2, answered.len() / 2));

    assert_eq!(kept(site, &process, "/api/v1/models", "model_id").await, models);
    assert_eq!(kept(site, &process, "/api/v1/rebalances", "rebalance_id").await, rebalances);
}

/// The ids of everything that a list has, each once.
async fn kept(site: &Site, process: &Process, path: &str, field: &str) -> BTreeSet<String> {
    const PAGE: usize = 100;
    let mut ids = BTreeSet::new();
    for page in 0.. {
        let path = format!("{path}?sort_by={field}&limit={PAGE}&offset={}", page * PAGE);
        let found = site.get(process, &path).await;
        let found = found.as_array().unwrap();
        for one in found {
            assert!(ids.insert(one[field].as_str().unwrap().to_owned()), "{one} is there twice");
        }
        if found.len() < PAGE {
            break;
        }
    }
    ids
}
