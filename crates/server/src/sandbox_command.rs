//! `globeco sandbox`: the neighbours alone.

use std::io::{Write, stdout};

use clap::Args;
use sandbox::{Config, Draws, Ports, Sandbox};

use crate::cli::UniverseOptions;
use crate::service::asked_to_stop;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    universe: UniverseOptions,
    /// Answer every price question with the mean, instead of a fresh draw round it.
    #[arg(long)]
    fixed_prices: bool,
    /// Take any free ports instead of the documented ones.
    #[arg(long)]
    free_ports: bool,
    /// Open so many portfolios, of half a million to four million each.
    #[arg(long, default_value_t = 0)]
    portfolios: usize,
    /// How many securities each of them holds; without any it is all cash.
    #[arg(long, default_value_t = 0, requires = "portfolios")]
    positions: usize,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Config {
        universe: options.universe.universe()?,
        draws: if options.fixed_prices { Draws::Fixed } else { Draws::Random },
        ports: if options.free_ports { Ports::default() } else { Ports::documented() },
        seed: options.universe.seed,
    })
    .await?;
    sandbox.open(options.portfolios, options.positions);

    // As variables, so that a shell can take them over and serve against them.
    let mut out = stdout().lock();
    writeln!(out, "PORTFOLIO_ACCOUNTING_SERVICE_URL={}", sandbox.accounting.url())?;
    writeln!(out, "SECURITY_SERVICE_URL={}", sandbox.security.url())?;
    writeln!(out, "PRICING_SERVICE_URL={}", sandbox.pricing.url())?;
    writeln!(out, "PORTFOLIO_SERVICE_URL={}", sandbox.portfolio.url())?;
    drop(out);

    asked_to_stop()?.await;
    sandbox.stop().await;
    Ok(())
}
