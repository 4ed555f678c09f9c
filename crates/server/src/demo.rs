//! `globeco demo`: example portfolios, rebalanced through the real HTTP API over real HTTP neighbours.

mod client;
mod report;
mod story;

use std::io::stdout;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sandbox::{Config as SandboxConfig, Draws, Ports, Sandbox};
use tokio::sync::oneshot;

use crate::cli::UniverseOptions;
use crate::config::{self, Overrides};
use crate::service::{Service, asked_to_stop};
use client::Client;
use story::Story;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    universe: UniverseOptions,
    /// How many portfolios follow the model; at least four.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(4..=5000))]
    portfolios: u16,
    /// Keep serving afterwards, and say what to try.
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(SandboxConfig {
        universe: options.universe.universe()?,
        draws: Draws::Random,
        ports: Ports::default(),
        seed: options.universe.seed,
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let service = Service::bind(configuration(&sandbox, folder.path())?).await?;
    let address = format!("http://127.0.0.1:{}", service.address().port());

    let (finished, is_finished) = oneshot::channel::<()>();
    let serve = service.run(async { is_finished.await.unwrap_or_default() });
    let tell = async {
        let told = tell(options, &sandbox, &address).await;
        let _ = finished.send(());
        told
    };
    let (served, told) = tokio::join!(serve, tell);
    sandbox.stop().await;
    told.and(served)
}

fn configuration(sandbox: &Sandbox, folder: &Path) -> anyhow::Result<config::Config> {
    let mut overrides = Overrides::default();
    overrides.text("http.host", Some("127.0.0.1".to_owned()));
    overrides.number("http.port", Some(0));
    overrides.text("store.url", Some(format!("sqlite:{}", folder.join("demo.db").display())));
    overrides.text("neighbours.portfolio_accounting_url", Some(sandbox.accounting.url()));
    overrides.text("neighbours.security_url", Some(sandbox.security.url()));
    overrides.text("neighbours.pricing_url", Some(sandbox.pricing.url()));
    overrides.text("neighbours.portfolio_url", Some(sandbox.portfolio.url()));
    config::load(&[], &overrides)
}

async fn tell(options: &Options, sandbox: &Sandbox, address: &str) -> anyhow::Result<()> {
    let client = Client::new()?;
    let story = Story::new(sandbox, usize::from(options.portfolios))?;
    let n_portfolios = story.portfolios.len();

    let progress = bar("funding portfolios", n_portfolios);
    story.fund(&client, sandbox, &progress).await?;
    progress.finish_and_clear();

    let model = client.post(&format!("{address}/api/v1/models"), &story.model()).await?;
    let model_id = model["model_id"].as_str().context("the new model has no id")?;
    let progress = bar("rebalancing", n_portfolios);
    let started = Instant::now();
    let replies =
        rebalanced(&client, sandbox, &format!("{address}/api/v1/model/{model_id}/rebalance"), &progress)
            .await?;
    let took = started.elapsed();
    progress.finish_and_clear();

    let rebalance_id = replies[0]["rebalance_id"].as_str().context("the rebalance has no id")?;
    let record = client.get(&format!("{address}/api/v1/rebalance/{rebalance_id}")).await?;
    let mut out = stdout().lock();
    report::write(&mut out, &story, &replies, &record, took)?;
    if options.keep {
        report::write_addresses(&mut out, address, model_id, rebalance_id, &story.portfolios[0].id)?;
        drop(out);
        asked_to_stop()?.await;
    }
    Ok(())
}

/// Rebalances, and moves the bar with every portfolio whose holdings are read.
async fn rebalanced(
    client: &Client,
    sandbox: &Sandbox,
    url: &str,
    progress: &ProgressBar,
) -> anyhow::Result<serde_json::Value> {
    let before = sandbox.accounting.calls();
    let watch = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            tick.tick().await;
            progress.set_position(sandbox.accounting.calls() - before);
        }
    };
    tokio::select! {
        replies = client.post(url, &serde_json::Value::Null) => replies,
        () = watch => unreachable!("the watch never ends"),
    }
}

fn bar(label: &'static str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>20} [{bar:40}] {pos}/{len}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style.progress_chars("=> ")).with_message(label)
}
