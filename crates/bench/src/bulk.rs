//! How many portfolios a second does one large rebalance do, what does it hold meanwhile, and where does the
//! time go?

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::neighbours::{Neighbours, client};
use crate::process::{Running, Watched, free_port, globeco};
use crate::say;
use crate::store::bare::Bare;

const USAGE: &str = "\
usage: cargo xtask bench bulk [--portfolios N] [--positions N] [--database URL]
";

/// How often a rebalance that goes on is asked how far it is.
const PAUSE: Duration = Duration::from_millis(50);

/// What the service's own figures tell of each stage: the family of a histogram of seconds, and what its
/// labels hold. They count every portfolio's wait, and portfolios wait side by side.
const STAGES: [(&str, &str, &str); 6] = [
    ("reading holdings", "external_service_duration_seconds_sum", "accounting"),
    ("asking for tickers", "external_service_duration_seconds_sum", "security"),
    ("asking for prices", "external_service_duration_seconds_sum", "pricing"),
    ("asking for names", "external_service_duration_seconds_sum", "\"portfolio"),
    ("solving", "optimization_duration_seconds_sum", ""),
    ("the store", "database_operation_duration_seconds_sum", ""),
];

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
    portfolios: usize,
    positions: usize,
    /// The embedded store unless given.
    database: Option<String>,
}

impl Choice {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut choice = Self { portfolios: 10_000, positions: 100, database: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().context("a value is missing");
            match *word {
                "--portfolios" => choice.portfolios = value()?.parse()?,
                "--positions" => choice.positions = value()?.parse()?,
                "--database" => choice.database = Some((*value()?).to_owned()),
                _ => bail!("unknown argument"),
            }
        }
        ensure!(0 < choice.portfolios && (1..=100).contains(&choice.positions), "too few or too many");
        Ok(choice)
    }
}

async fn measure(choice: &Choice) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let client = client()?;
    let begun = Instant::now();
    let (neighbours, sandbox) =
        Neighbours::sandbox(folder.path(), choice.portfolios, choice.positions).await?;
    let opened = begun.elapsed();

    let port = free_port()?;
    let file = format!("sqlite:{}", folder.path().join("service.db").display());
    let database = choice.database.clone().unwrap_or(file);
    let mut command = Command::new(globeco()?);
    command.args(["serve", "order-generation", "--host", "127.0.0.1", "--port", &port.to_string()]);
    let name = format!("bench_bulk_{}", std::process::id());
    command.env("DATABASE_URL", database).env("DATABASE_NAME", &name);
    // A reply that is waited for may take as long as it takes.
    command.env("REQUEST_DEADLINE_MS", "0").envs(neighbours.variables()).current_dir(folder.path());
    let mut process = Running::start(&mut command, &folder.path().join("service.log"))?;
    let base = format!("http://127.0.0.1:{port}");
    process
        .until(async || {
            client.get(format!("{base}/health/ready")).send().await?.error_for_status()?;
            Ok(())
        })
        .await?;

    let model = model(&neighbours, &client, choice.positions).await?;
    let created: Value = answer(client.post(format!("{base}/api/v1/models")).json(&model)).await?;
    let id = created["model_id"].as_str().context("the model has no id")?;

    let (service, sandbox) = (process.watched(), sandbox.watched());
    let before = Moment::of(&client, &base, service, sandbox).await?;
    let resident = service.resident()?;
    let begun = Instant::now();
    let (how, done) = rebalance(&client, &base, id).await?;
    let took = begun.elapsed().as_secs_f64();
    let after = Moment::of(&client, &base, service, sandbox).await?;

    #[expect(clippy::cast_precision_loss, reason = "there are not that many portfolios")]
    let rate = done as f64 / took;
    say(&format!(
        "{done} of {} portfolios of {} positions, {how}: {took:.2} s, {rate:.0} portfolios/s\n",
        choice.portfolios, choice.positions
    ));
    say(&format!("memory: {resident:.0} MB before, {:.0} MB at most\n", service.peak()?));
    say(&format!(
        "of one core: the service {:.0} %, the sandbox {:.0} %; the sandbox opened its portfolios in {:.1} s\n\n",
        (after.cpu[0] - before.cpu[0]) / took * 100.0,
        (after.cpu[1] - before.cpu[1]) / took * 100.0,
        opened.as_secs_f64(),
    ));
    say(&format!("{}\n", stages(&before, &after)));
    drop(process);
    if let Some(url) = &choice.database {
        Bare::connect(url, &name).await?.drop_database().await?;
    }
    ensure!(done == choice.portfolios, "some were refused");
    Ok(())
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
    let portfolios = neighbours.portfolios(client).await?;
    let portfolios: Vec<String> = portfolios.into_iter().map(|(id, _)| id).collect();
    Ok(json!({ "name": "bulk", "positions": positions, "portfolios": portfolios }))
}

/// How it was done, and how many portfolios were.
///
/// A service that does not know the preference answers when it is done.
async fn rebalance(client: &Client, base: &str, id: &str) -> Result<(&'static str, usize)> {
    let url = format!("{base}/api/v1/model/{id}/rebalance");
    let request = client.post(url).header("Prefer", "respond-async");
    let response = request.send().await?;
    let status = response.status();
    let location = response.headers().get("location").and_then(|it| it.to_str().ok()).map(ToOwned::to_owned);
    let body = response.bytes().await?;
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    if status != StatusCode::ACCEPTED {
        let replies: Vec<Value> = serde_json::from_slice(&body)?;
        let done = replies.iter().filter(|reply| reply["status"] == "REBALANCED").count();
        return Ok(("answered when done", done));
    }
    let url = format!("{base}{}", location.context("accepted, and no word of where to look")?);
    loop {
        let run: Value = answer(client.get(&url)).await?;
        match run["status"].as_str() {
            Some("PENDING" | "RUNNING") => tokio::time::sleep(PAUSE).await,
            Some("COMPLETED") => {
                let done = run["rebalanced"].as_u64().context("no word of how many")?;
                return Ok(("accepted, and done meanwhile", done.try_into()?));
            }
            _ => bail!("it came to this: {run}"),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// What can be told of the service at one time.
struct Moment {
    /// The service's, and the sandbox's.
    cpu: [f64; 2],
    figures: String,
}

impl Moment {
    async fn of(client: &Client, base: &str, service: Watched, sandbox: Watched) -> Result<Self> {
        let figures = client.get(format!("{base}/metrics")).send().await?.text().await?;
        Ok(Self { cpu: [service.cpu()?, sandbox.cpu()?], figures })
    }

    fn seconds(&self, family: &str, labelled: &str) -> f64 {
        let series = self.figures.lines().filter_map(|line| line.rsplit_once(' '));
        let of_it = series.filter(|(series, _)| series.starts_with(family) && series.contains(labelled));
        of_it.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }
}

fn stages(before: &Moment, after: &Moment) -> Table {
    let seconds = STAGES
        .map(|(_, family, labelled)| after.seconds(family, labelled) - before.seconds(family, labelled));
    let all: f64 = seconds.iter().sum();
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["of the portfolios' waits", "seconds", "share"]);
    for ((stage, ..), seconds) in STAGES.iter().zip(seconds) {
        let share = if 0.0 < all { seconds / all * 100.0 } else { 0.0 };
        table.add_row([(*stage).to_owned(), format!("{seconds:.3}"), format!("{share:.0} %")]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
