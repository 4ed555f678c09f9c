//! What holds for a call to any neighbour, shown with accounting's.

use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use application::correlation::{self, CorrelationId};
use application::order_generation::ports::{HoldingsSource, PriceSource};
use domain::identifier::PortfolioId;
use rust_decimal_macros::dec;
use serde_json::json;
use upstream_http::{Error, Neighbours};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer};

use crate::neighbourhood::{
    Neighbourhood, SUMMARY, chain, endpoint, given, given_first, is_malformed, is_unavailable, n_calls, ok,
    portfolio, security, status, text,
};
use crate::outlaw::{Outlaw, answer, closed_port, read_request};

const FUNDED: &str = r#"{"cashBalance":"5000","securities":[]}"#;

#[tokio::test]
async fn a_transient_status_is_tried_again() {
    for code in [429, 500, 502, 503, 504] {
        let neighbours = Neighbourhood::start().await;
        given_first(&neighbours.accounting, SUMMARY, 1, status(code)).await;
        given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

        let holdings = neighbours.clients().accounting.holdings(&portfolio()).await;

        assert_eq!(holdings.unwrap().cash(), dec!(5000), "{code}");
        assert_eq!(n_calls(&neighbours.accounting).await, 2, "{code}");
    }
}

#[tokio::test]
async fn a_status_that_lasts_is_unavailable_after_three_attempts() {
    for code in [429, 503] {
        let neighbours = Neighbourhood::start().await;
        given(&neighbours.accounting, SUMMARY, text(code, "do not tell")).await;

        let accounting = neighbours.clients().accounting;
        let error = accounting.holdings(&portfolio()).await.unwrap_err();

        assert!(is_unavailable(&error));
        assert!(chain(&error).contains(&code.to_string()), "{}", chain(&error));
        assert!(!chain(&error).contains("do not tell"));
        assert_eq!(n_calls(&neighbours.accounting).await, 3);
    }
}

#[tokio::test]
async fn a_refusal_is_malformed_and_not_tried_again() {
    for code in [304, 400, 401, 403, 405, 408, 409, 422] {
        let neighbours = Neighbourhood::start().await;
        given(&neighbours.accounting, SUMMARY, status(code)).await;

        let accounting = neighbours.clients().accounting;
        let error = accounting.holdings(&portfolio()).await.unwrap_err();

        assert!(is_malformed(&error), "{code}");
        assert_eq!(n_calls(&neighbours.accounting).await, 1, "{code}");
    }
}

#[tokio::test]
async fn the_number_of_attempts_is_a_setting() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.attempts = NonZeroU32::MIN;
    given(&neighbours.accounting, SUMMARY, status(503)).await;

    let accounting = neighbours.clients().accounting;
    accounting.holdings(&portfolio()).await.unwrap_err();

    assert_eq!(n_calls(&neighbours.accounting).await, 1);
}

#[tokio::test]
async fn there_is_a_pause_before_each_further_attempt() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.first_backoff = Duration::from_millis(200);
    given(&neighbours.accounting, SUMMARY, status(503)).await;

    let started = Instant::now();
    let accounting = neighbours.clients().accounting;
    accounting.holdings(&portfolio()).await.unwrap_err();

    let pauses = Duration::from_millis(2 * 200 / 2);
    assert!(pauses <= started.elapsed(), "{:?}", started.elapsed());
}

#[tokio::test]
async fn timeouts_are_tried_again() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.timeout = Duration::from_millis(500);
    let slow = text(200, FUNDED).set_delay(Duration::from_secs(2));
    given_first(&neighbours.accounting, SUMMARY, 2, slow).await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

    let holdings = neighbours.clients().accounting.holdings(&portfolio()).await;

    assert_eq!(holdings.unwrap().cash(), dec!(5000));
    assert_eq!(n_calls(&neighbours.accounting).await, 3);
}

#[tokio::test]
async fn three_timeouts_are_unavailable() {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.calls.timeout = Duration::from_millis(50);
    let slow = text(200, FUNDED).set_delay(Duration::from_secs(2));
    given(&neighbours.accounting, SUMMARY, slow).await;

    let accounting = neighbours.clients().accounting;
    let error = accounting.holdings(&portfolio()).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert!(chain(&error).contains("timed out"), "{}", chain(&error));
}

async fn against(
    url: &str,
    timeout: Duration,
) -> Result<domain::order_generation::holdings::Holdings, application::upstream::Error> {
    let mut neighbours = Neighbourhood::start().await;
    neighbours.config.accounting = endpoint(url, "/health");
    neighbours.config.calls.timeout = timeout;
    neighbours.clients().accounting.holdings(&portfolio()).await
}

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_refused_connection_is_unavailable() {
    let error = against(&closed_port(), PATIENCE).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert!(chain(&error).contains("after 3 attempts"), "{}", chain(&error));
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let outlaw = Outlaw::start(|n_before, mut stream| {
        match n_before {
            // Closing with the request unread makes it a reset.
            0 => drop(stream.peek(&mut [0])),
            1 => read_request(&mut stream),
            _ => {
                read_request(&mut stream);
                answer(&mut stream, FUNDED.len(), FUNDED);
            }
        }
    });

    let holdings = against(&outlaw.url, PATIENCE).await;

    assert_eq!(holdings.unwrap().cash(), dec!(5000));
    assert_eq!(outlaw.n_connections(), 3);
}

#[tokio::test]
async fn a_connection_that_always_breaks_is_unavailable() {
    let outlaw = Outlaw::start(|_, stream| drop(stream.peek(&mut [0])));
    let error = against(&outlaw.url, PATIENCE).await.unwrap_err();

    assert!(is_unavailable(&error), "{}", chain(&error));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_tried_again() {
    let outlaw = Outlaw::start(|n_before, mut stream| {
        read_request(&mut stream);
        let part = if n_before == 0 { &FUNDED[..20] } else { FUNDED };
        answer(&mut stream, FUNDED.len(), part);
    });

    let holdings = against(&outlaw.url, PATIENCE).await;

    assert_eq!(holdings.unwrap().cash(), dec!(5000));
    assert_eq!(outlaw.n_connections(), 2);
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_unavailable() {
    let outlaw = Outlaw::start(|_, mut stream| {
        read_request(&mut stream);
        answer(&mut stream, FUNDED.len() + 1, FUNDED);
    });

    let error = against(&outlaw.url, PATIENCE).await.unwrap_err();

    assert!(is_unavailable(&error), "{}", chain(&error));
    assert_eq!(outlaw.n_connections(), 3);
}

#[tokio::test]
async fn a_body_that_never_ends_is_unavailable() {
    let held = Mutex::new(Vec::new());
    let outlaw = Outlaw::start(move |_, mut stream| {
        read_request(&mut stream);
        answer(&mut stream, FUNDED.len(), &FUNDED[..20]);
        held.lock().unwrap().push(stream);
    });

    let error = against(&outlaw.url, Duration::from_millis(500)).await.unwrap_err();

    assert!(is_unavailable(&error));
    assert!(chain(&error).contains("timed out"), "{}", chain(&error));
    assert_eq!(outlaw.n_connections(), 3);
}

#[tokio::test]
async fn what_is_no_http_is_unavailable() {
    let outlaw = Outlaw::start(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"220 mail.example.org ESMTP\r\n\r\n").unwrap();
    });

    let error = against(&outlaw.url, PATIENCE).await.unwrap_err();

    assert!(is_unavailable(&error), "{}", chain(&error));
}

#[tokio::test]
async fn a_dropped_call_hangs_up() {
    let (hung_up, heard) = mpsc::channel();
    let outlaw = Outlaw::start(move |_, mut stream| {
        read_request(&mut stream);
        hung_up.send(stream.read(&mut [0]).unwrap()).unwrap();
    });

    let dropped = tokio::time::timeout(Duration::from_secs(1), against(&outlaw.url, PATIENCE)).await;

    assert!(dropped.is_err());
    let heard = tokio::task::spawn_blocking(move || heard.recv_timeout(PATIENCE)).await;
    assert_eq!(heard.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn json_with_a_wrong_content_type_is_read_and_html_with_the_right_one_is_not() {
    let neighbours = Neighbourhood::start().await;
    let json = text(200, FUNDED).insert_header("content-type", "text/html");
    given_first(&neighbours.accounting, SUMMARY, 1, json).await;
    let html = text(200, "<html>").insert_header("content-type", "application/json");
    given(&neighbours.accounting, SUMMARY, html).await;
    let accounting = neighbours.clients().accounting;

    assert!(accounting.holdings(&portfolio()).await.is_ok());
    let error = accounting.holdings(&portfolio()).await.unwrap_err();

    assert!(is_malformed(&error));
    assert_eq!(n_calls(&neighbours.accounting).await, 2);
}

#[tokio::test]
async fn a_body_of_eight_mebibytes_is_read_and_one_byte_more_is_refused() {
    let limit = 8 * 1024 * 1024;
    let body = format!("{FUNDED}{}", " ".repeat(limit - FUNDED.len()));
    let neighbours = Neighbourhood::start().await;
    given_first(&neighbours.accounting, SUMMARY, 1, text(200, &body)).await;
    given(&neighbours.accounting, SUMMARY, text(200, &format!("{body} "))).await;
    let accounting = neighbours.clients().accounting;

    assert!(accounting.holdings(&portfolio()).await.is_ok());
    let error = accounting.holdings(&portfolio()).await.unwrap_err();

    assert!(is_malformed(&error));
    assert_eq!(n_calls(&neighbours.accounting).await, 2);
}

#[tokio::test]
async fn an_endless_body_is_refused() {
    let outlaw = Outlaw::start(|_, mut stream| {
        read_request(&mut stream);
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        stream.write_all(head).unwrap();
        while stream.write_all(&[b' '; 8192]).is_ok() {}
    });

    let error = against(&outlaw.url, PATIENCE).await.unwrap_err();

    assert!(is_malformed(&error), "{}", chain(&error));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = MockServer::start().await;
    Mock::given(any()).respond_with(text(200, FUNDED)).mount(&elsewhere).await;
    for code in [301, 302, 307, 308] {
        let neighbours = Neighbourhood::start().await;
        let redirect = status(code).insert_header("location", elsewhere.uri());
        given(&neighbours.accounting, SUMMARY, redirect).await;

        let accounting = neighbours.clients().accounting;
        let error = accounting.holdings(&portfolio()).await.unwrap_err();

        assert!(is_malformed(&error), "{code}");
    }
    assert_eq!(n_calls(&elsewhere).await, 0);
}

#[tokio::test]
async fn every_attempt_says_who_calls_and_for_which_request() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, status(503)).await;
    let accounting = neighbours.clients().accounting;

    let id = CorrelationId::new("order-42").unwrap();
    let portfolio = portfolio();
    let call = correlation::scope(id, accounting.holdings(&portfolio));
    call.await.unwrap_err();

    let requests = neighbours.accounting.received_requests().await.unwrap();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(request.headers["x-correlation-id"], "order-42");
        assert_eq!(request.headers["accept"], "application/json");
        assert_eq!(request.headers["user-agent"], "globeco-order-generation");
    }
}

#[tokio::test]
async fn the_correlation_id_reaches_both_services_that_price() {
    let neighbours = Neighbourhood::start().await;
    neighbours.knows_ticker(security(1), "AAPL").await;
    neighbours.knows_price("AAPL", json!(5)).await;
    let market = neighbours.clients().market;

    let id = CorrelationId::new("order-42").unwrap();
    correlation::scope(id, market.prices(&[security(1)])).await.unwrap();

    for server in [&neighbours.security, &neighbours.pricing] {
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests[0].headers["x-correlation-id"], "order-42");
    }
}

#[tokio::test]
async fn a_call_for_no_request_carries_no_correlation_id() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, text(200, FUNDED)).await;

    let accounting = neighbours.clients().accounting;
    accounting.holdings(&portfolio()).await.unwrap();

    let requests = neighbours.accounting.received_requests().await.unwrap();
    assert!(!requests[0].headers.contains_key("x-correlation-id"));
}

#[tokio::test]
async fn an_id_cannot_change_the_path() {
    for (id, encoded) in [
        ("a/b", "a%2Fb"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("%2e%2e", "%252e%252e"),
        ("a?b=c#d", "a%3Fb=c%23d"),
        (r"a\b", "a%5Cb"),
        ("...", "..."),
        ("ü", "%C3%BC"),
    ] {
        let neighbours = Neighbourhood::start().await;
        Mock::given(any()).respond_with(text(200, FUNDED)).mount(&neighbours.accounting).await;

        let portfolio: PortfolioId = id.parse().unwrap();
        let accounting = neighbours.clients().accounting;
        accounting.holdings(&portfolio).await.unwrap();

        let requests = neighbours.accounting.received_requests().await.unwrap();
        let path = format!("/api/v1/portfolios/{encoded}/summary");
        assert_eq!(requests[0].url.path(), path, "{id}");
        assert_eq!(requests[0].url.query(), None, "{id}");
    }
}

#[tokio::test]
async fn an_id_that_no_path_can_spell_is_unknown() {
    let neighbours = Neighbourhood::start().await;
    for id in [".", ".."] {
        let portfolio: PortfolioId = id.parse().unwrap();
        let accounting = neighbours.clients().accounting;
        assert!(accounting.holdings(&portfolio).await.unwrap().is_empty());
    }
    assert_eq!(n_calls(&neighbours.accounting).await, 0);
}

#[tokio::test]
async fn a_path_in_the_base_url_stands_before_the_calls_own() {
    for base in ["/gateway/accounting", "/gateway/accounting/"] {
        let mut neighbours = Neighbourhood::start().await;
        neighbours.config.accounting.base_url.push_str(base);
        let path = format!("/gateway/accounting{SUMMARY}");
        given(&neighbours.accounting, &path, text(200, FUNDED)).await;
        given(&neighbours.accounting, "/gateway/accounting/health", ok(&json!({}))).await;
        let clients = neighbours.clients();

        let holdings = clients.accounting.holdings(&portfolio()).await;
        assert_eq!(holdings.unwrap().cash(), dec!(5000), "{base}");
        assert!(clients.probes().portfolio_accounting.check().await.is_ok(), "{base}");
    }
}

#[tokio::test]
async fn what_is_no_base_url_is_refused_by_name() {
    for url in [
        "",
        "pricing:8083",
        "/prices",
        "ftp://pricing",
        "http://",
        "http://pricing?a=b",
        "http://pricing#top",
    ] {
        let mut config = Neighbourhood::start().await.config;
        config.pricing.base_url = url.to_owned();

        let error = Neighbours::new(&config, &(Arc::new(()) as _)).err().unwrap();

        assert!(matches!(&error, Error::BaseUrl { service: "pricing-service", .. }), "{url}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines at `warn` or `error` that a call leaves.
async fn complaints(neighbours: &Neighbourhood, is_answered: bool) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();

    let guard = tracing::subscriber::set_default(subscriber);
    let accounting = neighbours.clients().accounting;
    assert_eq!(accounting.holdings(&portfolio()).await.is_ok(), is_answered);
    drop(guard);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_call_that_was_repeated_with_success_is_one_line_of_the_log() {
    let neighbours = Neighbourhood::start().await;
    given_first(&neighbours.accounting, SUMMARY, 2, status(503)).await;
    given(&neighbours.accounting, SUMMARY, status(404)).await;

    let lines = complaints(&neighbours, true).await;

    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in ["portfolio-accounting-service", SUMMARY, "attempts=3", "503 Service Unavailable"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
}

#[tokio::test]
async fn a_call_that_fails_is_left_to_whoever_handles_the_failure() {
    let neighbours = Neighbourhood::start().await;
    given(&neighbours.accounting, SUMMARY, status(503)).await;

    assert_eq!(complaints(&neighbours, false).await, [""; 0]);
}
