//! `kill -9` of the service, of the server, and of both, at moments drawn at random.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::future::{join, join_all};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::crash::{Acknowledged, Site, assert_complete};
use crate::mongod::{Kind, Mongod};
use crate::process::Process;

/// As many as a suite has time for; `KILL_ROUNDS` asks for others.
const ROUNDS: usize = 6;
const WRITERS: usize = 4;
/// No more than this is acknowledged before something is killed.
const MOST_ACKNOWLEDGED: usize = 40;
/// The kill comes at any moment of the write that is under way then, and of the next.
const LONGEST_DELAY_MICROSECONDS: u64 = 30_000;
/// A client that gave up was told nothing.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
/// Of a list.
const PAGE: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Service,
    Server,
    Both,
}

const VICTIMS: [Victim; 3] = [Victim::Service, Victim::Server, Victim::Both];

#[tokio::test]
async fn on_a_standalone_server_what_was_acknowledged_survives_every_kill_and_nothing_is_there_by_halves() {
    survives_every_kill(Kind::Standalone).await;
}

#[tokio::test]
async fn on_a_replica_set_what_was_acknowledged_survives_every_kill_and_nothing_is_there_by_halves() {
    survives_every_kill(Kind::ReplicaSet).await;
}

#[expect(clippy::print_stderr, reason = "how much was tried is worth knowing")]
async fn survives_every_kill(kind: Kind) {
    let Some(mut mongod) = Mongod::new(kind) else { return };
    mongod.start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("impatient.toml");
    std::fs::write(&config, "[store]\ntimeout_milliseconds = 500\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let site = Site::on(mongod.url(), folder).await;
    let mut process = site.start(&arguments);
    let (mut n_models, mut n_rebalances) = (0, 0);

    for round in 0..rounds() {
        let victim = VICTIMS[round % VICTIMS.len()];
        let told = write_until_killed(&site, &mut process, &mut mongod, round, victim).await;
        if victim != Victim::Service {
            mongod.start().await;
        }
        if victim != Victim::Server {
            process = site.start(&arguments);
        }
        until_ready(&site, &process).await;
        assert_kept(&site, &process, &told).await;
        n_models += told.models.len();
        n_rebalances += told.rebalances.len();
    }

    let n_records = assert_nothing_by_halves(&site, &process).await;
    if kind == Kind::ReplicaSet {
        // Not on a standalone server: there the date of a record that was cut off stays.
        let models = site.get(&process, "/api/v1/models").await;
        let dated = models.as_array().unwrap().iter().filter(|model| !model["last_rebalance_date"].is_null());
        assert_eq!(dated.count(), n_records);
    }
    assert!(n_rebalances <= n_records, "{n_rebalances} of {n_records}");
    eprintln!(
        "{kind:?}: {} rounds; acknowledged: {n_models} models, {n_rebalances} rebalances; kept: {n_records}",
        rounds()
    );
}

fn rounds() -> usize {
    let asked = std::env::var_os("KILL_ROUNDS");
    asked.map_or(ROUNDS, |rounds| rounds.to_str().unwrap().parse().unwrap())
}

/// The body of a success; `None` once someone was killed, even halfway through the reply.
async fn acknowledged(request: RequestBuilder) -> Option<Value> {
    let response = request.timeout(CLIENT_PATIENCE).send().await.ok()?;
    let status = response.status();
    assert!(status.is_success() || status == 503, "{response:?}");
    if status == 503 { None } else { response.json().await.ok() }
}

async fn write_until_killed(
    site: &Site,
    process: &mut Process,
    mongod: &mut Mongod,
    round: usize,
    victim: Victim,
) -> Acknowledged {
    let url = process.url.clone();
    let (all, count) = (RefCell::new(Acknowledged::default()), Cell::new(0));
    let writing = Cell::new(WRITERS);
    let last = rand::random_range(1..=MOST_ACKNOWLEDGED);
    let delay = Duration::from_micros(rand::random_range(0..LONGEST_DELAY_MICROSECONDS));

    let writers = join_all((0..WRITERS).map(async |writer| {
        for idx in 0.. {
            let body = site.model(&format!("{round}.{writer}.{idx}"));
            let create = site.client.post(format!("{url}/api/v1/models")).json(&body);
            let Some(model) = acknowledged(create).await else { break };
            let id = model["model_id"].as_str().unwrap().to_owned();
            all.borrow_mut().models.push(model);
            count.set(count.get() + 1);
            let rebalance = site.client.post(format!("{url}/api/v1/model/{id}/rebalance"));
            let Some(rebalance) = acknowledged(rebalance).await else { break };
            all.borrow_mut().rebalances.push(rebalance);
            count.set(count.get() + 1);
        }
        writing.set(writing.get() - 1);
    }));
    let killer = async {
        // On a busy machine, the writers may all have given up before.
        while count.get() < last && 0 < writing.get() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(delay).await;
        if victim != Victim::Service {
            mongod.kill();
        }
        if victim != Victim::Server {
            process.kill();
        }
    };
    join(writers, killer).await;
    all.into_inner()
}

async fn until_ready(site: &Site, process: &Process) {
    for _ in 0..1200 {
        let ready = site.client.get(format!("{}/health/ready", process.url)).send().await.unwrap();
        if ready.status().is_success() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never ready again");
}

async fn assert_kept(site: &Site, process: &Process, told: &Acknowledged) {
    for model in &told.models {
        let id = model["model_id"].as_str().unwrap();
        let mut stored = site.get(process, &format!("/api/v1/model/{id}")).await;
        stored["last_rebalance_date"] = Value::Null;
        assert_eq!(stored, *model);
    }
    for rebalance in &told.rebalances {
        let id = rebalance[0]["rebalance_id"].as_str().unwrap();
        let record = site.get(process, &format!("/api/v1/rebalance/{id}")).await;
        assert_complete(&record, rebalance);
    }
}

/// Reads every rebalance there is, acknowledged or not, and says how many.
async fn assert_nothing_by_halves(site: &Site, process: &Process) -> usize {
    let mut seen = 0;
    loop {
        let page = format!("/api/v1/rebalances?sort_by=rebalance_id&limit={PAGE}&offset={seen}");
        let records = site.get(process, &page).await;
        let records = records.as_array().unwrap();
        for record in records {
            let portfolios = record["portfolios"].as_array().unwrap();
            assert_eq!((portfolios.len(), record["number_of_portfolios"].as_u64()), (2, Some(2)));
            assert!(portfolios.iter().all(|portfolio| portfolio["positions"].as_array().unwrap().len() == 2));
            let model = record["model_id"].as_str().unwrap();
            let model = site.get(process, &format!("/api/v1/model/{model}")).await;
            assert_eq!(model["last_rebalance_date"], record["rebalance_date"]);
        }
        seen += records.len();
        if records.len() < PAGE {
            return seen;
        }
    }
}
