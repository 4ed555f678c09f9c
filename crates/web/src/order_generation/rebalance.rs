//! Rebalancing over HTTP.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{ContentType, HeaderMap, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use application::idempotency::OperationId;
use application::order_generation::rebalance::{
    KeptOutcome, Outcome, PortfolioOutcome, RebalanceRequest, Rebalanced,
};
use application::order_generation::{Error, OrderGeneration};
use domain::identifier::{ModelId, PortfolioId, RebalanceId};
use domain::order_generation::optimum::Method;
use domain::order_generation::problem::Refusal;
use domain::order_generation::progress::{Reason, RebalanceStatus};
use domain::order_generation::rebalance::{
    FailedPortfolio, Optimality, OptimalityStatus, PortfolioRebalance, RebalanceHeader, RebalancedPosition,
    Side, Trade,
};
use domain::order_generation::trading_rules::TradingRules;
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::rebalances::RebalanceBody;
use super::trading_rules::{RuleBody, TradingRulesBody, trading_rules};
use crate::body::OptionalBody;
use crate::idempotency::{IdempotencyKeyHeader, Once, Operation, PREFERENCE_APPLIED};
use crate::openapi::{ModelIdText, PortfolioIdText, RebalanceIdText, SecurityIdText};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::scalar::{as_text, civil};
use crate::streamed;

/// What a rebalance did to one portfolio.
#[derive(Serialize, ToSchema)]
#[schema(
    as = RebalanceDTO,
    example = json!({
        "portfolio_id": "683b6d88a29ee10e8b499643", "portfolio_name": "Smith family",
        "rebalance_id": "6835a1b2c3d4e5f6a7b8c9d1", "status": "REBALANCED", "error": null,
        "optimality": {
            "status": "OPTIMAL", "objective": "27.8375", "lower_bound": "27.8375", "gap": "0", "method": "OWN_BEST",
        },
        "trading_costs": "0",
        "transactions": [{
            "transaction_type": "BUY", "security_id": "0534f90f046632697ab87be7", "quantity": 279,
            "trade_date": "2024-12-19", "shaped_by": [],
        }],
        "drifts": [{
            "security_id": "0534f90f046632697ab87be7", "original_quantity": "150", "adjusted_quantity": "429",
            "target": "0.60", "high_drift": "0.05", "low_drift": "0.05", "actual": "0.5994", "outside_band": false,
            "shaped_by": [],
        }],
    }),
)]
pub(crate) struct OutcomeBody<'a> {
    #[schema(value_type = PortfolioIdText)]
    portfolio_id: &'a str,
    /// Null when the Portfolio Service does not know it, or cannot be asked.
    #[schema(required, example = "Smith family")]
    portfolio_name: Option<&'a str>,
    /// The kept record; the same for all portfolios of a model's rebalance, null for a dry run.
    #[schema(required, value_type = Option<RebalanceIdText>)]
    rebalance_id: Option<String>,
    status: StatusBody,
    /// Why a failed portfolio was not rebalanced; null for a rebalanced one.
    #[schema(required)]
    error: Option<ReasonBody<'a>>,
    /// Null for a failed portfolio.
    #[schema(required)]
    optimality: Option<OptimalityBody>,
    /// Paid in cash under the rules `proportional_cost` and `ticket_fee`; null for a failed portfolio.
    #[schema(required, format = "decimal", example = "16.75")]
    trading_costs: Option<String>,
    transactions: Vec<TransactionBody>,
    drifts: Vec<DriftBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RebalanceStatus)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusBody {
    Rebalanced,
    Failed,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FailureReason)]
pub(crate) struct ReasonBody<'a> {
    /// Short and stable; what clients match on.
    #[schema(example = "no-feasible-solution")]
    code: &'a str,
    #[schema(
        example = "no feasible solution exists: no whole share of security 0534f90f046632697ab87be7 lies inside its band"
    )]
    detail: Cow<'a, str>,
}

/// How good the quantities are, and how that is known.
#[derive(Serialize, ToSchema)]
#[schema(as = Optimality)]
pub(crate) struct OptimalityBody {
    status: OptimalityStatusBody,
    /// Σ |market value · target − value after|, over model and held securities, and the trading costs.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "27.8375")]
    objective: Decimal,
    /// No whole-share answer inside the bands, the cash and the trading rules has a smaller objective.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "27.8375")]
    lower_bound: Decimal,
    /// What is not proven, as a share of the objective; zero if the answer is known to be the best.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "0")]
    gap: Decimal,
    method: MethodBody,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OptimalityStatus)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum OptimalityStatusBody {
    Optimal,
    WithinTolerance,
    Bound,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OptimalityMethod)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum MethodBody {
    OwnBest,
    Search,
    Table,
    Cbc,
}

/// A trade to make.
#[derive(Serialize, ToSchema)]
#[schema(as = TransactionDTO)]
struct TransactionBody {
    transaction_type: SideBody,
    #[schema(value_type = SecurityIdText)]
    security_id: String,
    /// Whole units.
    #[schema(example = 279, minimum = 1)]
    quantity: u64,
    /// UTC.
    #[schema(example = "2024-12-19", format = Date)]
    trade_date: String,
    /// As in `drifts`.
    shaped_by: Vec<RuleBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TransactionType)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SideBody {
    Buy,
    Sell,
}

/// Where a security stands after the rebalance.
#[derive(Serialize, ToSchema)]
#[schema(as = DriftDTO)]
struct DriftBody {
    #[schema(value_type = SecurityIdText)]
    security_id: String,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "150")]
    original_quantity: Decimal,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "429")]
    adjusted_quantity: Decimal,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "0.60")]
    target: Decimal,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "0.05")]
    high_drift: Decimal,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "0.05")]
    low_drift: Decimal,
    /// Share of market value after the rebalance, to 4 decimals.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = "decimal", example = "0.5994")]
    actual: Decimal,
    /// No trade that the rules allow could bring the position inside its band.
    outside_band: bool,
    /// The rules that, each alone, keep the position from the whole units nearest its target.
    shaped_by: Vec<RuleBody>,
}

impl From<Side> for SideBody {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

impl From<&Optimality> for OptimalityBody {
    fn from(optimality: &Optimality) -> Self {
        Self {
            status: match optimality.status {
                OptimalityStatus::Optimal => OptimalityStatusBody::Optimal,
                OptimalityStatus::WithinTolerance => OptimalityStatusBody::WithinTolerance,
                OptimalityStatus::Bound => OptimalityStatusBody::Bound,
            },
            objective: optimality.objective,
            lower_bound: optimality.lower_bound,
            gap: optimality.gap(),
            method: match optimality.method {
                Method::OwnBest => MethodBody::OwnBest,
                Method::Search => MethodBody::Search,
                Method::Table => MethodBody::Table,
                Method::Cbc => MethodBody::Cbc,
            },
        }
    }
}

impl From<&Refusal> for ReasonBody<'_> {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), detail: Cow::Owned(refusal.to_string()) }
    }
}

impl<'a> From<&'a Reason> for ReasonBody<'a> {
    fn from(reason: &'a Reason) -> Self {
        Self { code: &reason.code, detail: Cow::Borrowed(&reason.detail) }
    }
}

impl<'a> From<&'a FailedPortfolio> for ReasonBody<'a> {
    fn from(failed: &'a FailedPortfolio) -> Self {
        Self { code: &failed.code, detail: Cow::Borrowed(&failed.detail) }
    }
}

impl<'a> ReasonBody<'a> {
    /// Why a rebalance failed as a whole.
    pub(super) fn of(status: &'a RebalanceStatus) -> Option<Self> {
        match status {
            RebalanceStatus::Failed { reason, .. } => Some(Self::from(reason)),
            RebalanceStatus::Running(_) | RebalanceStatus::Completed | RebalanceStatus::Cancelled(_) => None,
        }
    }
}

impl<'a> OutcomeBody<'a> {
    fn all(outcome: &'a Outcome) -> Vec<Self> {
        let trade_date = civil(outcome.date.date_naive());
        let body = |decided| Self::new(outcome.kept_as, &trade_date, decided);
        outcome.portfolios.iter().map(body).collect()
    }

    fn new<F>(kept_as: Option<RebalanceId>, trade_date: &str, decided: &'a PortfolioOutcome<F>) -> Self
    where
        ReasonBody<'a>: From<&'a F>,
    {
        let rebalanced = decided.result.as_ref().ok();
        Self {
            portfolio_id: decided.portfolio.as_str(),
            portfolio_name: decided.name.as_deref(),
            rebalance_id: kept_as.map(|id| id.to_string()),
            status: if rebalanced.is_some() { StatusBody::Rebalanced } else { StatusBody::Failed },
            error: decided.result.as_ref().err().map(ReasonBody::from),
            optimality: rebalanced.map(|rebalanced| OptimalityBody::from(&rebalanced.optimality)),
            trading_costs: rebalanced.map(|rebalanced| rebalanced.trading_costs.to_string()),
            transactions: rebalanced.map_or_else(Vec::new, |rebalanced| transactions(rebalanced, trade_date)),
            drifts: rebalanced.map_or_else(Vec::new, drifts),
        }
    }
}

fn transactions(rebalanced: &PortfolioRebalance, trade_date: &str) -> Vec<TransactionBody> {
    let transaction = |position: &RebalancedPosition| {
        let Trade { side, quantity } = position.trade?;
        Some(TransactionBody {
            transaction_type: side.into(),
            security_id: position.security.to_string(),
            quantity,
            trade_date: trade_date.to_owned(),
            shaped_by: RuleBody::all(&position.shaped_by),
        })
    };
    rebalanced.positions.iter().filter_map(transaction).collect()
}

fn drifts(rebalanced: &PortfolioRebalance) -> Vec<DriftBody> {
    let drift = |position: &RebalancedPosition| DriftBody {
        security_id: position.security.to_string(),
        original_quantity: position.original_quantity,
        adjusted_quantity: position.adjusted_quantity,
        target: position.target,
        high_drift: position.high_drift,
        low_drift: position.low_drift,
        actual: position.shown_actual(rebalanced.market_value),
        outside_band: position.outside_band,
        shaped_by: RuleBody::all(&position.shaped_by),
    };
    rebalanced.positions.iter().map(drift).collect()
}

const RULES_FOR_THIS_TIME: &str = "Trading rules in the place of the model's, for this time; an empty object for \
                                   none. Without a body, or with null, the model's own count.";
const UNDER_WAY: &str =
    "The same request, by its `Idempotency-Key`, is under way; `Retry-After` says when to ask again";
const NOT_REBALANCED: &str = "It cannot be rebalanced, and `code` says why; or the body is not trading rules, and \
                              `errors` lists everything wrong with it; or the `Idempotency-Key` is another request's";

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query to clients; `Parameters` reads it")]
pub(crate) struct DryRunQuery {
    /// Whether to answer as ever but to keep nothing: no record, and the model's date stays; an
    /// `Idempotency-Key` has no meaning then. The whole answer is made before it is sent.
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// A rebalance that was asked for.
struct Rebalancing<'a> {
    app: &'a Arc<OrderGeneration>,
    whose: Whose,
    /// Nobody waits for its end.
    asynchronous: bool,
    rules: Option<TradingRules>,
}

enum Whose {
    ModelsPortfolios(ModelId),
    Portfolio { id: PortfolioId, model: Option<ModelId> },
}

impl Rebalancing<'_> {
    /// The dry run of it, or once for each key.
    async fn answer(
        self,
        once: &Once,
        parameters: &Parameters,
        body: &OptionalBody,
    ) -> Result<HttpResponse, Problem> {
        if parameters.flag("dry_run", false)? {
            return self.response(self.outcome(None).await?).await;
        }
        let model = parameters.text("model_id").filter(|_| matches!(self.whose, Whose::Portfolio { .. }));
        once.answer(&[model.unwrap_or_default().as_bytes(), body.bytes()], self).await
    }

    async fn outcome(&self, keep_as: Option<RebalanceId>) -> Result<Rebalanced, Error> {
        let request = RebalanceRequest { keep_as, rules: self.rules.clone() };
        match &self.whose {
            Whose::ModelsPortfolios(model) => self.app.rebalance_model(model, request).await,
            Whose::Portfolio { id, model } => {
                let outcome = self.app.rebalance_portfolio(id, model.as_ref(), request).await?;
                Ok(Rebalanced::InMemory(Box::new(outcome)))
            }
        }
    }

    async fn response(&self, rebalanced: Rebalanced) -> Result<HttpResponse, Problem> {
        let outcome = match rebalanced {
            Rebalanced::InMemory(outcome) => outcome,
            Rebalanced::Kept(kept) => return self.read(kept).await,
        };
        let bodies = OutcomeBody::all(&outcome);
        Ok(match self.whose {
            Whose::ModelsPortfolios(_) => HttpResponse::Ok().json(bodies),
            Whose::Portfolio { .. } => {
                HttpResponse::Ok().json(bodies.first().expect("one portfolio was asked for"))
            }
        })
    }

    /// The reply, while it is read.
    async fn read(&self, outcome: KeptOutcome) -> Result<HttpResponse, Problem> {
        let KeptOutcome { id, date, mut portfolios } = outcome;
        let trade_date = civil(date.date_naive());
        let body = move |decided| json(&OutcomeBody::new(Some(id), &trade_date, &decided));
        match self.whose {
            Whose::ModelsPortfolios(_) => {
                streamed::list("[".to_owned(), portfolios.map_ok(body), "]".to_owned()).await
            }
            Whose::Portfolio { .. } => {
                let decided = portfolios.try_next().await?.expect("one portfolio was asked for");
                Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body(decided)))
            }
        }
    }
}

impl Operation for Rebalancing<'_> {
    fn propose(&self) -> OperationId {
        OperationId(self.app.new_rebalance_id().bytes())
    }

    async fn perform(&self, OperationId(id): OperationId) -> Result<Option<HttpResponse>, Problem> {
        let id = RebalanceId::from_bytes(id);
        let performed = match &self.whose {
            Whose::ModelsPortfolios(model) if self.asynchronous => {
                let started = self.app.start_rebalance(model, id, self.rules.clone()).await;
                started.map(|header| Ok(accepted(&header, 0)))
            }
            Whose::ModelsPortfolios(_) | Whose::Portfolio { .. } => match self.outcome(Some(id)).await {
                Ok(rebalanced) => Ok(self.response(rebalanced).await),
                Err(error) => Err(error),
            },
        };
        match performed {
            Ok(response) => response.map(Some),
            Err(Error::RebalanceExists(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn kept(&self, OperationId(id): OperationId) -> Result<Option<HttpResponse>, Problem> {
        let open = match self.app.rebalance(&RebalanceId::from_bytes(id)).await {
            Ok(open) => open,
            Err(Error::UnknownRebalance(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if self.asynchronous {
            return Ok(Some(accepted(&open.header, open.number_of_portfolios())));
        }
        match open.header.status {
            RebalanceStatus::Completed => self.read(self.app.kept_outcome(open).await?).await.map(Some),
            RebalanceStatus::Running(_) => Err(Problem::request_in_flight()),
            // Of what is waited for, nothing is kept that did not complete.
            RebalanceStatus::Failed { .. } | RebalanceStatus::Cancelled(_) => {
                self.app.forget_incomplete(&open.header).await?;
                Ok(None)
            }
        }
    }
}

/// Whether the client does not want to wait (RFC 7240).
fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").filter_map(|value| value.to_str().ok());
    let mut names = preferences
        .flat_map(|value| value.split(','))
        .map(|preference| preference.split([';', '=']).next().unwrap_or_default().trim());
    names.any(|name| name.eq_ignore_ascii_case("respond-async"))
}

fn accepted(header: &RebalanceHeader, number_of_portfolios: usize) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/api/v1/rebalance/{}", header.id)))
        .insert_header((PREFERENCE_APPLIED, "respond-async"))
        .json(RebalanceBody::new(header, number_of_portfolios, Vec::new()))
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("strings, numbers, lists and structs serialise")
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header to clients; `prefers_async` reads it")]
pub(crate) struct PreferHeader {
    /// `respond-async`: answer 202 at once, with the record that will tell what becomes of the rebalance
    /// (RFC 7240). A dry run ignores it.
    #[param(rename = "Prefer", example = "respond-async")]
    prefer: Option<String>,
}

/// Rebalances every portfolio that follows a model, and keeps the record.
///
/// A portfolio that cannot be rebalanced is FAILED with its reason, and the others go on. If none can,
/// or a neighbour is out, nothing is kept.
///
/// While it is under way, a large rebalance can be seen as one that is RUNNING. With `Prefer: respond-async`
/// nobody waits for its end: its record tells what became of it, an outage too, and a delete cancels it.
#[utoipa::path(
    post, path = "/api/v1/model/{model_id}/rebalance", tag = "rebalance", operation_id = "rebalance_model",
    params(("model_id" = ModelIdText, Path, description = "The model"), DryRunQuery, IdempotencyKeyHeader, PreferHeader),
    request_body(
        content = Option<TradingRulesBody>,
        description = RULES_FOR_THIS_TIME,
        examples(
            ("As the model has them" = (value = json!(null))),
            ("None" = (value = json!({}))),
            ("For this time" = (value = json!({ "minimum_cash": "2500.00", "ticket_fee": 9.5, "maximum_trades": 20 }))),
        ),
    ),
    responses(
        (status = 200, description = "One element for each portfolio, in the model's order", body = [OutcomeBody]),
        (status = 202, description = "It is under way, and `Location` tells of it", body = RebalanceBody),
        (status = 409, description = UNDER_WAY),
        (status = 422, description = NOT_REBALANCED),
    ),
)]
pub(super) async fn model(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    once: Once,
    body: OptionalBody,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let whose = Whose::ModelsPortfolios(parameters.model_id()?);
    let rules = body.read(trading_rules)?;
    let asynchronous = prefers_async(request.headers());
    Rebalancing { app: &app, whose, asynchronous, rules }.answer(&once, &parameters, &body).await
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query to clients; `Parameters` reads it")]
pub(crate) struct ModelQuery {
    /// The model to rebalance to, of those the portfolio follows; the newest unless told.
    #[param(value_type = Option<ModelIdText>)]
    model_id: Option<String>,
}

/// Rebalances one portfolio to a model that it follows, and keeps the record.
#[utoipa::path(
    post, path = "/api/v1/portfolio/{portfolio_id}/rebalance", tag = "rebalance", operation_id = "rebalance_portfolio",
    params(("portfolio_id" = PortfolioIdText, Path, description = "The portfolio"), ModelQuery, DryRunQuery, IdempotencyKeyHeader),
    request_body(
        content = Option<TradingRulesBody>,
        description = RULES_FOR_THIS_TIME,
        examples(
            ("As the model has them" = (value = json!(null))),
            ("None" = (value = json!({}))),
            ("For this time" = (value = json!({ "minimum_cash": "2500.00", "ticket_fee": 9.5, "maximum_trades": 20 }))),
        ),
    ),
    responses(
        (status = 200, body = OutcomeBody),
        (status = 409, description = UNDER_WAY),
        (status = 422, description = NOT_REBALANCED),
    ),
)]
pub(super) async fn portfolio(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    once: Once,
    body: OptionalBody,
) -> Result<HttpResponse, Problem> {
    let whose = Whose::Portfolio { id: parameters.portfolio_id()?, model: parameters.chosen_model()? };
    let rules = body.read(trading_rules)?;
    Rebalancing { app: &app, whose, asynchronous: false, rules }.answer(&once, &parameters, &body).await
}
