//! Neighbours that fail so often that they are left alone.

use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use application::health::BreakerState::{self, Closed, HalfOpen, Open};
use application::order_generation::ports::{HoldingsSource, PortfolioDirectory};
use application::{deadline, upstream};
use domain::identifier::PortfolioId;
use domain::order_generation::holdings::Holdings;
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;
use upstream_http::{Accounting, Neighbours, Observer};

use crate::neighbourhood::{
    Neighbourhood, SUMMARY, chain, given, given_first, n_calls, portfolio, status, text,
};
use crate::outlaw::closed_port;

const FUNDED: &str = r#"{"cashBalance":"5000","securities":[]}"#;
const LATE: Duration = Duration::from_mins(1);

/// One attempt a call, so that calls can be counted.
async fn one_attempt_each() -> Neighbourhood {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.attempts = NonZeroU32::MIN;
    neighbours
}

/// Where a breaker that opened is due at once.
async fn due_at_once() -> Neighbourhood {
    let mut neighbours = one_attempt_each().await;
    neighbours.config.calls.breaker.pause = Duration::ZERO;
    neighbours
}

async fn ask(accounting: &Accounting) -> Result<Holdings, upstream::Error> {
    accounting.holdings(&portfolio()).await
}

fn accounting_of(clients: &Neighbours) -> BreakerState {
    let breakers = clients.breakers();
    breakers.iter().find(|(service, _)| *service == "portfolio-accounting-service").unwrap().1
}

fn is_rejected(answer: &Result<Holdings, upstream::Error>) -> bool {
    answer.as_ref().is_err_and(|error| chain(error).contains("the circuit has been open for"))
}

#[tokio::test]
async fn after_five_failed_calls_no_call_reaches_the_neighbour() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, status(503)).await;
    let clients = neighbours.clients();

    for n_failed in 1..=5 {
        assert_eq!(accounting_of(&clients), Closed);
        assert!(!is_rejected(&ask(&clients.accounting).await));
        assert_eq!(n_calls(&neighbours.accounting).await, 3 * n_failed);
    }
    assert_eq!(accounting_of(&clients), Open);
    for _ in 0..100 {
        let error = ask(&clients.accounting).await.unwrap_err();
        assert!(chain(&error).contains("next try in"), "{}", chain(&error));
        let upstream::Error::Unavailable { retry_after: Some(pause), .. } = error else {
            panic!("{}", chain(&error));
        };
        assert!(Duration::from_secs(50) < pause && pause <= Duration::from_mins(1), "{pause:?}");
    }

    assert_eq!(n_calls(&neighbours.accounting).await, 15);
}

#[tokio::test]
async fn every_way_of_failing_counts() {
    let mut neighbours = one_attempt_each().await;
    neighbours.config.calls.timeout = Duration::from_millis(200);
    neighbours.config.calls.breaker.threshold = NonZeroU32::new(1);
    for answer in [status(500), status(502), text(200, FUNDED).set_delay(LATE)] {
        neighbours.accounting.reset().await;
        given(&neighbours.accounting, SUMMARY, answer).await;
        let clients = neighbours.clients();
        ask(&clients.accounting).await.unwrap_err();
        assert_eq!(accounting_of(&clients), Open);
    }
    neighbours.config.accounting.base_url = closed_port();
    let clients = neighbours.clients();
    ask(&clients.accounting).await.unwrap_err();
    assert_eq!(accounting_of(&clients), Open);
}

#[tokio::test]
async fn neither_a_refusal_nor_nonsense_nor_ignorance_opens_it() {
    let busy = || status(429).insert_header("retry-after", "3600");
    for answer in [400, 401, 403, 404, 409, 422, 429].map(status).into_iter().chain([
        busy(),
        text(200, "<html>"),
        text(200, "{}"),
        text(500, "no balances found"),
    ]) {
        let neighbours = one_attempt_each().await;
        given(&neighbours.accounting, SUMMARY, answer).await;
        let clients = neighbours.clients();

        for _ in 0..20 {
            assert!(!is_rejected(&ask(&clients.accounting).await));
        }

        assert_eq!(accounting_of(&clients), Closed);
        assert_eq!(n_calls(&neighbours.accounting).await, 20);
    }
}

#[tokio::test]
async fn failures_count_only_in_a_row_and_nonsense_between_them_does_not_hide_them() {
    let funded = || text(200, FUNDED);
    for (between, expect) in
        [(funded(), Closed), (status(404), Closed), (text(200, "{"), Open), (status(401), Open)]
    {
        let neighbours = one_attempt_each().await;
        let clients = neighbours.clients();
        for (times, answer) in [(4, status(500)), (1, between), (1, status(500))] {
            given_first(&neighbours.accounting, SUMMARY, times, answer).await;
            for _ in 0..times {
                let _ = ask(&clients.accounting).await;
            }
        }
        assert_eq!(accounting_of(&clients), expect);
    }
}

async fn open(neighbours: &Neighbourhood, clients: &Neighbours) {
    given_first(&neighbours.accounting, SUMMARY, 5, status(500)).await;
    for _ in 0..5 {
        ask(&clients.accounting).await.unwrap_err();
    }
    assert_eq!(accounting_of(clients), Open);
}

/// Opened, and its pause of a second over.
async fn due(probes: u32) -> (Neighbourhood, Neighbours) {
    let mut neighbours = one_attempt_each().await;
    neighbours.config.calls.breaker.pause = Duration::from_secs(1);
    neighbours.config.calls.breaker.probes = NonZeroU32::new(probes).unwrap();
    let clients = neighbours.clients();
    open(&neighbours, &clients).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    (neighbours, clients)
}

#[tokio::test]
async fn half_open_it_lets_as_many_of_fifty_through_as_configured_until_one_succeeds() {
    for probes in [1, 3] {
        let (neighbours, clients) = due(probes).await;
        let slow = text(200, FUNDED).set_delay(Duration::from_secs(2));
        given(&neighbours.accounting, SUMMARY, slow).await;

        let mut fifty = pin!(join_all((0..50).map(|_| ask(&clients.accounting))));
        assert!(tokio::time::timeout(Duration::from_millis(700), &mut fifty).await.is_err());
        assert_eq!(accounting_of(&clients), HalfOpen);
        assert_eq!(n_calls(&neighbours.accounting).await, 5 + probes as usize);

        assert!(fifty.await.iter().all(Result::is_ok));
        assert_eq!(accounting_of(&clients), Closed);
        assert_eq!(n_calls(&neighbours.accounting).await, 5 + 50);
    }
}

#[tokio::test]
async fn the_others_of_fifty_fail_with_the_probe_and_are_never_made() {
    for probes in [1, 3] {
        let (neighbours, clients) = due(probes).await;
        given(&neighbours.accounting, SUMMARY, status(500).set_delay(Duration::from_millis(500))).await;

        let answers = join_all((0..50).map(|_| ask(&clients.accounting))).await;

        assert_eq!(answers.iter().filter(|it| is_rejected(it)).count(), 50 - probes as usize);
        assert_eq!(n_calls(&neighbours.accounting).await, 5 + probes as usize);
        assert_eq!(accounting_of(&clients), Open);
    }
}

#[tokio::test]
async fn who_waits_for_a_probe_waits_no_longer_than_its_own_deadline() {
    let (neighbours, clients) = due(1).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED).set_delay(Duration::from_secs(2))).await;

    let hurried = deadline::scope(Instant::now() + Duration::from_millis(500), ask(&clients.accounting));
    let (probe, hurried) = tokio::join!(ask(&clients.accounting), hurried);

    assert!(probe.is_ok());
    assert!(matches!(hurried, Err(upstream::Error::OutOfTime { .. })));
    assert_eq!(n_calls(&neighbours.accounting).await, 5 + 1);
}

/// As one request makes them: the first failure drops the others.
#[tokio::test]
async fn several_calls_of_one_request_all_succeed_once_the_neighbour_is_back() {
    let neighbours = due_at_once().await;
    let clients = neighbours.clients();
    open(&neighbours, &clients).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

    let answers = try_join_all((0..10).map(|_| ask(&clients.accounting))).await;

    assert_eq!(answers.unwrap().len(), 10);
    assert_eq!(accounting_of(&clients), Closed);
}

#[tokio::test]
async fn the_place_of_a_probe_that_goes_away_is_taken_by_one_who_waits() {
    let neighbours = due_at_once().await;
    let clients = neighbours.clients();
    open(&neighbours, &clients).await;
    given_first(&neighbours.accounting, SUMMARY, 1, text(200, FUNDED).set_delay(LATE)).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

    let probe = tokio::time::timeout(Duration::from_millis(500), ask(&clients.accounting));
    let (probe, waiting) = tokio::join!(probe, ask(&clients.accounting));

    assert!(probe.is_err());
    assert!(waiting.is_ok());
}

#[tokio::test]
async fn a_probe_that_fails_opens_it_again() {
    let neighbours = due_at_once().await;
    let clients = neighbours.clients();
    open(&neighbours, &clients).await;
    given(&neighbours.accounting, SUMMARY, status(500)).await;

    for n_probes in 1..=3 {
        ask(&clients.accounting).await.unwrap_err();
        assert_eq!(accounting_of(&clients), Open);
        assert_eq!(n_calls(&neighbours.accounting).await, 5 + n_probes);
    }
}

#[tokio::test]
async fn a_probe_that_nobody_waits_for_frees_its_place() {
    let neighbours = due_at_once().await;
    let clients = neighbours.clients();
    open(&neighbours, &clients).await;
    given_first(&neighbours.accounting, SUMMARY, 1, text(200, FUNDED).set_delay(LATE)).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

    let dropped = tokio::time::timeout(Duration::from_millis(300), ask(&clients.accounting)).await;
    assert!(dropped.is_err());
    assert_eq!(accounting_of(&clients), HalfOpen);

    assert!(ask(&clients.accounting).await.is_ok());
    assert_eq!(accounting_of(&clients), Closed);
}

/// What the breaker makes of a call that its deadline cuts, or whose caller goes away, after `patience`.
async fn after_giving_up(slow_after: Duration, patience: Duration) -> [BreakerState; 2] {
    let mut states = [Closed; 2];
    for (state, by_deadline) in states.iter_mut().zip([true, false]) {
        let mut neighbours = Neighbourhood::start().await;
        neighbours.config.calls.timeout = LATE;
        neighbours.config.calls.breaker.slow_after = slow_after;
        neighbours.config.calls.breaker.threshold = NonZeroU32::new(1);
        given(&neighbours.accounting, SUMMARY, text(200, FUNDED).set_delay(LATE)).await;
        let clients = neighbours.clients();
        if by_deadline {
            let asked = deadline::scope(Instant::now() + patience, ask(&clients.accounting));
            assert!(matches!(asked.await, Err(upstream::Error::OutOfTime { .. })));
        } else {
            assert!(tokio::time::timeout(patience, ask(&clients.accounting)).await.is_err());
        }
        *state = accounting_of(&clients);
    }
    states
}

#[tokio::test]
async fn a_call_given_up_early_does_not_count_and_one_that_was_slow_by_then_does() {
    let patience = Duration::from_millis(300);
    assert_eq!(after_giving_up(LATE, patience).await, [Closed; 2]);
    assert_eq!(after_giving_up(patience / 2, patience).await, [Open; 2]);
}

#[tokio::test]
async fn a_service_that_asks_for_more_time_than_there_is_has_failed() {
    for (wait, expect) in [(Some("3600"), Open), (None, Closed)] {
        let mut neighbours = Neighbourhood::start().await;
        neighbours.config.calls.first_backoff = LATE;
        let answer = wait.map_or(status(503), |wait| status(503).insert_header("retry-after", wait));
        given(&neighbours.accounting, SUMMARY, answer).await;
        let clients = neighbours.clients();
        for _ in 0..5 {
            let by = Instant::now() + Duration::from_secs(9);
            deadline::scope(by, ask(&clients.accounting)).await.unwrap_err();
        }
        assert_eq!(accounting_of(&clients), expect, "{wait:?}");
    }
}

#[tokio::test]
async fn each_neighbour_has_a_breaker_of_its_own_also_the_one_that_only_names() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;
    given(&neighbours.portfolio, "/api/v1/portfolio/683b6d88a29ee10e8b499643", status(500)).await;
    let clients = neighbours.clients();

    for _ in 0..10 {
        clients.directory.name(&portfolio()).await.unwrap_err();
    }

    assert_eq!(n_calls(&neighbours.portfolio).await, 5);
    let expect = ["portfolio-accounting-service", "pricing-service", "portfolio-service", "security-service"]
        .map(|service| (service, if service == "portfolio-service" { Open } else { Closed }));
    assert_eq!(clients.breakers(), expect);
    assert!(ask(&clients.accounting).await.is_ok());
}

#[tokio::test]
async fn a_crowd_at_a_failing_neighbour_makes_no_more_attempts_than_calls_may_be_under_way() {
    const MAX_CONCURRENT: usize = 8;
    for answer in [status(503), status(503).set_delay(Duration::from_millis(50))] {
        let mut neighbours = Neighbourhood::start().await;
        neighbours.config.calls.max_concurrent = NonZeroUsize::new(MAX_CONCURRENT).unwrap();
        neighbours.config.calls.first_backoff = Duration::from_millis(20);
        wiremock::Mock::given(wiremock::matchers::any())
            .respond_with(answer)
            .mount(&neighbours.accounting)
            .await;
        let accounting = neighbours.clients().accounting;
        let portfolios: Vec<PortfolioId> = (0..1000).map(|idx| format!("p{idx}").parse().unwrap()).collect();

        let answers = join_all(portfolios.iter().map(|portfolio| accounting.holdings(portfolio))).await;

        assert!(answers.iter().all(Result::is_err));
        assert!(990 < answers.iter().filter(|answer| is_rejected(answer)).count());
        let n_calls = n_calls(&neighbours.accounting).await;
        assert!((15..=3 * (MAX_CONCURRENT + 5)).contains(&n_calls), "{n_calls}");
    }
}

#[tokio::test]
async fn those_who_wait_are_turned_away_when_it_opens() {
    let mut neighbours = one_attempt_each().await;
    neighbours.config.calls.max_concurrent = NonZeroUsize::new(2).unwrap();
    neighbours.config.calls.breaker.threshold = NonZeroU32::new(1);
    let other: PortfolioId = "other".parse().unwrap();
    given(&neighbours.accounting, "/api/v1/portfolios/other/summary", text(200, FUNDED).set_delay(LATE))
        .await;
    given(&neighbours.accounting, SUMMARY, status(500).set_delay(Duration::from_millis(300))).await;
    let accounting = neighbours.clients().accounting;
    neighbours.config.calls.timeout = LATE;

    let mut hanging = pin!(accounting.holdings(&other));
    let failing = ask(&accounting);
    let waiting = join_all((0..10).map(|_| ask(&accounting)));
    let others = futures_util::future::join(failing, waiting);
    let (failed, waited) = tokio::select! {
        biased;
        _ = &mut hanging => panic!("it hangs for a minute"),
        others = others => others,
    };

    assert!(!is_rejected(&failed));
    assert!(waited.iter().all(is_rejected));
    assert_eq!(n_calls(&neighbours.accounting).await, 2);
}

#[derive(Default)]
struct Changes(Mutex<Vec<(&'static str, BreakerState)>>);

impl Observer for Changes {
    fn breaker(&self, service: &'static str, state: BreakerState) {
        self.0.lock().unwrap().push((service, state));
    }
}

#[tokio::test]
async fn the_observer_hears_of_every_change_once() {
    let neighbours = due_at_once().await;
    let changes = Arc::new(Changes::default());
    let clients = neighbours.clients_seen_by(&(changes.clone() as _));
    open(&neighbours, &clients).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;
    for _ in 0..3 {
        ask(&clients.accounting).await.unwrap();
    }

    let told = changes.0.lock().unwrap();
    assert_eq!(*told, [Open, HalfOpen, Closed].map(|state| ("portfolio-accounting-service", state)));
}
