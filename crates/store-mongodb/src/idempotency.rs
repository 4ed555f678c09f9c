//! Idempotency keys, one document each.
//!
//! A claim is one command: the server decides, by its own clock, whether the key is to be had, and what
//! the document is afterwards says who has it.

use std::time::Duration;

use application::idempotency::{Answer, Claim, Claimed, IdempotencyKeys, Key, OperationId};
use application::repository::{Error, Source};
use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, RawDocumentBuf, doc};
use mongodb::options::{IndexOptions, ReturnDocument};
use mongodb::{Database, IndexModel};

use crate::MongoStore;
use crate::document::read;
use crate::failure::{failed, is_duplicate};
use crate::fields::{Fields, Value};

const KEYS: &str = "idempotency_keys";
const KEY: &str = "idempotency key";

/// Of two claims of a new key at once, one may find the other's document neither there nor absent.
const ATTEMPTS: usize = 5;

/// The server removes a key within a minute of its end; until then, claims know it for over.
pub(crate) async fn create_indexes(database: &Database) -> Result<(), mongodb::error::Error> {
    let over = IndexOptions::builder().expire_after(Duration::ZERO).build();
    let expiry = IndexModel::builder().keys(doc! { "expires_at": 1 }).options(over).build();
    database.collection::<RawDocumentBuf>(KEYS).create_index(expiry).await?;
    Ok(())
}

#[async_trait]
impl IdempotencyKeys for MongoStore {
    async fn claim(&self, key: &Key, claim: &Claim) -> Result<Claimed, Error> {
        self.ready().await.map_err(failed)?;
        let keys = self.collection(KEYS);
        let mut attempts = 1;
        let document = loop {
            let claimed = keys
                .find_one_and_update(doc! { "_id": key.as_str() }, taking(claim))
                .upsert(true)
                .return_document(ReturnDocument::After)
                .max_time(self.patience);
            match self.in_time(claimed).await {
                Err(error) if is_duplicate(&error) && attempts < ATTEMPTS => attempts += 1,
                claimed => break claimed.map_err(failed)?,
            }
        };
        let document = document.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        read(KEY, &document, |from| read_claimed(from, claim))
    }

    async fn renew(&self, key: &Key, holder: OperationId, lease: Duration) -> Result<bool, Error> {
        self.change(held(key, holder), doc! { "lease_until": in_future(lease) }).await
    }

    async fn answer(&self, key: &Key, holder: OperationId, answer: &Answer) -> Result<bool, Error> {
        let Answer { status, headers, body } = answer;
        let headers: Vec<Bson> =
            headers.iter().map(|(name, value)| doc! { "name": name, "value": value }.into()).collect();
        let mut answered = doc! { "status": i32::from(*status), "headers": headers };
        if let Some(body) = body {
            answered.insert("body", binary(body));
        }
        self.change(held(key, holder), doc! { "$literal": answered }).await
    }

    async fn release(&self, key: &Key, holder: OperationId) -> Result<(), Error> {
        self.ready().await.map_err(failed)?;
        let keys = self.collection(KEYS);
        let mut fresh = held(key, holder);
        fresh.insert("operation", object_id(holder));
        self.in_time(keys.delete_one(fresh)).await.map_err(failed)?;
        Ok(())
    }

    async fn suspend(&self, key: &Key, holder: OperationId) -> Result<(), Error> {
        self.renew(key, holder, Duration::ZERO).await?;
        Ok(())
    }
}

impl MongoStore {
    /// Whether there was such a key to give these fields to.
    async fn change(&self, which: Document, fields: Document) -> Result<bool, Error> {
        self.ready().await.map_err(failed)?;
        let keys = self.collection(KEYS);
        let change = vec![doc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", fields] } }];
        let changed = self.in_time(keys.update_one(which, change)).await.map_err(failed)?;
        Ok(changed.matched_count != 0)
    }
}

/// Changes the document only where the claim may have the key.
fn taking(claim: &Claim) -> Vec<Document> {
    let untouched_until = doc! {
        "holder": object_id(claim.proposed),
        "lease_until": in_future(claim.lease),
        "expires_at": in_future(claim.kept_for),
    };
    let drawn = doc! { "$literal": {
        "fingerprint": binary(&claim.fingerprint.0),
        "operation": object_id(claim.proposed),
    } };
    let is_to_be_had = doc! { "$or": [
        { "$eq": [{ "$type": "$operation" }, "missing"] },
        { "$lte": ["$expires_at", "$$NOW"] },
    ] };
    let is_to_be_resumed = doc! { "$and": [
        { "$eq": [{ "$type": "$status" }, "missing"] },
        { "$eq": ["$fingerprint", binary(&claim.fingerprint.0)] },
        { "$lte": ["$lease_until", "$$NOW"] },
    ] };
    vec![doc! { "$replaceWith": { "$switch": {
        "branches": [
            {
                "case": is_to_be_had,
                "then": { "$mergeObjects": [{ "_id": "$_id" }, drawn, untouched_until.clone()] },
            },
            { "case": is_to_be_resumed, "then": { "$mergeObjects": ["$$ROOT", untouched_until] } },
        ],
        "default": "$$ROOT",
    } } }]
}

fn read_claimed(from: &mut Fields<'_>, claim: &Claim) -> Result<Claimed, Source> {
    let fingerprint = from.get("fingerprint", Value::binary)?;
    let operation = OperationId(from.get("operation", Value::object_id)?.bytes());
    let holder = from.get("holder", Value::object_id)?;
    let status = from.optional("status", Value::whole)?;
    if holder == object_id(claim.proposed) {
        return Ok(if operation == claim.proposed { Claimed::Fresh } else { Claimed::Resumed(operation) });
    }
    if fingerprint != claim.fingerprint.0 {
        return Ok(Claimed::Reused);
    }
    let Some(status) = status else { return Ok(Claimed::InFlight) };
    let header = |header: Value<'_>| header.fields(read_header);
    let answer = Answer {
        status: status.try_into()?,
        headers: from.get("headers", |headers| headers.list(header))?,
        body: from.optional("body", |body| Ok(body.binary()?.to_vec()))?,
    };
    Ok(Claimed::Answered(operation, answer))
}

fn read_header(from: &mut Fields<'_>) -> Result<(String, String), Source> {
    let name = from.get("name", Value::text)?.to_owned();
    Ok((name, from.get("value", Value::text)?.to_owned()))
}

/// A key that is the holder's, and not answered.
fn held(key: &Key, holder: OperationId) -> Document {
    doc! { "_id": key.as_str(), "holder": object_id(holder), "status": { "$exists": false } }
}

fn in_future(time: Duration) -> Document {
    doc! { "$add": ["$$NOW", i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)] }
}

fn object_id(operation: OperationId) -> ObjectId {
    ObjectId::from_bytes(operation.0)
}

fn binary(bytes: &[u8]) -> Bson {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }.into()
}
