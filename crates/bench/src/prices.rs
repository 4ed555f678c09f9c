//! From how many prices on is one call for all there are faster than one for each?

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use application::order_generation::ports::PriceSource as _;
use comfy_table::Table;
use domain::identifier::SecurityId;
use sandbox::{Draws, Faults, Sandbox, Universe};
use upstream_http::{BreakerRules, CacheSize, Calls, Config, Endpoint, Market, Neighbours};

use crate::say;

/// As many as the real service lists.
const LISTED: usize = 471;
const ROUNDS: usize = 41;

/// What the network and the service add to each answer.
const LATENCIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(10)];

pub(crate) fn run() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config =
        sandbox::Config { universe: universe(folder.path())?, draws: Draws::Random, ..Default::default() };
    let sandbox = Sandbox::start(config).await?;
    let securities: Vec<SecurityId> = (0..LISTED)
        .map(|idx| Ok(sandbox.security.id_of(&ticker(idx)).context("a security of the universe")?.parse()?))
        .collect::<Result<_>>()?;
    let singly = market(&sandbox, None)?;
    let together = market(&sandbox, Some(NonZeroUsize::MIN))?;

    let mut table = Table::new();
    table.set_header(["latency", "prices", "one call each", "one call for all"]);
    for latency in LATENCIES {
        sandbox.pricing.inject(Faults::latency(latency));
        for count in [1, 2, 5, 10, 15, 20, 30, 50, 100, 200, LISTED] {
            let asked = &securities[..count];
            let medians = medians([&singly, &together], asked).await?;
            let shown = medians.map(|median| format!("{:.2} ms", median.as_secs_f64() * 1e3));
            let [singly, together] = shown;
            table.add_row([format!("{latency:?}"), count.to_string(), singly, together]);
        }
    }
    say(&format!(
        "{LISTED} prices listed; medians of {ROUNDS} snapshots, tickers known, nothing kept\n{table}\n"
    ));
    sandbox.stop().await;
    Ok(())
}

/// By turns, so that what disturbs one disturbs the other.
async fn medians(markets: [&Market; 2], securities: &[SecurityId]) -> Result<[Duration; 2]> {
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (market, took) in markets.iter().zip(&mut took) {
            let started = Instant::now();
            let prices = market.prices(securities).await?;
            anyhow::ensure!(securities.iter().all(|security| prices.price(security).is_some()));
            // The first round learns the tickers.
            if 0 < round {
                took.push(started.elapsed());
            }
        }
    }
    Ok(took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    }))
}

fn market(sandbox: &Sandbox, bulk_threshold: Option<NonZeroUsize>) -> Result<Market> {
    let endpoint = |base_url| Endpoint { base_url, health_path: "/".to_owned() };
    let kept_for = |ttl| CacheSize { ttl, capacity: 10_000 };
    let config = Config {
        accounting: endpoint(sandbox.accounting.url()),
        security: endpoint(sandbox.security.url()),
        pricing: endpoint(sandbox.pricing.url()),
        portfolio: endpoint(sandbox.portfolio.url()),
        // As the service's own defaults have it.
        calls: Calls {
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            attempts: NonZeroU32::MIN,
            first_backoff: Duration::from_millis(200),
            max_concurrent: NonZeroUsize::new(32).context("not zero")?,
            breaker: BreakerRules {
                threshold: None,
                pause: Duration::from_mins(1),
                probes: NonZeroU32::MIN,
                slow_after: Duration::from_secs(10),
            },
            pool_idle_timeout: Duration::from_mins(1),
            pool_max_idle: 32,
        },
        name_timeout: Duration::from_secs(1),
        bulk_threshold,
        tickers: kept_for(Duration::from_hours(1)),
        prices: kept_for(Duration::ZERO),
        names: kept_for(Duration::ZERO),
    };
    Ok(Neighbours::new(&config, &(Arc::new(()) as _))?.market)
}

fn ticker(idx: usize) -> String {
    format!("T{idx}")
}

fn universe(folder: &Path) -> Result<Universe> {
    let (securities, prices) = (folder.join("securities.csv"), folder.join("prices.csv"));
    let mut names = vec!["ticker,description".to_owned()];
    let mut quotes = vec!["price_date,ticker,price,price_std".to_owned()];
    for idx in 0..LISTED {
        let ticker = ticker(idx);
        names.push(format!("{ticker},{ticker} Inc."));
        quotes.push(format!("2017-06-01,{ticker},{}.{:02},1.02", 5 + idx, idx % 100));
    }
    std::fs::write(&securities, names.join("\n"))?;
    std::fs::write(&prices, quotes.join("\n"))?;
    Ok(Universe::from_csv(&securities, &prices, "2017-06-01".parse()?)?)
}
