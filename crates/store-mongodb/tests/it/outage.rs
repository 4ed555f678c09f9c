//! A server that is away, or silent, and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::health::Probe;
use application::order_generation::ports::{ModelRepository, RebalanceRepository};
use application::repository::Error;
use mongodb::options::{ClientOptions, ServerAddress};
use port_contracts::fixtures::{model, rebalance};
use store_mongodb::{Config, MongoStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use crate::server::{Guard, config, standalone};

const TIMEOUT: Duration = Duration::from_millis(300);
/// What one call may take at worst, and a little for a slow machine.
const IN_TIME: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_in_time_and_found_when_it_comes() {
    let Some(url) = standalone() else { return };
    let server = host(&url).await;
    let guard = Guard::new(url);
    let address = free_address().await;
    let store = through(address, &guard).await;
    assert!(store.prepare().await.is_err());
    assert_unavailable(&store).await;

    let using_it = async {
        until_well(&store).await;
        store.insert(&model(1, "balanced")).await.unwrap();
        store.record(&rebalance(1, &["p1"])).await.unwrap();
    };
    tokio::select! {
        () = forward(address, &server, Gate::default()) => panic!("it forwards until dropped"),
        () = using_it => (),
    }

    assert_unavailable(&store).await;

    let using_it = async {
        until_well(&store).await;
        let found = ModelRepository::find(&store, &model(1, "balanced").id).await.unwrap();
        assert!(found.is_some());
    };
    tokio::select! {
        () = forward(address, &server, Gate::default()) => panic!("it forwards until dropped"),
        () = using_it => (),
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_unavailable_in_time_and_used_when_it_speaks_again() {
    let Some(url) = standalone() else { return };
    let server = host(&url).await;
    let guard = Guard::new(url);
    let address = free_address().await;
    let store = through(address, &guard).await;
    let gate = Gate::default();

    let using_it = async {
        until_well(&store).await;
        store.insert(&model(2, "growth")).await.unwrap();
        let silence = gate.write().await;
        assert_unavailable(&store).await;
        drop(silence);
        until_well(&store).await;
        let found = ModelRepository::find(&store, &model(2, "growth").id).await.unwrap();
        assert!(found.is_some());
    };
    tokio::select! {
        () = forward(address, &server, Gate::clone(&gate)) => panic!("it forwards until dropped"),
        () = using_it => (),
    }
}

async fn assert_unavailable(store: &MongoStore) {
    let id = model(1, "balanced").id;
    for call in 0..3 {
        let started = Instant::now();
        let answer = match call {
            0 => ModelRepository::find(store, &id).await.map(drop),
            1 => store.insert(&model(3, "income")).await,
            _ => store.check().await.map_err(|source| Error::Unavailable { source }),
        };
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
        assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    }
}

async fn until_well(store: &MongoStore) {
    for _ in 0..50 {
        if store.check().await.is_ok() {
            return;
        }
    }
    panic!("the store does not recover");
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn through(address: SocketAddr, guard: &Guard) -> MongoStore {
    let url = format!("mongodb://{address}/?directConnection=true");
    let config = Config { timeout: TIMEOUT, ..config(url, &guard.name) };
    MongoStore::connect(&config).await.unwrap()
}

async fn host(url: &str) -> String {
    let options = ClientOptions::parse(url).await.unwrap();
    let ServerAddress::Tcp { host, port } = &options.hosts[0] else { panic!("{url}") };
    format!("{host}:{}", port.unwrap_or(27017))
}

/// Whoever writes to it stops what passes.
type Gate = Arc<RwLock<()>>;

/// All connections end when it is dropped.
async fn forward(from: SocketAddr, to: &str, gate: Gate) {
    let listener = TcpListener::bind(from).await.unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let Ok(far) = TcpStream::connect(to).await else { continue };
        let (from_near, to_near) = near.into_split();
        let (from_far, to_far) = far.into_split();
        connections.spawn(pass(from_near, to_far, Gate::clone(&gate)));
        connections.spawn(pass(from_far, to_near, Gate::clone(&gate)));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gate: Gate) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let _open = gate.read().await;
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
