//! Models, one document each, in the reference service's own shape.

use application::order_generation::ports::{Direction, ModelKey, ModelRepository, Page};
use application::repository::{Error, Source};
use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Document, RawDocument, RawDocumentBuf, doc};
use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId};
use domain::order_generation::model::{Followers, Model, ModelContent, ModelName};
use domain::order_generation::position::{Band, Position, Positions};
use domain::version::Version;
use mongodb::options::ReturnDocument;

use super::rules::{TRADING_RULES, read_rules, write_rules};
use super::{MODELS, order, paged};
use crate::MongoStore;
use crate::document::{created, date, read, version};
use crate::failure::{failed, taken};
use crate::fields::{Fields, Value};
use crate::writer::{Writer, document};

const MODEL: &str = "model";

/// Fields are read in the order in which they are written, which is the reference's too.
fn model_document(model: &Model) -> RawDocumentBuf {
    document(|to| {
        to.object_id("_id", object_id(&model.id));
        write_content(to, &model.content());
        match model.last_rebalance_date {
            Some(date) => to.date("last_rebalance_date", date),
            None => to.null("last_rebalance_date"),
        }
        to.whole("version", model.version.get());
        to.date("created_at", model.created_at);
        to.date("updated_at", model.created_at);
        write_rules(to, &model.rules);
    })
}

/// But for the rules, which follow what the reference service knows.
fn write_content(to: &mut Writer, content: &ModelContent) {
    let ModelContent { name, positions, followers, rules: _ } = content;
    to.text("name", name.as_str());
    to.list("positions", positions, |to, index, position| {
        to.fields(index, |to| {
            to.text("security_id", position.security.as_str());
            to.decimal("target", position.target.get());
            to.decimal("high_drift", position.band.high());
            to.decimal("low_drift", position.band.low());
        });
    });
    to.list("portfolios", followers.as_slice(), |to, index, portfolio| to.text(index, portfolio.as_str()));
}

fn read_model(raw: &RawDocument) -> Result<Model, Error> {
    read(MODEL, raw, |from| {
        let id = from.get("_id", Value::object_id)?;
        Ok(Model {
            id: ModelId::from_bytes(id.bytes()),
            name: from.get("name", |name| Ok(ModelName::new(name.text()?)?))?,
            positions: from.optional("positions", read_positions)?.unwrap_or_default(),
            followers: from.get("portfolios", read_followers)?,
            last_rebalance_date: from.optional("last_rebalance_date", Value::instant)?,
            version: from.get("version", version)?,
            created_at: created(from.optional("created_at", Value::instant)?, id)?,
            rules: read_rules(from)?,
        })
    })
}

fn read_positions(positions: Value<'_>) -> Result<Positions, Source> {
    Ok(Positions::new(positions.list(|one| one.fields(read_position))?)
        .map_err(|mut broken| broken.swap_remove(0))?)
}

fn read_position(from: &mut Fields<'_>) -> Result<Position, Source> {
    let security = from.get("security_id", Value::parsed)?;
    let target = from.get("target", |target| Ok(target.exact()?.try_into()?))?;
    let high = from.get("high_drift", |drift| Ok(drift.exact()?.try_into()?))?;
    let low = from.get("low_drift", |drift| Ok(drift.exact()?.try_into()?))?;
    Ok(Position { security, target, band: Band::new(low, high)? })
}

fn read_followers(portfolios: Value<'_>) -> Result<Followers, Source> {
    Ok(Followers::new(portfolios.list(Value::parsed)?).map_err(|mut broken| broken.swap_remove(0))?)
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
        self.answers(found, read_model).await
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
        let models = self.collection(MODELS);
        self.in_time(models.insert_one(model_document(model))).await.map_err(taken(model.name.as_str()))?;
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
        let set = document(|to| {
            write_content(to, content);
            to.whole("version", expected.next().get());
            write_rules(to, &content.rules);
        });
        let set = Document::try_from(set).expect("it was just written");
        let mut change = doc! { "$currentDate": { "updated_at": true } };
        if !set.contains_key(TRADING_RULES) {
            change.insert("$unset", doc! { TRADING_RULES: "" });
        }
        change.insert("$set", set);
        if let Some(instant) = last_rebalance_date {
            change.insert("$max", doc! { "last_rebalance_date": date(instant) });
        }
        let models = self.collection(MODELS);
        let replaced = models
            .find_one_and_update(at_version(object_id(id), expected), change)
            .return_document(ReturnDocument::After)
            .max_time(self.patience);
        match self.in_time(replaced).await.map_err(taken(content.name.as_str()))? {
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
            Ok(Some(found)) => match read(entity, &found, |from| from.get("version", version)) {
                Ok(found) => Error::Conflict { expected, found },
                Err(corrupt) => corrupt,
            },
            Err(error) => failed(error),
        }
    }
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
