//! The description of the interface, `/openapi.json`, and its page, `/docs`.

use actix_web::HttpResponse;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::health;
use crate::order_generation::models::{self, ModelBody, NewModelBody, PortfoliosBody, ReplacedModelBody};
use crate::order_generation::rebalance::{self, OutcomeBody};
use crate::order_generation::rebalances::{
    self, ContainingBody, PortfolioWithPositionsBody, PositionBody, RebalanceBody,
};
use crate::problem::ProblemBody;
use crate::server::Settings;

#[derive(OpenApi)]
#[openapi(
    info(
        description = "Keeps investment models and rebalances the portfolios that follow them: whole shares that \
                       deviate least from the model, inside every drift band and the cash at hand.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        models::list, models::create, models::find, models::replace, models::delete,
        models::add_position, models::replace_position, models::remove_position,
        models::add_portfolios, models::remove_portfolios,
        rebalance::model, rebalance::portfolio,
        rebalances::list, rebalances::containing, rebalances::find, rebalances::portfolios,
        rebalances::positions, rebalances::delete,
        health::live, health::ready, health::detailed,
    ),
    components(schemas(
        ModelBody, NewModelBody, ReplacedModelBody, PortfoliosBody, models::PositionBody,
        OutcomeBody, RebalanceBody, ContainingBody, PortfolioWithPositionsBody, PositionBody, ProblemBody,
    )),
    tags(
        (name = "models", description = "What portfolios should look like"),
        (name = "rebalance", description = "The trades that make them so"),
        (name = "rebalances", description = "What was done"),
        (name = "health", description = "How the service is"),
    ),
)]
struct Interface;

pub(crate) fn document(settings: &Settings) -> utoipa::openapi::OpenApi {
    let mut document = Interface::openapi();
    document.info.title.clone_from(&settings.service_name);
    document.info.version.clone_from(&settings.version);
    document
}

/// The page, with nothing fetched from outside.
pub(crate) fn docs(settings: &Settings) -> SwaggerUi {
    let config = Config::default().validator_url("none").try_it_out_enabled(true);
    SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", document(settings)).config(config)
}

/// `/docs` without a slash; the page's own links are relative to `/docs/`.
pub(crate) async fn to_docs() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header(("Location", "/docs/")).finish()
}
