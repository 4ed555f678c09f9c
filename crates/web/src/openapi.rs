//! The description of the interface, `/openapi.json`, and its page, `/docs`.

use actix_web::http::Method;
use actix_web::http::header::{ContentType, LOCATION};
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::Config;

use crate::health;
use crate::order_generation::models::{self, ModelBody, NewModelBody, PortfoliosBody, ReplacedModelBody};
use crate::order_generation::rebalance::{self, OutcomeBody};
use crate::order_generation::rebalances::{
    self, ContainingBody, PortfolioWithPositionsBody, PositionBody, RebalanceBody,
};
use crate::problem::{Problem, ProblemBody};
use crate::routing::{exactly, resource};
use crate::server::Settings;
use crate::telemetry;

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
        rebalances::positions, rebalances::delete,
        health::live, health::ready, health::detailed, telemetry::metrics,
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
    modifiers(&Problems),
)]
struct Interface;

/// The description as the service gives it, and its page, with nothing fetched from outside.
pub(crate) fn routes(settings: &Settings) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let document = document(&settings.service_name, &settings.version);
    let description = Bytes::from(document.to_json().expect("a description is plain JSON"));
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

/// Adds the problems that any route of the API can have, and those of its parameters and its body, to
/// the particular ones that its handler describes; and gives all of them their form.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let of_the_api = document.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/api/"));
        for (path, item) in of_the_api {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let has_body = operation.request_body.is_some();
                let responses = &mut operation.responses.responses;
                for (status, description) in general_problems(path.contains('{'), has_body) {
                    let response = || ResponseBuilder::new().description(description).build().into();
                    responses.entry(status.to_owned()).or_insert_with(response);
                }
                responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])).for_each(give_form);
            }
        }
    }
}

fn general_problems(
    names_something: bool,
    has_body: bool,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("400", "The request cannot be read", true),
        ("404", "There is no such thing", names_something),
        ("413", "The body is too large", has_body),
        ("415", "The body is not JSON", has_body),
        ("422", "The request breaks a rule; `errors` lists everything wrong with a body", has_body),
        ("503", "The store or a neighbour is out; `Retry-After` says when to try again", true),
    ]
    .into_iter()
    .filter_map(|(status, description, applies)| applies.then_some((status, description)))
}

fn give_form((_, response): (&String, &mut RefOr<Response>)) {
    if let RefOr::T(response) = response {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        response.content = [("application/problem+json".to_owned(), content.into())].into_iter().collect();
    }
}

/// The interface of order generation as OpenAPI 3.1, for reading.
pub fn description(service_name: &str, version: &str) -> String {
    document(service_name, version).to_pretty_json().expect("a description is plain JSON")
}

fn document(service_name: &str, version: &str) -> utoipa::openapi::OpenApi {
    let mut document = Interface::openapi();
    service_name.clone_into(&mut document.info.title);
    version.clone_into(&mut document.info.version);
    document
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
