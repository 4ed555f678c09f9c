//! A neighbour that keeps failing is left alone, and called again once it is back.

use std::time::Duration;

use futures_util::future::join_all;
use sandbox::{Failure, Faults};
use server::config::Config;

use super::Neighbour::{Accounting, Portfolio};
use super::{Came, Desk, INDISPENSABLE, Neighbour, Way};

const OUT: &str = "external-service-unavailable";

fn opens_after_five(config: &mut Config) {
    config.neighbours.breaker_threshold = 5;
    config.neighbours.first_backoff = Duration::from_millis(1);
}

fn failing() -> Faults {
    Faults::always(Failure::status(500))
}

/// As the figures tell it.
#[derive(Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    HalfOpen,
    Open,
}

impl Desk {
    async fn circuit(&self, neighbour: Neighbour) -> Circuit {
        let figures = self.server.get("/metrics").await.expect(200);
        let series = format!("circuit_breaker_state{{service=\"{}\"}} ", neighbour.service());
        let state = figures.as_str().unwrap().lines().find_map(|line| line.strip_prefix(&series));
        match state.unwrap() {
            "0" => Circuit::Closed,
            "1" => Circuit::HalfOpen,
            "2" => Circuit::Open,
            other => panic!("{other}"),
        }
    }

    /// Rebalances until the circuit is open; five failed calls must do, of which a rebalance makes one or
    /// more.
    async fn open_circuit(&self, neighbour: Neighbour, way: Way) -> u64 {
        let mut rebalances = 0;
        while self.circuit(neighbour).await != Circuit::Open {
            assert!(rebalances < 5, "{neighbour:?} {way:?}");
            assert_out(&self.rebalance(way).await, way);
            rebalances += 1;
        }
        rebalances
    }
}

#[track_caller]
fn assert_out(came: &Came, way: Way) {
    let status = match way {
        Way::Single | Way::Model => (503, None),
        Way::Async => (202, Some("FAILED".to_owned())),
    };
    assert_eq!((&came.status, came.code.as_str()), (&status, OUT));
}

#[track_caller]
fn assert_through(came: &Came, way: Way) {
    let status = match way {
        Way::Single | Way::Model => (200, None),
        Way::Async => (202, Some("COMPLETED".to_owned())),
    };
    assert_eq!(came.status, status, "{came:?}");
}

#[tokio::test]
async fn after_five_failed_calls_nobody_calls_and_whoever_waits_learns_for_how_long() {
    for opens_by in Way::ALL {
        for neighbour in INDISPENSABLE {
            let desk = Desk::open(opens_after_five).await;
            let sandbox = &desk.server.sandbox;
            neighbour.inject(sandbox, failing());
            let rebalances = desk.open_circuit(neighbour, opens_by).await;
            let calls = neighbour.calls(sandbox);
            if (neighbour, opens_by) == (Accounting, Way::Single) {
                assert_eq!((rebalances, calls), (5, 5 * 3));
            }
            // The others of a rebalance are given up when one has failed.
            assert!((5 * 3 - 4..=5 * 2 * 3).contains(&calls), "{neighbour:?} {opens_by:?}: {calls}");

            neighbour.recover(sandbox);
            let kept = desk.kept().await;
            for way in [Way::Single, Way::Model] {
                let came = desk.rebalance(way).await;
                assert_out(&came, way);
                assert!((40..=60).contains(&came.retry_after.unwrap()), "{came:?}");
            }
            assert_eq!(desk.kept().await, kept);
            assert_out(&desk.rebalance(Way::Async).await, Way::Async);
            assert_eq!(neighbour.calls(sandbox), calls);
        }
    }
}

#[tokio::test]
async fn a_directory_that_keeps_failing_costs_names_and_then_no_calls() {
    let desk = Desk::open(opens_after_five).await;
    Portfolio.inject(&desk.server.sandbox, failing());
    while desk.circuit(Portfolio).await != Circuit::Open {
        assert!(Portfolio.calls(&desk.server.sandbox) < 5);
        assert_through(&desk.rebalance(Way::Single).await, Way::Single);
    }

    for way in Way::ALL {
        assert_through(&desk.rebalance(way).await, way);
    }
    assert_eq!(Portfolio.calls(&desk.server.sandbox), 5);
}

#[tokio::test]
async fn no_4xx_ever_opens_a_circuit() {
    let desk = Desk::open(opens_after_five).await;
    let sandbox = &desk.server.sandbox;
    for way in Way::ALL {
        for neighbour in INDISPENSABLE {
            for code in [400, 401, 404, 429] {
                neighbour.inject(sandbox, Faults::always(Failure::status(code)));
                for _ in 0..6 {
                    let calls = neighbour.calls(sandbox);
                    desk.rebalance(way).await;
                    assert!(calls < neighbour.calls(sandbox), "{code} of {neighbour:?}, {way:?}");
                }
                assert_eq!(desk.circuit(neighbour).await, Circuit::Closed, "{code} of {neighbour:?}");
            }
            neighbour.recover(sandbox);
            assert_through(&desk.rebalance(way).await, way);
        }
    }
}

#[tokio::test]
async fn after_the_pause_a_few_calls_find_out_whether_it_is_back_for_all_who_ask() {
    const PAUSE: Duration = Duration::from_secs(2);
    const PROBES: u32 = 2;
    let desk = Desk::open(|config| {
        opens_after_five(config);
        config.neighbours.breaker_pause = PAUSE;
        config.neighbours.breaker_probes = PROBES.try_into().unwrap();
    })
    .await;
    let sandbox = &desk.server.sandbox;
    let crowd = async || {
        let ways = Way::ALL.into_iter().cycle().take(12);
        join_all(ways.map(async |way| (way, desk.rebalance(way).await))).await
    };
    Accounting.inject(sandbox, Faults { latency: Duration::from_millis(50), ..failing() });
    desk.open_circuit(Accounting, Way::Single).await;

    // It is not.
    tokio::time::sleep(PAUSE).await;
    let calls = Accounting.calls(sandbox);
    for (way, came) in crowd().await {
        assert_out(&came, way);
    }
    let probes = Accounting.calls(sandbox) - calls;
    assert!((3..=u64::from(PROBES) * 3).contains(&probes), "{probes}");
    assert_eq!(desk.circuit(Accounting).await, Circuit::Open);
    assert_out(&desk.rebalance(Way::Single).await, Way::Single);
    assert_eq!(Accounting.calls(sandbox), calls + probes);

    // It is.
    Accounting.recover(sandbox);
    tokio::time::sleep(PAUSE).await;
    for (way, came) in crowd().await {
        assert_through(&came, way);
    }
    assert_eq!(desk.circuit(Accounting).await, Circuit::Closed);
}

#[tokio::test]
async fn a_storm_of_requests_at_a_dead_neighbour_reaches_it_a_few_times() {
    const N_REQUESTS: usize = 300;
    let desk = Desk::open(opens_after_five).await;
    Accounting.inject(&desk.server.sandbox, Faults::outage());

    let storm = (0..N_REQUESTS).map(|_| desk.rebalance(Way::Single));
    for came in join_all(storm).await {
        assert_out(&came, Way::Single);
        assert!(came.retry_after.is_some());
    }

    // 32 calls may be under way, and another takes the turn of each of the five that failed.
    let calls = Accounting.calls(&desk.server.sandbox);
    assert!((5 * 3..=(32 + 5) * 3).contains(&calls), "{calls}");
    desk.assert_nothing_kept().await;
}
