//! A database of the reference service, taken over as it is.

use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use bson::oid::ObjectId;
use bson::{Bson, DateTime, Decimal128, Document, doc};
use domain::identifier::{ModelId, RebalanceId};
use domain::order_generation::optimum::Method;
use domain::order_generation::rebalance::{OptimalityStatus, Side, Trade};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;
use port_contracts::fixtures::{assert_conflict, model, portfolio, portfolios, rebalance, version};
use rust_decimal_macros::dec;

use crate::server::{deployments, fresh};

const DAY: DateTime = DateTime::from_millis(1_700_000_000_000);

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

fn reference_model(n: u8, version: Bson) -> Document {
    doc! {
        "_id": oid(n),
        "name": format!("Model {n}"),
        "positions": [{
            "security_id": "STOCK1234567890123456789",
            "target": decimal("0.350"),
            "high_drift": decimal("0.05"),
            "low_drift": decimal("0.0200"),
        }],
        "portfolios": ["683b6d88a29ee10e8b499643"],
        "last_rebalance_date": null,
        "version": version,
        "created_at": DAY,
        "updated_at": DAY,
    }
}

fn oid(n: u8) -> ObjectId {
    ObjectId::from_bytes([0x65, 0x53, 0xf1, 0x00, 0, 0, 0, 0, 0, 0, 0, n])
}

fn model_id(n: u8) -> ModelId {
    ModelId::from_bytes(oid(n).bytes())
}

fn rebalance_id(n: u8) -> RebalanceId {
    RebalanceId::from_bytes(oid(n).bytes())
}

fn reference_rebalance(n: u8) -> Document {
    doc! {
        "_id": oid(n),
        "model_id": oid(1),
        "rebalance_date": DAY,
        "model_name": "Model 1",
        "number_of_portfolios": 2,
        "portfolios": [{
            "portfolio_id": "683b6d88a29ee10e8b499643",
            "market_value": decimal("44974.43"),
            "cash_before_rebalance": decimal("35426.93"),
            "cash_after_rebalance": decimal("35426.93"),
            "positions": [{
                "security_id": "STOCK1234567890123456789",
                "price": decimal("62.85"),
                "original_quantity": decimal("150"),
                "adjusted_quantity": decimal("429"),
                "original_position_market_value": decimal("9427.50"),
                "adjusted_position_market_value": decimal("26962.65"),
                "target": decimal("0.60"),
                "high_drift": decimal("0.05"),
                "low_drift": decimal("0.05"),
                "actual": decimal("0.05995106552767872766814387642"),
                "actual_drift": decimal("-0.0008155745386878721976020597"),
                "transaction_type": "BUY",
                "trade_quantity": 279,
                "trade_date": DAY,
            }, {
                "security_id": "STOCK1234567890123456780",
                "price": decimal("10"),
                "original_quantity": decimal("12"),
                "adjusted_quantity": decimal("12"),
                "original_position_market_value": decimal("120"),
                "adjusted_position_market_value": decimal("120"),
                "target": decimal("0"),
                "high_drift": decimal("0"),
                "low_drift": decimal("0"),
                "actual": decimal("0.002668182785529733451474626582"),
                "actual_drift": decimal("0"),
                "transaction_type": null,
                "trade_quantity": null,
                "trade_date": null,
            }],
        }],
        "version": 1,
        "created_at": DAY,
    }
}

#[tokio::test]
async fn its_models_are_served_and_changed() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let models = guard.database().await.collection::<Document>("models");
        let by_name = IndexOptions::builder().unique(true).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "name": 1 }).options(by_name).build(),
            IndexModel::builder().keys(doc! { "portfolios": 1 }).build(),
            IndexModel::builder().keys(doc! { "created_at": -1 }).build(),
        ];
        models.create_indexes(indexes).await.unwrap();
        let versions = [Bson::Int32(3), Bson::Int64(3), Bson::Double(3.0)];
        for (n, version) in (1..).zip(versions) {
            models.insert_one(reference_model(n, version)).await.unwrap();
        }

        for n in 1..=3 {
            let id = model_id(n);
            let found = ModelRepository::find(&store, &id).await.unwrap().unwrap();
            assert_eq!(found.version, version(3));
            assert_eq!(found.positions.iter().next().unwrap().target.get().to_string(), "0.350");
            assert_eq!(found.last_rebalance_date, None);
            assert_eq!(found.created_at.timestamp_millis(), DAY.timestamp_millis());

            let stale = store.replace(&id, &found.content(), None, version(2)).await.unwrap_err();
            assert_conflict(&stale, version(2), version(3));
            let replaced = store.replace(&id, &found.content(), None, version(3)).await.unwrap();
            assert_eq!(replaced.version, version(4));
            ModelRepository::delete(&store, &id, version(4)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_its_models_lack_is_made_up_for() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let models = guard.database().await.collection::<Document>("models");
        let mut given = reference_model(1, Bson::Int32(1));
        for field in ["positions", "last_rebalance_date", "created_at", "updated_at"] {
            given.remove(field);
        }
        models.insert_one(given).await.unwrap();

        let found = ModelRepository::find(&store, &model_id(1)).await.unwrap().unwrap();

        assert!(found.positions.is_empty());
        assert_eq!(found.last_rebalance_date, None);
        assert_eq!(found.created_at.timestamp(), 0x6553_f100);
        let mut recorded = rebalance(1, &["p1"]);
        recorded.header.model = model_id(1);
        store.record(&recorded).await.unwrap();
        let found = ModelRepository::find(&store, &model_id(1)).await.unwrap().unwrap();
        assert_eq!(found.last_rebalance_date, Some(recorded.header.date));
    }
}

#[tokio::test]
async fn our_models_have_its_shape() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        store.insert(&model(1, "balanced")).await.unwrap();

        let models = guard.database().await.collection::<Document>("models");
        let written = models.find_one(doc! {}).await.unwrap().unwrap();

        let fields: Vec<&str> = written.keys().map(String::as_str).collect();
        let expected = [
            "_id",
            "name",
            "positions",
            "portfolios",
            "last_rebalance_date",
            "version",
            "created_at",
            "updated_at",
        ];
        assert_eq!(fields, expected);
        assert_eq!(written.get("last_rebalance_date"), Some(&Bson::Null));
        assert_eq!(written.get("version"), Some(&Bson::Int64(1)));
        let position = written.get_array("positions").unwrap()[0].as_document().unwrap();
        assert_eq!(position.get("target"), Some(&decimal("0.60")));
        assert_eq!(position.get("low_drift"), Some(&decimal("0.020")));
    }
}

#[tokio::test]
async fn our_small_rebalances_have_its_shape() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        store.record(&rebalance(1, &["p1", "p2"])).await.unwrap();

        let rebalances = guard.database().await.collection::<Document>("rebalances");
        let written = rebalances.find_one(doc! {}).await.unwrap().unwrap();

        let reference = reference_rebalance(1);
        let without = |document: &Document, added: &[&str]| -> Vec<String> {
            document.keys().filter(|key| !added.contains(&key.as_str())).cloned().collect()
        };
        assert_eq!(without(&written, &["failed"]), without(&reference, &[]));
        let first = |document: &Document, list: &str| {
            document.get_array(list).unwrap()[0].as_document().unwrap().clone()
        };
        let [ours, its] = [&written, &reference].map(|document| first(document, "portfolios"));
        assert_eq!(without(&ours, &["optimality"]), without(&its, &[]));
        let [ours, its] = [ours, its].map(|document| first(&document, "positions"));
        assert_eq!(without(&ours, &["outside_band"]), without(&its, &[]));
        for (field, value) in ours {
            let same_type = its.get(&field).is_none_or(|other| other.element_type() == value.element_type());
            assert!(same_type || field == "trade_quantity", "{field}: {value}");
        }
    }
}

#[tokio::test]
async fn its_rebalances_are_served_and_deleted() {
    for url in deployments() {
        let (store, guard) = fresh(url).await;
        let rebalances = guard.database().await.collection::<Document>("rebalances");
        rebalances.insert_one(reference_rebalance(7)).await.unwrap();
        let ours = rebalance(1, &["p1"]);
        store.record(&ours).await.unwrap();

        let opened = store.open(&rebalance_id(7)).await.unwrap().unwrap();
        assert_eq!(opened.number_of_portfolios(), 1);
        let whole = opened.whole().await.unwrap();
        let [only] = whole.portfolios.as_slice() else { panic!("{whole:?}") };
        assert_eq!(only.cash_before, dec!(35426.93));
        assert_eq!(only.optimality.status, OptimalityStatus::Bound);
        assert_eq!(only.optimality.method, Method::Search);
        assert_eq!(only.optimality.lower_bound, dec!(0));
        assert_eq!(only.optimality.objective, dec!(22.008) + dec!(120));
        let [bought, kept] = only.positions.as_slice() else { panic!("{only:?}") };
        assert_eq!(bought.trade, Some(Trade { side: Side::Buy, quantity: 279 }));
        assert_eq!(bought.actual, dec!(0.0599510655276787276681438764));
        assert_eq!((kept.trade, kept.outside_band), (None, false));

        let name = portfolio("683b6d88a29ee10e8b499643");
        let found = store.find_portfolio(&rebalance_id(7), &name).await.unwrap();
        assert_eq!(found.as_ref(), Some(only));
        let other = store.find_portfolio(&rebalance_id(7), &portfolio("p1")).await.unwrap();
        assert_eq!(other, None);
        let names = portfolios(&["p1", name.as_str()]);
        let containing = store.containing(&names, Page::default()).await.unwrap();
        assert_eq!(containing, [ours.clone(), whole.clone()]);
        let listed = RebalanceRepository::list(&store, &[], Page::default()).await.unwrap();
        assert_eq!(listed, [ours.clone(), whole]);

        RebalanceRepository::delete(&store, &rebalance_id(7), version(1)).await.unwrap();
        let listed = RebalanceRepository::list(&store, &[], Page::default()).await.unwrap();
        assert_eq!(listed, [ours]);
    }
}

#[tokio::test]
async fn a_taken_name_or_id_is_a_duplicate_whichever_command_finds_out() {
    for url in deployments() {
        let (store, _guard) = fresh(url).await;
        store.insert(&model(1, "balanced")).await.unwrap();
        store.insert(&model(2, "growth")).await.unwrap();
        let growth = model(2, "growth");
        let recorded = rebalance(1, &["p1"]);
        store.record(&recorded).await.unwrap();

        let inserted = store.insert(&model(3, "balanced")).await;
        let renamed = store.replace(&growth.id, &model(0, "balanced").content(), None, growth.version).await;
        let recorded = store.record(&recorded).await;

        for refused in [inserted.unwrap_err(), renamed.unwrap_err(), recorded.unwrap_err()] {
            assert!(matches!(refused, Error::Duplicate { .. }), "{refused:?}");
        }
    }
}
