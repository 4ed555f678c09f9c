//! Keeping models.

use domain::Timestamp;
use domain::identifier::ModelId;
use domain::order_generation::model::{ChangeRefused, Followers, Model, ModelContent, ModelName};
use domain::order_generation::position::{Position, Positions};
use domain::order_generation::trading_rules::TradingRules;
use domain::version::Version;

use super::journal::{ModelAct, ModelEntry, Versions};
use super::ports::{Direction, ModelKey, Page};
use super::{Error, OrderGeneration};
use crate::{identity, repository};

/// How often a change without a version of its own is tried against others before it is a conflict.
const MAX_ATTEMPTS: usize = 64;

/// What a manager puts in the place of a model.
#[derive(Debug, Clone)]
pub struct Replacement {
    pub name: ModelName,
    pub positions: Positions,
    pub followers: Followers,
    /// The stored rules stay where there are none here: clients that do not know them keep them.
    pub rules: Option<TradingRules>,
    /// Moves the stored date forward, never back.
    pub last_rebalance_date: Option<Timestamp>,
}

impl Replacement {
    fn content(self, model: &Model) -> ModelContent {
        let Self { name, positions, followers, rules, .. } = self;
        ModelContent { name, positions, followers, rules: rules.unwrap_or_else(|| model.rules.clone()) }
    }
}

impl OrderGeneration {
    pub async fn models(&self, order: &[(ModelKey, Direction)], page: Page) -> Result<Vec<Model>, Error> {
        Ok(self.models.list(order, page).await?)
    }

    pub async fn model(&self, id: &ModelId) -> Result<Model, Error> {
        self.models.find(id).await?.ok_or(Error::UnknownModel(*id))
    }

    pub fn new_model_id(&self) -> ModelId {
        ModelId::from_bytes(identity::fresh(self.clock.now()))
    }

    /// [`Error::ModelExists`] if the id was given before: whoever repeats a call with its id finds out
    /// whether it came through.
    pub async fn create_model(&self, id: ModelId, content: ModelContent) -> Result<Model, Error> {
        let created = self.insert(id, content).await;
        let versions = |model: &Model| Versions { before: None, after: Some(model.version) };
        self.journal(ModelAct::Create, &id, created.as_ref().map(versions));
        created
    }

    async fn insert(&self, id: ModelId, content: ModelContent) -> Result<Model, Error> {
        let model = Model::create(id, content, self.clock.now());
        if let Err(error) = self.models.insert(&model).await {
            let is_taken = matches!(error, repository::Error::Duplicate { .. });
            if is_taken && self.models.find(&id).await?.is_some() {
                return Err(Error::ModelExists(id));
            }
            return Err(change_failed(error, &id, &model.content()));
        }
        Ok(model)
    }

    /// Replaces a model that the caller read at `expected`.
    ///
    /// A replacement that changes nothing leaves the version as it is.
    pub async fn replace_model(
        &self,
        id: &ModelId,
        replacement: Replacement,
        expected: Version,
    ) -> Result<Model, Error> {
        self.change_told(ModelAct::Replace, id, self.try_replace(id, replacement, expected).await)
    }

    async fn try_replace(
        &self,
        id: &ModelId,
        replacement: Replacement,
        expected: Version,
    ) -> Result<Changed, Error> {
        let model = self.model(id).await?;
        if model.version != expected {
            let source = repository::Error::Conflict { expected, found: model.version };
            return Err(Error::ModelModified { source });
        }
        let last_rebalance_date = replacement.last_rebalance_date;
        let content = replacement.content(&model);
        if model.content() == content && last_rebalance_date <= model.last_rebalance_date {
            return Ok(Changed { before: expected, model });
        }
        self.replace(id, &content, last_rebalance_date, expected).await
    }

    pub async fn delete_model(&self, id: &ModelId, expected: Version) -> Result<(), Error> {
        let deleted = self.models.delete(id, expected).await.map_err(|error| match error {
            repository::Error::Missing => Error::UnknownModel(*id),
            repository::Error::Conflict { .. } => Error::ModelModified { source: error },
            repository::Error::Duplicate { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        });
        let versions = |()| Versions { before: Some(expected), after: None };
        self.journal(ModelAct::Delete, id, deleted.as_ref().copied().map(versions));
        deleted
    }

    pub async fn add_position(&self, id: &ModelId, position: Position) -> Result<Model, Error> {
        self.change(ModelAct::AddPosition, id, |content| content.add_position(position)).await
    }

    pub async fn replace_position(&self, id: &ModelId, position: Position) -> Result<Model, Error> {
        self.change(ModelAct::ReplacePosition, id, |content| content.replace_position(position)).await
    }

    pub async fn remove_position(&self, id: &ModelId, position: &Position) -> Result<Model, Error> {
        self.change(ModelAct::RemovePosition, id, |content| content.remove_position(position)).await
    }

    pub async fn add_followers(&self, id: &ModelId, portfolios: &Followers) -> Result<Model, Error> {
        let add = |content: &mut ModelContent| {
            content.add_followers(portfolios);
            Ok(())
        };
        self.change(ModelAct::AddPortfolios, id, add).await
    }

    pub async fn remove_followers(&self, id: &ModelId, portfolios: &Followers) -> Result<Model, Error> {
        self.change(ModelAct::RemovePortfolios, id, |content| content.remove_followers(portfolios)).await
    }

    async fn change(
        &self,
        act: ModelAct,
        id: &ModelId,
        change: impl Fn(&mut ModelContent) -> Result<(), ChangeRefused>,
    ) -> Result<Model, Error> {
        self.change_told(act, id, self.try_change(id, change).await)
    }

    /// Applies a change to the model as it now is, again if another change came between.
    async fn try_change(
        &self,
        id: &ModelId,
        change: impl Fn(&mut ModelContent) -> Result<(), ChangeRefused>,
    ) -> Result<Changed, Error> {
        for _ in 1..MAX_ATTEMPTS {
            match self.change_once(id, &change).await {
                Err(Error::ModelModified { .. }) => {}
                done => return done,
            }
        }
        self.change_once(id, &change).await
    }

    async fn change_once(
        &self,
        id: &ModelId,
        change: &impl Fn(&mut ModelContent) -> Result<(), ChangeRefused>,
    ) -> Result<Changed, Error> {
        let model = self.model(id).await?;
        let mut content = model.content();
        change(&mut content)?;
        if content == model.content() {
            return Ok(Changed { before: model.version, model });
        }
        self.replace(id, &content, None, model.version).await
    }

    async fn replace(
        &self,
        id: &ModelId,
        content: &ModelContent,
        last_rebalance_date: Option<Timestamp>,
        expected: Version,
    ) -> Result<Changed, Error> {
        let replaced = self.models.replace(id, content, last_rebalance_date, expected).await;
        let model = replaced.map_err(|error| change_failed(error, id, content))?;
        Ok(Changed { before: expected, model })
    }

    fn change_told(&self, act: ModelAct, id: &ModelId, done: Result<Changed, Error>) -> Result<Model, Error> {
        let versions =
            |done: &Changed| Versions { before: Some(done.before), after: Some(done.model.version) };
        self.journal(act, id, done.as_ref().map(versions));
        done.map(|Changed { model, .. }| model)
    }

    fn journal(&self, act: ModelAct, model: &ModelId, result: Result<Versions, &Error>) {
        self.journal.model(&ModelEntry { act, model, result });
    }
}

/// A model, and the version it had before.
struct Changed {
    before: Version,
    model: Model,
}

fn change_failed(error: repository::Error, id: &ModelId, content: &ModelContent) -> Error {
    match error {
        repository::Error::Missing => Error::UnknownModel(*id),
        repository::Error::Conflict { .. } => Error::ModelModified { source: error },
        repository::Error::Duplicate { .. } => Error::NameTaken(content.name.to_string()),
        repository::Error::Corrupt { .. } | repository::Error::Unavailable { .. } => error.into(),
    }
}
