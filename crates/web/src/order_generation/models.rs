//! Models over HTTP.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::Data;
use application::idempotency::OperationId;
use application::order_generation::models::Replacement;
use application::order_generation::ports::{Direction, ModelKey};
use application::order_generation::{Error, OrderGeneration};
use domain::identifier::{ModelId, PortfolioId, SecurityId};
use domain::order_generation::model::{Followers, InvalidFollowers, Model, ModelContent, ModelName};
use domain::order_generation::position::{Band, InvalidPositions, Position, Positions};
use domain::order_generation::trading_rules::TradingRules;
use domain::version::Version;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::trading_rules::{TradingRulesBody, trading_rules};
use crate::body::{Body, Fields, Node};
use crate::idempotency::{IdempotencyKeyHeader, Once, Operation};
use crate::openapi::{ModelIdText, PortfolioIdText, SecurityIdText};
use crate::paging::{page, sort_keys};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::scalar::instant;

/// A model.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelDTO)]
pub(crate) struct ModelBody<'a> {
    #[schema(value_type = ModelIdText)]
    model_id: String,
    #[schema(format = "model-name", example = "Conservative Growth")]
    name: &'a str,
    positions: Vec<PositionBody>,
    /// The portfolios that follow the model.
    #[schema(value_type = BTreeSet<PortfolioIdText>)]
    portfolios: Vec<&'a str>,
    /// Null without any.
    #[schema(required)]
    trading_rules: Option<TradingRulesBody>,
    /// UTC; null before the first rebalance.
    #[schema(required, format = DateTime, example = "2024-12-19T10:30:00.000Z")]
    last_rebalance_date: Option<String>,
    #[schema(format = "version", example = 1)]
    version: i64,
}

/// What a model wants of one security.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelPositionDTO)]
pub(crate) struct PositionBody {
    #[schema(value_type = SecurityIdText)]
    security_id: String,
    /// Share of market value: 0 to 0.95 in steps of 0.005. Zero removes the position.
    #[schema(format = "target", example = "0.35")]
    target: String,
    /// How far above the target the position may lie, as a share of market value: 0 to 1.
    #[schema(format = "drift", example = "0.03")]
    high_drift: String,
    /// How far below: 0 to `high_drift`.
    #[schema(format = "drift", example = "0.02")]
    low_drift: String,
}

/// A new model.
#[derive(ToSchema)]
#[schema(as = ModelPostDTO)]
#[expect(
    dead_code,
    reason = "describes the body to clients; the body is read by `content`, which reports every error"
)]
pub(crate) struct NewModelBody {
    /// Unique; blanks around it are cut off.
    #[schema(format = "model-name", example = "Conservative Growth")]
    name: String,
    /// Each security once; at most 100 with a target above zero, together at most 0.95.
    #[schema(required = false)]
    positions: Vec<PositionBody>,
    /// Each once.
    #[schema(min_items = 1)]
    portfolios: BTreeSet<PortfolioIdText>,
    trading_rules: Option<TradingRulesBody>,
}

/// A whole model in place of the one that was read.
#[derive(ToSchema)]
#[schema(as = ModelPutDTO)]
#[expect(
    dead_code,
    reason = "describes the body to clients; the body is read by `replacement`, which reports every error"
)]
pub(crate) struct ReplacedModelBody {
    /// Unique; blanks around it are cut off.
    #[schema(format = "model-name", example = "Conservative Growth")]
    name: String,
    /// Each security once; at most 100 with a target above zero, together at most 0.95.
    #[schema(required = false)]
    positions: Vec<PositionBody>,
    /// Each once.
    #[schema(min_items = 1)]
    portfolios: BTreeSet<PortfolioIdText>,
    /// Left out, the stored rules stay; null or an empty object takes them away.
    trading_rules: Option<TradingRulesBody>,
    /// The version that was read; the reply carries the next one.
    #[schema(format = "version", example = 1)]
    version: i64,
    /// Moves the stored date forward, never back. Without a zone it is UTC, without a time midnight.
    #[schema(format = DateTime, example = "2024-12-19T10:30:00.000Z")]
    last_rebalance_date: Option<String>,
}

/// Portfolios to add to a model or to take from it.
#[derive(ToSchema)]
#[schema(as = ModelPortfolioDTO)]
#[expect(
    dead_code,
    reason = "describes the body to clients; the body is read by `followers`, which reports every error"
)]
pub(crate) struct PortfoliosBody {
    /// Each once.
    #[schema(min_items = 1)]
    portfolios: BTreeSet<PortfolioIdText>,
}

impl<'a> From<&'a Model> for ModelBody<'a> {
    fn from(model: &'a Model) -> Self {
        Self {
            model_id: model.id.to_string(),
            name: model.name.as_str(),
            positions: model.positions.iter().map(PositionBody::from).collect(),
            portfolios: model.followers.as_slice().iter().map(PortfolioId::as_str).collect(),
            trading_rules: TradingRulesBody::new(&model.rules),
            last_rebalance_date: model.last_rebalance_date.map(instant),
            version: model.version.get(),
        }
    }
}

impl From<&Position> for PositionBody {
    fn from(position: &Position) -> Self {
        Self {
            security_id: position.security.to_string(),
            target: position.target.get().to_string(),
            high_drift: position.band.high().to_string(),
            low_drift: position.band.low().to_string(),
        }
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query to clients; `Parameters` reads it")]
pub(crate) struct ModelsQuery {
    /// How many models to skip.
    #[param(format = "offset")]
    offset: Option<u64>,
    /// How many models at most; all unless told.
    #[param(format = "offset")]
    limit: Option<u64>,
    /// `model_id`, `name`, `last_rebalance_date`, separated by commas, each with `-` for descending.
    #[param(format = "model-keys", example = "name,-last_rebalance_date")]
    sort_by: Option<String>,
}

/// All models, the newest created first unless told otherwise.
#[utoipa::path(
    get, path = "/api/v1/models", tag = "models", operation_id = "list_models", params(ModelsQuery),
    responses(
        (status = 200, description = "The models", body = [ModelBody]),
    ),
)]
pub(super) async fn list(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let order = model_order(&parameters)?;
    let models = app.models(&order, page(&parameters)?).await?;
    Ok(HttpResponse::Ok().json(models.iter().map(ModelBody::from).collect::<Vec<_>>()))
}

fn model_order(parameters: &Parameters) -> Result<Vec<(ModelKey, Direction)>, Problem> {
    let key = |(name, direction)| match name {
        "model_id" => Ok((ModelKey::Id, direction)),
        "name" => Ok((ModelKey::Name, direction)),
        "last_rebalance_date" => Ok((ModelKey::LastRebalanceDate, direction)),
        _ => Err(Problem::malformed(
            "invalid-query",
            format!(
                "Invalid sort field: {name}. Valid fields are: model_id, name, last_rebalance_date, each with + or - before it"
            ),
        )),
    };
    sort_keys(parameters).map(key).collect()
}

/// Creates a model.
#[utoipa::path(
    post, path = "/api/v1/models", tag = "models", operation_id = "create_model",
    params(IdempotencyKeyHeader), request_body = NewModelBody,
    responses(
        (status = 201, description = "The new model", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored, or the same request is under way"),
    ),
)]
pub(super) async fn create(
    app: Data<OrderGeneration>,
    once: Once,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let content = body.read(content)?;
    once.answer(&[body.bytes()], Creation { app: &app, content }).await
}

struct Creation<'a> {
    app: &'a OrderGeneration,
    content: ModelContent,
}

impl Operation for Creation<'_> {
    fn propose(&self) -> OperationId {
        OperationId(self.app.new_model_id().bytes())
    }

    async fn perform(&self, id: OperationId) -> Result<Option<HttpResponse>, Problem> {
        let OperationId(id) = id;
        match self.app.create_model(ModelId::from_bytes(id), self.content.clone()).await {
            Ok(model) => Ok(Some(created(&model))),
            Err(Error::ModelExists(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn kept(&self, id: OperationId) -> Result<Option<HttpResponse>, Problem> {
        let OperationId(id) = id;
        match self.app.model(&ModelId::from_bytes(id)).await {
            Ok(model) => Ok(Some(created(&model))),
            Err(Error::UnknownModel(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn created(model: &Model) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((LOCATION, format!("/api/v1/model/{}", model.id)))
        .json(ModelBody::from(model))
}

/// One model.
#[utoipa::path(
    get, path = "/api/v1/model/{model_id}", tag = "models", operation_id = "get_model", params(("model_id" = ModelIdText, Path, description = "The model")),
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
    ),
)]
pub(super) async fn find(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    Ok(shown(&app.model(&id).await?))
}

/// Replaces a model as a whole, if it still has the version that was read.
#[utoipa::path(
    put, path = "/api/v1/model/{model_id}", tag = "models", operation_id = "replace_model",
    params(("model_id" = ModelIdText, Path, description = "The model")), request_body = ReplacedModelBody,
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn replace(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    let (replacement, version) = body.read(replacement)?;
    Ok(shown(&app.replace_model(&id, replacement, version).await?))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query to clients; `Parameters` reads it")]
pub(crate) struct VersionQuery {
    /// The version that was read.
    #[param(format = "version", example = 1)]
    version: i64,
}

/// Deletes a model, if it still has the version that was read. Its rebalances stay.
#[utoipa::path(
    delete, path = "/api/v1/model/{model_id}", tag = "models", operation_id = "delete_model",
    params(("model_id" = ModelIdText, Path, description = "The model"), VersionQuery),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn delete(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    app.delete_model(&id, parameters.version()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Adds a security to a model. A target of zero adds nothing.
#[utoipa::path(
    post, path = "/api/v1/model/{model_id}/position", tag = "models", operation_id = "add_position",
    params(("model_id" = ModelIdText, Path, description = "The model")), request_body = PositionBody,
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn add_position(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    Ok(shown(&app.add_position(&id, body.read(position)?).await?))
}

/// Gives a security of a model another target and band. A target of zero removes it.
#[utoipa::path(
    put, path = "/api/v1/model/{model_id}/position", tag = "models", operation_id = "replace_position",
    params(("model_id" = ModelIdText, Path, description = "The model")), request_body = PositionBody,
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn replace_position(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    Ok(shown(&app.replace_position(&id, body.read(position)?).await?))
}

/// Removes a security from a model, if all four values are the stored ones.
#[utoipa::path(
    delete, path = "/api/v1/model/{model_id}/position", tag = "models", operation_id = "remove_position",
    params(("model_id" = ModelIdText, Path, description = "The model")), request_body = PositionBody,
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn remove_position(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    Ok(shown(&app.remove_position(&id, &body.read(position)?).await?))
}

/// Lets portfolios follow a model. Those that follow it already are ignored.
#[utoipa::path(
    post, path = "/api/v1/model/{model_id}/portfolio", tag = "models", operation_id = "add_portfolios",
    params(("model_id" = ModelIdText, Path, description = "The model")), request_body = PortfoliosBody,
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn add_portfolios(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    Ok(shown(&app.add_followers(&id, &body.read(followers)?).await?))
}

/// Lets portfolios follow a model no longer. Those that do not follow it are ignored; one must remain.
#[utoipa::path(
    delete, path = "/api/v1/model/{model_id}/portfolio", tag = "models", operation_id = "remove_portfolios",
    params(("model_id" = ModelIdText, Path, description = "The model")), request_body = PortfoliosBody,
    responses(
        (status = 200, description = "The model as it now is", body = ModelBody),
        (status = 409, description = "It conflicts with what is stored"),
    ),
)]
pub(super) async fn remove_portfolios(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = parameters.model_id()?;
    Ok(shown(&app.remove_followers(&id, &body.read(followers)?).await?))
}

fn shown(model: &Model) -> HttpResponse {
    HttpResponse::Ok().json(ModelBody::from(model))
}

fn content(fields: &Fields<'_>) -> Option<ModelContent> {
    let (name, positions, followers) = (name(fields), positions(fields), followers(fields));
    let rules = rules(fields);
    Some(ModelContent {
        name: name?,
        positions: positions?,
        followers: followers?,
        rules: rules?.unwrap_or_default(),
    })
}

fn replacement(fields: &Fields<'_>) -> Option<(Replacement, Version)> {
    let (name, positions, followers) = (name(fields), positions(fields), followers(fields));
    let rules = rules(fields);
    let version = fields.required("version").and_then(|node| node.version());
    let date = fields.optional("last_rebalance_date").map_or(Some(None), |node| node.instant_or_null());
    let replacement = Replacement {
        name: name?,
        positions: positions?,
        followers: followers?,
        rules: rules?,
        last_rebalance_date: date?,
    };
    Some((replacement, version?))
}

fn name(fields: &Fields<'_>) -> Option<ModelName> {
    fields.required("name").and_then(|node| match ModelName::new(node.text()?) {
        Ok(name) => Some(name),
        Err(error) => node.wrong(&error),
    })
}

/// Nothing where nothing is said of them; null is to say that there are none.
#[expect(clippy::option_option, reason = "what cannot be read is not what is left out")]
fn rules(fields: &Fields<'_>) -> Option<Option<TradingRules>> {
    match fields.optional("trading_rules") {
        None => Some(None),
        Some(node) if node.is_null() => Some(Some(TradingRules::default())),
        Some(node) => node.object(trading_rules).map(Some),
    }
}

/// The rules of the set are checked only once every position in it is sound.
fn positions(fields: &Fields<'_>) -> Option<Positions> {
    let Some(node) = fields.optional("positions") else { return Some(Positions::default()) };
    let positions = node.list(|node| node.object(position))?;
    let report = |broken: InvalidPositions| match broken {
        InvalidPositions::Duplicate { index, .. } => {
            fields.wrong(&format!("positions/{index}"), &broken);
        }
        InvalidPositions::SumTooLarge(_) | InvalidPositions::TooMany(_) => fields.wrong("positions", &broken),
    };
    Positions::new(positions).map_err(|broken| broken.into_iter().for_each(report)).ok()
}

fn position(fields: &Fields<'_>) -> Option<Position> {
    let security = fields.required("security_id").and_then(|node: Node<'_>| node.parse::<SecurityId>());
    let target = fields.required("target").and_then(|node| node.decimal());
    let low = fields.required("low_drift").and_then(|node| node.decimal());
    let high = fields.required("high_drift").and_then(|node| node.decimal());
    let band = match (low, high) {
        (Some(low), Some(high)) => {
            Band::new(low, high).map_err(|error| fields.wrong("low_drift", &error)).ok()
        }
        _ => None,
    };
    Some(Position { security: security?, target: target?, band: band? })
}

fn followers(fields: &Fields<'_>) -> Option<Followers> {
    let portfolios = fields.required("portfolios")?.list(|node| node.parse::<PortfolioId>())?;
    let report = |broken: InvalidFollowers| match broken {
        InvalidFollowers::Duplicate { index, .. } => fields.wrong(&format!("portfolios/{index}"), &broken),
        InvalidFollowers::None => fields.wrong("portfolios", &broken),
    };
    Followers::new(portfolios).map_err(|broken| broken.into_iter().for_each(report)).ok()
}
