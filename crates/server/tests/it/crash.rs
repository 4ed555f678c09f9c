//! The process dies, or is asked to stop; what was acknowledged is there when it comes back.

use std::cell::{Cell, RefCell};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::{join, join_all};
use reqwest::RequestBuilder;
use rust_decimal::Decimal;
use sandbox::{Faults, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::harness::{position, reply, sandbox_of};
use crate::process::{Process, ended, serve, signal};

/// A store, neighbours, and the means to start a service on them.
pub(crate) struct Site {
    sandbox: Sandbox,
    folder: TempDir,
    database: String,
    pub(crate) client: reqwest::Client,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("store.db").display());
        Self::on(database, folder).await
    }

    /// With two funded portfolios and two securities to hold.
    pub(crate) async fn on(database: String, folder: TempDir) -> Self {
        let sandbox = sandbox_of(&[("AAA", Decimal::from(100)), ("BBB", Decimal::from(7))]).await;
        let held = sandbox.security.id_of("BBB").unwrap();
        sandbox.accounting.fund("p1", Decimal::from(100_000), &[]);
        sandbox.accounting.fund("p2", Decimal::from(5000), &[(&held, Decimal::from(300))]);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        Self { sandbox, folder, database, client }
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let place = ["--host", "127.0.0.1", "--port", "0", "--database-url", &self.database];
        let arguments = [arguments, &place].concat();
        let neighbours = [
            ("PORTFOLIO_ACCOUNTING_SERVICE_URL", self.sandbox.accounting.url()),
            ("SECURITY_SERVICE_URL", self.sandbox.security.url()),
            ("PRICING_SERVICE_URL", self.sandbox.pricing.url()),
            ("PORTFOLIO_SERVICE_URL", self.sandbox.portfolio.url()),
        ];
        let variables: Vec<(&str, &str)> =
            neighbours.iter().map(|(name, url)| (*name, url.as_str())).collect();
        Process::start(serve(self.folder.path(), &arguments, &variables))
    }

    pub(crate) fn model(&self, name: &str) -> Value {
        let positions = ["AAA", "BBB"].map(|ticker| {
            let security = self.sandbox.security.id_of(ticker).unwrap();
            position(&security, "0.40", "0.02", "0.02")
        });
        json!({ "name": name, "positions": positions, "portfolios": ["p1", "p2"] })
    }

    pub(crate) async fn get(&self, process: &Process, path: &str) -> Value {
        reply(self.client.get(format!("{}{path}", process.url))).await.expect(200)
    }
}

/// What a client was told is done: models as they were served, and replies of rebalances.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pub(crate) models: Vec<Value>,
    pub(crate) rebalances: Vec<Value>,
}

/// The body of a success; `None` once the service is gone, even halfway through the reply.
async fn acknowledged(request: RequestBuilder) -> Option<Value> {
    let response = request.send().await.ok()?;
    assert!(response.status().is_success(), "{response:?}");
    response.json().await.ok()
}

/// Creates models and rebalances them until the service is killed, which happens in the middle of
/// this as soon as `last` things are acknowledged.
async fn write_until_killed(site: &Site, process: Process, round: usize, last: usize) -> Acknowledged {
    let url = process.url.clone();
    let (process, left) = (RefCell::new(process), Cell::new(last));
    let all = RefCell::new(Acknowledged::default());
    let count = || {
        left.set(left.get().wrapping_sub(1));
        if left.get() == 0 {
            process.borrow_mut().kill();
        }
    };

    let writers = (0..4).map(async |writer| {
        for idx in 0.. {
            let body = site.model(&format!("{round}.{writer}.{idx}"));
            let create = site.client.post(format!("{url}/api/v1/models")).json(&body);
            let Some(model) = acknowledged(create).await else { break };
            let id = model["model_id"].as_str().unwrap().to_owned();
            all.borrow_mut().models.push(model);
            count();
            let rebalance = site.client.post(format!("{url}/api/v1/model/{id}/rebalance"));
            let Some(rebalance) = acknowledged(rebalance).await else { break };
            all.borrow_mut().rebalances.push(rebalance);
            count();
        }
    });
    join_all(writers).await;
    all.into_inner()
}

/// Every trade that was promised, for every portfolio.
#[track_caller]
pub(crate) fn assert_complete(record: &Value, reply: &Value) {
    let (portfolios, promised) = (record["portfolios"].as_array().unwrap(), reply.as_array().unwrap());
    assert_eq!(portfolios.len(), promised.len());
    for (portfolio, promised) in portfolios.iter().zip(promised) {
        assert_eq!(portfolio["portfolio_id"], promised["portfolio_id"]);
        let positions = portfolio["positions"].as_array().unwrap();
        assert_eq!(positions.len(), promised["drifts"].as_array().unwrap().len());
        let trades = positions.iter().filter(|position| !position["trade_quantity"].is_null());
        let kept: Vec<_> = trades.map(|row| (&row["security_id"], &row["trade_quantity"])).collect();
        let promised = promised["transactions"].as_array().unwrap();
        let promised: Vec<_> = promised.iter().map(|row| (&row["security_id"], &row["quantity"])).collect();
        assert_eq!(kept, promised);
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_at_any_moment() {
    let site = Site::new().await;
    let mut kept = 0;

    for (round, last) in [1, 2, 3, 5, 8, 13, 17, 23].into_iter().enumerate() {
        let told = write_until_killed(&site, site.start(&[]), round, last).await;
        assert!(last <= told.models.len() + told.rebalances.len());

        let process = site.start(&[]);
        for model in &told.models {
            let id = model["model_id"].as_str().unwrap();
            let mut stored = site.get(&process, &format!("/api/v1/model/{id}")).await;
            stored["last_rebalance_date"] = Value::Null;
            assert_eq!(stored, *model);
        }
        for rebalance in &told.rebalances {
            let id = rebalance[0]["rebalance_id"].as_str().unwrap();
            let record = site.get(&process, &format!("/api/v1/rebalance/{id}")).await;
            assert_complete(&record, rebalance);
        }
        kept += told.rebalances.len();
    }

    // Nor is there anything by halves, acknowledged or not.
    let process = site.start(&[]);
    let records = site.get(&process, "/api/v1/rebalances?limit=100").await;
    let records = records.as_array().unwrap();
    assert!(kept <= records.len() && records.len() < 100, "{kept} {}", records.len());
    for record in records {
        let portfolios = record["portfolios"].as_array().unwrap();
        assert_eq!((portfolios.len(), &record["number_of_portfolios"]), (2, &json!(2)));
        assert!(portfolios.iter().all(|portfolio| portfolio["positions"].as_array().unwrap().len() == 2));
        let model =
            site.get(&process, &format!("/api/v1/model/{}", record["model_id"].as_str().unwrap())).await;
        assert_eq!(model["last_rebalance_date"], record["rebalance_date"]);
    }
    let models = site.get(&process, "/api/v1/models").await;
    let rebalanced =
        models.as_array().unwrap().iter().filter(|model| !model["last_rebalance_date"].is_null());
    assert_eq!(rebalanced.count(), records.len());
}

#[tokio::test]
async fn a_service_asked_to_stop_answers_what_is_under_way_first() {
    let site = Site::new().await;
    let mut process = site.start(&[]);
    let models = format!("{}/api/v1/models", process.url);
    let model = reply(site.client.post(models).json(&site.model("Slow"))).await.expect(201);
    let rebalance = format!("{}/api/v1/model/{}/rebalance", process.url, model["model_id"].as_str().unwrap());
    site.sandbox.accounting.inject(Faults::latency(Duration::from_millis(300)));

    let stop = async {
        while site.sandbox.accounting.calls_to("/api/v1/portfolios/p1/summary") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.signal("TERM");
    };
    let (answer, ()) = join(reply(site.client.post(rebalance)), stop).await;
    let status = process.ended().await;

    // Whoever kept the connection goes elsewhere for the next request.
    assert_eq!(answer.headers["connection"], "close");
    let answer = answer.expect(200);
    assert_eq!(status.code(), Some(0));
    let process = site.start(&[]);
    let id = answer[0]["rebalance_id"].as_str().unwrap();
    assert_complete(&site.get(&process, &format!("/api/v1/rebalance/{id}")).await, &answer);
}

#[tokio::test]
async fn a_service_asked_to_stop_does_not_wait_for_ever() {
    let site = Site::new().await;
    let config = site.folder.path().join("impatient.toml");
    std::fs::write(&config, "[http]\nshutdown_timeout_seconds = 1\n").unwrap();
    let mut process = site.start(&["--config", config.to_str().unwrap()]);
    let models = format!("{}/api/v1/models", process.url);
    let model = reply(site.client.post(models).json(&site.model("Stuck"))).await.expect(201);
    let rebalance = format!("{}/api/v1/model/{}/rebalance", process.url, model["model_id"].as_str().unwrap());
    site.sandbox.accounting.inject(Faults::latency(Duration::from_mins(10)));

    let stop = async {
        while site.sandbox.accounting.calls_to("/api/v1/portfolios/p1/summary") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.signal("INT");
        process.ended().await
    };
    let (answer, status) = join(site.client.post(rebalance).send(), stop).await;

    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_service_asked_to_stop_while_it_waits_for_its_store_waits_no_longer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let database = format!("mongodb://{}/?directConnection=true", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let variables = [("PORT", "0"), ("DATABASE_URL", &database), ("DATABASE_TIMEOUT_MS", "600000")];
    let mut command = serve(folder.path(), &[], &variables);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();

    let _connection = silent.accept().await.unwrap();
    signal("TERM", child.id());

    assert_eq!(ended(&mut child, &command).await.code(), Some(0));
}
