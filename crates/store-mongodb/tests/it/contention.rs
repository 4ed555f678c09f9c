//! Many at once, through clients that know nothing of each other.

use std::time::Duration;

use application::order_generation::ports::{
    Holder, Lease, ModelRepository, Page, RebalanceRepository, RebalanceRuns,
};
use application::repository::Error;
use bson::oid::ObjectId;
use bson::{Document, doc};
use domain::order_generation::model::Model;
use domain::order_generation::progress::{Progress, Reason, RebalanceStatus};
use futures_util::TryStreamExt;
use futures_util::future::{join, join_all};
use mongodb::Client;
use port_contracts::fixtures::{give_up_after, minute, model, rebalance};
use store_mongodb::{Config, MongoStore};

use crate::server::{config, deployments, fresh, kept_apart, replica_set};

#[tokio::test]
async fn racing_writers_of_two_processes_are_never_refused() {
    for url in deployments() {
        let (one, guard) = fresh(url.clone()).await;
        let other = MongoStore::connect(&config(url, &guard.name)).await.unwrap();
        let stores = [one, other];

        let writers = (0..16).map(async |n| {
            let store = &stores[usize::try_from(n % 2).unwrap()];
            let mut model = model(n, &format!("model {n}"));
            store.insert(&model).await.unwrap();
            for round in 0..4 {
                model = store.replace(&model.id, &model.content(), None, model.version).await.unwrap();
                store.record(&rebalance(round * 16 + n, &["p1"])).await.unwrap();
            }
        });
        join_all(writers).await;

        let models = ModelRepository::list(&stores[0], &[], Page::default()).await.unwrap();
        assert!(models.iter().all(|model| model.version.get() == 5));
        let rebalances = RebalanceRepository::list(&stores[1], &[], Page::default()).await;
        assert_eq!(rebalances.unwrap().len(), 64);
    }
}

#[tokio::test]
async fn of_racers_through_two_clients_one_wins() {
    for url in deployments() {
        let (one, guard) = fresh(url.clone()).await;
        let other = MongoStore::connect(&config(url, &guard.name)).await.unwrap();
        let given = model(1, "balanced");
        one.insert(&given).await.unwrap();
        let contents: Vec<Model> = (0..20).map(|n| model(n, &format!("racer {n}"))).collect();

        let racers = (0..).zip(&contents).map(async |(n, racer)| {
            let store = if n % 2 == 0 { &one } else { &other };
            store.replace(&given.id, &racer.content(), None, given.version).await
        });
        let won = join_all(racers).await.into_iter().flatten().count();

        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn records_to_one_model_through_two_clients_all_succeed() {
    for url in deployments() {
        let (one, guard) = fresh(url.clone()).await;
        let other = MongoStore::connect(&config(url, &guard.name)).await.unwrap();
        one.insert(&model(1, "balanced")).await.unwrap();

        let racers = (0..24).map(async |n| {
            let mut given = rebalance(n, &["p1", "p2"]);
            given.header.model = model(1, "balanced").id;
            given.header.date = minute(i64::try_from(n * 7 % 24).unwrap());
            let store = if n % 2 == 0 { &one } else { &other };
            store.record(&given).await
        });
        let results = join_all(racers).await;

        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let stored = ModelRepository::find(&one, &model(1, "balanced").id).await.unwrap().unwrap();
        assert_eq!(stored.last_rebalance_date, Some(minute(23)));
    }
}

#[tokio::test]
async fn of_two_records_of_one_id_one_is_kept_and_the_model_has_its_date() {
    for url in deployments() {
        let (one, guard) = fresh(url.clone()).await;
        let other = MongoStore::connect(&config(url, &guard.name)).await.unwrap();
        for n in 0..40 {
            one.insert(&model(n, &format!("model {n}"))).await.unwrap();
            let dated = |minutes| {
                let mut given = if n % 4 == 0 { kept_apart(n, &["p1"]) } else { rebalance(n, &["p1"]) };
                given.header.date = minute(minutes);
                given
            };
            let (early, late) = (dated(3), dated(7));

            let (first, second) = join(one.record(&early), other.record(&late)).await;

            assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
            let refused = first.as_ref().err().or(second.as_ref().err());
            assert!(matches!(refused, Some(Error::Duplicate { .. })), "{refused:?}");
            let kept = if first.is_ok() { early } else { late };
            let stored = ModelRepository::find(&one, &kept.header.model).await.unwrap().unwrap();
            assert_eq!(stored.last_rebalance_date, Some(kept.header.date));
            let found = one.open(&kept.header.id).await.unwrap().unwrap().whole().await.unwrap();
            assert_eq!(found, kept);
        }
    }
}

#[tokio::test]
async fn a_call_given_up_leaves_no_transaction_open() {
    let Some(url) = replica_set() else { return };
    let (_, guard) = fresh(url.clone()).await;
    let joint = if url.contains('?') { '&' } else { '?' };
    let named = format!("{url}{joint}appName={}", guard.name);
    let store = MongoStore::connect(&config(named, &guard.name)).await.unwrap();
    store.prepare().await.unwrap();

    for polls in 0..40 {
        let given = kept_apart(u64::try_from(polls).unwrap(), &["p1", "p2", "p3"]);
        give_up_after(polls, store.record(&given)).await;
        let header = &given.header;
        let deleting = RebalanceRepository::delete(&store, &header.id, header.version);
        give_up_after(polls, deleting).await;
    }

    let admin = Client::with_uri_str(&url).await.unwrap().database("admin");
    for attempt in 0.. {
        let ours = doc! { "appName": &guard.name, "transaction": { "$exists": true } };
        let open =
            admin.aggregate([doc! { "$currentOp": { "idleSessions": true } }, doc! { "$match": ours }]);
        let open: Vec<Document> = open.await.unwrap().try_collect().await.unwrap();
        if open.is_empty() {
            break;
        }
        assert!(attempt < 50, "{open:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_a_killed_process_has_locked_keeps_no_other_run_from_expiring() {
    let Some(url) = replica_set() else { return };
    let (_, guard) = fresh(url.clone()).await;
    let timeout = Duration::from_millis(500);
    let store = MongoStore::connect(&Config { timeout, ..config(url, &guard.name) }).await.unwrap();
    let lost = [1, 2].map(|n| {
        let mut header = rebalance(n, &[]).header;
        header.status = RebalanceStatus::Running(Progress::default());
        header
    });
    for header in &lost {
        store.start(header, Lease { holder: Holder::new(1), length: Duration::ZERO }).await.unwrap();
    }

    // As by a process that is killed before it commits.
    let client = Client::with_uri_str(&guard.url).await.unwrap();
    let headers = client.database(&guard.name).collection::<Document>("rebalances");
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let first = doc! { "_id": ObjectId::from_bytes(lost[0].id.bytes()) };
    let touched = headers.update_one(first, doc! { "$set": { "touched": true } });
    touched.session(&mut session).await.unwrap();

    let reason = Reason { code: "interrupted".to_owned(), detail: "nobody went on with it".to_owned() };
    let mut expired = Vec::new();
    while expired.is_empty() {
        expired = store.expire(&reason).await.unwrap();
    }
    assert_eq!(expired, [lost[1].id]);

    session.abort_transaction().await.unwrap();
    while headers.find_one(doc! { "status": "RUNNING" }).await.unwrap().is_some() {
        store.expire(&reason).await.unwrap();
    }
    assert_eq!(headers.count_documents(doc! { "status": "FAILED" }).await.unwrap(), 2);
}
