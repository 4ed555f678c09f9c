//! Rebalances that are asked for again.

use std::cell::Cell;

use application::idempotency::LEASE;
use futures_util::future::{join, join_all};
use sandbox::Faults;
use serde_json::{Value, json};

use super::{over_every_store, post};
use crate::crash::Site;
use crate::harness::{TestServer, position, reply};
use crate::mongod::{Kind, Mongod};

/// Two portfolios that can be rebalanced, one between them that cannot, and the path that asks for it.
async fn desk(server: &TestServer) -> String {
    let (apple, microsoft) = (server.security("AAPL"), server.security("MSFT"));
    server.sandbox.accounting.fund("p1", 100_000.into(), &[]);
    server.sandbox.accounting.fund("poor", (-5).into(), &[]);
    server.sandbox.accounting.fund("p2", 5000.into(), &[(&apple, 300.into())]);
    let positions = [&apple, &microsoft].map(|security| position(security, "0.40", "0.05", "0.05"));
    let model = server.create_model("Balanced", &positions, &["p1", "poor", "p2"]).await;
    format!("/api/v1/model/{model}/rebalance")
}

async fn n_records(server: &TestServer) -> usize {
    server.get("/api/v1/rebalances?limit=100").await.expect(200).as_array().unwrap().len()
}

#[tokio::test]
async fn a_rebalance_asked_for_twice_with_one_key_is_made_once_and_answered_the_same() {
    over_every_store(async |server, _| {
        let of_the_model = desk(server).await;
        let paths = [of_the_model.as_str(), "/api/v1/portfolio/p1/rebalance"];
        for (n, path) in paths.into_iter().enumerate() {
            let first = post(server, path, &Value::Null, "k").await;
            assert_eq!(first.status, 200, "{first:?}");
            for _ in 0..2 {
                post(server, path, &Value::Null, "k").await.assert_replays(&first);
            }
            assert_eq!(n_records(server).await, 2 * n + 1);
            let other = post(server, path, &Value::Null, "another").await;
            assert_eq!((other.status.as_u16(), other.is_replayed()), (200, false));
            assert_eq!(n_records(server).await, 2 * n + 2);
        }
    })
    .await;
}

#[tokio::test]
async fn of_thirty_two_at_once_one_rebalances_and_all_others_are_told_the_same_or_to_wait() {
    over_every_store(async |server, _| {
        let path = desk(server).await;
        let server = &*server;
        let replies = join_all((0..32).map(|_| post(server, &path, &Value::Null, "k"))).await;

        let (done, waiting): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
        let first = done.iter().find(|reply| !reply.is_replayed()).expect("one is the first");
        for reply in &done {
            reply.assert_same_as(first);
        }
        for reply in waiting {
            reply.into_reply().expect_problem(409, "request-in-flight");
        }
        assert_eq!(n_records(server).await, 1);
        post(server, &path, &Value::Null, "k").await.assert_replays(first);
    })
    .await;
}

#[tokio::test]
async fn two_replicas_over_one_store_make_one_rebalance_for_one_key() {
    for kind in [Kind::Standalone, Kind::ReplicaSet] {
        let Some(mut mongod) = Mongod::new(kind) else { return };
        mongod.start().await;
        let site = Site::on(mongod.url(), tempfile::tempdir().unwrap()).await;
        let replicas = [site.start(&[]), site.start(&[])];
        let models = format!("{}/api/v1/models", replicas[0].url);
        let model = reply(site.client.post(models).json(&site.model("Balanced"))).await.expect(201);
        let path = format!("/api/v1/model/{}/rebalance", model["model_id"].as_str().unwrap());

        let replies = join_all((0..32).map(|n| {
            let request = site.client.post(format!("{}{path}", replicas[n % 2].url));
            super::Raw::of(request.header("Idempotency-Key", "k"))
        }))
        .await;

        let replies = replies.into_iter().map(Result::unwrap);
        let (done, waiting): (Vec<_>, Vec<_>) = replies.partition(|reply| reply.status == 200);
        for reply in &done {
            reply.assert_same_as(&done[0]);
        }
        for reply in waiting {
            reply.into_reply().expect_problem(409, "request-in-flight");
        }
        for replica in &replicas {
            let again = site.client.post(format!("{}{path}", replica.url)).header("Idempotency-Key", "k");
            let again = super::Raw::of(again).await.unwrap();
            again.assert_same_as(&done[0]);
            assert!(again.is_replayed());
            assert_eq!(site.get(replica, "/api/v1/rebalances").await.as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn other_rules_or_another_model_with_the_same_key_are_refused() {
    over_every_store(async |server, _| {
        let of_the_model = desk(server).await;
        let model = of_the_model.split('/').nth(4).unwrap();
        let of_the_portfolio = "/api/v1/portfolio/p1/rebalance";
        for path in [of_the_model.as_str(), of_the_portfolio] {
            let first = post(server, path, &json!({ "ticket_fee": 1 }), "k").await;
            assert_eq!(first.status, 200);
            for body in [Value::Null, json!({}), json!({ "ticket_fee": 2 })] {
                let refused = post(server, path, &body, "k").await;
                refused.into_reply().expect_problem(422, "idempotency-key-reused");
            }
            let unknown = format!("{path}?unknown=1");
            post(server, &unknown, &json!({ "ticket_fee": 1 }), "k").await.assert_replays(&first);
        }
        let chosen = format!("{of_the_portfolio}?model_id={model}");
        let refused = post(server, &chosen, &json!({ "ticket_fee": 1 }), "k").await;
        refused.into_reply().expect_problem(422, "idempotency-key-reused");
        assert_eq!(n_records(server).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_has_nothing_to_do_with_keys() {
    let server = TestServer::start().await;
    let path = desk(&server).await;
    for _ in 0..2 {
        let tried = post(&server, &format!("{path}?dry_run=true"), &Value::Null, "k").await;
        assert_eq!((tried.status.as_u16(), tried.is_replayed()), (200, false));
        assert_eq!(tried.json()[0]["rebalance_id"], Value::Null);
    }
    let made = post(&server, &path, &json!({ "ticket_fee": 1 }), "k").await;
    assert_eq!((made.status.as_u16(), made.is_replayed()), (200, false));
}

#[tokio::test]
async fn an_outage_may_be_tried_again_at_once_with_the_same_key() {
    over_every_store(async |server, _| {
        let path = desk(server).await;
        server.sandbox.accounting.inject(Faults::outage());
        for _ in 0..2 {
            let failed = post(server, &path, &Value::Null, "k").await;
            failed.into_reply().expect_problem(503, "external-service-unavailable");
        }
        server.sandbox.accounting.recover();

        let made = post(server, &path, &Value::Null, "k").await;
        assert_eq!((made.status.as_u16(), made.is_replayed()), (200, false));
        post(server, &path, &Value::Null, "k").await.assert_replays(&made);
        assert_eq!(n_records(server).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_frees_the_key_for_any_request() {
    let server = TestServer::start().await;
    desk(&server).await;
    let path = "/api/v1/portfolio/p1/rebalance";
    let refused = post(&server, path, &json!({ "minimum_cash": 99_999 }), "k").await;
    refused.into_reply().expect_problem(422, "no-feasible-solution");

    let made = post(&server, path, &Value::Null, "k").await;
    assert_eq!(made.status, 200);
    post(&server, path, &Value::Null, "k").await.assert_replays(&made);
}

#[tokio::test]
async fn a_rebalance_whose_answer_was_not_kept_is_answered_for_by_its_record_to_the_byte() {
    over_every_store(async |server, keys| {
        let of_the_model = desk(server).await;
        for path in [of_the_model.as_str(), "/api/v1/portfolio/p1/rebalance"] {
            let first = post(server, path, &json!({ "ticket_fee": "9.50" }), "k").await;
            assert_eq!(first.status, 200);
            let before = n_records(server).await;
            server.sandbox.accounting.inject(Faults::outage());
            keys.forget_answers().await;
            for _ in 0..2 {
                post(server, path, &json!({ "ticket_fee": "9.50" }), "k").await.assert_replays(&first);
            }
            keys.forget_bodies().await;
            post(server, path, &json!({ "ticket_fee": "9.50" }), "k").await.assert_replays(&first);
            server.sandbox.accounting.recover();
            assert_eq!(n_records(server).await, before);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_begun_and_not_recorded_is_done_again_under_the_same_id() {
    over_every_store(async |server, keys| {
        let path = desk(server).await;
        let first = post(server, &path, &Value::Null, "k").await.json();
        let record = format!("/api/v1/rebalance/{}", first[0]["rebalance_id"].as_str().unwrap());
        // As if it had been killed before it recorded.
        server.delete(&format!("{record}?version=1")).await.expect(200);
        keys.forget_answers().await;

        let made = post(server, &path, &Value::Null, "k").await;
        assert_eq!((made.status.as_u16(), made.is_replayed()), (200, false));
        assert_eq!(made.json()[0]["rebalance_id"], first[0]["rebalance_id"]);
        post(server, &path, &Value::Null, "k").await.assert_replays(&made);
        assert_eq!(n_records(server).await, 1);
    })
    .await;
}

#[tokio::test]
async fn as_long_as_a_lease_lasts_a_repetition_waits() {
    over_every_store(async |server, keys| {
        let path = desk(server).await;
        let first = post(server, &path, &Value::Null, "k").await;
        keys.forget_answers().await;
        keys.prolong_leases().await;

        for _ in 0..2 {
            let waiting = post(server, &path, &Value::Null, "k").await;
            assert_eq!(waiting.headers["retry-after"], "1");
            waiting.into_reply().expect_problem(409, "request-in-flight");
        }

        keys.forget_answers().await;
        post(server, &path, &Value::Null, "k").await.assert_replays(&first);
    })
    .await;
}

/// However long it takes: the lease is renewed.
#[tokio::test]
async fn a_rebalance_that_takes_longer_than_a_lease_is_not_begun_again() {
    let server = TestServer::start_with(|config| config.neighbours.timeout = 4 * LEASE).await;
    let path = desk(&server).await;
    server.sandbox.accounting.inject(Faults::latency(LEASE + LEASE / 3));
    let is_done = Cell::new(false);

    let first = async {
        let made = post(&server, &path, &Value::Null, "k").await;
        is_done.set(true);
        made
    };
    let others = async {
        let mut replies = Vec::new();
        while !is_done.get() {
            replies.push(post(&server, &path, &Value::Null, "k").await);
            tokio::time::sleep(LEASE / 20).await;
        }
        replies
    };
    let (made, others) = join(first, others).await;

    assert_eq!((made.status.as_u16(), made.is_replayed()), (200, false));
    for other in others {
        // It may have been answered when the first was, and before that was told.
        if other.is_replayed() {
            other.assert_same_as(&made);
        } else {
            other.into_reply().expect_problem(409, "request-in-flight");
        }
    }
    assert_eq!(server.sandbox.accounting.calls_to("/api/v1/portfolios/p1/summary"), 1);
    post(&server, &path, &Value::Null, "k").await.assert_replays(&made);
    assert_eq!(n_records(&server).await, 1);
}

#[tokio::test]
async fn an_answer_outlives_its_record_but_one_too_large_to_be_kept_does_not() {
    over_every_store(async |server, keys| {
        let path = desk(server).await;
        let first = post(server, &path, &Value::Null, "k").await;
        let record = format!("/api/v1/rebalance/{}", first.json()[0]["rebalance_id"].as_str().unwrap());
        server.delete(&format!("{record}?version=1")).await.expect(200);
        post(server, &path, &Value::Null, "k").await.assert_replays(&first);

        keys.forget_bodies().await;
        let gone = post(server, &path, &Value::Null, "k").await;
        gone.into_reply().expect_problem(404, "result-gone");
        assert_eq!(n_records(server).await, 0);
    })
    .await;
}
