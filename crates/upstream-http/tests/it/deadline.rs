//! Calls that must end before a request's deadline.

use std::num::NonZeroUsize;
use std::time::Duration;

use application::order_generation::ports::{HoldingsSource, PriceSource};
use application::{deadline, upstream};
use domain::order_generation::holdings::Holdings;
use serde_json::json;
use tokio::time::Instant;
use upstream_http::Accounting;

use crate::neighbourhood::{
    Neighbourhood, SUMMARY, chain, given, given_first, n_calls, ok, portfolio, security, status, text,
};

const FUNDED: &str = r#"{"cashBalance":"5000","securities":[]}"#;
const LATE: Duration = Duration::from_mins(1);

async fn holdings_within(accounting: &Accounting, allowed: Duration) -> Result<Holdings, upstream::Error> {
    deadline::scope(Instant::now() + allowed, accounting.holdings(&portfolio())).await
}

#[track_caller]
fn assert_out_of_time(error: &upstream::Error, because: &str) {
    assert!(matches!(error, upstream::Error::OutOfTime { .. }), "{}", chain(error));
    assert!(error.to_string().contains("before the deadline"), "{error}");
    assert!(chain(error).contains(because), "{}", chain(error));
}

#[tokio::test]
async fn an_attempt_is_cut_to_what_is_left_and_not_repeated() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.timeout = LATE;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED).set_delay(LATE)).await;
    let accounting = neighbours.clients().accounting;

    let error = holdings_within(&accounting, Duration::from_millis(300)).await.unwrap_err();

    assert_out_of_time(&error, "ended attempt 1");
    assert_eq!(n_calls(&neighbours.accounting).await, 1);
}

#[tokio::test]
async fn a_shorter_timeout_stays_and_the_attempts_are_made_while_there_is_time() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.timeout = Duration::from_secs(2);
    given_first(&neighbours.accounting, SUMMARY, 1, text(200, FUNDED).set_delay(LATE)).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;
    let accounting = neighbours.clients().accounting;

    let holdings = holdings_within(&accounting, LATE).await;

    assert!(holdings.is_ok());
    assert_eq!(n_calls(&neighbours.accounting).await, 2);
}

#[tokio::test]
async fn a_pause_that_would_end_too_late_is_not_begun() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.first_backoff = LATE;
    given(&neighbours.accounting, SUMMARY, status(500)).await;
    let accounting = neighbours.clients().accounting;

    let by = Instant::now() + LATE / 2;
    let portfolio = portfolio();
    let error = deadline::scope(by, accounting.holdings(&portfolio)).await.unwrap_err();

    assert!(Instant::now() < by);
    assert_out_of_time(&error, "leaves no time to try again");
    assert!(chain(&error).contains("it answered 500"), "{}", chain(&error));
    assert_eq!(n_calls(&neighbours.accounting).await, 1);
}

#[tokio::test]
async fn without_time_no_attempt_is_made() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;
    let accounting = neighbours.clients().accounting;

    let error = holdings_within(&accounting, Duration::ZERO).await.unwrap_err();

    assert_out_of_time(&error, "passed before its turn");
    assert_eq!(n_calls(&neighbours.accounting).await, 0);
}

#[tokio::test]
async fn waiting_for_a_turn_ends_with_the_deadline() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.max_concurrent = NonZeroUsize::MIN;
    neighbours.config.calls.timeout = LATE;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED).set_delay(LATE)).await;
    let accounting = neighbours.clients().accounting;
    let portfolio = portfolio();

    let mut first = std::pin::pin!(accounting.holdings(&portfolio));
    let second = holdings_within(&accounting, Duration::from_millis(300));
    let error = tokio::select! {
        biased;
        _ = &mut first => panic!("the first has a minute to wait"),
        second = second => second.unwrap_err(),
    };

    assert_out_of_time(&error, "passed before its turn");
    assert_eq!(n_calls(&neighbours.accounting).await, 1);
}

#[tokio::test]
async fn however_many_attempts_there_are_the_deadline_ends_them() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.attempts = 1000.try_into().unwrap();
    neighbours.config.calls.first_backoff = Duration::from_millis(40);
    given(&neighbours.accounting, SUMMARY, status(500)).await;
    let accounting = neighbours.clients().accounting;

    let error = holdings_within(&accounting, Duration::from_secs(1)).await.unwrap_err();

    assert_out_of_time(&error, "the deadline of the request");
    // The pauses double, so that at most as many fit.
    assert!((2..=6).contains(&n_calls(&neighbours.accounting).await));
}

#[tokio::test]
async fn who_waits_for_anothers_answer_waits_no_longer_than_its_own_deadline() {
    let neighbours = Neighbourhood::start().await;
    let slow = ok(&json!({ "ticker": "AAPL" })).set_delay(Duration::from_secs(3));
    given(&neighbours.security, &format!("/api/v1/security/{}", security(1)), slow).await;
    neighbours.knows_price("AAPL", json!(5)).await;
    let market = neighbours.clients().market;
    let asked = [security(1)];

    let hurried = deadline::scope(Instant::now() + Duration::from_millis(500), market.prices(&asked));
    let (patient, hurried) = tokio::join!(market.prices(&asked), hurried);

    assert_out_of_time(&hurried.unwrap_err(), "passed before its turn");
    assert!(patient.unwrap().price(&security(1)).is_some());
    assert_eq!(n_calls(&neighbours.security).await, 1);
}

#[tokio::test]
async fn who_has_time_does_not_fail_by_anothers_deadline() {
    let neighbours = Neighbourhood::start().await;
    let slow = ok(&json!({ "ticker": "AAPL" })).set_delay(LATE);
    let at = format!("/api/v1/security/{}", security(1));
    given_first(&neighbours.security, &at, 1, slow).await;
    given(&neighbours.security, &at, ok(&json!({ "ticker": "AAPL" }))).await;
    neighbours.knows_price("AAPL", json!(5)).await;
    let market = neighbours.clients().market;
    let asked = [security(1)];

    let hurried = deadline::scope(Instant::now() + Duration::from_millis(500), market.prices(&asked));
    let (hurried, patient) = tokio::join!(hurried, market.prices(&asked));

    assert_out_of_time(&hurried.unwrap_err(), "ended attempt 1");
    assert!(patient.unwrap().price(&security(1)).is_some());
    assert_eq!(n_calls(&neighbours.security).await, 2);
}
