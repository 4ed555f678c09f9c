//! No rebalance is too large for a document, because it is not one.

use application::order_generation::ports::RebalanceRepository;
use domain::order_generation::rebalance::Rebalance;
use futures_util::TryStreamExt;
use port_contracts::fixtures::{rebalance, rebalanced_position};

use crate::server::{deployments, fresh};

const LARGEST_DOCUMENT: usize = 16 << 20;

/// About 20 MB as documents.
fn large() -> Rebalance {
    let names: Vec<String> = (0..500).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut large = rebalance(1, &names);
    for portfolio in &mut large.portfolios {
        portfolio.positions = (0..100).map(|n| rebalanced_position(n, 5)).collect();
    }
    large
}

#[tokio::test]
async fn a_rebalance_larger_than_any_document_is_kept() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let given = large();

        store.record(&given).await.unwrap();

        let stats = bson::doc! { "collStats": "rebalance_portfolios" };
        let stats = guard.database().await.run_command(stats).await.unwrap();
        let bytes = usize::try_from(stats.get_i32("size").unwrap()).unwrap();
        assert!(LARGEST_DOCUMENT < bytes, "{bytes}");
        let opened = store.open(&given.header.id).await.unwrap().unwrap();
        let mut expected = given.portfolios.iter();
        let mut portfolios = opened.into_portfolios();
        while let Some(portfolio) = portfolios.try_next().await.unwrap() {
            assert_eq!(Some(&portfolio), expected.next());
        }
        assert_eq!(expected.next(), None);
    }
}
