//! What an observer is told of calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use application::deadline;
use application::order_generation::ports::{HoldingsSource, PortfolioDirectory, PriceSource};
use serde_json::json;
use tokio::time::Instant;
use tracing::Span;
use tracing_subscriber::Registry;
use upstream_http::{Attempted, Ending, HeaderMap, Observer};
use wiremock::ResponseTemplate;

use crate::neighbourhood::{Neighbourhood, SUMMARY, given, given_first, portfolio, security, status, text};
use crate::outlaw::closed_port;

const FUNDED: &str = r#"{"cashBalance":"5000","securities":[]}"#;
const LATE: Duration = Duration::from_mins(1);

/// Writes down what it is told, and the names of the spans it was told in.
#[derive(Default)]
struct Notebook {
    attempts: Mutex<Vec<Attempted>>,
    spans: Mutex<Vec<Option<&'static str>>>,
}

impl Notebook {
    fn note_span(&self) {
        let span = Span::current().metadata().map(tracing::Metadata::name);
        self.spans.lock().unwrap().push(span);
    }

    fn endings(&self) -> Vec<Ending> {
        self.attempts.lock().unwrap().iter().map(|attempt| attempt.ending).collect()
    }
}

impl Observer for Notebook {
    fn outgoing(&self, headers: &mut HeaderMap) {
        self.note_span();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", parent.parse().unwrap());
    }

    fn attempt(&self, attempt: &Attempted) {
        self.note_span();
        self.attempts.lock().unwrap().push(*attempt);
    }
}

async fn endings(adjust: impl FnOnce(&mut Neighbourhood), answers: [ResponseTemplate; 2]) -> Vec<Ending> {
    let mut neighbours = Neighbourhood::start().await;
    let [first, then] = answers;
    given_first(&neighbours.accounting, SUMMARY, 1, first).await;
    given(&neighbours.accounting, SUMMARY, then).await;
    adjust(&mut neighbours);
    let notebook = Arc::new(Notebook::default());
    let clients = neighbours.clients_seen_by(&(notebook.clone() as _));
    let _ = clients.accounting.holdings(&portfolio()).await;
    notebook.endings()
}

#[tokio::test]
async fn every_attempt_is_told_with_how_it_ended() {
    let funded = || text(200, FUNDED);

    let answered = endings(|_| {}, [status(503), funded()]).await;
    assert_eq!(answered, [Ending::Answered(503), Ending::Answered(200)]);

    let refused = endings(|_| {}, [status(404), funded()]).await;
    assert_eq!(refused, [Ending::Answered(404)]);

    let timeout = |it: &mut Neighbourhood| it.config.calls.timeout = Duration::from_secs(2);
    let timed_out = endings(timeout, [funded().set_delay(LATE), funded()]).await;
    assert_eq!(timed_out, [Ending::TimedOut, Ending::Answered(200)]);

    let gone = |it: &mut Neighbourhood| it.config.accounting.base_url = closed_port();
    let not_connected = endings(gone, [funded(), funded()]).await;
    assert_eq!(not_connected, [Ending::NotConnected; 3]);

    let in_time = endings(|_| {}, [funded().set_delay(LATE), funded()]);
    let by = Instant::now() + Duration::from_millis(300);
    assert_eq!(deadline::scope(by, in_time).await, [Ending::OutOfTime]);
}

#[tokio::test]
async fn an_attempt_that_nobody_waits_for_any_more_is_told_too() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED).set_delay(LATE)).await;
    let notebook = Arc::new(Notebook::default());
    let accounting = neighbours.clients_seen_by(&(notebook.clone() as _)).accounting;

    let portfolio = portfolio();
    let dropped = tokio::time::timeout(Duration::from_millis(300), accounting.holdings(&portfolio)).await;

    assert!(dropped.is_err());
    assert_eq!(notebook.endings(), [Ending::Abandoned]);
}

#[tokio::test]
async fn routes_are_told_and_never_what_they_were_filled_with() {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours.knows_price("AAPL", json!(5)).await;
    let notebook = Arc::new(Notebook::default());
    let clients = neighbours.clients_seen_by(&(notebook.clone() as _));

    clients.market.prices(&[security(1)]).await.unwrap();
    clients.directory.name(&portfolio()).await.unwrap();
    clients.accounting.holdings(&portfolio()).await.unwrap();

    let told: Vec<_> = notebook.attempts.lock().unwrap().iter().map(|it| (it.service, it.endpoint)).collect();
    assert_eq!(
        told,
        [
            ("security-service", "/api/v1/security/{security_id}"),
            ("pricing-service", "/api/v1/price/{ticker}"),
            ("portfolio-service", "/api/v1/portfolio/{portfolio_id}"),
            ("portfolio-accounting-service", "/api/v1/portfolios/{portfolio_id}/summary"),
        ]
    );
}

#[tokio::test]
async fn what_the_observer_adds_goes_with_every_attempt_from_within_its_span() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, status(503)).await;
    let notebook = Arc::new(Notebook::default());
    let accounting = neighbours.clients_seen_by(&(notebook.clone() as _)).accounting;

    let recording = tracing::subscriber::set_default(Registry::default());
    accounting.holdings(&portfolio()).await.unwrap_err();
    drop(recording);

    let requests = neighbours.accounting.received_requests().await.unwrap();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.headers.contains_key("traceparent")));
    assert_eq!(*notebook.spans.lock().unwrap(), [Some("attempt"); 6]);
}
