//! No rebalance is too large for a document, because it is not one.

use application::order_generation::ports::{Page, RebalanceRepository};
use bson::{Document, doc};
use domain::order_generation::rebalance::Rebalance;
use futures_util::TryStreamExt;
use port_contracts::fixtures::{portfolio, portfolios, rebalance, rebalanced_position};

use crate::server::{deployments, fresh, kept_apart};

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

        let stats = doc! { "collStats": "rebalance_portfolios" };
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

#[tokio::test]
async fn portfolios_larger_than_a_page_are_read_one_by_one() {
    for url in deployments() {
        let (store, _guard) = fresh(url).await;
        let mut given = rebalance(1, &["p1", "p2", "p3"]);
        for portfolio in &mut given.portfolios {
            portfolio.positions = (0..5000).map(|n| rebalanced_position(n, 5)).collect();
        }
        store.record(&given).await.unwrap();

        let opened = store.open(&given.header.id).await.unwrap().unwrap();

        assert_eq!(opened.whole().await.unwrap(), given);
    }
}

#[tokio::test]
async fn portfolios_of_any_number_are_read_to_the_last() {
    for url in deployments() {
        let (store, _guard) = fresh(url).await;
        // Around the first page, and around what is asked for when they turn out to be small.
        for number in [1, 15, 16, 17, 18, 33, 1200, 3000] {
            let names: Vec<String> = (0..number).map(|n| format!("p{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let given = kept_apart(number, &names);
            store.record(&given).await.unwrap();

            let opened = store.open(&given.header.id).await.unwrap().unwrap();

            assert_eq!(opened.whole().await.unwrap(), given, "{number}");
        }
    }
}

#[tokio::test]
async fn portfolios_kept_apart_are_found_by_every_call() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let (first, second) = (kept_apart(1, &["p1", "p2", "p3"]), kept_apart(2, &["p2"]));
        store.record(&first).await.unwrap();
        store.record(&second).await.unwrap();
        let small = rebalance(3, &["p1", "p2"]);
        store.record(&small).await.unwrap();

        let apart = guard.database().await.collection::<Document>("rebalance_portfolios");
        assert_eq!(apart.count_documents(doc! {}).await.unwrap(), 4);
        let listed = RebalanceRepository::list(&store, &[], Page::default()).await.unwrap();
        assert_eq!(listed, [&small, &second, &first].map(Clone::clone));
        let containing = store.containing(&portfolios(&["p1"]), Page::default()).await.unwrap();
        assert_eq!(containing, [&small, &first].map(Clone::clone));
        for expected in &first.portfolios {
            let found = store.find_portfolio(&first.header.id, &expected.portfolio).await.unwrap();
            assert_eq!(found.as_ref(), Some(expected));
        }
        assert_eq!(store.find_portfolio(&second.header.id, &portfolio("p1")).await.unwrap(), None);

        RebalanceRepository::delete(&store, &first.header.id, first.header.version).await.unwrap();
        let listed = RebalanceRepository::list(&store, &[], Page::default()).await.unwrap();
        assert_eq!(listed, [small, second]);
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_keeps_no_cursor() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let given = large();
        store.record(&given).await.unwrap();

        let mut stalled = Vec::new();
        for _ in 0..30 {
            let mut portfolios = store.open(&given.header.id).await.unwrap().unwrap().into_portfolios();
            for expected in &given.portfolios[..20] {
                assert_eq!(portfolios.try_next().await.unwrap().as_ref(), Some(expected));
            }
            stalled.push(portfolios);
        }

        let database = guard.database().await;
        let admin = database.client().database("admin");
        let idle = async || {
            let ours = doc! { "type": "idleCursor", "ns": { "$regex": format!("^{}\\.", guard.name) } };
            let all = doc! { "$currentOp": { "idleCursors": true } };
            let idle = admin.aggregate([all, doc! { "$match": ours }]).await.unwrap();
            idle.try_collect::<Vec<Document>>().await.unwrap().len()
        };
        assert_eq!(idle().await, 0);
        let portfolios = database.collection::<Document>("rebalance_portfolios");
        let _one = portfolios.find(doc! {}).batch_size(1).await.unwrap();
        assert_eq!(idle().await, 1, "had there been any, they would have been counted");
    }
}
