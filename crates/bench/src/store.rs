//! How much slower is a store than its bare driver, which moves the same bytes and understands none?
//!
//! The driver sends the very documents that the store sent: as many, in as many collections with the
//! same indexes, under the same write concern, in the same transaction where there are any; and it reads
//! them by the same keys. The peak of a process's memory is told besides.

pub(crate) mod bare;
mod peak;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use application::order_generation::ports::{ModelRepository, RebalanceRepository};
use comfy_table::Table;
use domain::identifier::{ModelId, RebalanceId};
use domain::order_generation::model::{Followers, Model};
use domain::order_generation::rebalance::Rebalance;
use mongodb::bson::RawDocumentBuf;
use port_contracts::fixtures::{
    minute, model, model_id, portfolio, positions, rebalance, rebalance_id, rebalanced_position,
};
use rust_decimal::Decimal;
use store_mongodb::MongoStore;
use store_sqlite::SqliteStore;

use self::bare::{Bare, Recorded};
use crate::say;
use crate::table::with_header;

const USAGE: &str = "usage: bench store --standalone URL --replica-set URL\n";

/// How many times as long as the bare driver a store may take.
const AIM: f64 = 1.3;

const BARE: &str = "\
The bare driver sends the documents that the store made, under the same write concerns and in the same
transaction, moves the model's date as well, and reads without decoding. On a standalone server the store
also remembers the date that the model had, and notes what a crash would leave of a large rebalance.
";

const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match *arguments {
        ["--standalone", standalone, "--replica-set", replica_set] => {
            runtime.block_on(compare(standalone, replica_set))?;
        }
        ["peak", how, url, database] => runtime.block_on(peak::measure(how, url, database))?,
        _ => {
            say(USAGE);
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A rebalance of so many portfolios with so many positions each, written and read so many times.
struct Shape {
    portfolios: usize,
    positions: usize,
    rounds: u64,
}

const SHAPES: [Shape; 2] = [
    Shape { portfolios: 3, positions: 20, rounds: 400 },
    Shape { portfolios: 500, positions: 100, rounds: 30 },
];

const MODELS: u64 = 400;

/// All of them take turns, so that whatever else the machine does hurts them alike.
async fn compare(standalone: &str, replica_set: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let contenders = [
        Contender::embedded(directory.path()).await?,
        Contender::store(standalone).await?,
        Contender::bare(standalone).await?,
        Contender::store(replica_set).await?,
        Contender::bare(replica_set).await?,
    ];
    let [_, Contender::Store { store, behind }, ..] = &contenders else { bail!("the second is a store") };

    let mut rows = vec![Row::new("create a model of 20"), Row::new("read it")];
    store.insert(&twenty(MODELS)).await?;
    let pattern = behind.model_beside(&followed().id).await?;
    for round in 0..MODELS {
        for (turn, contender) in turns(&contenders, round) {
            let [created, read] = contender.model(&twenty(round), &pattern).await?;
            rows[0].times[turn].push(created);
            rows[1].times[turn].push(read);
        }
    }
    for Shape { portfolios, positions, rounds } in SHAPES {
        let mut save = Row::new(&format!("save {portfolios} × {positions}"));
        let mut read = Row::new("read it");
        store.record(&sample(rounds, portfolios, positions)).await?;
        let pattern = behind.recorded().await?;
        behind.clear().await?;
        for round in 0..rounds {
            for (turn, contender) in turns(&contenders, round) {
                let given = sample(round, portfolios, positions);
                let [saved, found] = contender.rebalance(&given, &pattern).await?;
                save.times[turn].push(saved);
                read.times[turn].push(found);
            }
        }
        rows.extend([save, read]);
    }
    say(&format!("{}\n\n{BARE}\n", table(rows)));
    for (name, url) in [("standalone", standalone), ("replica set", replica_set)] {
        peak::report(name, url).await?;
    }
    for contender in contenders {
        contender.leave().await?;
    }
    Ok(())
}

/// Each round begins with another.
fn turns(contenders: &[Contender], round: u64) -> impl Iterator<Item = (usize, &Contender)> {
    let first = usize::try_from(round).unwrap_or_default() % contenders.len();
    contenders.iter().enumerate().cycle().skip(first).take(contenders.len())
}

enum Contender {
    Embedded(SqliteStore),
    Store { store: MongoStore, behind: Bare },
    Bare(Bare),
}

impl Contender {
    async fn embedded(directory: &Path) -> Result<Self> {
        let path = directory.join("bench.sqlite");
        let config = store_sqlite::Config { path, max_connections: 4, busy_timeout: TIMEOUT };
        let store = SqliteStore::open(&config).await?;
        store.insert(&followed()).await?;
        Ok(Self::Embedded(store))
    }

    async fn store(url: &str) -> Result<Self> {
        let database = format!("bench_{}", std::process::id());
        let store = connect(url, &database).await?;
        store.prepare().await?;
        store.insert(&followed()).await?;
        Ok(Self::Store { store, behind: Bare::connect(url, &database).await? })
    }

    /// In a database of its own, to which a store gave its indexes.
    async fn bare(url: &str) -> Result<Self> {
        let database = format!("bench_bare_{}", std::process::id());
        let store = connect(url, &database).await?;
        store.prepare().await?;
        store.insert(&followed()).await?;
        Ok(Self::Bare(Bare::connect(url, &database).await?))
    }

    /// How long it took to create, and to read.
    async fn model(&self, given: &Model, pattern: &RawDocumentBuf) -> Result<[Duration; 2]> {
        match self {
            Self::Embedded(store) => {
                let created = timed(store.insert(given)).await?;
                Ok([created, timed(found(store, &given.id)).await?])
            }
            Self::Store { store, .. } => {
                let created = timed(store.insert(given)).await?;
                Ok([created, timed(found(store, &given.id)).await?])
            }
            Self::Bare(bare) => {
                let document = Bare::another_model(pattern, given)?;
                let created = timed(bare.insert_model(&document)).await?;
                Ok([created, timed(bare.find_model(&given.id)).await?])
            }
        }
    }

    /// How long it took to save, and to read whole; it is gone afterwards.
    async fn rebalance(&self, given: &Rebalance, pattern: &Recorded) -> Result<[Duration; 2]> {
        let id = given.header.id;
        match self {
            Self::Embedded(store) => {
                let saved = timed(store.record(given)).await?;
                let read = timed(whole(store, &id)).await?;
                RebalanceRepository::delete(store, &id, given.header.version).await?;
                Ok([saved, read])
            }
            Self::Store { store, behind } => {
                let saved = timed(store.record(given)).await?;
                let read = timed(whole(store, &id)).await?;
                behind.clear().await?;
                Ok([saved, read])
            }
            Self::Bare(bare) => {
                let recorded = pattern.another(given.header.date);
                let saved = timed(bare.record(&recorded)).await?;
                let read = timed(bare.read(&recorded)).await?;
                bare.clear().await?;
                Ok([saved, read])
            }
        }
    }

    async fn leave(self) -> Result<()> {
        match self {
            Self::Embedded(store) => {
                store.close().await;
                Ok(())
            }
            Self::Store { behind: bare, .. } | Self::Bare(bare) => bare.drop_database().await,
        }
    }
}

pub(crate) async fn connect(url: &str, database: &str) -> Result<MongoStore> {
    let config = store_mongodb::Config {
        url: url.to_owned(),
        database: database.to_owned(),
        timeout: TIMEOUT,
        min_pool_size: 0,
        max_pool_size: 10,
        idle_timeout: TIMEOUT,
    };
    Ok(MongoStore::connect(&config).await?)
}

async fn timed<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let begun = Instant::now();
    // What was read is dropped after the clock has stopped.
    let answer = call.await?;
    let took = begun.elapsed();
    drop(answer);
    Ok(took)
}

async fn found(models: &dyn ModelRepository, id: &ModelId) -> Result<Model> {
    models.find(id).await?.context("the model is gone")
}

async fn whole(rebalances: &dyn RebalanceRepository, id: &RebalanceId) -> Result<Rebalance> {
    let open = rebalances.open(id).await?.context("the rebalance is gone")?;
    Ok(open.whole().await?)
}

fn twenty(n: u64) -> Model {
    let portfolios = (0..3).map(portfolio_id).map(|name| portfolio(&name)).collect();
    Model {
        id: model_id(n),
        positions: positions(&[Decimal::new(45, 3); 20]),
        followers: Followers::new(portfolios).expect("each is another"),
        ..model(n, &format!("model {n}"))
    }
}

/// The model of all rebalances here.
fn followed() -> Model {
    twenty(u64::MAX)
}

fn sample(n: u64, portfolios: usize, positions: usize) -> Rebalance {
    let names: Vec<String> = (0..portfolios).map(portfolio_id).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut sample = rebalance(n, &names);
    sample.header.id = rebalance_id(n);
    sample.header.model = followed().id;
    sample.header.date = minute(i64::try_from(n).expect("rounds are few"));
    for portfolio in &mut sample.portfolios {
        portfolio.positions = (0..positions).map(|idx| rebalanced_position(idx, 3)).collect();
    }
    sample
}

/// Of 24 characters, as most are.
fn portfolio_id(n: usize) -> String {
    format!("683b6d88a29ee10e8b4{n:05}")
}

/// One operation; its times are those of the contenders, in their order.
struct Row {
    operation: String,
    times: [Vec<Duration>; 5],
}

impl Row {
    fn new(operation: &str) -> Self {
        Self { operation: operation.to_owned(), times: Default::default() }
    }
}

fn table(rows: Vec<Row>) -> Table {
    let aim = format!("ratio (aim {AIM})");
    let mut table = with_header(&[
        "median / p99 in ms",
        "embedded SQLite",
        "standalone",
        "bare driver",
        &aim,
        "replica set",
        "bare driver",
        &aim,
    ]);
    for Row { operation, times } in rows {
        let [embedded, standalone, bare, replica_set, bare_replica_set] = times.map(Summary::of);
        table.add_row([
            operation,
            embedded.shown(),
            standalone.shown(),
            bare.shown(),
            standalone.over(&bare),
            replica_set.shown(),
            bare_replica_set.shown(),
            replica_set.over(&bare_replica_set),
        ]);
    }
    table
}

struct Summary {
    median: Duration,
    p99: Duration,
}

impl Summary {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)];
        Self { median: at(50), p99: at(99) }
    }

    fn shown(&self) -> String {
        format!("{} / {}", millis(self.median), millis(self.p99))
    }

    fn over(&self, floor: &Self) -> String {
        format!("{:.2}", self.median.as_secs_f64() / floor.median.as_secs_f64())
    }
}

/// To three digits.
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    let decimals = if millis < 10.0 { 2 } else { usize::from(millis < 100.0) };
    format!("{millis:.decimals$}")
}
