//! Models that are created again.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{over_every_store, post};
use crate::harness::TestServer;

const MODELS: &str = "/api/v1/models";

fn model(name: &str) -> Value {
    json!({ "name": name, "portfolios": ["p1", "p2"] })
}

async fn names(server: &TestServer) -> Vec<String> {
    let models = server.get("/api/v1/models?sort_by=name").await.expect(200);
    models.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_model_sent_twice_with_one_key_is_created_once_and_answered_the_same() {
    over_every_store(async |server, _| {
        let first = post(server, MODELS, &model("Balanced"), "k").await;
        let again = post(server, MODELS, &model("Balanced"), "k").await;
        let other = post(server, MODELS, &model("Growth"), "another").await;

        assert_eq!((first.status.as_u16(), other.status.as_u16()), (201, 201));
        again.assert_replays(&first);
        assert_eq!(
            again.headers["location"],
            format!("/api/v1/model/{}", first.json()["model_id"].as_str().unwrap())
        );
        assert_ne!(other.json()["model_id"], first.json()["model_id"]);
        assert_eq!(names(server).await, ["Balanced", "Growth"]);
    })
    .await;
}

#[tokio::test]
async fn of_thirty_two_at_once_one_creates_and_all_others_are_told_the_same_or_to_wait() {
    over_every_store(async |server, _| {
        let server = &*server;
        let balanced = model("Balanced");
        let replies = join_all((0..32).map(|_| post(server, MODELS, &balanced, "k"))).await;

        let (done, waiting): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
        let first = done.iter().find(|reply| !reply.is_replayed()).expect("one is the first");
        assert_eq!(done.iter().filter(|reply| !reply.is_replayed()).count(), 1);
        for reply in &done {
            reply.assert_same_as(first);
        }
        for reply in waiting {
            assert_eq!(reply.headers["retry-after"], "1");
            reply.into_reply().expect_problem(409, "request-in-flight");
        }
        assert_eq!(names(server).await, ["Balanced"]);
        post(server, MODELS, &model("Balanced"), "k").await.assert_replays(first);
    })
    .await;
}

#[tokio::test]
async fn another_body_with_the_same_key_is_refused_and_does_nothing() {
    over_every_store(async |server, _| {
        let first = post(server, MODELS, &model("Balanced"), "k").await;

        for other in
            [model("Growth"), json!({ "name": "Balanced", "portfolios": ["p1", "p2"], "unknown": 1 })]
        {
            let refused = post(server, MODELS, &other, "k").await;
            refused.into_reply().expect_problem(422, "idempotency-key-reused");
        }

        assert_eq!(names(server).await, ["Balanced"]);
        post(server, MODELS, &model("Balanced"), "k").await.assert_replays(&first);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_free_again_after_a_refusal() {
    over_every_store(async |server, _| {
        server.post(MODELS, &model("Balanced")).await.expect(201);

        for _ in 0..2 {
            let refused = post(server, MODELS, &model("Balanced"), "k").await;
            assert!(!refused.is_replayed());
            refused.into_reply().expect_problem(409, "name-taken");
        }
        let invalid = post(server, MODELS, &json!({ "name": "" }), "k").await;
        invalid.into_reply().expect_problem(422, "invalid-body");
        let created = post(server, MODELS, &model("Growth"), "k").await;
        assert_eq!(created.status, 201);

        post(server, MODELS, &model("Growth"), "k").await.assert_replays(&created);
    })
    .await;
}

#[tokio::test]
async fn a_model_whose_answer_was_not_kept_is_answered_for_by_what_it_is() {
    over_every_store(async |server, keys| {
        let first = post(server, MODELS, &model("Balanced"), "k").await;
        keys.forget_answers().await;

        let found = post(server, MODELS, &model("Balanced"), "k").await;
        found.assert_replays(&first);
        post(server, MODELS, &model("Balanced"), "k").await.assert_replays(&first);
        assert_eq!(names(server).await, ["Balanced"]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_outlives_what_it_tells_of_and_the_service() {
    let mut server = TestServer::start().await;
    let first = post(&server, MODELS, &model("Balanced"), "k").await;
    let path = format!("/api/v1/model/{}", first.json()["model_id"].as_str().unwrap());
    server.delete(&format!("{path}?version=1")).await.expect(204);

    post(&server, MODELS, &model("Balanced"), "k").await.assert_replays(&first);
    server.restart().await;
    post(&server, MODELS, &model("Balanced"), "k").await.assert_replays(&first);

    assert_eq!(names(&server).await, [""; 0]);
}

#[tokio::test]
async fn a_key_may_be_any_visible_ascii_and_be_quoted_or_not() {
    let server = TestServer::start().await;
    let first = post(&server, MODELS, &model("Balanced"), "\"a\\\"b\\\\c\"").await;
    assert_eq!(first.status, 201);
    post(&server, MODELS, &model("Balanced"), "a\"b\\c").await.assert_replays(&first);
    assert_eq!(post(&server, MODELS, &model("Long"), &"k".repeat(255)).await.status, 201);

    for key in
        ["", "a b", "\"", "\"a", "\"a\"b\"", "\"a\\b\"", "\"a\\\"", "\"\"", "\"a b\"", "ä", &"k".repeat(256)]
    {
        let refused = post(&server, MODELS, &model("Other"), key).await;
        refused.into_reply().expect_problem(400, "invalid-idempotency-key");
    }
    let twice = server.client.post(format!("{}{MODELS}", server.url)).json(&model("Other"));
    let twice = super::Raw::of(twice.header("Idempotency-Key", "a").header("Idempotency-Key", "a")).await;
    twice.unwrap().into_reply().expect_problem(400, "invalid-idempotency-key");
    assert_eq!(names(&server).await, ["Balanced", "Long"]);
}

#[tokio::test]
async fn a_key_that_was_kept_long_enough_is_a_new_one() {
    let server = TestServer::start_with(|config| config.idempotency.kept_for = Duration::ZERO).await;
    let first = post(&server, MODELS, &model("Balanced"), "k").await;
    assert_eq!(first.status, 201);

    let later = post(&server, MODELS, &model("Balanced"), "k").await;
    later.into_reply().expect_problem(409, "name-taken");
    assert_eq!(post(&server, MODELS, &model("Growth"), "k").await.status, 201);
}

#[tokio::test]
async fn pages_may_send_the_key_and_read_whether_the_answer_is_a_repetition() {
    let server = TestServer::start().await;
    let preflight = server
        .client
        .request(reqwest::Method::OPTIONS, format!("{}{MODELS}", server.url))
        .header("Origin", "https://example.com")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "idempotency-key");
    let allowed = crate::harness::reply(preflight).await;
    let allowed = allowed.headers["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(allowed.contains("idempotency-key"), "{allowed}");

    let request = server.client.post(format!("{}{MODELS}", server.url)).json(&model("Balanced"));
    let reply = crate::harness::reply(request.header("Origin", "https://example.com")).await;
    let exposed = reply.headers["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(exposed.contains("idempotent-replayed"), "{exposed}");
}
