//! Documents that nobody here can have written.

use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use bson::{Document, doc};
use port_contracts::fixtures::{model, portfolio, rebalance};

use crate::server::{deployments, fresh};

#[track_caller]
fn assert_corrupt<T>(result: Result<T, Error>, what: &str, id: Option<&str>, damage: &Document) {
    match result {
        Err(Error::Corrupt { entity, source }) => {
            assert_eq!(entity, what, "{damage}");
            let told = source.to_string();
            assert!(id.is_none_or(|id| told.contains(id)), "{damage}: {told}");
        }
        Err(error) => panic!("{damage}: {error:?}"),
        Ok(_) => panic!("{damage}: read"),
    }
}

#[tokio::test]
async fn an_unreadable_model_is_corrupt_and_named() {
    let damages = [
        doc! { "positions": "nonsense" },
        doc! { "positions": [{}] },
        doc! { "positions.0.target": bson::Bson::Decimal128("0.601".parse().unwrap()) },
        doc! { "positions.0.target": bson::Bson::Decimal128("0.95".parse().unwrap()) },
        doc! { "positions.0.target": bson::Bson::Decimal128("NaN".parse().unwrap()) },
        doc! { "positions.0.target": 0.6 },
        doc! { "positions.0.security_id": "stock" },
        doc! { "name": " " },
        doc! { "version": 0 },
        doc! { "version": 1.5 },
        doc! { "version": "1" },
        doc! { "created_at": bson::DateTime::MAX },
        doc! { "last_rebalance_date": "yesterday" },
        doc! { "portfolios": ["a b"] },
        doc! { "portfolios": [] },
    ];
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let models = guard.database().await.collection::<Document>("models");
        let given = model(1, "balanced");
        for damage in &damages {
            store.insert(&given).await.unwrap();
            models.update_one(doc! {}, doc! { "$set": damage.clone() }).await.unwrap();

            let id = given.id.to_string();
            assert_corrupt(ModelRepository::find(&store, &given.id).await, "model", Some(&id), damage);
            let all = ModelRepository::list(&store, &[], Page::default()).await;
            assert_corrupt(all, "model", Some(&id), damage);
            models.delete_many(doc! {}).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_unreadable_rebalance_is_corrupt_and_named() {
    let damages = [
        ("rebalances", doc! { "model_id": "m1" }),
        ("rebalances", doc! { "model_name": "" }),
        ("rebalances", doc! { "failed": {} }),
        ("rebalances", doc! { "version": -1 }),
        ("rebalances", doc! { "number_of_portfolios": 2 }),
        ("rebalances", doc! { "number_of_portfolios": -1 }),
        ("rebalance_portfolios", doc! { "portfolio_id": "" }),
        ("rebalance_portfolios", doc! { "market_value": "much" }),
        (
            "rebalance_portfolios",
            doc! { "cash_after_rebalance": bson::Bson::Decimal128("1E-29".parse().unwrap()) },
        ),
        ("rebalance_portfolios", doc! { "optimality.status": "FINE" }),
        ("rebalance_portfolios", doc! { "positions": "[" }),
        ("rebalance_portfolios", doc! { "positions.0.transaction_type": "HOLD" }),
        ("rebalance_portfolios", doc! { "positions.0.transaction_type": null }),
        ("rebalance_portfolios", doc! { "positions.0.price": null }),
    ];
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let database = guard.database().await;
        for (collection, damage) in &damages {
            let given = rebalance(1, &["p1"]);
            store.record(&given).await.unwrap();
            let documents = database.collection::<Document>(collection);
            documents.update_one(doc! {}, doc! { "$set": damage.clone() }).await.unwrap();

            let read = match store.open(&given.header.id).await {
                Ok(opened) => opened.unwrap().whole().await,
                Err(error) => Err(error),
            };
            assert_corrupt(read, "rebalance", None, damage);
            let all = RebalanceRepository::list(&store, &[], Page::default()).await;
            assert_corrupt(all, "rebalance", None, damage);
            if *collection == "rebalance_portfolios" && !damage.contains_key("portfolio_id") {
                let document = documents.find_one(doc! {}).await.unwrap().unwrap();
                let id = document.get_object_id("_id").unwrap().to_hex();
                let one = store.find_portfolio(&given.header.id, &portfolio("p1")).await;
                assert_corrupt(one, "rebalance", Some(&id), damage);
            }
            for collection in ["rebalances", "rebalance_portfolios"] {
                database.collection::<Document>(collection).delete_many(doc! {}).await.unwrap();
            }
        }
    }
}
