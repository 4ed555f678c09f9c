//! Kept rebalances over HTTP. Numbers are JSON numbers here, digit for digit.

use actix_web::HttpResponse;
use actix_web::web::Data;
use application::order_generation::OrderGeneration;
use application::order_generation::ports::{Direction, OpenRebalance, RebalanceKey};
use application::order_generation::rebalances::Deleted;
use domain::identifier::PortfolioId;
use domain::order_generation::progress::{Progress, RebalanceStatus};
use domain::order_generation::rebalance::{
    FailedPortfolio, PortfolioRebalance, Rebalance, RebalanceHeader, RebalancedPosition,
};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::Number;
use utoipa::{IntoParams, ToSchema};

use super::models::VersionQuery;
use super::rebalance::{OptimalityBody, ReasonBody, SideBody};
use super::trading_rules::{KeptTradingRulesBody, RuleBody};
use crate::body::{Body, Fields};
use crate::openapi::{ModelIdText, PortfolioIdText, RebalanceIdText, SecurityIdText};
use crate::paging::{short_page, sort_keys};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::scalar::{civil, instant, number};
use crate::streamed;

/// A kept rebalance.
#[derive(Serialize, ToSchema)]
#[schema(as = RebalanceResultDTO)]
pub(crate) struct RebalanceBody<'a> {
    #[schema(value_type = RebalanceIdText)]
    rebalance_id: String,
    #[schema(value_type = ModelIdText)]
    model_id: String,
    /// UTC.
    #[schema(format = DateTime, example = "2024-12-19T10:30:00.000Z")]
    rebalance_date: String,
    /// The model's name at that time.
    #[schema(format = "model-name", example = "Conservative Growth")]
    model_name: &'a str,
    /// Those that were kept to, be they the model's or for that time; null without any.
    #[schema(required)]
    trading_rules: Option<KeptTradingRulesBody>,
    status: RebalanceStatusBody,
    /// Those to be rebalanced.
    #[schema(format = "offset", example = 3)]
    portfolios_total: usize,
    /// Those that were rebalanced, so far while it is RUNNING.
    #[schema(format = "offset", example = 2)]
    number_of_portfolios: usize,
    /// Those that could not be, so far while it is RUNNING.
    #[schema(format = "offset", example = 1)]
    portfolios_failed: usize,
    /// Why it FAILED as a whole.
    #[schema(required)]
    error: Option<ReasonBody<'a>>,
    /// Empty unless it is COMPLETED.
    portfolios: Vec<PortfolioBody<'a>>,
    /// Those that could not be rebalanced, and why.
    failures: Vec<FailureBody<'a>>,
    #[schema(format = "version", example = 1)]
    version: i64,
    #[schema(format = DateTime, example = "2024-12-19T10:30:00.000Z")]
    created_at: String,
}

/// How far a rebalance has come.
#[derive(Serialize, ToSchema)]
#[schema(as = RebalanceResultStatus)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RebalanceStatusBody {
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// A rebalanced portfolio, with its trades.
#[derive(Serialize, ToSchema)]
#[schema(as = RebalancePortfolioDTO)]
pub(crate) struct PortfolioBody<'a> {
    #[schema(value_type = PortfolioIdText)]
    portfolio_id: &'a str,
    #[schema(value_type = f64, format = "decimal", example = 44981.93)]
    market_value: Number,
    #[schema(value_type = f64, format = "decimal", example = 35426.93)]
    cash_before_rebalance: Number,
    #[schema(value_type = f64, format = "decimal", example = 2264.9)]
    cash_after_rebalance: Number,
    #[schema(value_type = f64, format = "decimal", example = 16.75)]
    trading_costs: Number,
    optimality: OptimalityBody,
    positions: Vec<TradedPositionBody>,
}

/// A position of a rebalanced portfolio, with its trade if there is one.
#[derive(Serialize, ToSchema)]
#[schema(as = RebalancePositionDTO)]
pub(crate) struct TradedPositionBody {
    #[serde(flatten)]
    #[schema(inline)]
    position: PositionBody,
    /// Null without a trade, as are the next two.
    #[schema(required)]
    transaction_type: Option<SideBody>,
    /// Whole units.
    #[schema(required, example = 279, minimum = 1)]
    trade_quantity: Option<u64>,
    /// UTC.
    #[schema(required, example = "2024-12-19", format = Date)]
    trade_date: Option<String>,
}

/// A rebalanced portfolio, without its trades.
#[derive(Serialize, ToSchema)]
#[schema(as = PortfolioWithPositionsDTO)]
pub(crate) struct PortfolioWithPositionsBody<'a> {
    #[schema(value_type = PortfolioIdText)]
    portfolio_id: &'a str,
    #[schema(value_type = f64, format = "decimal", example = 44981.93)]
    market_value: Number,
    #[schema(value_type = f64, format = "decimal", example = 35426.93)]
    cash_before_rebalance: Number,
    #[schema(value_type = f64, format = "decimal", example = 2264.9)]
    cash_after_rebalance: Number,
    #[schema(value_type = f64, format = "decimal", example = 16.75)]
    trading_costs: Number,
    positions: Vec<PositionBody>,
}

/// A position of a rebalanced portfolio.
#[derive(Serialize, ToSchema)]
#[schema(as = PositionDTO)]
pub(crate) struct PositionBody {
    #[schema(value_type = SecurityIdText)]
    security_id: String,
    #[schema(value_type = f64, format = "decimal", example = 62.85)]
    price: Number,
    #[schema(value_type = f64, format = "decimal", example = 150)]
    original_quantity: Number,
    #[schema(value_type = f64, format = "decimal", example = 429)]
    adjusted_quantity: Number,
    #[schema(value_type = f64, format = "decimal", example = 9427.5)]
    original_position_market_value: Number,
    #[schema(value_type = f64, format = "decimal", example = 26962.65)]
    adjusted_position_market_value: Number,
    #[schema(value_type = f64, format = "decimal", example = 0.6)]
    target: Number,
    #[schema(value_type = f64, format = "decimal", example = 0.05)]
    high_drift: Number,
    #[schema(value_type = f64, format = "decimal", example = 0.05)]
    low_drift: Number,
    /// Share of market value after the rebalance, to 18 significant digits.
    #[schema(value_type = f64, format = "decimal", example = 0.59941)]
    actual: Number,
    /// Actual over target, less one; zero when the target is.
    #[schema(value_type = f64, format = "decimal", example = -0.00098)]
    actual_drift: Number,
    /// No trade that the rules allow could bring the position inside its band.
    outside_band: bool,
    /// The rules that, each alone, keep the position from the whole units nearest its target.
    shaped_by: Vec<RuleBody>,
}

/// A portfolio that could not be rebalanced.
#[derive(Serialize, ToSchema)]
#[schema(
    as = RebalanceFailure,
    example = json!({
        "portfolio_id": "683b6d88a29ee10e8b499644", "code": "no-feasible-solution",
        "detail": "no feasible solution exists: the least that the bands ask for costs 950, there is 900 to spend",
    }),
)]
pub(crate) struct FailureBody<'a> {
    #[schema(value_type = PortfolioIdText)]
    portfolio_id: &'a str,
    #[schema(example = "no-feasible-solution")]
    code: &'a str,
    #[schema(
        example = "no feasible solution exists: the least that the bands ask for costs 950, there is 900 to spend"
    )]
    detail: &'a str,
}

/// Portfolios whose rebalances are wanted.
#[derive(ToSchema)]
#[schema(as = RebalancesByPortfoliosRequestDTO)]
#[expect(
    dead_code,
    reason = "describes the body to clients; the body is read by `portfolio_ids`, which reports every error"
)]
pub(crate) struct ContainingBody {
    #[schema(min_items = 1)]
    portfolios: Vec<PortfolioIdText>,
}

impl<'a> RebalanceBody<'a> {
    pub(super) fn new(
        header: &'a RebalanceHeader,
        number_of_portfolios: usize,
        portfolios: Vec<PortfolioBody<'a>>,
    ) -> Self {
        let Progress { total, rebalanced, failed } = header.progress(number_of_portfolios);
        Self {
            rebalance_id: header.id.to_string(),
            model_id: header.model.to_string(),
            rebalance_date: instant(header.date),
            model_name: header.model_name.as_str(),
            trading_rules: KeptTradingRulesBody::new(&header.rules),
            status: RebalanceStatusBody::from(&header.status),
            portfolios_total: total,
            number_of_portfolios: rebalanced,
            portfolios_failed: failed,
            error: ReasonBody::of(&header.status),
            portfolios,
            failures: header.failed.iter().map(FailureBody::from).collect(),
            version: header.version.get(),
            created_at: instant(header.created_at),
        }
    }
}

impl From<&RebalanceStatus> for RebalanceStatusBody {
    fn from(status: &RebalanceStatus) -> Self {
        match status {
            RebalanceStatus::Running(_) => Self::Running,
            RebalanceStatus::Completed => Self::Completed,
            RebalanceStatus::Failed { .. } => Self::Failed,
            RebalanceStatus::Cancelled(_) => Self::Cancelled,
        }
    }
}

impl<'a> From<&'a Rebalance> for RebalanceBody<'a> {
    fn from(rebalance: &'a Rebalance) -> Self {
        let Rebalance { header, portfolios } = rebalance;
        let trade_date = civil(header.trade_date());
        let bodies = portfolios.iter().map(|portfolio| PortfolioBody::new(portfolio, &trade_date));
        Self::new(header, portfolios.len(), bodies.collect())
    }
}

impl<'a> From<&'a FailedPortfolio> for FailureBody<'a> {
    fn from(failed: &'a FailedPortfolio) -> Self {
        Self { portfolio_id: failed.portfolio.as_str(), code: &failed.code, detail: &failed.detail }
    }
}

impl<'a> PortfolioBody<'a> {
    fn new(portfolio: &'a PortfolioRebalance, trade_date: &str) -> Self {
        Self {
            portfolio_id: portfolio.portfolio.as_str(),
            market_value: number(portfolio.market_value),
            cash_before_rebalance: number(portfolio.cash_before),
            cash_after_rebalance: number(portfolio.cash_after),
            trading_costs: number(portfolio.trading_costs),
            optimality: OptimalityBody::from(&portfolio.optimality),
            positions: portfolio
                .positions
                .iter()
                .map(|position| TradedPositionBody::new(position, trade_date))
                .collect(),
        }
    }
}

impl<'a> From<&'a PortfolioRebalance> for PortfolioWithPositionsBody<'a> {
    fn from(portfolio: &'a PortfolioRebalance) -> Self {
        Self {
            portfolio_id: portfolio.portfolio.as_str(),
            market_value: number(portfolio.market_value),
            cash_before_rebalance: number(portfolio.cash_before),
            cash_after_rebalance: number(portfolio.cash_after),
            trading_costs: number(portfolio.trading_costs),
            positions: portfolio.positions.iter().map(PositionBody::from).collect(),
        }
    }
}

impl TradedPositionBody {
    fn new(position: &RebalancedPosition, trade_date: &str) -> Self {
        Self {
            position: PositionBody::from(position),
            transaction_type: position.trade.map(|trade| trade.side.into()),
            trade_quantity: position.trade.map(|trade| trade.quantity),
            trade_date: position.trade.map(|_| trade_date.to_owned()),
        }
    }
}

impl From<&RebalancedPosition> for PositionBody {
    fn from(position: &RebalancedPosition) -> Self {
        Self {
            security_id: position.security.to_string(),
            price: number(position.price),
            original_quantity: number(position.original_quantity),
            adjusted_quantity: number(position.adjusted_quantity),
            original_position_market_value: number(position.original_value),
            adjusted_position_market_value: number(position.adjusted_value),
            target: number(position.target),
            high_drift: number(position.high_drift),
            low_drift: number(position.low_drift),
            actual: number(position.actual),
            actual_drift: number(position.actual_drift),
            outside_band: position.outside_band,
            shaped_by: RuleBody::all(&position.shaped_by),
        }
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query to clients; `Parameters` reads it")]
pub(crate) struct RebalancesQuery {
    /// How many rebalances to skip.
    #[param(format = "offset")]
    offset: Option<u64>,
    /// How many rebalances at most.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u64>,
    /// `rebalance_id`, `model_name`, `rebalance_date`, `number_of_portfolios`, separated by commas, each
    /// with `-` for descending. Other names are ignored.
    #[param(example = "-rebalance_date")]
    sort_by: Option<String>,
}

/// Kept rebalances, the latest first unless told otherwise.
#[utoipa::path(
    get, path = "/api/v1/rebalances", tag = "rebalances", operation_id = "list_rebalances", params(RebalancesQuery),
    responses((status = 200, description = "The rebalances", body = [RebalanceBody])),
)]
pub(super) async fn list(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let order = rebalance_order(&parameters);
    let rebalances = app.rebalances(&order, short_page(&parameters)?).await?;
    Ok(shown(&rebalances))
}

fn rebalance_order(parameters: &Parameters) -> Vec<(RebalanceKey, Direction)> {
    let key = |(name, direction)| match name {
        "rebalance_id" => Some((RebalanceKey::Id, direction)),
        "model_name" => Some((RebalanceKey::ModelName, direction)),
        "rebalance_date" => Some((RebalanceKey::Date, direction)),
        "number_of_portfolios" => Some((RebalanceKey::NumberOfPortfolios, direction)),
        // Today's clients sort by fields of other lists, too.
        _ => None,
    };
    let order: Vec<_> = sort_keys(parameters).filter_map(key).collect();
    if order.is_empty() { vec![(RebalanceKey::Date, Direction::Descending)] } else { order }
}

/// Kept rebalances that contain any of the given portfolios, whole, the latest first.
#[utoipa::path(
    post, path = "/api/v1/rebalances/portfolios", tag = "rebalances", operation_id = "list_rebalances_of_portfolios",
    params(RebalancesQuery), request_body = ContainingBody,
    responses(
        (status = 200, description = "The rebalances", body = [RebalanceBody]),
    ),
)]
pub(super) async fn containing(
    app: Data<OrderGeneration>,
    parameters: Parameters,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let page = short_page(&parameters)?;
    let rebalances = app.rebalances_of(&body.read(portfolio_ids)?, page).await?;
    Ok(shown(&rebalances))
}

fn portfolio_ids(fields: &Fields<'_>) -> Option<Vec<PortfolioId>> {
    let node = fields.required("portfolios")?;
    let portfolios = node.list(|node| node.parse::<PortfolioId>())?;
    if portfolios.is_empty() { node.wrong("must name at least one portfolio") } else { Some(portfolios) }
}

/// One kept rebalance.
#[utoipa::path(
    get, path = "/api/v1/rebalance/{rebalance_id}", tag = "rebalances", operation_id = "get_rebalance",
    params(("rebalance_id" = RebalanceIdText, Path, description = "The rebalance")),
    responses(
        (status = 200, description = "The rebalance", body = RebalanceBody),
    ),
)]
pub(super) async fn find(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.rebalance_id()?;
    written(app.rebalance(&id).await?).await
}

/// As `RebalanceBody` is written, but its portfolios while they are read.
async fn written(rebalance: OpenRebalance<'static>) -> Result<HttpResponse, Problem> {
    const PORTFOLIOS: &str = r#""portfolios":["#;

    let header = &rebalance.header;
    let trade_date = civil(header.trade_date());
    let empty = json(&RebalanceBody::new(header, rebalance.number_of_portfolios(), Vec::new()));
    // Inside a string a quote is escaped, so this can only be the field.
    let field = empty.find(PORTFOLIOS).expect("the body has portfolios");
    let (before, after) = empty.split_at(field + PORTFOLIOS.len());
    let (before, after) = (before.to_owned(), after.to_owned());

    let portfolio = move |portfolio| json(&PortfolioBody::new(&portfolio, &trade_date));
    streamed::list(before, rebalance.into_portfolios().map_ok(portfolio), after).await
}

/// The portfolios of a kept rebalance, without their trades.
#[utoipa::path(
    get, path = "/api/v1/rebalance/{rebalance_id}/portfolios", tag = "rebalances",
    operation_id = "get_rebalance_portfolios", params(("rebalance_id" = RebalanceIdText, Path, description = "The rebalance")),
    responses(
        (status = 200, description = "Its portfolios", body = [PortfolioWithPositionsBody]),
    ),
)]
pub(super) async fn portfolios(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.rebalance_id()?;
    written_without_trades(app.rebalance(&id).await?).await
}

async fn written_without_trades(rebalance: OpenRebalance<'static>) -> Result<HttpResponse, Problem> {
    let portfolio = |portfolio| json(&PortfolioWithPositionsBody::from(&portfolio));
    let portfolios = rebalance.into_portfolios().map_ok(portfolio);
    streamed::list("[".to_owned(), portfolios, "]".to_owned()).await
}

/// The positions of one portfolio of a kept rebalance, without their trades.
#[utoipa::path(
    get, path = "/api/v1/rebalance/{rebalance_id}/portfolio/{portfolio_id}/positions", tag = "rebalances",
    operation_id = "get_rebalance_positions",
    params(("rebalance_id" = RebalanceIdText, Path, description = "The rebalance"), ("portfolio_id" = PortfolioIdText, Path, description = "The portfolio")),
    responses(
        (status = 200, description = "Its positions", body = [PositionBody]),
    ),
)]
pub(super) async fn positions(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.rebalance_id()?;
    let portfolio = parameters.portfolio_id()?;
    let portfolio = app.rebalanced_portfolio(&id, &portfolio).await?;
    Ok(HttpResponse::Ok().json(portfolio.positions.iter().map(PositionBody::from).collect::<Vec<_>>()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageBody {
    #[schema(example = "Rebalance 6835a1b2c3d4e5f6a7b8c9d1 deleted successfully")]
    message: String,
}

/// Deletes a kept rebalance. The model and the portfolios stay as they are.
///
/// One that is RUNNING is cancelled instead, and stays as that until it is deleted itself.
#[utoipa::path(
    delete, path = "/api/v1/rebalance/{rebalance_id}", tag = "rebalances", operation_id = "delete_rebalance",
    params(("rebalance_id" = RebalanceIdText, Path, description = "The rebalance"), VersionQuery),
    responses(
        (status = 200, description = "Deleted", body = MessageBody),
        (status = 409, description = "It has another version"),
    ),
)]
pub(super) async fn delete(
    app: Data<OrderGeneration>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.rebalance_id()?;
    let message = match app.delete_rebalance(&id, parameters.version()?).await? {
        Deleted::Removed => format!("Rebalance {id} deleted successfully"),
        Deleted::Cancelled => format!("Rebalance {id} cancelled"),
    };
    Ok(HttpResponse::Ok().json(MessageBody { message }))
}

fn shown(rebalances: &[Rebalance]) -> HttpResponse {
    HttpResponse::Ok().json(rebalances.iter().map(RebalanceBody::from).collect::<Vec<_>>())
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("strings, numbers, lists and structs serialise")
}

#[cfg(test)]
mod tests {
    use actix_web::body;
    use domain::order_generation::model::ModelName;
    use futures_util::stream;
    use port_contracts::fixtures::{failed, rebalance, rebalanced_position};

    use super::*;

    fn opened(rebalance: &Rebalance) -> OpenRebalance<'static> {
        let Rebalance { header, portfolios } = rebalance.clone();
        OpenRebalance::new(header, portfolios.len(), stream::iter(portfolios.into_iter().map(Ok)))
    }

    async fn text(reply: Result<HttpResponse, Problem>) -> String {
        let bytes = body::to_bytes(reply.unwrap().into_body()).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[actix_web::test]
    async fn what_is_written_while_it_is_read_is_the_body_to_the_byte() {
        let empty = rebalance(1, &[]);
        let mut all_failed = empty.clone();
        all_failed.header.failed = vec![failed("p1", "infeasible", r#""portfolios":[]"#)];
        let mut without_positions = rebalance(2, &["p1", "p2"]);
        without_positions.portfolios[0].positions.clear();
        let mut misleading = rebalance(3, &["p1"]);
        misleading.header.model_name = ModelName::new(r#""portfolios":[1],\u0022"#).unwrap();
        let mut ruled = rebalance(5, &["p1"]);
        ruled.header.rules.restricted.insert(rebalanced_position(1, 0).security);
        let mut large = rebalance(4, &["p"; 500]);
        for (portfolio, n) in large.portfolios.iter_mut().zip(-250..) {
            portfolio.positions.push(rebalanced_position(2, n));
        }

        for given in [empty, all_failed, without_positions, misleading, ruled, large] {
            let whole = json(&RebalanceBody::from(&given));
            assert_eq!(text(written(opened(&given)).await).await, whole);

            let bodies: Vec<_> = given.portfolios.iter().map(PortfolioWithPositionsBody::from).collect();
            assert_eq!(text(written_without_trades(opened(&given)).await).await, json(&bodies));
        }
    }
}
