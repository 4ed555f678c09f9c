//! How many rebalances a second does the service do over HTTP, and how many would a handler that does no
//! more than the calls and the writes?
//!
//! Everything is a process of its own: the neighbours, the service, the floor, the store's server, and this
//! one, which makes the load. They take turns within a round, so that whatever else the machine does hurts
//! them alike, and what is compared is what one made of a round beside what the other made of it.

mod floor;
mod load;
mod report;
mod telemetry;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::Client;

use self::floor::{Settings, StoreSettings};
use self::load::{Outcome, World};
use crate::neighbours::{Neighbours, client};
use crate::process::{Running, Watched, free_port, globeco};
use crate::say;
use crate::service::{Launch, Served, StoreKind};
use crate::store::bare::Bare;

const USAGE: &str = "\
usage: cargo xtask bench http [--store sqlite|standalone|replica-set]... [--requests N] [--connections C]
                              [--telemetry] [--url BASE --neighbours ACCOUNTING,SECURITY,PRICING,PORTFOLIO]
";

/// The program becomes the floor by this word and its settings.
pub(crate) const FLOOR: &str = "http-floor";
/// And by this one, and a port, a collector.
pub(crate) const COLLECTOR: &str = "http-collector";

const ROUNDS: u32 = 5;
const WARM_UP: u32 = 300;
const PORTFOLIOS: usize = 1_000;

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Ok(choice) = Choice::read(arguments) else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    // One thread: what it takes of a core says whether it holds the others up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&choice))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn floor(settings: &str) -> Result<ExitCode> {
    floor::serve(settings)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn collector(port: &str) -> Result<ExitCode> {
    telemetry::collect(port.parse()?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is measured, and how long.
struct Choice {
    stores: Vec<StoreKind>,
    requests: u32,
    connections: usize,
    /// The service with and without a collector, in place of the service and the floor.
    telemetry: bool,
    /// Another server of the same API.
    url: Option<String>,
    neighbours: Option<Neighbours>,
}

impl Choice {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut choice = Self {
            stores: Vec::new(),
            requests: 20_000,
            connections: 8,
            telemetry: false,
            url: None,
            neighbours: None,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if let Some(store) = StoreKind::read(word, &mut words)? {
                choice.stores.push(store);
                continue;
            }
            let mut value = || words.next().copied().context("a value is missing");
            match *word {
                "--requests" => choice.requests = value()?.parse()?,
                "--connections" => choice.connections = value()?.parse()?,
                "--telemetry" => choice.telemetry = true,
                "--url" => choice.url = Some(value()?.trim_end_matches('/').to_owned()),
                "--neighbours" => {
                    let urls: Vec<&str> = value()?.split(',').collect();
                    choice.neighbours = Some(Neighbours::at(&urls)?);
                }
                _ => bail!("unknown argument"),
            }
        }
        ensure!(choice.url.is_none() || choice.neighbours.is_some(), "whose neighbours?");
        ensure!(0 < choice.connections && ROUNDS * 4 <= choice.requests, "too few");
        Ok(choice)
    }

    fn iterations(&self) -> u32 {
        self.requests.div_ceil(4 * ROUNDS)
    }
}

/// A server under load, and how it did.
pub(super) struct Contender {
    name: String,
    base: String,
    /// The one that this is measured by, and where it is in the list.
    measure: Option<usize>,
    process: Option<Running>,
    database: Option<Bare>,
    rounds: Vec<Outcome>,
    /// The process's own, the neighbours', the store's server's and the load's.
    cpu: [f64; 4],
    calls: [u64; 4],
    resident: [f64; 2],
    peak: f64,
}

impl Contender {
    fn new(name: &str, base: String, process: Option<Running>) -> Self {
        Self {
            name: name.to_owned(),
            base,
            measure: None,
            process,
            database: None,
            rounds: Vec::new(),
            cpu: [0.0; 4],
            calls: [0; 4],
            resident: [0.0; 2],
            peak: 0.0,
        }
    }
}

async fn measure(choice: &Choice) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let client = client()?;
    let (neighbours, sandbox) = if let Some(neighbours) = &choice.neighbours {
        (neighbours.clone(), None)
    } else {
        let (neighbours, sandbox) = Neighbours::sandbox(folder.path(), PORTFOLIOS, 0).await?;
        (neighbours, Some(sandbox))
    };
    let world = World::of(&neighbours, &client).await?;

    let mut contenders = Vec::new();
    let mut collectors = Vec::new();
    for kind in &choice.stores {
        if choice.telemetry {
            let (settings, collector) =
                telemetry::contenders(kind, folder.path(), &neighbours, &client).await?;
            let plain = contenders.len();
            contenders.extend(
                settings
                    .into_iter()
                    .enumerate()
                    .map(|(idx, contender)| Contender { measure: (0 < idx).then_some(plain), ..contender }),
            );
            collectors.push(collector);
            continue;
        }
        let [service, floor] = pair(kind, folder.path(), &neighbours, &client, &world).await?;
        let floor_at = contenders.len() + 1;
        contenders.extend([Contender { measure: Some(floor_at), ..service }, floor]);
    }
    if let Some(url) = &choice.url {
        contenders.push(Contender::new(url, url.clone(), None));
    }

    let beside = Beside { neighbours: &neighbours, sandbox: sandbox.as_ref().map(Running::watched) };
    for contender in &mut contenders {
        let warm_up = load::drive(&client, &contender.base, &world, choice.connections, WARM_UP).await;
        if let Some(error) = warm_up.errors.first() {
            bail!("{}: {} errors, such as {error}", contender.name, warm_up.errors.len());
        }
        if let Some(process) = &contender.process {
            contender.resident[0] = process.watched().resident()?;
        }
    }
    for round in 0..ROUNDS {
        let mut turns: Vec<usize> = (0..contenders.len()).collect();
        turns.rotate_left(usize::try_from(round)? % contenders.len().max(1));
        for turn in turns {
            let contender = &mut contenders[turn];
            beside.round(&client, contender, &world, choice).await?;
        }
    }
    for contender in &mut contenders {
        if let Some(process) = &contender.process {
            contender.resident[1] = process.watched().resident()?;
            contender.peak = process.watched().peak()?;
        }
    }
    report::say_all(choice, &contenders);
    for collector in collectors {
        say(&format!("the collector took {} spans\n", collector.spans()?));
    }
    for contender in contenders {
        drop(contender.process);
        if let Some(database) = contender.database {
            database.drop_database().await?;
        }
    }
    Ok(())
}

/// What takes part in every contender's round.
struct Beside<'a> {
    neighbours: &'a Neighbours,
    sandbox: Option<Watched>,
}

impl Beside<'_> {
    async fn round(
        &self,
        client: &Client,
        contender: &mut Contender,
        world: &World,
        choice: &Choice,
    ) -> Result<()> {
        let database = match &contender.database {
            Some(database) => Some(Watched::of(database.pid().await?)),
            None => None,
        };
        let process = contender.process.as_ref().map(Running::watched);
        let watched = [process, self.sandbox, database, Some(Watched::this())];
        let cpu = || -> Result<Vec<f64>> {
            watched.iter().map(|process| process.map_or(Ok(0.0), Watched::cpu)).collect()
        };
        let (cpu_before, calls_before) = (cpu()?, self.neighbours.calls(client).await);
        let outcome =
            load::drive(client, &contender.base, world, choice.connections, choice.iterations()).await;
        for ((sum, before), after) in contender.cpu.iter_mut().zip(cpu_before).zip(cpu()?) {
            *sum += after - before;
        }
        if let (Some(before), Some(after)) = (calls_before, self.neighbours.calls(client).await) {
            for ((sum, before), after) in contender.calls.iter_mut().zip(before).zip(after) {
                *sum += after - before;
            }
        }
        contender.rounds.push(outcome);
        Ok(())
    }
}

/// The service on a store, and the floor that answers as it did, on a store of the same kind.
async fn pair(
    kind: &StoreKind,
    folder: &Path,
    neighbours: &Neighbours,
    client: &Client,
    world: &World,
) -> Result<[Contender; 2]> {
    let name = kind.name();
    let like = format!("bench_http_{}", std::process::id());
    let mut launch = Launch::new(globeco()?, folder, &like, neighbours)?;
    launch.variables.extend(kind.variables(folder, &like));
    let served = launch.start(client).await?;
    let mut service = Contender::new(&format!("service, {name}"), served.base, Some(served.process));
    service.database = kind.bare(&like).await?;

    // The only model and rebalance there are: the pattern of the floor's.
    let model = world.model(&mut StdRng::seed_from_u64(1));
    let answers = load::iterate(client, &service.base, &model, &mut Default::default()).await?;
    let database = format!("{like}_floor");
    let bare = kind.bare(&database).await?;
    let settings = Settings {
        port: free_port()?,
        neighbours: neighbours.clone(),
        store: match kind {
            StoreKind::Embedded => {
                let [path, like] = [&database, &like].map(|name| folder.join(format!("{name}.db")));
                StoreSettings::Sqlite { path, like }
            }
            StoreKind::Mongodb { url, .. } => {
                // Its indexes are the service's.
                crate::store::connect(url, &database).await?.prepare().await?;
                StoreSettings::Mongodb { url: url.clone(), database, like }
            }
        },
        model_id: answers.model_id,
        rebalance_id: answers.rebalance_id,
        answers: answers.bodies.map(|body| String::from_utf8_lossy(&body).into_owned()),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args([FLOOR, &serde_json::to_string(&settings)?]);
    let process = Running::start(&mut command, &folder.join(format!("floor {name}.log")))?;
    let served = Served::ready(settings.port, process, client).await?;
    let mut floor = Contender::new(&format!("floor, {name}"), served.base, Some(served.process));
    floor.database = bare;
    Ok([service, floor])
}
