//! The description of the interface, `/openapi.json`, and its page, `/docs`.
//!
//! Handlers and bodies describe themselves; what all of them have in common is added here.

mod bodies;
mod examples;
mod headers;
mod links;
mod problems;
mod scalars;

use actix_web::http::Method;
use actix_web::http::header::{ContentType, LOCATION};
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use crate::health;
use crate::order_generation::events::{self, ProgressBody};
use crate::order_generation::models::{self, ModelBody, NewModelBody, PortfoliosBody, ReplacedModelBody};
use crate::order_generation::rebalance::{self, OutcomeBody};
use crate::order_generation::rebalances::{
    self, ContainingBody, PortfolioWithPositionsBody, PositionBody, RebalanceBody,
};
use crate::problem::{Problem, ProblemBody};
use crate::routing::{exactly, resource};
use crate::server::Settings;
use crate::telemetry;

pub(crate) use scalars::{LotNumber, ModelIdText, PortfolioIdText, RebalanceIdText, SecurityIdText};

const DESCRIPTION: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        description = "Keeps investment models and rebalances the portfolios that follow them: whole shares that \
                       deviate least from the model, inside every drift band, the cash at hand and the manager's \
                       trading rules.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        models::list, models::create, models::find, models::replace, models::delete,
        models::add_position, models::replace_position, models::remove_position,
        models::add_portfolios, models::remove_portfolios,
        rebalance::model, rebalance::portfolio,
        rebalances::list, rebalances::containing, rebalances::find, rebalances::portfolios,
        rebalances::positions, rebalances::delete, events::events,
        health::live, health::ready, health::detailed, telemetry::metrics,
    ),
    components(schemas(
        ProgressBody,
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

/// The description as the service gives it, and its page, with nothing fetched from outside.
pub(crate) fn routes(settings: &Settings) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let document = document(&settings.service_name, &settings.version);
    let description = Bytes::from(document.to_string());
    let page = Config::new([DESCRIPTION]).validator_url("none").try_it_out_enabled(true);

    let describe = move || {
        let description = description.clone();
        async move { HttpResponse::Ok().content_type(ContentType::json()).body(description) }
    };
    move |config| {
        config
            .app_data(Data::new(page))
            .service(resource(DESCRIPTION, [(Method::GET, web::to(describe))]))
            .service(exactly("/docs", [(Method::GET, web::to(to_docs))]))
            .service(exactly("/docs/{file:.*}", [(Method::GET, web::to(docs))]));
    }
}

/// The interface of order generation as OpenAPI 3.1, for reading.
pub fn description(service_name: &str, version: &str) -> String {
    serde_json::to_string_pretty(&document(service_name, version)).expect("a description is plain JSON")
}

fn document(service_name: &str, version: &str) -> Value {
    let mut document = serde_json::to_value(Interface::openapi()).expect("a description is plain JSON");
    document["info"]["title"] = service_name.into();
    document["info"]["version"] = version.into();
    problems::describe(&mut document);
    headers::describe(&mut document);
    bodies::describe(&mut document);
    links::describe(&mut document);
    examples::describe(&mut document);
    unwrap(&mut document);
    document
}

/// Makes one line of each paragraph: where the source breaks its comments is of no interest.
fn unwrap(part: &mut Value) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.split("\n\n").map(|it| it.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
            }
            members.values_mut().for_each(unwrap);
        }
        Value::Array(elements) => elements.iter_mut().for_each(unwrap),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The page's own links are relative to `/docs/`.
async fn to_docs() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((LOCATION, "/docs/")).finish()
}

async fn docs(
    request: HttpRequest,
    file: Path<String>,
    page: Data<Config<'static>>,
) -> Result<HttpResponse, Problem> {
    // The files are part of the binary: one that cannot be served is one that is not there.
    let file = utoipa_swagger_ui::serve(&file, page.into_inner()).ok().flatten();
    let file = file.ok_or_else(|| Problem::no_such_route(request.path()))?;
    Ok(HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned()))
}
