use application::health::{NeighbourProbe, Neighbours};
use serde_json::json;

use crate::neighbourhood::{Neighbourhood, chain, given, n_calls, ok, status};
use crate::outlaw::closed_port;

fn probes(neighbours: &Neighbourhood) -> Neighbours<Box<dyn NeighbourProbe>> {
    neighbours.clients().probes()
}

#[tokio::test]
async fn each_neighbour_is_probed_where_it_says_how_it_is() {
    let neighbours = Neighbourhood::start().await;
    let up = ok(&json!({ "status": "UP" }));
    given(&neighbours.accounting, "/health", up.clone()).await;
    given(&neighbours.security, "/health/liveness", up.clone()).await;
    given(&neighbours.pricing, "/actuator/health", up.clone()).await;
    given(&neighbours.portfolio, "/health/live", up).await;

    let Neighbours { portfolio_accounting, pricing, portfolio, security } = probes(&neighbours);

    for (name, probe) in [
        ("portfolio_accounting", portfolio_accounting),
        ("pricing", pricing),
        ("portfolio", portfolio),
        ("security", security),
    ] {
        assert!(probe.check().await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_neighbour_that_is_down_or_elsewhere_is_unhealthy_after_one_call() {
    for code in [301, 404, 429, 500, 503] {
        let neighbours = Neighbourhood::start().await;
        given(&neighbours.pricing, "/actuator/health", status(code)).await;

        let error = probes(&neighbours).pricing.check().await.unwrap_err();

        assert!(error.to_string().contains(&code.to_string()), "{error}");
        assert_eq!(n_calls(&neighbours.pricing).await, 1);
    }
}

#[tokio::test]
async fn a_neighbour_that_is_gone_is_unhealthy() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.security.base_url = closed_port();

    let error = probes(&neighbours).security.check().await.unwrap_err();

    assert!(chain(&*error).contains("refused"), "{}", chain(&*error));
}
