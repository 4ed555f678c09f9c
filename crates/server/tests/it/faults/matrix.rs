//! Every neighbour with every fault, a rebalance asked for in every way.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use sandbox::{Failure, Faults, Malformed};
use serde_json::{Value, json};
use server::config::Config;

use super::{Came, Desk, FIRST, Kept, Neighbour, Way};

/// A fault, how often a call that meets it is tried, and what it comes to if it is the fault of Portfolio
/// Accounting, Security, Pricing, Pricing where all prices are asked for by one call, and Portfolio.
const MATRIX: [(Fault, u64, [Told; 5]); 18] = [
    (Refused, 0, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Cut, 3, [OUT, OUT, OUT, OUT, NAMELESS]),
    (ResetMidBody, 3, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Slow, 3, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Status(500), 3, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Status(503), 3, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Status(429), 3, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Status(401), 1, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Garbage, 1, [OUT, OUT, OUT, OUT, NAMELESS]),
    (Truncated, 1, [OUT, OUT, OUT, OUT, NAMELESS]),
    (WrongTypes, 1, [OUT, OUT, OUT, OUT, NAMELESS]),
    (WrongContentType, 1, [OUT, OUT, OUT, OUT, NAMELESS]),
    // Neither tickers nor names are numbers.
    (Numbers("NaN"), 1, [OUT, WELL, UNPRICED, UNPRICED, WELL]),
    (Numbers("0"), 1, [NOTHING_TO_DO, WELL, UNPRICED, UNPRICED, WELL]),
    (Numbers("-12.5"), 1, [INDEBTED, WELL, UNPRICED, UNPRICED, WELL]),
    (Numbers("about fifty"), 1, [OUT, WELL, OUT, OUT, WELL]),
    (Numbers("1e400"), 1, [OUT, WELL, OUT, OUT, WELL]),
    (Numbers("79228162514264337593543950335"), 1, [TOO_LARGE, WELL, TOO_LARGE, TOO_LARGE, WELL]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nobody listens.
    Refused,
    /// Before the first byte of the answer.
    Cut,
    ResetMidBody,
    /// Slower than an attempt may be.
    Slow,
    Status(u16),
    Garbage,
    Truncated,
    WrongTypes,
    WrongContentType,
    /// This stands in place of every number.
    Numbers(&'static str),
}
use Fault::{
    Cut, Garbage, Numbers, Refused, ResetMidBody, Slow, Status, Truncated, WrongContentType, WrongTypes,
};

/// Who waits for a rebalance of one portfolio or of a model is told by the status of the answer, who does
/// not by the status of the record; both by the same code, if it came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    answer: u16,
    record: &'static str,
    code: &'static str,
    /// Of each portfolio.
    trades: usize,
    names: [Option<&'static str>; 2],
}

const WELL: Told =
    Told { answer: 200, record: "COMPLETED", code: "", trades: 2, names: [Some("First"), Some("Second")] };
const NAMELESS: Told = Told { names: [None, None], ..WELL };
/// As for portfolios that were never funded.
const NOTHING_TO_DO: Told = Told { trades: 0, ..WELL };
const OUT: Told = failed(503, "external-service-unavailable");
const UNPRICED: Told = failed(422, "security-not-priced");
const INDEBTED: Told = failed(422, "market-value-not-positive");
const TOO_LARGE: Told = failed(422, "amounts-out-of-range");

const fn failed(answer: u16, code: &'static str) -> Told {
    Told { answer, record: "FAILED", code, trades: 0, names: [None, None] }
}

/// Whose fault it is, in the order of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Culprit {
    Accounting,
    Security,
    Pricing,
    PricingInBulk,
    Portfolio,
}

impl Culprit {
    const ALL: [Self; 5] =
        [Self::Accounting, Self::Security, Self::Pricing, Self::PricingInBulk, Self::Portfolio];

    fn neighbour(self) -> Neighbour {
        match self {
            Self::Accounting => Neighbour::Accounting,
            Self::Security => Neighbour::Security,
            Self::Pricing | Self::PricingInBulk => Neighbour::Pricing,
            Self::Portfolio => Neighbour::Portfolio,
        }
    }

    /// How many calls a rebalance makes to it, each with all its attempts.
    fn most_calls(self, way: Way) -> u64 {
        match (self, way) {
            (Self::Accounting | Self::Portfolio, Way::Single) => 1,
            // Records hold no names.
            (Self::Portfolio, Way::Async) => 0,
            // For each portfolio one, or for each security.
            (Self::Accounting | Self::Portfolio | Self::Security | Self::Pricing, _) => 2,
            // And what the one for all prices did not tell is asked for singly.
            (Self::PricingInBulk, _) => 1 + 2,
        }
    }

    fn settings(self, config: &mut Config) {
        if self == Self::PricingInBulk {
            config.neighbours.prices_bulk_threshold = 2;
        }
    }
}

impl Fault {
    fn settings(self, config: &mut Config) {
        let patient = Duration::from_mins(1);
        // Names are asked for once, so that a busy machine must not keep them waiting for long.
        let (patience, for_names) = if self == Slow {
            (Duration::from_millis(400), Duration::from_secs(2))
        } else {
            (patient, patient)
        };
        config.neighbours.timeout = patience;
        config.neighbours.name_timeout = for_names;
        config.neighbours.first_backoff = Duration::from_millis(1);
        config.neighbours.attempts = 3.try_into().unwrap();
    }

    async fn strike(self, neighbour: Neighbour, desk: &mut Desk) {
        let sandbox = &mut desk.server.sandbox;
        let faults = match self {
            Refused => return neighbour.shut(sandbox).await,
            Cut => Faults::outage(),
            ResetMidBody => Faults::always(Failure::BrokenOff),
            Slow => Faults::latency(Duration::from_mins(1)),
            Status(code) => Faults::always(Failure::status(code)),
            Garbage => Faults::always(Failure::Malformed(Malformed::Garbage)),
            Truncated => Faults::always(Failure::Malformed(Malformed::Truncated)),
            WrongTypes => Faults::always(Failure::Malformed(Malformed::WrongTypes)),
            WrongContentType => Faults::always(Failure::Malformed(Malformed::WrongContentType)),
            Numbers(text) => Faults::always(Failure::Malformed(Malformed::Numbers(text.to_owned()))),
        };
        neighbour.inject(sandbox, faults);
    }
}

#[tokio::test]
async fn every_fault_is_told_keeps_nothing_costs_few_calls_and_is_over_with_its_cause() {
    let cells = MATRIX.into_iter().flat_map(|(fault, tries, told)| {
        Culprit::ALL.into_iter().zip(told).map(move |(culprit, told)| (fault, tries, culprit, told))
    });
    stream::iter(cells)
        .for_each_concurrent(4, async |(fault, tries, culprit, told)| {
            let mut desk = Desk::open(|config| {
                culprit.settings(config);
                fault.settings(config);
            })
            .await;
            // Numbers are wrong in what is held, too.
            let held = desk.server.security("A");
            desk.server.sandbox.accounting.fund(FIRST, 10_000.into(), &[(&held, 10.into())]);
            for way in Way::ALL {
                check(&mut desk, way, fault, tries, culprit, told).await;
            }
        })
        .await;
}

async fn check(desk: &mut Desk, way: Way, fault: Fault, tries: u64, culprit: Culprit, told: Told) {
    let cell = format!("{fault:?} of {culprit:?}, {way:?}");
    let neighbour = culprit.neighbour();
    let (kept, calls) = (desk.kept().await, neighbour.calls(&desk.server.sandbox));

    fault.strike(neighbour, desk).await;
    let came = desk.rebalance(way).await;
    let calls = neighbour.calls(&desk.server.sandbox) - calls;
    neighbour.restore(&mut desk.server.sandbox);

    assert_told(&came, way, told, &cell);
    if told.code.is_empty() {
        assert_ne!(desk.kept().await, kept, "{cell}");
    } else {
        assert_kept_nothing_more(&desk.kept().await, &kept, came.record.as_ref(), &cell);
    }
    // Names decorate: who does not tell them is not asked twice.
    let tries = if culprit == Culprit::Portfolio { tries.min(1) } else { tries };
    let most_calls = culprit.most_calls(way);
    // On a busy machine an attempt may be over before it has arrived.
    let fewest = if fault == Slow { 0 } else { tries.min(most_calls) };
    assert!((fewest..=tries * most_calls).contains(&calls), "{cell}: {calls} calls");

    assert_told(&desk.rebalance(way).await, way, WELL, &format!("after {cell}"));
}

#[track_caller]
fn assert_told(came: &Came, way: Way, told: Told, cell: &str) {
    let status = match way {
        Way::Single | Way::Model => (told.answer, None),
        Way::Async => (202, Some(told.record.to_owned())),
    };
    assert_eq!((&came.status, came.code.as_str()), (&status, told.code), "{cell}");
    assert_eq!(came.retry_after.is_some(), came.status.0 == 503, "{cell}");
    let portfolios = match way {
        _ if !told.code.is_empty() => 0,
        Way::Single => 1,
        Way::Model | Way::Async => 2,
    };
    assert_eq!(came.portfolios.len(), portfolios, "{cell}");
    for (portfolio, name) in came.portfolios.iter().zip(told.names) {
        let is_trade = |row: &&Value| !row["transaction_type"].is_null();
        let rows = &portfolio[if way == Way::Async { "positions" } else { "transactions" }];
        assert_eq!(rows.as_array().unwrap().iter().filter(is_trade).count(), told.trades, "{cell}");
        if way != Way::Async {
            assert_eq!(
                (&portfolio["status"], &portfolio["portfolio_name"]),
                (&json!("REBALANCED"), &json!(name)),
                "{cell}"
            );
        }
    }
}

/// Than a record that says why, if nobody waited.
#[track_caller]
fn assert_kept_nothing_more(after: &Kept, before: &Kept, record: Option<&Value>, cell: &str) {
    if let Some(record) = record {
        assert_eq!(record["portfolios"], json!([]), "{cell}");
        assert_eq!(record["number_of_portfolios"], 0, "{cell}");
    }
    let list: Vec<&Value> = record.into_iter().chain(&before.list).collect();
    assert_eq!(after.list.iter().collect::<Vec<_>>(), list, "{cell}");
    assert_eq!((&after.containing, &after.model), (&before.containing, &before.model), "{cell}");
}
