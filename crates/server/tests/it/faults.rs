//! Neighbours that fail: what becomes of a rebalance, whichever way it is asked for.

mod breaker;
mod matrix;

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use rust_decimal_macros::dec;
use sandbox::{Faults, Sandbox};
use serde_json::{Value, json};
use server::config::Config;

use crate::harness::{Reply, TestServer, events_in, position, reply, sandbox_of};

pub(crate) const FIRST: &str = "683b6d88a29ee10e8b499643";
pub(crate) const SECOND: &str = "683b6d88a29ee10e8b499644";

/// Beside it lie the health reports, which are asked for all the while.
pub(crate) const API: &str = "/api/v1/";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbour {
    Accounting,
    Security,
    Pricing,
    Portfolio,
}
use Neighbour::{Accounting, Portfolio, Pricing, Security};

/// Those without whom nothing can be rebalanced.
pub(crate) const INDISPENSABLE: [Neighbour; 3] = [Accounting, Security, Pricing];

impl Neighbour {
    pub(crate) fn inject(self, sandbox: &Sandbox, faults: Faults) {
        match self {
            Accounting => sandbox.accounting.inject(faults),
            Security => sandbox.security.inject(faults),
            Pricing => sandbox.pricing.inject(faults),
            Portfolio => sandbox.portfolio.inject(faults),
        }
    }

    pub(crate) fn recover(self, sandbox: &Sandbox) {
        self.inject(sandbox, Faults::default());
    }

    /// Nobody listens there any more.
    async fn shut(self, sandbox: &mut Sandbox) {
        match self {
            Accounting => sandbox.accounting.shut().await,
            Security => sandbox.security.shut().await,
            Pricing => sandbox.pricing.shut().await,
            Portfolio => sandbox.portfolio.shut().await,
        }
        .unwrap();
    }

    /// As if nothing had been.
    fn restore(self, sandbox: &mut Sandbox) {
        match self {
            Accounting => sandbox.accounting.reopen(),
            Security => sandbox.security.reopen(),
            Pricing => sandbox.pricing.reopen(),
            Portfolio => sandbox.portfolio.reopen(),
        }
        .unwrap();
        self.recover(sandbox);
    }

    /// All that it was ever asked for.
    pub(crate) fn calls(self, sandbox: &Sandbox) -> u64 {
        match self {
            Accounting => sandbox.accounting.calls_under(API),
            Security => sandbox.security.calls_under(API),
            Pricing => sandbox.pricing.calls_under(API),
            Portfolio => sandbox.portfolio.calls_under(API),
        }
    }

    /// As the figures call it.
    fn service(self) -> &'static str {
        match self {
            Accounting => "portfolio-accounting-service",
            Security => "security-service",
            Pricing => "pricing-service",
            Portfolio => "portfolio-service",
        }
    }
}

/// How a rebalance is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Of the first portfolio alone.
    Single,
    Model,
    /// Of the model, while nobody waits for it.
    Async,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Single, Self::Model, Self::Async];
}

/// What became of a rebalance: told at once, or by its record if nobody waited for it.
#[derive(Debug)]
pub(crate) struct Came {
    /// Of the answer that told it, and after 202 the status of the record, such as `FAILED`.
    pub(crate) status: (u16, Option<String>),
    /// Empty where nothing went wrong.
    pub(crate) code: String,
    /// What was said of each portfolio.
    pub(crate) portfolios: Vec<Value>,
    /// Of whoever waited, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// Of what is kept as failed.
    record: Option<Value>,
}

/// A model of two securities and its two portfolios, known to everyone. Nothing is remembered between calls.
pub(crate) struct Desk {
    pub(crate) server: TestServer,
    pub(crate) model: String,
}

impl Desk {
    pub(crate) async fn open(adjust: impl FnOnce(&mut Config)) -> Self {
        let prices = [("A", dec!(100)), ("B", dec!(50)), ("C", dec!(10))];
        let sandbox = sandbox_of(&prices).await;
        let server = TestServer::start_on(sandbox, |config| {
            remember_nothing(config);
            // A busy machine is no fault.
            config.http.request_deadline = Duration::from_mins(1);
            config.store.timeout = Duration::from_mins(1);
            adjust(config);
        })
        .await;
        let positions = [
            position(&server.security("A"), "0.50", "0.05", "0.05"),
            position(&server.security("B"), "0.40", "0.05", "0.05"),
        ];
        for (portfolio, name) in [(FIRST, "First"), (SECOND, "Second")] {
            server.sandbox.accounting.fund(portfolio, dec!(10000), &[]);
            server.sandbox.portfolio.add(portfolio, name);
        }
        let model = server.create_model("Balanced", &positions, &[FIRST, SECOND]).await;
        Self { server, model }
    }

    pub(crate) async fn rebalance_both_ways(&self) -> [Reply; 2] {
        [self.server.rebalance_portfolio(FIRST).await, self.server.rebalance_model(&self.model).await]
    }

    /// Rebalances to the end, and says what became of it.
    pub(crate) async fn rebalance(&self, way: Way) -> Came {
        match way {
            Way::Single => at_once(self.server.rebalance_portfolio(FIRST).await),
            Way::Model => at_once(self.server.rebalance_model(&self.model).await),
            Way::Async => {
                let url = format!("{}/api/v1/model/{}/rebalance", self.server.url, self.model);
                let accepted = reply(self.server.client.post(url).header("prefer", "respond-async")).await;
                if accepted.status.as_u16() == 202 {
                    self.followed(accepted).await
                } else {
                    at_once(accepted)
                }
            }
        }
    }

    async fn followed(&self, accepted: Reply) -> Came {
        let path = accepted.headers["location"].to_str().unwrap();
        // The events would tell, but only twice a second.
        let record = loop {
            let record = self.server.get(path).await.expect(200);
            if record["status"] != "RUNNING" {
                break record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let events = self.server.get(&format!("{path}/events")).await.expect(200);
        let (_, last) = events_in(events.as_str().unwrap()).pop().unwrap();
        assert_eq!((&last["status"], &last["error"]), (&record["status"], &record["error"]));
        let status = record["status"].as_str().unwrap().to_owned();
        let portfolios = record["portfolios"].as_array().unwrap().clone();
        let code = record["error"]["code"].as_str().unwrap_or_default().to_owned();
        let record = (!code.is_empty()).then_some(record);
        Came { status: (202, Some(status)), code, portfolios, retry_after: None, record }
    }

    /// All that a rebalance changes.
    pub(crate) async fn kept(&self) -> Kept {
        let list = self.server.get("/api/v1/rebalances?limit=100").await.expect(200);
        let containing = json!({ "portfolios": [FIRST, SECOND] });
        let containing = self.server.post("/api/v1/rebalances/portfolios", &containing).await.expect(200);
        let model = self.server.get(&format!("/api/v1/model/{}", self.model)).await.expect(200);
        Kept { list: list.as_array().unwrap().clone(), containing, model }
    }

    pub(crate) async fn assert_nothing_kept(&self) {
        let Kept { list, containing, model } = self.kept().await;
        assert_eq!((list, containing), (Vec::new(), json!([])));
        assert_eq!((&model["last_rebalance_date"], &model["version"]), (&Value::Null, &json!(1)));
    }
}

/// What is kept, as it is read back.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    /// The newest first.
    list: Vec<Value>,
    /// Those of which any of the portfolios is a part.
    containing: Value,
    model: Value,
}

fn at_once(reply: Reply) -> Came {
    let retry_after = reply.headers.get(RETRY_AFTER).map(|wait| wait.to_str().unwrap().parse().unwrap());
    let status = reply.status.as_u16();
    if status != 200 {
        let code = reply.body["code"].as_str().unwrap().to_owned();
        reply.expect_problem(status, &code);
        return Came { status: (status, None), code, portfolios: Vec::new(), retry_after, record: None };
    }
    let portfolios = reply.body.as_array().cloned().unwrap_or_else(|| vec![reply.body]);
    Came { status: (status, None), code: String::new(), portfolios, retry_after, record: None }
}

/// And calls whoever failed, however often.
pub(crate) fn remember_nothing(config: &mut Config) {
    config.neighbours.breaker_threshold = 0;
    config.neighbours.prices_bulk_threshold = 0;
    config.neighbours.ticker_ttl = Duration::ZERO;
    config.neighbours.price_ttl = Duration::ZERO;
    config.neighbours.name_ttl = Duration::ZERO;
}
