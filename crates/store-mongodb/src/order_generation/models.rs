//! Models, one document each, in the reference service's own shape.

use application::order_generation::ports::{Direction, ModelKey, ModelRepository, Page};
use application::repository::{Error, Source};
use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, doc};
use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId, SecurityId};
use domain::order_generation::model::{Followers, Model, ModelContent, ModelName};
use domain::order_generation::position::{Band, Position, Positions};
use domain::version::Version;
use futures_util::TryStreamExt;
use mongodb::options::ReturnDocument;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{MODELS, order, paged};
use crate::MongoStore;
use crate::decimal::exact;
use crate::document::{self, Whole, date, instant, read, text, written};
use crate::failure::{failed, taken};

const MODEL: &str = "model";

#[derive(Serialize, Deserialize)]
struct ModelDocument {
    #[serde(rename = "_id")]
    id: ObjectId,
    name: String,
    #[serde(default)]
    positions: Vec<PositionRecord>,
    portfolios: Vec<String>,
    last_rebalance_date: Option<DateTime>,
    version: Whole,
    created_at: Option<DateTime>,
    updated_at: Option<DateTime>,
}

#[derive(Serialize, Deserialize)]
struct PositionRecord {
    #[serde(with = "text")]
    security_id: SecurityId,
    #[serde(with = "exact")]
    target: Decimal,
    #[serde(with = "exact")]
    high_drift: Decimal,
    #[serde(with = "exact")]
    low_drift: Decimal,
}

impl From<&Model> for ModelDocument {
    fn from(model: &Model) -> Self {
        Self {
            id: object_id(&model.id),
            name: model.name.as_str().to_owned(),
            positions: model.positions.iter().map(PositionRecord::from).collect(),
            portfolios: model.followers.as_slice().iter().map(PortfolioId::to_string).collect(),
            last_rebalance_date: model.last_rebalance_date.map(date),
            version: Whole(model.version.get()),
            created_at: Some(date(model.created_at)),
            updated_at: Some(date(model.created_at)),
        }
    }
}

impl TryFrom<ModelDocument> for Model {
    type Error = Source;

    fn try_from(document: ModelDocument) -> Result<Self, Source> {
        let positions = document.positions.into_iter().map(Position::try_from).collect::<Result<_, _>>()?;
        let portfolios = document.portfolios.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        Ok(Self {
            id: ModelId::from_bytes(document.id.bytes()),
            name: ModelName::new(&document.name)?,
            positions: Positions::new(positions).map_err(|mut broken| broken.swap_remove(0))?,
            followers: Followers::new(portfolios).map_err(|mut broken| broken.swap_remove(0))?,
            last_rebalance_date: document.last_rebalance_date.map(instant).transpose()?,
            version: document::version(document.version)?,
            created_at: document::created(document.created_at, document.id)?,
        })
    }
}

impl From<&Position> for PositionRecord {
    fn from(position: &Position) -> Self {
        Self {
            security_id: position.security,
            target: position.target.get(),
            high_drift: position.band.high(),
            low_drift: position.band.low(),
        }
    }
}

impl TryFrom<PositionRecord> for Position {
    type Error = Source;

    fn try_from(record: PositionRecord) -> Result<Self, Source> {
        Ok(Self {
            security: record.security_id,
            target: record.target.try_into()?,
            band: Band::new(record.low_drift.try_into()?, record.high_drift.try_into()?)?,
        })
    }
}

#[derive(Serialize)]
struct ContentDocument {
    name: String,
    positions: Vec<PositionRecord>,
    portfolios: Vec<String>,
    version: i64,
}

#[async_trait]
impl ModelRepository for MongoStore {
    async fn find(&self, id: &ModelId) -> Result<Option<Model>, Error> {
        self.ready().await.map_err(failed)?;
        let models = self.collection(MODELS);
        let found = self.in_time(models.find_one(by_id(id))).await.map_err(failed)?;
        found.map(|found| read_model(&found)).transpose()
    }

    async fn list(&self, order: &[(ModelKey, Direction)], page: Page) -> Result<Vec<Model>, Error> {
        self.ready().await.map_err(failed)?;
        let models = self.collection(MODELS);
        let Some(found) = paged(models.find(doc! {}), sort(order), page) else {
            return Ok(Vec::new());
        };
        let found = self.answers(found).await.map_err(failed)?;
        found.map_err(failed).and_then(async |model| read_model(&model)).try_collect().await
    }

    async fn newest_followed_by(&self, portfolio: &PortfolioId) -> Result<Option<Model>, Error> {
        self.ready().await.map_err(failed)?;
        let follows = doc! { "portfolios": portfolio.as_str() };
        let models = self.collection(MODELS);
        let found = self.in_time(models.find_one(follows).sort(sort(&[]))).await.map_err(failed)?;
        found.map(|found| read_model(&found)).transpose()
    }

    async fn insert(&self, model: &Model) -> Result<(), Error> {
        self.ready().await.map_err(failed)?;
        let document = written(&ModelDocument::from(model));
        let models = self.collection(MODELS);
        self.in_time(models.insert_one(document)).await.map_err(taken(model.name.as_str()))?;
        Ok(())
    }

    async fn replace(
        &self,
        id: &ModelId,
        content: &ModelContent,
        last_rebalance_date: Option<Timestamp>,
        expected: Version,
    ) -> Result<Model, Error> {
        self.ready().await.map_err(failed)?;
        let content = ContentDocument {
            name: content.name.as_str().to_owned(),
            positions: content.positions.iter().map(PositionRecord::from).collect(),
            portfolios: content.followers.as_slice().iter().map(PortfolioId::to_string).collect(),
            version: expected.next().get(),
        };
        let mut change = doc! { "$currentDate": { "updated_at": true } };
        change.insert("$set", bson::serialize_to_bson(&content).expect("it is a struct of plain values"));
        if let Some(instant) = last_rebalance_date {
            change.insert("$max", doc! { "last_rebalance_date": date(instant) });
        }
        let models = self.collection(MODELS);
        let replaced = models
            .find_one_and_update(at_version(object_id(id), expected), change)
            .return_document(ReturnDocument::After);
        match self.in_time(replaced).await.map_err(taken(&content.name))? {
            Some(model) => read_model(&model),
            None => Err(self.unmatched(MODELS, MODEL, object_id(id), expected).await),
        }
    }

    async fn delete(&self, id: &ModelId, expected: Version) -> Result<(), Error> {
        self.ready().await.map_err(failed)?;
        let id = object_id(id);
        let models = self.collection(MODELS);
        let deleted = self.in_time(models.delete_one(at_version(id, expected))).await.map_err(failed)?;
        if deleted.deleted_count == 0 {
            return Err(self.unmatched(MODELS, MODEL, id, expected).await);
        }
        Ok(())
    }
}

impl MongoStore {
    /// Why no document has that id at the version `expected`.
    pub(super) async fn unmatched(
        &self,
        collection: &str,
        entity: &'static str,
        id: ObjectId,
        expected: Version,
    ) -> Error {
        let collection = self.collection(collection);
        let found = collection.find_one(doc! { "_id": id }).projection(doc! { "version": 1 });
        match self.in_time(found).await {
            Ok(None) => Error::Missing,
            Ok(Some(found)) => match read::<VersionDocument, _>(entity, &found) {
                Ok(Stored { version: found }) => Error::Conflict { expected, found },
                Err(corrupt) => corrupt,
            },
            Err(error) => failed(error),
        }
    }
}

#[derive(Deserialize)]
struct VersionDocument {
    version: Whole,
}

struct Stored {
    version: Version,
}

impl TryFrom<VersionDocument> for Stored {
    type Error = Source;

    fn try_from(document: VersionDocument) -> Result<Self, Source> {
        Ok(Self { version: document::version(document.version)? })
    }
}

fn read_model(raw: &RawDocumentBuf) -> Result<Model, Error> {
    read::<ModelDocument, Model>(MODEL, raw)
}

pub(super) fn object_id(id: &ModelId) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}

fn by_id(id: &ModelId) -> Document {
    doc! { "_id": object_id(id) }
}

pub(super) fn at_version(id: ObjectId, version: Version) -> Document {
    doc! { "_id": id, "version": version.get() }
}

fn sort(keys: &[(ModelKey, Direction)]) -> Document {
    let fields = keys.iter().map(|(key, direction)| {
        let field = match key {
            ModelKey::Id => "_id",
            ModelKey::Name => "name",
            ModelKey::LastRebalanceDate => "last_rebalance_date",
        };
        (field, *direction)
    });
    order(fields, &["_id", "name"])
}
