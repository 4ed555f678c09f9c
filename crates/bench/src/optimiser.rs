//! How long an answer takes: the exact solver beside CBC, and as many portfolios as a core can do.

mod plain;
mod single;
mod throughput;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use port_contracts::optimizer::classes::Class;

use crate::say;

const USAGE: &str = "\
usage: cargo xtask bench optimiser [--class NAME]… [--size N]… [--no-cbc]
";

/// What is measured; everything unless told.
struct Choice {
    classes: Vec<Class>,
    sizes: Vec<usize>,
    with_cbc: bool,
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let Ok(choice) = Choice::read(arguments) else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    single::run(&choice)?;
    throughput::run();
    Ok(ExitCode::SUCCESS)
}

impl Choice {
    fn read(arguments: &[&str]) -> anyhow::Result<Self> {
        let (mut classes, mut sizes, mut with_cbc) = (Vec::new(), Vec::new(), true);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().context("a value is missing");
            match *word {
                "--class" => {
                    let name = value()?;
                    let class = Class::ALL.into_iter().find(|class| class.name() == **name);
                    classes.push(class.context("no such class")?);
                }
                "--size" => sizes.push(value()?.parse()?),
                "--no-cbc" => with_cbc = false,
                _ => bail!("unknown argument"),
            }
        }
        if classes.is_empty() {
            classes.extend(Class::ALL);
        }
        if sizes.is_empty() {
            sizes.extend([10, 50, 100, 500]);
        }
        Ok(Self { classes, sizes, with_cbc })
    }
}

/// Durations of one kind, of which the median and the 99th percentile are shown.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    /// Takes the quickest of some rounds, which the machine disturbed least.
    fn measure(&mut self, rounds: u32, mut work: impl FnMut()) {
        let quickest = (0..rounds).map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        });
        self.0.extend(quickest.min());
    }

    fn quantile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
    }
}
