//! What can be connected to, and what is said of what cannot.

use store_mongodb::{ConnectError, MongoStore};

use crate::server::{config, fresh, standalone};

#[tokio::test]
async fn a_url_that_is_refused_keeps_its_secrets() {
    for url in [
        "",
        "localhost",
        "postgres://user:se:cret@localhost",
        "mongodb://",
        "mongodb://user:se@cret@localhost",
        "mongodb://user:se:cret@localhost",
        "mongodb://user:se/cret@localhost",
        "mongodb://user:se%cret@localhost",
        "mongodb://user:secret@localhost:port",
        "mongodb://user:secret@localhost/?w=-1",
        "mongodb://user:secret@localhost/?authMechanism=se:cret",
    ] {
        let refused = MongoStore::connect(&config(url.to_owned(), "test")).await.unwrap_err();

        let said = format!("{refused} {refused:?}");
        assert!(!said.contains("cret"), "{url}: {said}");
    }
}

#[tokio::test]
async fn a_name_that_no_database_can_have_is_refused() {
    for name in ["", "a b", "a.b", "a/b", "$a", "a\0", &"x".repeat(64)] {
        let config = config("mongodb://localhost".to_owned(), name);

        let refused = MongoStore::connect(&config).await.unwrap_err();

        assert!(matches!(refused, ConnectError::Database(_)), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn the_settings_are_shown_without_the_url() {
    let config = config("mongodb://user:secret@localhost".to_owned(), "orders");

    let shown = format!("{config:?}");

    assert!(shown.contains("orders") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn to_prepare_again_changes_nothing() {
    let Some(url) = standalone() else { return };
    let (store, guard) = fresh(url.clone()).await;
    store.prepare().await.unwrap();
    let other = MongoStore::connect(&config(url, &guard.name)).await.unwrap();

    other.prepare().await.unwrap();
    store.prepare().await.unwrap();

    store.close().await;
    assert!(store.prepare().await.is_ok(), "it is prepared already");
}
