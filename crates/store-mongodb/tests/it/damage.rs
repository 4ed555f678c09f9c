//! Documents that nobody here can have written.

use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use bson::{Bson, Document, doc, oid};
use domain::order_generation::rebalance::Rebalance;
use mongodb::Database;
use port_contracts::fixtures::{model, portfolio, rebalance};
use store_mongodb::MongoStore;

use crate::server::{deployments, fresh, kept_apart};

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

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

#[tokio::test]
async fn an_unreadable_model_is_corrupt_and_named() {
    let damages = [
        doc! { "positions": "nonsense" },
        doc! { "positions": [{}] },
        doc! { "positions.0.target": decimal("0.601") },
        doc! { "positions.0.target": decimal("0.95") },
        doc! { "positions.0.target": decimal("NaN") },
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
        doc! { "trading_rules": "strict" },
        doc! { "trading_rules.minimum_cash": "much" },
        doc! { "trading_rules.minimum_cash": decimal("-1") },
        doc! { "trading_rules.minimum_cash_share": decimal("1.1") },
        doc! { "trading_rules.lot_size": 100 },
        doc! { "trading_rules.lot_size.default": 0 },
        doc! { "trading_rules.lot_size.per_security": [{ "security_id": "stock", "lot_size": 10 }] },
        doc! { "trading_rules.lot_size.per_security": [{ "lot_size": 10 }] },
        doc! { "trading_rules.trade_only_outside_band": 1 },
        doc! { "trading_rules.do_not_buy": ["stock"] },
        doc! { "trading_rules.restricted": "Stock0000000000000000001" },
        doc! { "trading_rules.maximum_trades": -1 },
        doc! { "trading_rules.maximum_positions": 4_294_967_296_i64 },
        doc! { "trading_rules.maximum_turnover": decimal("0.000000001") },
        doc! { "trading_rules.group_limits": [{ "name": " ", "securities": [], "maximum": decimal("1") }] },
        doc! { "trading_rules.group_limits": [{ "name": "Tech", "securities": [] }] },
        doc! { "trading_rules.gap": decimal("NaN") },
        doc! { "trading_rules.rule_of_a_later_release": true },
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
    let of_the_header = [
        doc! { "model_id": "m1" },
        doc! { "model_name": "" },
        doc! { "failed": {} },
        doc! { "version": -1 },
        doc! { "number_of_portfolios": -1 },
        doc! { "created_at": "today" },
        doc! { "trading_rules.ticket_fee": decimal("1E+16") },
        doc! { "trading_rules.rule_of_a_later_release": true },
    ];
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let database = guard.database().await;
        for damage in &of_the_header {
            for given in [rebalance(1, &["p1"]), kept_apart(1, &["p1"])] {
                damaged(&store, &database, &given, "rebalances", damage).await;
            }
        }
    }
}

#[tokio::test]
async fn an_unreadable_portfolio_is_corrupt_and_named() {
    let of_a_portfolio = [
        ("portfolio_id", "".into()),
        ("market_value", "much".into()),
        ("cash_after_rebalance", decimal("1E-29")),
        ("trading_costs", 5.into()),
        ("optimality.status", "FINE".into()),
        ("positions", "[".into()),
        ("positions.0.transaction_type", "HOLD".into()),
        ("positions.0.transaction_type", Bson::Null),
        ("positions.0.trade_quantity", (-1).into()),
        ("positions.0.price", Bson::Null),
        ("positions.0.shaped_by", "CASH".into()),
        ("positions.0.shaped_by", bson::bson!(["HABIT"])),
    ];
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let database = guard.database().await;
        for (field, value) in &of_a_portfolio {
            let damage = doc! { *field: value };
            damaged(&store, &database, &kept_apart(1, &["p1"]), "rebalance_portfolios", &damage).await;
            let damage = doc! { format!("portfolios.0.{field}"): value };
            damaged(&store, &database, &rebalance(1, &["p1"]), "rebalances", &damage).await;
        }
    }
}

#[tokio::test]
async fn portfolios_that_are_not_those_recorded_are_corrupt() {
    let damages = [
        ("rebalances", doc! { "number_of_portfolios": 0 }),
        ("rebalances", doc! { "number_of_portfolios": 1 }),
        ("rebalances", doc! { "number_of_portfolios": 3 }),
        ("rebalances", doc! { "recording": oid::ObjectId::new() }),
        ("rebalance_portfolios", doc! { "recording": oid::ObjectId::new() }),
        ("rebalance_portfolios", doc! { "ordinal": 2_i64 }),
        ("rebalance_portfolios", doc! { "ordinal": "0" }),
    ];
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let database = guard.database().await;
        for (collection, damage) in &damages {
            let given = kept_apart(1, &["p1", "p2"]);
            store.record(&given).await.unwrap();
            damage_one(&database, collection, damage).await;

            assert_corrupt(whole(&store, &given).await, "rebalance", None, damage);
            remove_all(&database).await;
        }
    }
}

/// Records it, damages one of its documents, asserts that every call names that, and removes all.
async fn damaged(
    store: &MongoStore,
    database: &Database,
    given: &Rebalance,
    collection: &str,
    damage: &Document,
) {
    store.record(given).await.unwrap();
    let id = damage_one(database, collection, damage).await;

    assert_corrupt(whole(store, given).await, "rebalance", Some(&id), damage);
    let all = RebalanceRepository::list(store, &[], Page::default()).await;
    assert_corrupt(all, "rebalance", Some(&id), damage);
    if collection == "rebalance_portfolios" && !damage.contains_key("portfolio_id") {
        let one = store.find_portfolio(&given.header.id, &portfolio("p1")).await;
        assert_corrupt(one, "rebalance", Some(&id), damage);
    }
    remove_all(database).await;
}

/// The id of the damaged document.
async fn damage_one(database: &Database, collection: &str, damage: &Document) -> String {
    let documents = database.collection::<Document>(collection);
    let change = doc! { "$set": damage.clone() };
    let before = documents.find_one_and_update(doc! {}, change).await.unwrap().unwrap();
    before.get_object_id("_id").unwrap().to_hex()
}

async fn remove_all(database: &Database) {
    for collection in ["rebalances", "rebalance_portfolios"] {
        database.collection::<Document>(collection).delete_many(doc! {}).await.unwrap();
    }
}

async fn whole(store: &MongoStore, given: &Rebalance) -> Result<Rebalance, Error> {
    store.open(&given.header.id).await?.unwrap().whole().await
}
