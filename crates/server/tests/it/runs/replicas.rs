//! Two replicas over one MongoDB: each sees the runs of the other, to whatever end they come.

use std::time::Duration;

use sandbox::Faults;
use serde_json::{Value, json};
use server::config::Config;

use super::{Desk, LEASE_MS, events, path, process};
use crate::harness::TestServer;
use crate::mongod::{Kind, drop_database, fresh_name, shared};
use crate::mongodb::on;
use crate::process::Process;

const KINDS: [Kind; 2] = [Kind::Standalone, Kind::ReplicaSet];

fn replica(url: &str, database: &str) -> impl Fn(&mut Config) {
    let on = on(url, database);
    move |config| {
        on(config);
        config.rebalance.lease = Duration::from_millis(LEASE_MS.parse().unwrap());
    }
}

/// Another replica tells of the run, and cancels it.
#[tokio::test]
async fn any_replica_follows_and_cancels_the_run_of_another() {
    let Some(url) = shared(Kind::ReplicaSet) else { return };
    let database = fresh_name();
    let desk = Desk::of(600, replica(&url, &database)).await;
    let other = TestServer::start_with(replica(&url, &database)).await;
    desk.be_slow();
    let record = path(&desk.start().await);

    let following = events(&other.url, &other.client, &record);
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.delete(&format!("{record}?version=1")).await.expect(200);
    };
    let (events, ()) = tokio::join!(following, cancelling);

    assert_eq!(events.first().unwrap().0, "progress");
    assert_eq!(events.last().unwrap().0, "cancelled");
    let kept = desk.server.get(&record).await.expect(200);
    assert_eq!((&kept["status"], &kept["version"]), (&json!("CANCELLED"), &json!(2)));
    drop_database(&url, &database).await;
}

/// A desk at one replica, and another that has begun a rebalance of which a part is written.
struct TwoReplicas {
    desk: Desk,
    other: Process,
    /// The path of a rebalance that was completed before, and what was kept of it.
    before: (String, Value),
    /// The path of the one that the other replica is at.
    record: String,
    _folder: tempfile::TempDir,
}

impl TwoReplicas {
    async fn halfway(url: &str, database: &str) -> Self {
        let desk = Desk::of(600, replica(url, database)).await;
        let before = path(&desk.start().await);
        assert_eq!(
            events(&desk.server.url, &desk.server.client, &before).await.pop().unwrap().0,
            "completed"
        );
        let before = (before.clone(), desk.server.get(&before).await.expect(200));

        let folder = tempfile::tempdir().unwrap();
        let other = process(&desk, folder.path(), &[("MONGODB_URL", url), ("DATABASE_NAME", database)]);
        desk.be_slow();
        let record = path(&desk.start_on(&other.url).await);
        loop {
            let so_far = desk.server.get(&record).await.expect(200);
            assert_eq!(so_far["status"], "RUNNING");
            if so_far["number_of_portfolios"] != 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { desk, other, before, record, _folder: folder }
    }

    /// The desk's replica has failed the rebalance, and nothing else has changed.
    async fn assert_interrupted(&self, last: &(String, Value)) {
        let Self { desk, before, record, .. } = self;
        assert_eq!((last.0.as_str(), &last.1["error"]["code"]), ("failed", &json!("interrupted")));
        let kept = desk.server.get(record).await.expect(200);
        assert_eq!((&kept["status"], &kept["error"]), (&json!("FAILED"), &last.1["error"]));
        assert_eq!((&kept["version"], &kept["portfolios"]), (&json!(2), &json!([])));
        assert_eq!(desk.server.get(&format!("{record}/portfolios")).await.expect(200), json!([]));

        let (path, completed) = before;
        assert_eq!(desk.server.get(path).await.expect(200), *completed);
        assert_eq!(desk.date().await, completed["rebalance_date"]);
        let of_it = json!({ "portfolios": [desk.portfolios[0]] });
        let containing = desk.server.post("/api/v1/rebalances/portfolios", &of_it).await.expect(200);
        assert_eq!(containing, json!([completed]));
    }

    /// A new rebalance of the same model.
    async fn assert_goes_on(&self) {
        self.desk.server.sandbox.accounting.inject(Faults::default());
        let next = path(&self.desk.start().await);
        let last = events(&self.desk.server.url, &self.desk.server.client, &next).await.pop().unwrap();
        assert_eq!((last.0.as_str(), &last.1["number_of_portfolios"]), ("completed", &json!(594)));
        assert_eq!(self.desk.date().await, self.desk.server.get(&next).await.expect(200)["rebalance_date"]);
    }
}

#[tokio::test]
async fn what_a_killed_replica_was_at_is_failed_by_another_and_can_be_done_again() {
    for kind in KINDS {
        let Some(url) = shared(kind) else { return };
        let database = fresh_name();
        let mut replicas = TwoReplicas::halfway(&url, &database).await;

        let following = events(&replicas.desk.server.url, &replicas.desk.server.client, &replicas.record);
        let other = &mut replicas.other;
        let (told, ()) = tokio::join!(following, async { other.kill() });

        assert_eq!(told[0].0, "progress");
        replicas.assert_interrupted(told.last().unwrap()).await;
        replicas.assert_goes_on().await;
        drop_database(&url, &database).await;
    }
}

/// As one does whose machine is short of memory, or is moved.
#[tokio::test]
async fn a_replica_held_up_beyond_its_lease_finds_its_run_ended_and_leaves_it_so() {
    let Some(url) = shared(Kind::ReplicaSet) else { return };
    let database = fresh_name();
    let mut replicas = TwoReplicas::halfway(&url, &database).await;
    replicas.other.signal("STOP");
    let last = events(&replicas.desk.server.url, &replicas.desk.server.client, &replicas.record).await;
    let last = last.last().unwrap();
    replicas.assert_interrupted(last).await;

    replicas.other.signal("CONT");

    // It learns so at its next step, and has nothing under way then.
    replicas.other.signal("TERM");
    let lines = replicas.other.lines().await;
    assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{lines:#?}");
    let told: Vec<&Value> = lines.iter().filter(|line| line["action"] == "rebalance-model").collect();
    assert_eq!((told.len(), &told[0]["outcome"]), (2, &json!("begun")));
    assert_eq!((&told[1]["outcome"], &told[1]["reason"]), (&json!("refused"), &json!("rebalance-cancelled")));
    replicas.assert_interrupted(last).await;
    replicas.assert_goes_on().await;
    drop_database(&url, &database).await;
}
