//! How much memory a process takes at most that reads a large rebalance.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use application::order_generation::ports::RebalanceRepository as _;
use futures_util::TryStreamExt as _;
use port_contracts::fixtures::rebalance_id;

use super::bare::Bare;
use super::{connect, sample};
use crate::say;

const PORTFOLIOS: usize = 1000;
const POSITIONS: usize = 100;

/// A process each, because a peak does not pass.
pub(super) async fn report(name: &str, url: &str) -> Result<()> {
    let database = format!("bench_peak_{}", std::process::id());
    let store = connect(url, &database).await?;
    store.record(&sample(1, PORTFOLIOS, POSITIONS)).await?;
    let mut peaks = Vec::new();
    for how in ["nothing", "stream", "whole"] {
        let child =
            Command::new(std::env::current_exe()?).args(["store", "peak", how, url, &database]).output()?;
        ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        peaks.push(String::from_utf8(child.stdout)?);
    }
    let [nothing, stream, whole] = peaks.as_slice() else { bail!("there are three ways to read") };
    say(&format!(
        "{name}: a process that reads {PORTFOLIOS} × {POSITIONS} takes at most {stream} MB as a stream, \
         {whole} MB as a whole; one that connects and reads none of it, {nothing} MB\n"
    ));
    Bare::connect(url, &database).await?.drop_database().await
}

/// Prints the peak of this process, in MB.
pub(super) async fn measure(how: &str, url: &str, database: &str) -> Result<()> {
    let store = connect(url, database).await?;
    let open = store.open(&rebalance_id(1)).await?.context("the rebalance is gone")?;
    match how {
        "nothing" => {}
        "stream" => {
            let mut portfolios = open.into_portfolios();
            while let Some(portfolio) = portfolios.try_next().await? {
                ensure!(portfolio.positions.len() == POSITIONS, "positions are missing");
            }
        }
        "whole" => ensure!(open.whole().await?.portfolios.len() == PORTFOLIOS, "portfolios are missing"),
        _ => bail!("`{how}` is no way to read"),
    }
    say(&peak()?.to_string());
    Ok(())
}

fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("only Linux tells a process's peak")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes.div_ceil(1024))
}
