//! What every request passes on its way in and out: its deadline, correlation, security headers, the
//! request log, and one shape for refusals that are not ours.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, ResponseError};
use application::caller::{self, Caller};
use application::correlation::{self, CorrelationId};
use application::deadline;
use application::trace::{self, TraceContext};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::caller::caller;
use crate::gate::is_of_the_api;
use crate::leaving::{Chunked, Leaving};
use crate::problem::Problem;
use crate::server::Settings;
use crate::telemetry::{Journey, ProblemCode, Telemetry};

pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// Requests that take longer are worth a warning.
const SLOW: Duration = Duration::from_secs(1);

/// How many requests are being answered right now.
#[derive(Default)]
pub(crate) struct InFlight(AtomicUsize);

impl InFlight {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts one request until dropped, be it answered to the end or abandoned.
struct Passing(Data<InFlight>);

impl Passing {
    fn enter(in_flight: Data<InFlight>) -> Self {
        in_flight.0.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The API answers in time; a health report takes what its own timeouts let it.
pub(crate) async fn on_time(
    settings: Data<Settings>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match settings.request_deadline {
        Some(allowed) if is_of_the_api(request.path()) => {
            deadline::scope(tokio::time::Instant::now() + allowed, next.call(request)).await
        }
        Some(_) | None => next.call(request).await,
    }
}

pub(crate) async fn passage(
    in_flight: Data<InFlight>,
    telemetry: Data<dyn Telemetry>,
    settings: Data<Settings>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let passing = Passing::enter(in_flight);
    let unread = Chunked::of(&mut request);
    let id = correlation_id(request.headers());
    let (caller, shown) = caller(&request, &settings);
    request.extensions_mut().insert(shown);
    let mut journey = Journey::new(telemetry, &request);
    let span = span(&id, &caller, &journey, &request);
    let trace = trace_context(request.headers());
    journey.began(&span, trace.as_ref());
    let security = settings.protection.headers.of(request.path());

    let answer = async {
        let answer = next.call(request).await.map(in_our_form);
        tell(&answer, &mut journey);
        answer
    };
    let answer = caller::scope(caller, trace::scope(trace, answer));
    let answer = correlation::scope(id.clone(), answer);
    let mut response = answer.instrument(span.clone()).await?;
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    for (name, value) in security {
        response.headers_mut().insert(name, value);
    }
    Ok(response.map_body(|_, body| Leaving::new(body.boxed(), span, (journey, passing, unread))))
}

/// The refusals of the libraries in between, which are plain text, as problems.
fn in_our_form<B>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media_type = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !is_error || media_type.starts_with(b"application/") {
        return response.map_into_left_body();
    }
    let reason = response.response().error().map(ToString::to_string);
    let problem = Problem::turned_away(status, reason.as_deref());
    response.into_response(problem.error_response()).map_into_right_body()
}

fn correlation_id(headers: &HeaderMap) -> CorrelationId {
    let given =
        headers.get(CORRELATION_ID).and_then(|value| value.to_str().ok()).and_then(CorrelationId::new);
    given.unwrap_or_else(|| CorrelationId::new(&Uuid::new_v4().to_string()).expect("36 visible characters"))
}

fn trace_context(headers: &HeaderMap) -> Option<TraceContext> {
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Some(TraceContext { parent: header("traceparent")?, state: header("tracestate") })
}

/// The fields are named as OpenTelemetry's conventions for HTTP have it.
fn span(id: &CorrelationId, caller: &Caller, journey: &Journey, request: &ServiceRequest) -> Span {
    let Journey { method, route, .. } = journey;
    tracing::info_span!(
        "request",
        correlation_id = %id,
        %caller,
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        url.path = request.path(),
        url.scheme = "http",
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Tells the log, the span and whoever counts what a request came to.
fn tell<B>(answer: &Result<ServiceResponse<B>, Error>, journey: &mut Journey) {
    let (status, problem) = match answer {
        Ok(response) => (response.status(), response.response().extensions().get().copied()),
        Err(error) => (error.as_response_error().status_code(), None),
    };
    journey.answered(status, problem);
    let span = Span::current();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", problem.map_or(status.as_str(), |ProblemCode(code)| code));
        span.record("otel.status_code", "ERROR");
    }
    let took = journey.took();
    // What failed has been told of already, and why.
    if SLOW < took && !status.is_server_error() {
        tracing::warn!(status = status.as_u16(), duration_ms = took.as_millis(), "slow request");
    } else {
        tracing::debug!(status = status.as_u16(), duration_ms = took.as_millis(), "request answered");
    }
}
