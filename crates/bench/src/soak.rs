//! Does the service stay right, and as small as it was, through hours of bad days?
//!
//! Clients do what managers do, while the neighbours fail at random and, if asked for, the service is killed
//! now and then. What it says meanwhile is held against the description of its interface, and what it has kept
//! at the end against arithmetic.

mod clients;
mod desk;
mod faults;
mod records;
mod report;
mod trouble;
mod vitals;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::{join, join_all};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Client;
use tokio::time::Instant;

use self::desk::{Desk, World};
use self::faults::Faults;
use self::trouble::Trouble;
use self::vitals::Vitals;
use crate::neighbours::{Neighbours, client};
use crate::process::globeco;
use crate::say;
use crate::service::{Launch, StoreKind};

const USAGE: &str = "\
usage: cargo xtask soak [--minutes N] [--clients N] [--seed N] [--store sqlite|standalone|replica-set] [--kill]
";

const PORTFOLIOS: usize = 400;
/// Of each portfolio, when it begins.
const HELD: usize = 12;

/// Short, so that whatever they bound happens often.
const LEASE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(4);
const BREAKER_PAUSE_SECONDS: u64 = 1;
const ATTEMPTS: u64 = 3;

/// A transaction that a killed process leaves open keeps what it locked for so long: MongoDB's
/// `transactionLifetimeLimitSeconds`.
const ORPHANED: Duration = Duration::from_mins(1);

/// From the end of the faults until everything works again.
const RECOVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Ok(choice) = Choice::read(arguments) else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_sound = runtime.block_on(soak(&choice))?;
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Choice {
    length: Duration,
    clients: u64,
    seed: u64,
    store: StoreKind,
    kills: bool,
}

impl Choice {
    fn read(arguments: &[&str]) -> Result<Self> {
        let length = Duration::from_mins(10);
        let mut choice = Self { length, clients: 8, seed: 1, store: StoreKind::Embedded, kills: false };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if let Some(store) = StoreKind::read(word, &mut words)? {
                choice.store = store;
                continue;
            }
            let mut value = || words.next().context("a value is missing");
            match *word {
                "--minutes" => choice.length = Duration::from_mins(value()?.parse()?),
                "--clients" => choice.clients = value()?.parse()?,
                "--seed" => choice.seed = value()?.parse()?,
                "--kill" => choice.kills = true,
                _ => bail!("unknown argument"),
            }
        }
        ensure!(!choice.length.is_zero() && 0 < choice.clients, "too few");
        Ok(choice)
    }
}

/// Whether all went as it should.
async fn soak(choice: &Choice) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let client = client()?;
    let (neighbours, sandbox) = Neighbours::sandbox(folder.path(), PORTFOLIOS, HELD).await?;
    let name = format!("soak_{}", std::process::id());
    let mut launch = Launch::new(globeco()?, folder.path(), &name, &neighbours)?;
    launch.variables.extend(choice.store.variables(folder.path(), &name));
    launch.variables.extend(settings());
    let world = World::of(&neighbours, &client).await?;
    let trouble = Trouble::default();
    let served = launch.start(&client).await?;
    let database = choice.store.bare(&name).await?;

    let begun = Instant::now();
    let until = begun + choice.length;
    let desk = Desk::new(&client, &served.base, &trouble)?;
    let vitals = Vitals::new(begun, choice.length, served.process.watched());
    let faults = Faults::new(&client, &neighbours);
    let lives = Lives { launch: &launch, client: &client, desk: &desk, vitals: &vitals };
    let draws = |of: u64| StdRng::seed_from_u64(choice.seed.wrapping_mul(1_000).wrapping_add(of));
    let all = join_all(
        (0..choice.clients)
            .map(|number| clients::Manager::new(number, &desk, &world, draws(number + 10)).work(until)),
    );
    let disturbing = join(faults.disturb(draws(1), until), lives.kill(choice.kills, draws(2), served, until));
    let ((_, (disturbed, served)), ()) = join(join(all, disturbing), vitals.watch(until)).await;
    disturbed?;
    let served = served?;

    faults.recover().await?;
    let recovered = clients::recovered(&desk, &world, draws(3), RECOVERY).await;
    // Whatever a process that is no more had under way is found out by then.
    let settled = if choice.kills { ORPHANED + LEASE * 2 } else { LEASE * 2 };
    tokio::time::sleep(settled).await;
    let calls = neighbours.calls(&client).await.context("the sandbox has counted no calls")?;
    let kept = records::check_all(&desk).await?;
    desk.expect_calls(calls, begun.elapsed());
    if !choice.kills {
        vitals.expect_no_growth(&trouble);
    }

    drop((served, sandbox));
    if let Some(database) = database {
        database.drop_database().await?;
    }
    let soaked =
        report::Soaked { choice, desk: &desk, faults: &faults, vitals: &vitals, recovered, kept, calls };
    soaked.say();
    let is_sound = trouble.is_none();
    if !is_sound {
        let kept: PathBuf = folder.keep();
        say(&format!("\nthe logs are in {}\n", kept.display()));
    }
    Ok(is_sound)
}

fn settings() -> [(&'static str, String); 9] {
    [
        ("REQUEST_DEADLINE_MS", DEADLINE.as_millis().to_string()),
        ("EXTERNAL_SERVICE_TIMEOUT", "1".to_owned()),
        ("EXTERNAL_SERVICE_RETRIES", ATTEMPTS.to_string()),
        ("EXTERNAL_SERVICE_BACKOFF_MS", "50".to_owned()),
        ("CIRCUIT_BREAKER_TIMEOUT", BREAKER_PAUSE_SECONDS.to_string()),
        ("DATABASE_TIMEOUT_MS", "2000".to_owned()),
        ("REBALANCE_LEASE_MS", LEASE.as_millis().to_string()),
        ("PRICE_CACHE_TTL", "1".to_owned()),
        ("TICKER_CACHE_TTL", "2".to_owned()),
    ]
}

/// The processes that the service is, one after the other.
struct Lives<'a> {
    launch: &'a Launch<'a>,
    client: &'a Client,
    desk: &'a Desk<'a>,
    vitals: &'a Vitals,
}

impl Lives<'_> {
    /// Kills it every so often if it is to, and starts it again; gives back the one that lives at the end.
    async fn kill(
        &self,
        kills: bool,
        mut rng: StdRng,
        first: crate::service::Served,
        until: Instant,
    ) -> Result<crate::service::Served> {
        let mut living = first;
        loop {
            let next = Instant::now() + Duration::from_secs(rng.random_range(10..30));
            if !kills || until < next {
                tokio::time::sleep_until(until).await;
                return Ok(living);
            }
            tokio::time::sleep_until(next).await;
            self.desk.goes_down();
            // The process is killed and waited for.
            drop(living);
            living = self.launch.start(self.client).await?;
            self.vitals.is_now(living.process.watched());
            self.desk.is_up();
        }
    }
}
