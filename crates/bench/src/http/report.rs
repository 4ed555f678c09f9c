//! What came of it, in three tables.

use std::time::Duration;

use comfy_table::Table;

use super::load::{REBALANCE, STEPS};
use super::{Choice, Contender, Outcome, ROUNDS};
use crate::say;
use crate::table::with_header;

/// What the service should reach of the floor.
const AIM: f64 = 0.5;

pub(super) fn say_all(choice: &Choice, contenders: &[Contender]) {
    say(&format!(
        "{} requests to each by {} connections, in {ROUNDS} rounds; ratios are medians of the rounds'.\n\n",
        choice.iterations() * ROUNDS * 4,
        choice.connections,
    ));
    let measure =
        if choice.telemetry { "it without telemetry".to_owned() } else { format!("the floor (aim {AIM})") };
    say(&format!("{}\n\n", throughput(contenders, &measure)));
    say(&format!("{}\n\n", latencies(contenders)));
    say(&format!("{}\n\n", work(contenders)));
    for contender in contenders {
        let errors: Vec<&String> = contender.rounds.iter().flat_map(|round| &round.errors).collect();
        for error in errors.iter().take(3) {
            say(&format!("{}: {error}\n", contender.name));
        }
    }
}

fn throughput(contenders: &[Contender], measure: &str) -> Table {
    let mut table = with_header(&[
        "",
        "iterations/s",
        "requests/s",
        &format!("of {measure}"),
        "p99 of a rebalance, of the same",
        "errors",
        "peak MB",
        "resident MB, first to last",
    ]);
    for contender in contenders {
        let rate = median(contender.rounds.iter().map(Outcome::rate).collect());
        let errors: usize = contender.rounds.iter().map(|round| round.errors.len()).sum();
        let of_the_measure = |figure: fn(&Outcome) -> f64| {
            let Some(measure) = contender.measure else { return String::new() };
            let pairs = contender.rounds.iter().zip(&contenders[measure].rounds);
            format!("{:.2}", median(pairs.map(|(own, other)| figure(own) / figure(other)).collect()))
        };
        let [first, last] = contender.resident;
        table.add_row([
            contender.name.clone(),
            format!("{rate:.0}"),
            format!("{:.0}", rate * 4.0),
            of_the_measure(Outcome::rate),
            of_the_measure(|round| at(&sorted(&round.times[REBALANCE]), 990)),
            errors.to_string(),
            format!("{:.0}", contender.peak),
            format!("{first:.0} to {last:.0}"),
        ]);
    }
    table
}

fn latencies(contenders: &[Contender]) -> Table {
    let mut table = with_header(&[&["p50 / p99 / p99.9 in ms"][..], &STEPS[..]].concat());
    for contender in contenders {
        let cells = (0..STEPS.len()).map(|step| {
            let times = sorted(contender.rounds.iter().flat_map(|round| &round.times[step]));
            [500, 990, 999].map(|per_mille| format!("{:.1}", at(&times, per_mille))).join(" / ")
        });
        table.add_row(std::iter::once(contender.name.clone()).chain(cells));
    }
    table
}

fn work(contenders: &[Contender]) -> Table {
    let mut table = with_header(&[
        "of CPU: ms an iteration (share of one core)",
        "its own",
        "neighbours",
        "store's server",
        "this load",
        "calls an iteration: accounting, security, pricing, portfolio",
    ]);
    for contender in contenders {
        let iterations: u32 = contender.rounds.iter().map(|round| round.iterations).sum();
        let took: f64 = contender.rounds.iter().map(|round| round.took.as_secs_f64()).sum();
        let cpu = contender.cpu.map(|seconds| {
            let each = seconds / f64::from(iterations) * 1e3;
            format!("{each:.2} ({:.0} %)", seconds / took * 100.0)
        });
        #[expect(clippy::cast_precision_loss, reason = "there are not that many calls")]
        let calls = contender.calls.map(|calls| format!("{:.2}", calls as f64 / f64::from(iterations)));
        let name = std::iter::once(contender.name.clone());
        table.add_row(name.chain(cpu).chain([calls.join(", ")]));
    }
    table
}

fn sorted<'a>(times: impl IntoIterator<Item = &'a Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = times.into_iter().copied().collect();
    times.sort_unstable();
    times
}

/// In milliseconds, of times in order; not a number where there are none.
fn at(times: &[Duration], per_mille: usize) -> f64 {
    let idx = (times.len() * per_mille).div_ceil(1000).saturating_sub(1);
    times.get(idx).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
