//! What came of it, in three tables.

use anyhow::{Result, ensure};
use comfy_table::Table;

use super::{Choice, Measured, Way};
use crate::say;
use crate::table::with_header;

/// Of the family `rebalance_stage_duration_seconds`. Stages in the same lane follow one another, the lanes
/// go on side by side, and the last has two chunks at a time.
const STAGES: [(&str, &str, usize); 6] = [
    ("reading holdings", "holdings", 0),
    ("asking for tickers and prices", "prices", 0),
    ("stating the problems", "statement", 1),
    ("solving them", "solution", 1),
    ("verifying, and making trades", "verification", 1),
    ("writing to the store, two at a time", "writing", 2),
];
const STAGE_FAMILY: &str = "rebalance_stage_duration_seconds";

/// Of the families of calls and of commands: by the name in their labels.
const CALLS: [(&str, &str, &str); 5] = [
    ("calls for holdings", "external_service_duration_seconds", "portfolio-accounting-service"),
    ("calls for tickers", "external_service_duration_seconds", "\"security-service"),
    ("calls for prices", "external_service_duration_seconds", "\"pricing-service"),
    ("calls for names (for the reply)", "external_service_duration_seconds", "\"portfolio-service"),
    ("commands to the store", "database_operation_duration_seconds", ""),
];

pub(super) fn say_all(choice: &Choice, measured: &[Measured]) -> Result<()> {
    say(&format!("One rebalance of a model of {} positions.\n\n", choice.positions));
    say(&format!("{}\n\n", rates(measured)));
    let large: Vec<&Measured> = measured.iter().filter(|it| it.portfolios == choice.portfolios).collect();
    say(&format!("Stages of {} portfolios:\n{}\n\n", choice.portfolios, stages(&large)?));
    say(&format!("{}\n", calls(&large)?));
    if choice.beside.is_some() {
        say(&format!("\n{}\n", beside(measured)));
    }
    Ok(())
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "there are not that many portfolios")]
    fn rate(&self) -> f64 {
        self.portfolios as f64 / self.took
    }

    fn name(&self) -> String {
        let way = match self.way {
            Way::Accepted => "accepted",
            Way::Waited => "waited for",
        };
        let build = if self.is_other_build { ", other build" } else { "" };
        format!("{}, {way}{build}", self.store)
    }

    /// What grew meanwhile: the sum of a histogram, and how much was counted.
    fn grown(&self, family: &str, labelled: &str) -> [f64; 2] {
        ["sum", "count"].map(|of| {
            let name = format!("{family}_{of}");
            let [before, after] = &self.figures;
            sum(after, &name, labelled) - sum(before, &name, labelled)
        })
    }
}

fn sum(figures: &str, name: &str, labelled: &str) -> f64 {
    let series = figures.lines().filter_map(|line| line.rsplit_once(' '));
    let of_it = series.filter(|(series, _)| {
        let (found, labels) = series.split_once('{').unwrap_or((series, ""));
        found == name && labels.contains(labelled)
    });
    of_it.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

fn rates(measured: &[Measured]) -> Table {
    let mut table = with_header(&[
        "",
        "portfolios",
        "seconds (until the reply began)",
        "portfolios/s",
        "MB before",
        "MB at most",
        "of the tenth's most",
        "of one core: service, sandbox, store's server",
    ]);
    for one in measured {
        let same = |other: &&Measured| {
            (other.store, other.way, other.is_other_build) == (one.store, one.way, one.is_other_build)
        };
        let tenth = measured.iter().find(same).filter(|tenth| tenth.portfolios < one.portfolios);
        let decided = one.decided.map_or(String::new(), |decided| format!(" ({decided:.2})"));
        table.add_row([
            one.name(),
            one.portfolios.to_string(),
            format!("{:.2}{decided}", one.took),
            format!("{:.0}", one.rate()),
            format!("{:.0}", one.memory[0]),
            format!("{:.0}", one.memory[1]),
            tenth.map_or(String::new(), |tenth| format!("{:.2}", one.memory[1] / tenth.memory[1])),
            one.cpu.map(|cpu| format!("{:.0} %", cpu / one.took * 100.0)).join(", "),
        ]);
    }
    table
}

/// Of the wall clock. What is left of it beside the busiest lane: start and end, waiting for the other lanes,
/// and of a reply that is waited for the reading of it.
fn stages(large: &[&Measured]) -> Result<Table> {
    let mut table = columns(large, "seconds (of all)");
    let mut lanes = vec![[0.0; 3]; large.len()];
    for (name, stage, lane) in STAGES {
        let mut cells = vec![name.to_owned()];
        let side_by_side = if stage == "writing" { 2.0 } else { 1.0 };
        for (one, lanes) in large.iter().zip(&mut lanes) {
            let [seconds, count] = one.grown(STAGE_FAMILY, &format!("stage=\"{stage}\""));
            ensure!(one.is_other_build || 0.0 < count, "the service does not tell of `{stage}`");
            lanes[lane] += seconds / side_by_side;
            cells.push(format!("{seconds:.2} ({:.0} %)", seconds / one.took * 100.0));
        }
        table.add_row(cells);
    }
    let rest = large.iter().zip(lanes).map(|(one, lanes)| {
        let rest = one.took - lanes.into_iter().fold(0.0, f64::max);
        format!("{rest:.2} ({:.0} %)", rest / one.took * 100.0)
    });
    table.add_row(std::iter::once("rest, beside the busiest".to_owned()).chain(rest));
    Ok(table)
}

fn calls(large: &[&Measured]) -> Result<Table> {
    let mut table = columns(large, "how many × ms each (at once, on average)");
    for (name, family, labelled) in CALLS {
        let mut cells = vec![name.to_owned()];
        for one in large {
            let [seconds, count] = one.grown(family, labelled);
            let is_asked = one.way == Way::Waited || labelled != "\"portfolio-service";
            ensure!(!is_asked || 0.0 < count, "the service does not tell of {name}");
            let each = if 0.0 < count { seconds / count * 1e3 } else { 0.0 };
            cells.push(format!("{count} × {each:.2} ({:.1})", seconds / one.took));
        }
        table.add_row(cells);
    }
    Ok(table)
}

/// The rates of this build over those of the other.
fn beside(measured: &[Measured]) -> Table {
    let mut table = with_header(&["this build beside the other", "portfolios", "portfolios/s", "ratio"]);
    for pair in measured.chunks_exact(2) {
        let [this, other] = pair else { continue };
        table.add_row([
            this.name(),
            this.portfolios.to_string(),
            format!("{:.0} and {:.0}", this.rate(), other.rate()),
            format!("{:.2}", this.rate() / other.rate()),
        ]);
    }
    table
}

fn columns(large: &[&Measured], first: &str) -> Table {
    let names: Vec<String> = large.iter().map(|one| one.name()).collect();
    let header: Vec<&str> = std::iter::once(first).chain(names.iter().map(String::as_str)).collect();
    with_header(&header)
}
