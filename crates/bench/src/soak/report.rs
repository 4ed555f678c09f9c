//! What came of it, in one table, and then what was wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::Choice;
use super::desk::Desk;
use super::faults::Faults;
use super::records::Kept;
use super::vitals::{Held, Vitals};
use crate::say;

pub(super) struct Soaked<'a> {
    pub(super) choice: &'a Choice,
    pub(super) desk: &'a Desk<'a>,
    pub(super) faults: &'a Faults<'a>,
    pub(super) vitals: &'a Vitals,
    pub(super) recovered: Option<Duration>,
    pub(super) kept: Kept,
    pub(super) calls: [u64; 4],
}

impl Soaked<'_> {
    pub(super) fn say(&self) {
        say(&format!("{}\n", self.table()));
        let trouble = self.desk.trouble.lines();
        say(if trouble.is_empty() { "\nall as it should be\n" } else { "\nnot as it should be:\n" });
        for line in trouble {
            say(&format!("{line}\n"));
        }
    }

    fn table(&self) -> Table {
        let Self { choice, desk, faults, vitals, recovered, kept, calls } = self;
        let mut table = Table::new();
        table.load_preset(NOTHING);
        let mut row = |name: &str, found: String| {
            table.add_row([name.to_owned(), found]);
        };
        row(
            "load",
            format!(
                "{} clients for {} minutes on the store `{}`, seed {}",
                choice.clients,
                choice.length.as_secs() / 60,
                choice.store.name(),
                choice.seed
            ),
        );
        row("faults of neighbours", listed(&faults.counts()));
        row("kill -9 and start again", desk.deaths().to_string());

        let counts = desk.counts();
        row("requests", counts.values().sum::<u64>().to_string());
        let mut by_action: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((what, outcome), count) in &counts {
            by_action.entry(what).or_default().insert(outcome, *count);
        }
        for (what, outcomes) in by_action {
            row(&format!("  {what}"), listed(&outcomes));
        }
        row("slowest answer", format!("{:.1} s", desk.slowest().as_secs_f64()));
        row(
            "well again after the faults",
            recovered.map_or("no".to_owned(), |it| format!("{:.1} s", it.as_secs_f64())),
        );

        row("records kept", listed(&kept.rebalances));
        row(
            "  read back and reckoned again",
            format!(
                "{} portfolios, {} positions, {} trades; {} portfolios refused, {} positions outside their bands",
                kept.portfolios, kept.positions, kept.trades, kept.refused, kept.outside_band
            ),
        );
        let untold =
            format!("{} (at most {} callers left or lost the service)", kept.untold, desk.untold.get());
        row("  completed, and their callers gone", untold);

        let most = desk.most_calls(choice.length);
        for ((service, calls), most) in
            ["accounting", "security", "pricing", "portfolio"].iter().zip(calls).zip(most)
        {
            #[expect(clippy::cast_precision_loss, reason = "there are not that many calls")]
            let [each, at_most] = [*calls, most].map(|count| count as f64 / desk.rebalances().max(1) as f64);
            row(&format!("calls at {service}, each rebalance"), format!("{each:.2} (at most {at_most:.2})"));
        }

        let [first, last] = vitals.first_and_last();
        let between = |of: fn(&Held) -> f64| {
            format!("{:.0} and {:.0} (at most {:.0})", of(&first), of(&last), of(&vitals.most()))
        };
        let mark = vitals.mark().as_secs();
        row(&format!("MB of memory, after {mark} s and at the end"), between(|held| held.memory));
        let tenths: Vec<String> = vitals.memory().iter().map(|most| format!("{most:.0}")).collect();
        row("  at most, in each tenth of the time", tenths.join(", "));
        row("open files, then and at the end", between(|held| held.files));
        row("threads, then and at the end", between(|held| held.threads));
        table
    }
}

fn listed(counts: &BTreeMap<impl Display, u64>) -> String {
    let listed: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}
