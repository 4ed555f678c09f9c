use std::time::{Duration, Instant};

use application::order_generation::ports::PortfolioDirectory;
use serde_json::json;

use crate::neighbourhood::{
    Neighbourhood, given, is_malformed, is_unavailable, n_calls, ok, portfolio, status, text,
};

const PORTFOLIO: &str = "/api/v1/portfolio/683b6d88a29ee10e8b499643";

#[tokio::test]
async fn a_known_portfolio_has_a_name_which_is_kept() {
    let neighbours = Neighbourhood::start().await;
    let body = json!({ "portfolioId": "683b6d88a29ee10e8b499643", "name": "Bö & Sons",
                       "dateCreated": null, "version": 1 });
    given(&neighbours.portfolio, PORTFOLIO, ok(&body)).await;
    let directory = neighbours.clients().directory;

    for _ in 0..3 {
        let name = directory.name(&portfolio()).await.unwrap();
        assert_eq!(name.as_deref(), Some("Bö & Sons"));
    }

    assert_eq!(n_calls(&neighbours.portfolio).await, 1);
}

#[tokio::test]
async fn an_unknown_portfolio_has_none_and_that_is_not_kept() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.portfolio, PORTFOLIO, status(404)).await;
    let directory = neighbours.clients().directory;

    assert_eq!(directory.name(&portfolio()).await.unwrap(), None);
    assert_eq!(directory.name(&portfolio()).await.unwrap(), None);

    assert_eq!(n_calls(&neighbours.portfolio).await, 2);
}

#[tokio::test]
async fn a_failing_directory_is_asked_once() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.portfolio, PORTFOLIO, status(503)).await;

    let error = neighbours.clients().directory.name(&portfolio()).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert_eq!(n_calls(&neighbours.portfolio).await, 1);
}

#[tokio::test]
async fn a_slow_directory_is_given_up_on_by_its_own_timeout() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.name_timeout = Duration::from_millis(100);
    let slow = ok(&json!({ "name": "late" })).set_delay(Duration::from_secs(4));
    given(&neighbours.portfolio, PORTFOLIO, slow).await;

    let started = Instant::now();
    let error = neighbours.clients().directory.name(&portfolio()).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(n_calls(&neighbours.portfolio).await, 1);
}

#[tokio::test]
async fn a_portfolio_without_a_name_is_malformed() {
    for body in ["{}", r#"{"name":null}"#, r#"{"name":7}"#, "null", "", "<html>"] {
        let neighbours = Neighbourhood::start().await;
        given(&neighbours.portfolio, PORTFOLIO, text(200, body)).await;

        let error = neighbours.clients().directory.name(&portfolio()).await.unwrap_err();

        assert!(is_malformed(&error), "{body}");
    }
}
