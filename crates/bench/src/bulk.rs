//! How many portfolios a second does one large rebalance do, what does it hold meanwhile, and where does the
//! time go?
//!
//! Every measurement has a service and a store of its own: the most that a process ever held is the most that
//! it held for this one rebalance.

mod report;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use self::watch::Record;
use crate::neighbours::{Neighbours, client};
use crate::process::{Running, Watched, globeco};
use crate::say;
use crate::service::{Launch, StoreKind};

const USAGE: &str = "\
usage: cargo xtask bench bulk [--store sqlite|standalone|replica-set]... [--portfolios N] [--positions N]
                              [--beside PROGRAM]
";

/// Of the portfolios, so many are rebalanced alone to compare the memory with.
const PART: usize = 10;

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Ok(choice) = Choice::read(arguments) else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&choice))?;
    Ok(ExitCode::SUCCESS)
}

struct Choice {
    stores: Vec<StoreKind>,
    portfolios: usize,
    positions: usize,
    /// Another build of the service, measured by turns with the one that was built beside this.
    beside: Option<PathBuf>,
}

impl Choice {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut choice = Self { stores: Vec::new(), portfolios: 10_000, positions: 100, beside: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if let Some(store) = StoreKind::read(word, &mut words)? {
                choice.stores.push(store);
                continue;
            }
            let mut value = || words.next().context("a value is missing");
            match *word {
                "--portfolios" => choice.portfolios = value()?.parse()?,
                "--positions" => choice.positions = value()?.parse()?,
                "--beside" => choice.beside = Some(std::path::absolute(value()?)?),
                _ => bail!("unknown argument"),
            }
        }
        ensure!(PART <= choice.portfolios && (1..=100).contains(&choice.positions), "too few or too many");
        Ok(choice)
    }
}

/// How the caller learns of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It prefers not to wait, and looks at the record.
    Accepted,
    /// It reads the reply.
    Waited,
}

/// One rebalance, on a service and a store of its own.
struct Measured {
    store: &'static str,
    way: Way,
    is_other_build: bool,
    portfolios: usize,
    took: f64,
    /// Until a reply that was waited for began.
    decided: Option<f64>,
    /// In MB, before and at most.
    memory: [f64; 2],
    /// Seconds of the service, the sandbox and the store's server.
    cpu: [f64; 3],
    figures: [String; 2],
}

struct Bench<'a> {
    choice: &'a Choice,
    folder: &'a Path,
    client: &'a Client,
    neighbours: &'a Neighbours,
    sandbox: Watched,
    /// Without its followers.
    model: Value,
    portfolios: Vec<String>,
}

async fn measure(choice: &Choice) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let client = client()?;
    let (neighbours, sandbox) =
        Neighbours::sandbox(folder.path(), choice.portfolios, choice.positions).await?;
    let bench = Bench {
        choice,
        folder: folder.path(),
        client: &client,
        neighbours: &neighbours,
        sandbox: Running::watched(&sandbox),
        model: model(&neighbours, &client, choice.positions).await?,
        portfolios: neighbours.portfolio_ids(&client).await?,
    };
    let mut measured = Vec::new();
    for store in &choice.stores {
        for way in [Way::Accepted, Way::Waited] {
            for portfolios in [choice.portfolios / PART, choice.portfolios] {
                for program in std::iter::once(&globeco()?).chain(&choice.beside) {
                    let number = measured.len();
                    measured.push(bench.one(number, program, store, way, portfolios).await?);
                }
            }
        }
    }
    report::say_all(choice, &measured)
}

impl Bench<'_> {
    async fn one(
        &self,
        number: usize,
        program: &Path,
        store: &StoreKind,
        way: Way,
        portfolios: usize,
    ) -> Result<Measured> {
        let name = format!("bench_bulk_{}_{number}", std::process::id());
        let mut launch = Launch::new(program.to_owned(), self.folder, &name, self.neighbours)?;
        launch.variables.extend(store.variables(self.folder, &name));
        // A reply that is waited for may take as long as it takes.
        launch.variables.push(("REQUEST_DEADLINE_MS", "0".to_owned()));
        let served = launch.start(self.client).await?;
        let database = store.bare(&name).await?;
        let mongod = match &database {
            Some(database) => Some(Watched::of(database.pid().await?)),
            None => None,
        };

        let mut model = self.model.clone();
        model["portfolios"] = json!(self.portfolios[..portfolios]);
        let base = &served.base;
        let created: Value = answer(self.client.post(format!("{base}/api/v1/models")).json(&model)).await?;
        let id = created["model_id"].as_str().context("the model has no id")?;

        let service = served.process.watched();
        let cpu = || -> Result<[f64; 3]> {
            Ok([service.cpu()?, self.sandbox.cpu()?, mongod.map_or(Ok(0.0), Watched::cpu)?])
        };
        let (figures_before, resident, cpu_before) = (self.figures(base).await?, service.resident()?, cpu()?);
        let begun = Instant::now();
        let ended = match way {
            Way::Accepted => watch::accepted(self.client, base, id).await?,
            Way::Waited => watch::waited(self.client, base, id).await?,
        };
        let took = begun.elapsed().as_secs_f64();
        let (cpu_after, peak) = (cpu()?, service.peak()?);
        let figures_after = self.figures(base).await?;
        let Record { status, number_of_portfolios, .. } = watch::record(self.client, &ended.url).await?;
        ensure!(
            status == "COMPLETED" && number_of_portfolios == portfolios,
            "it is {status}, with {number_of_portfolios} of {portfolios} portfolios"
        );

        drop(served);
        if let Some(database) = database {
            database.drop_database().await?;
        }
        Ok(Measured {
            store: store.name(),
            way,
            is_other_build: self.choice.beside.as_deref() == Some(program),
            portfolios,
            took,
            decided: ended.decided.map(|decided| decided.duration_since(begun).as_secs_f64()),
            memory: [resident, peak],
            cpu: std::array::from_fn(|idx| cpu_after[idx] - cpu_before[idx]),
            figures: [figures_before, figures_after],
        })
    }

    async fn figures(&self, base: &str) -> Result<String> {
        Ok(self.client.get(format!("{base}/metrics")).send().await?.error_for_status()?.text().await?)
    }
}

/// All securities with the same target, in bands wide enough for a whole share of the dearest.
async fn model(neighbours: &Neighbours, client: &Client, positions: usize) -> Result<Value> {
    let securities = neighbours.securities(client).await?;
    ensure!(positions <= securities.len(), "there are only {} priced securities", securities.len());
    let steps = 190 / positions;
    let target = f64::from(u32::try_from(steps)?) / 200.0;
    let positions: Vec<Value> = securities[..positions]
        .iter()
        .map(|(id, _)| {
            json!({ "security_id": id, "target": target, "high_drift": 0.0025, "low_drift": 0.0025 })
        })
        .collect();
    Ok(json!({ "name": "bulk", "positions": positions }))
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}
