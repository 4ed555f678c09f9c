//! One attempt of a call: sends it, reads the whole answer, says what it came to.

use std::time::Duration;

use application::correlation;
use reqwest::{Request, Response, StatusCode};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::call::Call;
use crate::observer::{Attempted, Ending, Observer};
use crate::retry_after::retry_after;

const CORRELATION_ID: &str = "X-Correlation-ID";

/// What a body may hold; the largest honest one is a hundredth of it.
pub(crate) const MAX_BODY: usize = 8 * 1024 * 1024;

/// What the service answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Found(Vec<u8>),
    Unknown,
    /// The body was larger than [`MAX_BODY`].
    Oversized,
    /// A status that another attempt would meet again.
    Refused(StatusCode),
}

/// Why another attempt may do better.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}", UnexpectedStatus(*.status))]
    Status { status: StatusCode, retry_after: Option<Duration> },
    #[error(transparent)]
    Transport(#[from] reqwest::Error),
}

#[derive(Debug, thiserror::Error)]
#[error("it answered {0}")]
pub(crate) struct UnexpectedStatus(pub(crate) StatusCode);

impl Failure {
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Transport(_) => None,
        }
    }

    /// A 4xx is not.
    pub(crate) fn is_the_services_own(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            Self::Transport(_) => true,
        }
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_timeout())
    }
}

/// An attempt that may take `timeout`, which is all of its own or what the deadline leaves it.
#[derive(Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) timeout: Duration,
    pub(crate) is_cut: bool,
}

impl Call<'_> {
    /// The `ordinal`th, from 1.
    pub(crate) async fn attempt(&self, ordinal: u32, allowance: Allowance) -> Result<Answer, Failure> {
        let mut request = self.request(allowance)?;
        let watch = Watch::start(self, ordinal);
        watch.span.in_scope(|| watch.observer.outgoing(request.headers_mut()));

        let exchange = async {
            let response = self.neighbour.client.execute(request).await?;
            let status = response.status();
            Ok((status, answer(response, self.neighbour.unknown).await?))
        };
        match exchange.instrument(watch.span.clone()).await {
            Ok((status, answer)) => {
                let is_well = matches!(answer, Ok(Answer::Found(_) | Answer::Unknown));
                watch.end(Ending::Answered(status.as_u16()), is_well);
                answer
            }
            Err(error) => {
                watch.end(ending(&error, allowance), false);
                Err(error.into())
            }
        }
    }

    fn request(&self, allowance: Allowance) -> Result<Request, reqwest::Error> {
        let request = self.neighbour.client.get(self.url.clone()).timeout(allowance.timeout);
        match correlation::current() {
            Some(id) => request.header(CORRELATION_ID, id.as_str()),
            None => request,
        }
        .build()
    }

    fn span(&self, ordinal: u32) -> Span {
        let span = tracing::info_span!(
            "attempt",
            otel.kind = "client",
            otel.name = format!("GET {}", self.endpoint),
            otel.status_code = Empty,
            peer.service = self.neighbour.service,
            http.request.method = "GET",
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            server.address = self.url.host_str(),
            server.port = self.url.port_or_known_default(),
            url.template = self.endpoint,
            url.path = self.url.path(),
            error.type = Empty,
        );
        if 1 < ordinal {
            span.record("http.request.resend_count", ordinal - 1);
        }
        span
    }
}

/// Tells the span and the observer how an attempt ended, or that it was given up.
struct Watch<'a> {
    observer: &'a dyn Observer,
    service: &'static str,
    endpoint: &'static str,
    span: Span,
    started: Instant,
    has_ended: bool,
}

impl<'a> Watch<'a> {
    fn start(call: &Call<'a>, ordinal: u32) -> Self {
        Self {
            observer: &*call.neighbour.observer,
            service: call.neighbour.service,
            endpoint: call.endpoint,
            span: call.span(ordinal),
            started: Instant::now(),
            has_ended: false,
        }
    }

    fn end(mut self, ending: Ending, is_well: bool) {
        self.has_ended = true;
        if let Ending::Answered(status) = ending {
            self.span.record("http.response.status_code", status);
        }
        if !is_well {
            self.span.record("error.type", ending.to_string());
            self.span.record("otel.status_code", "ERROR");
        }
        self.tell(ending);
    }

    fn tell(&self, ending: Ending) {
        let Self { service, endpoint, .. } = *self;
        let took = self.started.elapsed();
        self.span.in_scope(|| self.observer.attempt(&Attempted { service, endpoint, ending, took }));
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.span.record("error.type", Ending::Abandoned.to_string());
            self.tell(Ending::Abandoned);
        }
    }
}

fn ending(error: &reqwest::Error, allowance: Allowance) -> Ending {
    if error.is_connect() {
        Ending::NotConnected
    } else if error.is_timeout() {
        if allowance.is_cut { Ending::OutOfTime } else { Ending::TimedOut }
    } else {
        Ending::Broken
    }
}

/// The outer error is one of transport.
async fn answer(mut response: Response, unknown: &[&str]) -> Result<Result<Answer, Failure>, reqwest::Error> {
    Ok(match response.status() {
        status if status.is_success() => Ok(match body(&mut response).await? {
            Some(body) => Answer::Found(body),
            None => Answer::Oversized,
        }),
        StatusCode::NOT_FOUND => Ok(Answer::Unknown),
        StatusCode::INTERNAL_SERVER_ERROR if means_unknown(&mut response, unknown).await? => {
            Ok(Answer::Unknown)
        }
        status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
            Err(Failure::Status { status, retry_after: retry_after(response.headers()) })
        }
        status if status.is_server_error() => Err(Failure::Status { status, retry_after: None }),
        status => Ok(Answer::Refused(status)),
    })
}

async fn means_unknown(response: &mut Response, unknown: &[&str]) -> Result<bool, reqwest::Error> {
    if unknown.is_empty() {
        return Ok(false);
    }
    let body = body(response).await?.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    Ok(unknown.iter().any(|words| text.contains(words)))
}

/// `None` for a body that is too large.
async fn body(response: &mut Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if MAX_BODY - body.len() < chunk.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
