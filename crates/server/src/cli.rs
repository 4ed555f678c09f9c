//! The command line.

pub(crate) mod examples;

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write, stdout};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context;
use chrono::NaiveDate;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tokio::runtime::Runtime;
use tokio::select;

use crate::config::{Config, Layers, Overrides};
#[cfg(feature = "cbc")]
use crate::optimizer::cbc;
use crate::service::{Service, asked_to_stop};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::{api_key_command, config_command, demo, health_command, sandbox_command, telemetry};

/// The GlobeCo investment services.
///
/// The Order Generation Service keeps investment models and rebalances the portfolios that follow them.
#[derive(Parser)]
#[command(name = "globeco", version, after_help = examples::GLOBECO)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a service until it is asked to stop.
    #[command(after_help = examples::SERVE)]
    Serve(Serve),
    /// Make the tables or indexes that a service's store lacks, and exit.
    #[command(after_help = examples::MIGRATE)]
    Migrate(Migrate),
    /// Show or check what a service is configured with; nothing is started or opened.
    #[command(subcommand)]
    Config(config_command::Command),
    /// Print the interface of a service as OpenAPI 3.1.
    #[command(after_help = examples::OPENAPI)]
    Openapi(Openapi),
    /// Rebalance example portfolios through the real HTTP API, and show what happened.
    #[command(after_help = examples::DEMO)]
    Demo(demo::Options),
    /// Run the four neighbours of order generation, to serve against.
    #[command(after_help = examples::SANDBOX)]
    Sandbox(sandbox_command::Options),
    /// Print a shell's completions of these commands.
    #[command(after_help = examples::COMPLETIONS)]
    Completions { shell: Shell },
    /// Ask a service whether it is alive; the exit code is 0 if it is.
    #[command(after_help = examples::HEALTH)]
    Health(health_command::Options),
    /// Make a new API key, and what the settings keep of it.
    #[command(after_help = examples::API_KEY)]
    ApiKey(api_key_command::Options),
    /// Solve for a service that started this process.
    #[cfg(feature = "cbc")]
    #[command(name = cbc::WORKER, hide = true)]
    OptimizerWorker,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ServiceName {
    OrderGeneration,
}

#[derive(Args)]
pub(crate) struct Serve {
    service: ServiceName,
    #[command(flatten)]
    settings: Settings,
    /// Address to listen on.
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 takes any free one.
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Args)]
struct Openapi {
    #[arg(default_value = "order-generation")]
    service: ServiceName,
}

#[derive(Args)]
struct Migrate {
    service: ServiceName,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct Settings {
    /// A configuration file, as `config show` prints one; may be given more than once, the later wins.
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where models and rebalances are kept: sqlite:PATH, or the URL of a MongoDB.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Settings {
    /// Reads all layers and starts the log.
    fn load(self, overrides: Overrides) -> anyhow::Result<(Config, Telemetry)> {
        let config = self.layers(overrides).config();
        let config = config.map_err(|faults| anyhow::anyhow!(faults.join("; ")))?;
        let telemetry = telemetry::start(&config)?;
        Ok((config, telemetry))
    }

    fn layers(self, mut overrides: Overrides) -> Layers {
        overrides.text("store.url", self.database_url);
        overrides.text("log.level", self.log_level);
        Layers::read(&self.files, &overrides)
    }
}

impl Serve {
    /// All that the service would be configured with.
    pub(crate) fn layers(self) -> Layers {
        let (settings, overrides) = self.overrides();
        settings.layers(overrides)
    }

    fn overrides(self) -> (Settings, Overrides) {
        let Self { service: ServiceName::OrderGeneration, settings, host, port } = self;
        let mut overrides = Overrides::default();
        overrides.text("http.host", host);
        overrides.number("http.port", port.map(u64::from));
        (settings, overrides)
    }
}

/// Where the securities and prices of the sandbox come from.
#[derive(Args, Clone)]
pub(crate) struct UniverseOptions {
    /// Securities as CSV, after the header `ticker,description`. Without it, about a hundred well-known companies.
    #[arg(long, value_name = "FILE", requires = "prices")]
    pub(crate) securities: Option<PathBuf>,
    /// Prices as CSV, after the header `price_date,ticker,price,price_std`.
    #[arg(long, value_name = "FILE", requires = "securities")]
    pub(crate) prices: Option<PathBuf>,
    /// The day of the prices, or the nearest there is.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "prices", default_value = "2017-06-01")]
    pub(crate) date: NaiveDate,
    /// Start of every random draw.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

impl UniverseOptions {
    pub(crate) fn universe(&self) -> anyhow::Result<sandbox::Universe> {
        match (&self.securities, &self.prices) {
            (Some(securities), Some(prices)) => {
                Ok(sandbox::Universe::from_csv(securities, prices, self.date)?)
            }
            _ => Ok(sandbox::Universe::builtin()),
        }
    }
}

/// Runs the command; a failure is told on standard error, with its causes.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let asked_for_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked_for_help { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    let done = match cli.command {
        Command::Serve(options) => finished(serve(options)),
        Command::Migrate(options) => finished(migrate(options)),
        Command::Config(command) => config_command::run(command),
        Command::Openapi(options) => openapi(&options),
        Command::Completions { shell } => completions(shell),
        Command::Demo(options) => finished(demo::run(&options)),
        Command::Health(options) => finished(health_command::run(options)),
        Command::Sandbox(options) => finished(sandbox_command::run(&options)),
        Command::ApiKey(options) => api_key_command::run(&options),
        #[cfg(feature = "cbc")]
        Command::OptimizerWorker => cbc::work(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if nobody_reads_on(&error) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
            {
                eprintln!("Error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether what was printed went to a command that has seen enough of it, such as `head`.
fn nobody_reads_on(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn finished(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    Runtime::new()?.block_on(command)
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    let (settings, overrides) = options.overrides();
    let (config, telemetry) = settings.load(overrides)?;
    let served = run_until_stopped(config).await;
    telemetry.stop().await;
    served
}

async fn run_until_stopped(config: Config) -> anyhow::Result<()> {
    let mut stop = pin!(asked_to_stop()?);
    let service = select! {
        service = Service::bind(config) => service?,
        // Waiting for a store that is away may take some seconds.
        () = &mut stop => return Ok(()),
    };
    service.run(stop).await
}

async fn migrate(options: Migrate) -> anyhow::Result<()> {
    let ServiceName::OrderGeneration = options.service;
    let (config, telemetry) = options.settings.load(Overrides::default())?;
    let migrated = prepare(&config).await;
    telemetry.stop().await;
    migrated
}

async fn prepare(config: &Config) -> anyhow::Result<()> {
    let store = Store::open(&config.store).await?;
    let prepared = store.prepare().await;
    store.close().await;
    prepared.context("DATABASE_URL (store.url)")?;
    tracing::info!("the store is prepared");
    Ok(())
}

fn openapi(options: &Openapi) -> anyhow::Result<()> {
    let ServiceName::OrderGeneration = options.service;
    let config = Layers::of_defaults().config().map_err(|faults| anyhow::anyhow!(faults.join("; ")))?;
    let description = web::description(&config.service.name, env!("CARGO_PKG_VERSION"));
    Ok(writeln!(stdout(), "{description}")?)
}

fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "globeco", &mut script);
    Ok(stdout().write_all(&script)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
