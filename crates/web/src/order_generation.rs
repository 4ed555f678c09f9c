//! The routes of the Order Generation Service.

pub(crate) mod events;
pub(crate) mod models;
pub(crate) mod rebalance;
pub(crate) mod rebalances;
pub(crate) mod trading_rules;

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};

use crate::routing::resource;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(resource(
            "/api/v1/models",
            [(Method::GET, web::to(models::list)), (Method::POST, web::to(models::create))],
        ))
        .service(resource(
            "/api/v1/model/{model_id}",
            [
                (Method::GET, web::to(models::find)),
                (Method::PUT, web::to(models::replace)),
                (Method::DELETE, web::to(models::delete)),
            ],
        ))
        .service(resource(
            "/api/v1/model/{model_id}/position",
            [
                (Method::POST, web::to(models::add_position)),
                (Method::PUT, web::to(models::replace_position)),
                (Method::DELETE, web::to(models::remove_position)),
            ],
        ))
        .service(resource(
            "/api/v1/model/{model_id}/portfolio",
            [
                (Method::POST, web::to(models::add_portfolios)),
                (Method::DELETE, web::to(models::remove_portfolios)),
            ],
        ))
        .service(resource("/api/v1/model/{model_id}/rebalance", [(Method::POST, web::to(rebalance::model))]))
        .service(resource(
            "/api/v1/portfolio/{portfolio_id}/rebalance",
            [(Method::POST, web::to(rebalance::portfolio))],
        ))
        .service(resource("/api/v1/rebalances", [(Method::GET, web::to(rebalances::list))]))
        .service(resource("/api/v1/rebalances/portfolios", [(Method::POST, web::to(rebalances::containing))]))
        .service(resource(
            "/api/v1/rebalance/{rebalance_id}",
            [(Method::GET, web::to(rebalances::find)), (Method::DELETE, web::to(rebalances::delete))],
        ))
        .service(resource(
            "/api/v1/rebalance/{rebalance_id}/events",
            [(Method::GET, web::to(events::events))],
        ))
        .service(resource(
            "/api/v1/rebalance/{rebalance_id}/portfolios",
            [(Method::GET, web::to(rebalances::portfolios))],
        ))
        .service(resource(
            "/api/v1/rebalance/{rebalance_id}/portfolio/{portfolio_id}/positions",
            [(Method::GET, web::to(rebalances::positions))],
        ));
}
