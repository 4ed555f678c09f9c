//! Requests that are sent again with the same key: done once, and answered the same.

mod models;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::harness::{Reply, TestServer};
use crate::mongod::{Kind, drop_database, fresh_name, shared};
use crate::mongodb::on;

/// A reply to the byte.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Raw {
    pub(crate) async fn of(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await? })
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// For what is asserted of any reply.
    fn into_reply(self) -> Reply {
        let body = self.json();
        Reply { status: self.status, headers: self.headers, body }
    }

    #[track_caller]
    fn assert_replays(&self, first: &Self) {
        assert!(self.is_replayed() && !first.is_replayed(), "{self:?} {first:?}");
        self.assert_same_as(first);
    }

    #[track_caller]
    fn assert_same_as(&self, first: &Self) {
        assert_eq!((self.status, &self.text), (first.status, &first.text));
        for name in ["content-type", "location", "preference-applied"] {
            assert_eq!(self.headers.get(name), first.headers.get(name));
        }
    }
}

/// Without a body when it is null.
async fn post(server: &TestServer, path: &str, body: &Value, key: &str) -> Raw {
    let request = server.client.post(format!("{}{path}", server.url)).header("Idempotency-Key", key);
    Raw::of(if body.is_null() { request } else { request.json(body) }).await.unwrap()
}

/// Tells what `scenario` promises over every kind of store.
async fn over_every_store(scenario: impl AsyncFn(&mut TestServer)) {
    scenario(&mut TestServer::start().await).await;
    for kind in [Kind::Standalone, Kind::ReplicaSet] {
        let Some(url) = shared(kind) else { return };
        let database = fresh_name();
        let mut server = TestServer::start_with(on(&url, &database)).await;
        scenario(&mut server).await;
        server.stop().await;
        drop_database(&url, &database).await;
    }
}
