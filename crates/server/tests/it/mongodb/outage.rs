//! The server is away, and comes back.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, position};
use crate::mongod::{Kind, Mongod};

const TIMEOUT: Duration = Duration::from_millis(500);
/// What a busy machine may add to it.
const GRACE: Duration = Duration::from_secs(4);

async fn on(mongod: &Mongod) -> TestServer {
    TestServer::start_with(|config| {
        config.store.url = mongod.url();
        config.store.timeout = TIMEOUT;
        config.http.workers = 4;
    })
    .await
}

/// A problem in time that says when to try again and nothing of what is behind it.
#[track_caller]
fn refused_for_the_store(reply: Reply, took: Duration) {
    assert!(took < TIMEOUT + GRACE, "{took:?}");
    assert_eq!(reply.headers["retry-after"], "5");
    let problem = reply.expect_problem(503, "store-unavailable").to_string().to_lowercase();
    for secret in ["mongo", "database", "timed out", "connection", "127.0.0.1"] {
        assert!(!problem.contains(secret), "{secret}: {problem}");
    }
}

async fn timed(reply: impl Future<Output = Reply>) -> (Reply, Duration) {
    let begun = Instant::now();
    (reply.await, begun.elapsed())
}

async fn is_out_but_alive(server: &TestServer) {
    let (read, took) = timed(server.get("/api/v1/models")).await;
    refused_for_the_store(read, took);
    let body = json!({ "name": "Nowhere", "portfolios": ["p"] });
    let (write, took) = timed(server.post("/api/v1/models", &body)).await;
    refused_for_the_store(write, took);
    let (ready, took) = timed(server.get("/health/ready")).await;
    assert!(took < TIMEOUT + GRACE, "{took:?}");
    let ready = ready.expect(503);
    assert_eq!(
        (&ready["status"], &ready["dependencies"]["database"]),
        (&json!("not_ready"), &json!("unhealthy"))
    );
    assert_eq!(server.get("/health/live").await.expect(200)["status"], "healthy");
}

async fn until_ready(server: &TestServer) {
    for _ in 0..600 {
        if server.get("/health/ready").await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never ready again: {:#}", server.get("/health/ready").await.body);
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_waited_for() {
    for kind in super::KINDS {
        let Some(mut mongod) = Mongod::new(kind) else { return };
        let server = on(&mongod).await;
        is_out_but_alive(&server).await;

        mongod.start().await;

        // At once, on a database that nobody has prepared: names are unique from the first on.
        let body = json!({ "name": "Contested", "portfolios": ["p"] });
        let create = async || {
            for _ in 0..600 {
                let reply = server.post("/api/v1/models", &body).await;
                if reply.status != StatusCode::SERVICE_UNAVAILABLE {
                    return reply;
                }
            }
            panic!("the store stays away");
        };
        let replies = join_all((0..32).map(|_| create())).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == StatusCode::CREATED).count(), 1);
        until_ready(&server).await;
        let models = server.get("/api/v1/models").await.expect(200);
        assert_eq!(models.as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_server_stopped_under_load_costs_503s_and_is_found_again() {
    for kind in super::KINDS {
        costs_503s_and_is_found_again(kind, Ending::Asked).await;
    }
}

#[tokio::test]
async fn a_server_killed_under_load_costs_503s_and_is_found_again() {
    for kind in super::KINDS {
        costs_503s_and_is_found_again(kind, Ending::Killed).await;
    }
}

enum Ending {
    Asked,
    Killed,
}

async fn costs_503s_and_is_found_again(kind: Kind, ending: Ending) {
    let Some(mut mongod) = Mongod::new(kind) else { return };
    mongod.start().await;
    let server = on(&mongod).await;
    server.get("/health/ready").await.expect(200);

    let over = Cell::new(false);
    let stock = position(&server.security("AAPL"), "0.50", "0.05", "0.05");
    let model = server.create_model("Followed", &[stock], &["p"]).await;
    let load = join_all((0..8).map(async |caller| {
        let (mut kept, mut refused) = (Vec::new(), 0);
        for idx in 0.. {
            if over.get() {
                break;
            }
            let body = json!({ "name": format!("{caller}.{idx}"), "portfolios": ["p"] });
            let (reply, took) = timed(server.post("/api/v1/models", &body)).await;
            if reply.status == StatusCode::CREATED {
                kept.push(reply.body);
            } else {
                refused_for_the_store(reply, took);
                refused += 1;
            }
            let (reply, took) = timed(server.rebalance_model(&model)).await;
            if reply.status != StatusCode::OK {
                refused_for_the_store(reply, took);
            }
        }
        (kept, refused)
    }));
    let outage = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match ending {
            Ending::Asked => mongod.stop().await,
            Ending::Killed => mongod.kill(),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        is_out_but_alive(&server).await;
        mongod.start().await;
        until_ready(&server).await;
        server.create_model("After", &[], &["p"]).await;
        over.set(true);
    };
    let (callers, ()) = join(load, outage).await;

    let refused: usize = callers.iter().map(|(_, refused)| refused).sum();
    let kept: Vec<&Value> = callers.iter().flat_map(|(kept, _)| kept).collect();
    assert!(8 <= refused && 8 <= kept.len(), "{refused} refused, {} kept", kept.len());
    for model in kept {
        let id = model["model_id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/api/v1/model/{id}")).await.expect(200), *model, "{kind:?}");
    }
}
