//! Rebalances of models with many portfolios: under way where all can see them, to their ends.

mod replicas;

use std::path::Path;
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sandbox::Faults;
use serde_json::{Value, json};
use server::config::Config;

use crate::harness::{Reply, TestServer, decimal, events_in, position, reply, sandbox_of};
use crate::mongod::{Kind, drop_database, fresh_name, shared};
use crate::mongodb::on;
use crate::process::{Process, serve};
use crate::telemetry::figures::Figures;

const SLOW: Duration = Duration::from_millis(150);
/// Of those that are to be given up for lost within a test.
const LEASE_MS: &str = "900";

/// A service in which as many portfolios are funded and follow a model as it is asked for.
struct Desk {
    server: TestServer,
    model: String,
    portfolios: Vec<String>,
}

impl Desk {
    async fn of(portfolios: usize, adjust: impl FnOnce(&mut Config)) -> Self {
        let prices = [("A", dec!(100)), ("B", dec!(50)), ("C", dec!(7.77))];
        let server = TestServer::start_on(sandbox_of(&prices).await, adjust).await;
        let held = server.security("C");
        let portfolios: Vec<String> = (0..portfolios).map(|n| format!("p{n:05}")).collect();
        for (n, portfolio) in portfolios.iter().enumerate() {
            let cash = Decimal::from(10_000 + n);
            // Debts that no holding covers: nothing can be done for one in a hundred.
            let cash = if n % 100 == 7 { -cash } else { cash };
            let holdings = [(held.as_str(), Decimal::from(n % 3))];
            server.sandbox.accounting.fund(
                portfolio,
                cash,
                &holdings[..usize::from(n % 3 != 0 && n % 100 != 7)],
            );
        }
        let positions = [
            position(&server.security("A"), "0.50", "0.05", "0.05"),
            position(&server.security("B"), "0.40", "0.05", "0.05"),
        ];
        let followers: Vec<&str> = portfolios.iter().map(String::as_str).collect();
        let model = server.create_model("Popular", &positions, &followers).await;
        Self { server, model, portfolios }
    }

    async fn start(&self) -> Value {
        self.start_on(&self.server.url).await
    }

    /// On another replica.
    async fn start_on(&self, url: &str) -> Value {
        let accepted = self.ask(url).await;
        assert_eq!(accepted.headers["preference-applied"], "respond-async");
        let location = accepted.headers["location"].to_str().unwrap().to_owned();
        let body = accepted.expect(202);
        assert_eq!(location, format!("/api/v1/rebalance/{}", body["rebalance_id"].as_str().unwrap()));
        body
    }

    async fn ask(&self, url: &str) -> Reply {
        let url = format!("{url}/api/v1/model/{}/rebalance", self.model);
        reply(self.server.client.post(url).header("prefer", "wait=1, Respond-Async")).await
    }

    fn be_slow(&self) {
        self.server.sandbox.accounting.inject(Faults::latency(SLOW));
    }

    async fn date(&self) -> Value {
        let model = self.server.get(&format!("/api/v1/model/{}", self.model)).await.expect(200);
        model["last_rebalance_date"].clone()
    }

    /// Nothing can be read of it but that it is there.
    async fn assert_no_portfolios(&self, record: &str) {
        let portfolios = self.server.get(&format!("{record}/portfolios")).await.expect(200);
        assert_eq!(portfolios, json!([]));
        let first = self.portfolios[0].as_str();
        let positions = self.server.get(&format!("{record}/portfolio/{first}/positions")).await;
        positions.expect_problem(404, "portfolio-not-in-rebalance");
        let of_it = json!({ "portfolios": [first] });
        let containing = self.server.post("/api/v1/rebalances/portfolios", &of_it).await;
        assert_eq!(containing.expect(200), json!([]));
        assert_eq!(self.date().await, Value::Null);
    }
}

fn path(record: &Value) -> String {
    format!("/api/v1/rebalance/{}", record["rebalance_id"].as_str().unwrap())
}

/// The events of a rebalance to its end: names and data.
async fn events(url: &str, client: &reqwest::Client, record: &str) -> Vec<(String, Value)> {
    let response = client.get(format!("{url}{record}/events")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    events_in(&response.text().await.unwrap())
}

/// Another replica for the desk, over the store that the variables name; whose runs are soon given up for
/// lost.
fn process(desk: &Desk, folder: &Path, variables: &[(&str, &str)]) -> Process {
    let sandbox = &desk.server.sandbox;
    let neighbours = [
        ("PORTFOLIO_ACCOUNTING_SERVICE_URL", sandbox.accounting.url()),
        ("SECURITY_SERVICE_URL", sandbox.security.url()),
        ("PRICING_SERVICE_URL", sandbox.pricing.url()),
        ("PORTFOLIO_SERVICE_URL", sandbox.portfolio.url()),
    ];
    let mut variables = variables.to_vec();
    variables.extend(neighbours.iter().map(|(name, url)| (*name, url.as_str())));
    variables.push(("REBALANCE_LEASE_MS", LEASE_MS));
    Process::start(serve(folder, &["--host", "127.0.0.1", "--port", "0"], &variables))
}

/// Cash before, less what was bought, plus what was sold, is cash after: to the last digit.
fn assert_cash_is_conserved(portfolio: &Value) {
    let mut cash = decimal(&portfolio["cash_before_rebalance"]);
    for position in portfolio["positions"].as_array().unwrap() {
        let quantity = position["trade_quantity"].as_i64().unwrap_or_default();
        let bought = if position["transaction_type"] == "SELL" { -quantity } else { quantity };
        cash -= Decimal::from(bought) * decimal(&position["price"]);
    }
    assert_eq!(cash, decimal(&portfolio["cash_after_rebalance"]), "{portfolio:#}");
    assert!(Decimal::ZERO <= cash);
}

async fn a_thousand_come_to_their_end(desk: &Desk) {
    desk.be_slow();
    let started = desk.start().await;
    let record = path(&started);
    assert_eq!((&started["status"], &started["version"]), (&json!("RUNNING"), &json!(1)));
    assert_eq!((&started["portfolios_total"], &started["portfolios"]), (&json!(1000), &json!([])));
    desk.assert_no_portfolios(&record).await;
    desk.server.sandbox.accounting.inject(Faults::default());

    let events = events(&desk.server.url, &desk.server.client, &record).await;

    let (last, progress) = events.split_last().unwrap();
    assert_eq!((last.0.as_str(), &last.1["status"]), ("completed", &json!("COMPLETED")));
    assert!(progress.iter().all(|(name, _)| name == "progress"), "{progress:?}");
    let far: Vec<u64> =
        events.iter().map(|(_, data)| data["number_of_portfolios"].as_u64().unwrap()).collect();
    assert!(far.is_sorted() && far.last() == Some(&990), "{far:?}");

    let kept = desk.server.get(&record).await.expect(200);
    assert_eq!(
        (&kept["status"], &kept["version"], &kept["error"]),
        (&json!("COMPLETED"), &json!(2), &Value::Null)
    );
    assert_eq!((&kept["number_of_portfolios"], &kept["portfolios_failed"]), (&json!(990), &json!(10)));
    assert_eq!(desk.date().await, kept["rebalance_date"]);
    let (mut rebalanced, mut failed) = (desk.portfolios.clone(), desk.portfolios.clone());
    let is_poor = |portfolio: &String| portfolio.ends_with("07");
    rebalanced.retain(|portfolio| !is_poor(portfolio));
    failed.retain(is_poor);
    let ids = |list: &Value| -> Vec<String> {
        let id = |one: &Value| one["portfolio_id"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(id).collect()
    };
    assert_eq!((ids(&kept["portfolios"]), ids(&kept["failures"])), (rebalanced, failed));
    kept["portfolios"].as_array().unwrap().iter().for_each(assert_cash_is_conserved);

    let figures = Figures::of(&desk.server).await;
    assert_eq!(figures.count("rebalances_total{scope=\"model\",status=\"partial\"}"), 1);
    for (status, count) in [("rebalanced", 990), ("failed", 10)] {
        assert_eq!(figures.count(&format!("rebalance_portfolios_total{{status=\"{status}\"}}")), count);
    }
    for when in ["before", "after"] {
        assert_eq!(figures.count(&format!("rebalance_portfolio_drift_count{{when=\"{when}\"}}")), 990);
    }
    // Chunks of 64, each written by one command; the start and the end.
    for (operation, count) in [("start", 1), ("append", 16), ("finish", 1)] {
        let labels = format!("collection=\"rebalances\",operation=\"{operation}\",status=\"ok\"");
        assert_eq!(figures.count(&format!("database_operations_total{{{labels}}}")), count, "{operation}");
    }
}

#[tokio::test]
async fn a_thousand_portfolios_are_rebalanced_while_nobody_waits() {
    a_thousand_come_to_their_end(&Desk::of(1000, |_| {}).await).await;
}

#[tokio::test]
async fn a_thousand_portfolios_are_rebalanced_on_mongodb() {
    for kind in [Kind::Standalone, Kind::ReplicaSet] {
        let Some(url) = shared(kind) else { return };
        let database = fresh_name();
        let desk = Desk::of(1000, on(&url, &database)).await;
        a_thousand_come_to_their_end(&desk).await;
        drop_database(&url, &database).await;
    }
}

#[tokio::test]
async fn whoever_waits_is_answered_every_portfolio_in_the_models_order() {
    let desk = Desk::of(600, |_| {}).await;
    desk.server.sandbox.portfolio.add("p00599", "The last");

    let reply = desk.server.rebalance_model(&desk.model).await.expect(200);

    let elements = reply.as_array().unwrap();
    let ids: Vec<&str> = elements.iter().map(|element| element["portfolio_id"].as_str().unwrap()).collect();
    assert_eq!(ids, desk.portfolios);
    for (n, element) in elements.iter().enumerate() {
        let status = if n % 100 == 7 { "FAILED" } else { "REBALANCED" };
        assert_eq!(element["status"], status, "{element:#}");
        assert_eq!(element["rebalance_id"], elements[0]["rebalance_id"]);
    }
    assert_eq!(elements[599]["portfolio_name"], "The last");
    assert_eq!(elements[7]["error"]["code"], "market-value-not-positive", "{:#}", elements[7]);
    let record = desk.server.record_of(&elements[0]).await;
    assert_eq!((&record["status"], &record["number_of_portfolios"]), (&json!("COMPLETED"), &json!(594)));
    assert_eq!(desk.server.get("/api/v1/rebalances").await.expect(200), json!([record]));
}

#[tokio::test]
async fn a_rebalance_under_way_can_be_cancelled_and_then_deleted() {
    let desk = Desk::of(600, |_| {}).await;
    desk.be_slow();
    let record = path(&desk.start().await);

    desk.server.delete(&format!("{record}?version=2")).await.expect_problem(409, "rebalance-modified");
    let message = desk.server.delete(&format!("{record}?version=1")).await.expect(200);
    assert!(message["message"].as_str().unwrap().ends_with(" cancelled"), "{message}");

    let cancelled = desk.server.get(&record).await.expect(200);
    assert_eq!((&cancelled["status"], &cancelled["version"]), (&json!("CANCELLED"), &json!(2)));
    desk.assert_no_portfolios(&record).await;
    let last = events(&desk.server.url, &desk.server.client, &record).await;
    assert_eq!((last.len(), last[0].0.as_str()), (1, "cancelled"));
    desk.server.delete(&format!("{record}?version=1")).await.expect_problem(409, "rebalance-modified");
    desk.server.delete(&format!("{record}?version=2")).await.expect(200);
    desk.server.get(&record).await.expect_problem(404, "rebalance-not-found");
    desk.server.get(&format!("{record}/events")).await.expect_problem(404, "rebalance-not-found");
}

#[tokio::test]
async fn an_outage_on_the_way_fails_the_rebalance_and_keeps_no_portfolio() {
    let desk = Desk::of(600, |_| {}).await;
    desk.be_slow();
    let record = path(&desk.start().await);
    desk.server.sandbox.accounting.inject(Faults::outage());

    let last = events(&desk.server.url, &desk.server.client, &record).await.pop().unwrap();

    assert_eq!(last.0, "failed");
    assert_eq!(last.1["error"]["code"], "external-service-unavailable");
    let kept = desk.server.get(&record).await.expect(200);
    assert_eq!((&kept["status"], &kept["error"]), (&json!("FAILED"), &last.1["error"]));
    desk.assert_no_portfolios(&record).await;
    let unavailable = "rebalances_total{scope=\"model\",status=\"unavailable\"}";
    assert_eq!(Figures::of(&desk.server).await.count(unavailable), 1);

    // Whoever waits is told, and nothing is kept at all.
    desk.server.delete(&format!("{record}?version=2")).await.expect(200);
    let problem = desk.server.rebalance_model(&desk.model).await;
    problem.expect_problem(503, "external-service-unavailable");
    assert_eq!(desk.server.get("/api/v1/rebalances").await.expect(200), json!([]));
    assert_eq!(desk.date().await, Value::Null);
    assert_eq!(Figures::of(&desk.server).await.count(unavailable), 2);
}

#[tokio::test]
async fn what_is_known_at_once_is_refused_at_once() {
    let desk = Desk::of(3, |config| config.rebalance.max_async = 1).await;
    let empty = desk.server.create_model("Empty", &[], &["p"]).await;
    for (model, status, code) in
        [(empty.as_str(), 422, "empty-model"), ("000000000000000000000000", 404, "model-not-found")]
    {
        let url = format!("{}/api/v1/model/{model}/rebalance", desk.server.url);
        let refused = reply(desk.server.client.post(url).header("prefer", "respond-async")).await;
        refused.expect_problem(status, code);
    }
    assert_eq!(desk.server.get("/api/v1/rebalances").await.expect(200), json!([]));

    desk.be_slow();
    desk.start().await;
    let refused = desk.ask(&desk.server.url).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_problem(503, "too-many-rebalances");

    // A dry run keeps nothing, and so has to be waited for.
    let url = format!("{}/api/v1/model/{}/rebalance?dry_run=true", desk.server.url, desk.model);
    let tried = reply(desk.server.client.post(url).header("prefer", "respond-async")).await.expect(200);
    assert_eq!(tried[0]["rebalance_id"], Value::Null);
}

/// Who follows a rebalance is being answered as long as there is something to follow.
#[tokio::test]
async fn a_streamed_answer_is_in_flight_until_its_end_or_until_its_client_is_gone() {
    const ROUTE: &str = "method=\"GET\",path=\"/api/v1/rebalance/{rebalance_id}/events\",status=\"200\"";
    let desk = Desk::of(1000, |_| {}).await;
    desk.be_slow();
    let record = path(&desk.start().await);
    let in_flight = async || Figures::of(&desk.server).await.count("http_requests_in_flight");
    let ended = async || {
        let figures = Figures::of(&desk.server).await;
        figures.count(&format!("http_request_duration_milliseconds_count{{{ROUTE}}}"))
    };
    let follow = async || {
        let url = format!("{}{record}/events", desk.server.url);
        desk.server.client.get(url).send().await.unwrap().error_for_status().unwrap()
    };

    let (gone, stays) = (follow().await, follow().await);
    assert_eq!((in_flight().await, ended().await), (1 + 2, 0));

    // It is noticed when there is something to tell.
    drop(gone);
    while in_flight().await != 1 + 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ended().await, 1);

    desk.server.delete(&format!("{record}?version=1")).await.expect(200);
    assert!(stays.text().await.unwrap().contains("event: cancelled"));
    assert_eq!((in_flight().await, ended().await), (1, 2));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let desk = Desk::of(600, |config| config.http.request_deadline = Duration::ZERO).await;
    // Nothing else would end it soon.
    desk.server.sandbox.accounting.inject(Faults::latency(Duration::from_mins(10)));
    let url = format!("{}/api/v1/model/{}/rebalance", desk.server.url, desk.model);
    let impatient = desk.server.client.post(url).timeout(Duration::from_millis(400)).send().await;
    assert!(impatient.unwrap_err().is_timeout());

    // Its end is noticed, and what it left is removed.
    while desk.server.get("/api/v1/rebalances").await.expect(200) != json!([]) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(desk.date().await, Value::Null);
    let figures = Figures::of(&desk.server).await;
    let labels = "method=\"POST\",path=\"/api/v1/model/{model_id}/rebalance\",status=\"499\"";
    assert_eq!(figures.count(&format!("http_requests_total{{{labels}}}")), 1);
}

#[tokio::test]
async fn a_service_that_is_stopped_says_so_of_what_it_did_not_complete() {
    let mut desk = Desk::of(600, |config| config.http.shutdown_timeout = Duration::from_millis(200)).await;
    desk.be_slow();
    let record = path(&desk.start().await);

    desk.server.restart().await;

    let kept = desk.server.get(&record).await.expect(200);
    assert_eq!((&kept["status"], &kept["error"]["code"]), (&json!("FAILED"), &json!("interrupted")));
    desk.assert_no_portfolios(&record).await;
}

#[tokio::test]
async fn a_service_that_is_stopped_completes_what_it_can() {
    let mut desk = Desk::of(300, |config| config.http.shutdown_timeout = Duration::from_secs(30)).await;
    let record = path(&desk.start().await);

    desk.server.restart().await;

    assert_eq!(desk.server.get(&record).await.expect(200)["status"], "COMPLETED");
}

#[tokio::test]
async fn a_killed_services_rebalance_fails_once_its_lease_has_ended() {
    let mut desk = Desk::of(600, |_| {}).await;
    desk.be_slow();
    desk.server.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", desk.server.store().display());
    let start = || process(&desk, folder.path(), &[("DATABASE_URL", &database)]);

    let mut killed = start();
    let record = path(&desk.start_on(&killed.url).await);
    killed.kill();
    let next = start();
    desk.server.url.clone_from(&next.url);

    let last = events(&next.url, &desk.server.client, &record).await.pop().unwrap();
    assert_eq!((last.0.as_str(), &last.1["error"]["code"]), ("failed", &json!("interrupted")));
    desk.assert_no_portfolios(&record).await;
    let interrupted = "rebalances_total{scope=\"model\",status=\"interrupted\"}";
    while Figures::of(&desk.server).await.count(interrupted) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
