//! When a service says for how long it wants to be left alone.

use std::time::{Duration, Instant};

use application::deadline;
use application::order_generation::ports::HoldingsSource;
use application::upstream;
use rust_decimal_macros::dec;
use wiremock::ResponseTemplate;

use crate::neighbourhood::{
    Neighbourhood, SUMMARY, chain, given, given_first, n_calls, portfolio, status, text,
};

const FUNDED: &str = r#"{"cashBalance":"5000","securities":[]}"#;

fn busy(code: u16, retry_after: &str) -> ResponseTemplate {
    status(code).insert_header("retry-after", retry_after)
}

#[tokio::test]
async fn the_next_attempt_waits_for_as_long_as_was_asked() {
    let in_two_seconds =
        busy(503, "Sun, 29 Nov 2026 12:00:02 GMT").insert_header("date", "Sun, 29 Nov 2026 12:00:01 GMT");
    for answer in [busy(429, "1"), busy(503, "1"), in_two_seconds] {
        let neighbours = Neighbourhood::start().await;
        given_first(&neighbours.accounting, SUMMARY, 1, answer).await;
        given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

        let started = Instant::now();
        let holdings = neighbours.clients().accounting.holdings(&portfolio()).await;

        assert_eq!(holdings.unwrap().cash(), dec!(5000));
        assert!(Duration::from_secs(1) <= started.elapsed(), "{:?}", started.elapsed());
        assert_eq!(n_calls(&neighbours.accounting).await, 2);
    }
}

#[tokio::test]
async fn what_is_no_such_time_and_what_other_statuses_say_does_not_matter() {
    for answer in [busy(503, "soon"), busy(503, "-1"), busy(500, "3600"), busy(502, "3600")] {
        let neighbours = Neighbourhood::start().await;
        given_first(&neighbours.accounting, SUMMARY, 1, answer).await;
        given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

        let holdings = neighbours.clients().accounting.holdings(&portfolio()).await;

        assert_eq!(holdings.unwrap().cash(), dec!(5000));
    }
}

/// How long whoever called is told to wait.
fn known_pause(error: &upstream::Error) -> Option<Duration> {
    match error {
        upstream::Error::Unavailable { retry_after, .. } | upstream::Error::OutOfTime { retry_after, .. } => {
            *retry_after
        }
        upstream::Error::Malformed { .. } => None,
    }
}

#[tokio::test]
async fn a_pause_that_does_not_fit_before_the_deadline_is_not_begun() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, busy(503, "30")).await;
    let accounting = neighbours.clients().accounting;

    let by = tokio::time::Instant::now() + Duration::from_secs(20);
    let portfolio = portfolio();
    let error = deadline::scope(by, accounting.holdings(&portfolio)).await.unwrap_err();

    assert!(tokio::time::Instant::now() < by);
    assert!(matches!(error, upstream::Error::OutOfTime { .. }), "{}", chain(&error));
    assert!(chain(&error).contains("leaves no time to try again after 30.0"), "{}", chain(&error));
    assert!(chain(&error).contains("503"), "{}", chain(&error));
    assert_eq!(known_pause(&error), Some(Duration::from_secs(30)));
    assert_eq!(n_calls(&neighbours.accounting).await, 1);
}

#[tokio::test]
async fn without_a_deadline_nobody_waits_for_more_than_a_minute() {
    for wait in ["61", "99999999999999999999999"] {
        let neighbours = Neighbourhood::start().await;
        given(&neighbours.accounting, SUMMARY, busy(429, wait)).await;

        let error = neighbours.clients().accounting.holdings(&portfolio()).await.unwrap_err();

        assert!(chain(&error).contains("longer than is waited for"), "{}", chain(&error));
        assert!(known_pause(&error).is_some());
        assert_eq!(n_calls(&neighbours.accounting).await, 1);
    }
}

#[tokio::test]
async fn the_last_attempts_pause_is_passed_on_to_whoever_called() {
    let neighbours = Neighbourhood::start().await;
    given_first(&neighbours.accounting, SUMMARY, 2, status(503)).await;
    given(&neighbours.accounting, SUMMARY, busy(503, "17")).await;

    let error = neighbours.clients().accounting.holdings(&portfolio()).await.unwrap_err();

    assert_eq!(known_pause(&error), Some(Duration::from_secs(17)));
}
