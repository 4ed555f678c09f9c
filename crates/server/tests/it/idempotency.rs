//! Requests that are sent again with the same key: done once, and answered the same.

mod crashes;
mod models;
mod rebalances;

use std::path::{Path, PathBuf};

use mongodb::bson::{DateTime, Document, doc};
use mongodb::{Client, Collection, Database};
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

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

/// Where the keys are, behind the service's back.
enum Keys {
    Sqlite(PathBuf),
    Mongodb(Database),
}

impl Keys {
    /// As a service leaves them that is killed after it recorded and before it kept the answer. The lease
    /// of its claim has ended.
    async fn forget_answers(&self) {
        match self {
            Self::Sqlite(file) => {
                let forget = "UPDATE idempotency_keys
                                 SET status = NULL, headers = NULL, body = NULL, lease_until = 0";
                executed(file, forget).await;
            }
            Self::Mongodb(database) => {
                let forget = doc! {
                    "$unset": { "status": "", "headers": "", "body": "" },
                    "$set": { "lease_until": DateTime::from_millis(0) },
                };
                self::keys(database).update_many(doc! {}, forget).await.unwrap();
            }
        }
    }

    /// As they are where the bodies were too large.
    async fn forget_bodies(&self) {
        match self {
            Self::Sqlite(file) => executed(file, "UPDATE idempotency_keys SET body = NULL").await,
            Self::Mongodb(database) => {
                let forget = doc! { "$unset": { "body": "" } };
                self::keys(database).update_many(doc! {}, forget).await.unwrap();
            }
        }
    }

    /// Whoever has an unanswered key is at work for another minute.
    async fn prolong_leases(&self) {
        match self {
            Self::Sqlite(file) => {
                let prolong = "UPDATE idempotency_keys SET lease_until = (unixepoch() + 60) * 1000";
                executed(file, prolong).await;
            }
            Self::Mongodb(database) => {
                let prolong = doc! { "$set": { "lease_until": { "$add": ["$$NOW", 60_000] } } };
                self::keys(database).update_many(doc! {}, vec![prolong]).await.unwrap();
            }
        }
    }
}

fn keys(database: &Database) -> Collection<Document> {
    database.collection("idempotency_keys")
}

async fn executed(file: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut behind = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut behind).await.unwrap();
    behind.close().await.unwrap();
}

/// Tells what `scenario` promises over every kind of store, the neighbours quick to be given up on.
async fn over_every_store(scenario: impl AsyncFn(&mut TestServer, &Keys)) {
    let mut server = TestServer::start().await;
    let keys = Keys::Sqlite(server.store());
    scenario(&mut server, &keys).await;
    for kind in [Kind::Standalone, Kind::ReplicaSet] {
        let Some(url) = shared(kind) else { return };
        let name = fresh_name();
        let mut server = TestServer::start_with(on(&url, &name)).await;
        let database = Client::with_uri_str(&url).await.unwrap().database(&name);
        scenario(&mut server, &Keys::Mongodb(database)).await;
        server.stop().await;
        drop_database(&url, &name).await;
    }
}
