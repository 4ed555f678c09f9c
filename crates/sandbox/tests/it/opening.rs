use std::collections::BTreeSet;

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sandbox::{Config, Sandbox, Summary};

use crate::client::json as get;

async fn opened(portfolios: usize, positions: usize) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    sandbox.open(portfolios, positions);
    let (_, listed) = get(format!("{}/api/v1/portfolios", sandbox.portfolio.url())).await;
    let ids = listed.as_array().unwrap().iter();
    let ids = ids.map(|portfolio| portfolio["portfolioId"].as_str().unwrap().to_owned()).collect();
    (sandbox, ids)
}

fn summaries(sandbox: &Sandbox, ids: &[String]) -> Vec<Summary> {
    ids.iter().map(|id| sandbox.accounting.summary(id).unwrap()).collect()
}

#[tokio::test]
async fn opened_portfolios_have_names_and_hold_as_many_securities_as_asked_for() {
    let (sandbox, ids) = opened(300, 20).await;

    assert_eq!(ids.len(), 300);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 300, "each has an id of its own");
    let (_, named) = get(format!("{}/api/v1/portfolio/{}", sandbox.portfolio.url(), ids[299])).await;
    assert_eq!(named["name"], "Portfolio 300");
    for Summary { cash, holdings } in summaries(&sandbox, &ids) {
        assert!((dec!(50_000)..=dec!(400_000)).contains(&cash), "{cash}");
        // A part may be worth less than one share.
        assert!((19..=20).contains(&holdings.len()), "{}", holdings.len());
        assert!(holdings.values().all(|quantity| quantity.fract().is_zero() && Decimal::ZERO < *quantity));
    }
}

#[tokio::test]
async fn without_positions_a_portfolio_is_all_cash() {
    let (sandbox, ids) = opened(50, 0).await;

    for Summary { cash, holdings } in summaries(&sandbox, &ids) {
        assert!((dec!(500_000)..=dec!(4_000_000)).contains(&cash), "{cash}");
        assert!(holdings.is_empty());
    }
}

#[tokio::test]
async fn the_same_seed_opens_the_same_portfolios() {
    let (sandbox, ids) = opened(5, 10).await;
    let (again, same_ids) = opened(7, 10).await;

    assert_eq!(same_ids[..5], ids);
    assert_eq!(summaries(&again, &same_ids[..5]), summaries(&sandbox, &ids));
}
