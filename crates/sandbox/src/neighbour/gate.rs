//! Every call to a neighbour passes here: it is counted, and meets the faults.

use std::{fmt, pin::Pin, sync::MutexGuard, task, time::Duration};

use actix_web::{
    Error, HttpResponse,
    body::{BodySize, BoxBody, MessageBody, to_bytes},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue, RETRY_AFTER},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use rand::{RngExt, rngs::StdRng};
use rust_decimal::Decimal;
use serde_json::Value;

use super::{
    calls::{CallLog, Names},
    faults::{Failure, Faults, Malformed},
};
use crate::{seeded, state::State};

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pub(crate) struct Gate {
    seed: u64,
    refusal: fn(StatusCode, &str) -> HttpResponse,
    faults: State<(Faults, StdRng)>,
    calls: State<CallLog>,
}

impl Gate {
    pub(super) fn new(seed: u64, refusal: fn(StatusCode, &str) -> HttpResponse) -> Self {
        Self {
            seed,
            refusal,
            faults: State::new((Faults::default(), seeded::rng(seed, "faults"))),
            calls: State::default(),
        }
    }

    pub(super) fn inject(&self, faults: Faults) {
        *self.faults.lock() = (faults, seeded::rng(self.seed, "faults"));
    }

    pub(super) fn faults(&self) -> Faults {
        self.faults.lock().0.clone()
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, CallLog> {
        self.calls.lock()
    }

    fn draw(&self) -> (Duration, Option<Failure>) {
        let (faults, rng) = &mut *self.faults.lock();
        let failure = faults
            .failures
            .as_ref()
            .filter(|failures| rng.random::<f64>() < failures.rate)
            .map(|failures| failures.kind.clone());
        (faults.latency, failure)
    }
}

/// The middleware of every neighbour; calls under `/sandbox/` go straight through.
pub(super) async fn pass(
    gate: Data<Gate>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    if request.path().starts_with("/sandbox/") {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }

    let correlation_id = request.headers().get(CORRELATION_ID).cloned();
    let traceparent = request.headers().get(TRACEPARENT).and_then(|parent| parent.to_str().ok());
    let named = correlation_id.as_ref().and_then(|id| id.to_str().ok());
    let _under_way = UnderWay::record(&gate, request.path(), Names { correlation_id: named, traceparent });

    let (latency, failure) = gate.draw();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }

    let mut response = match failure {
        None => in_own_form(&gate, next.call(request).await?.map_into_boxed_body()),
        Some(Failure::Status { code, retry_after_seconds }) => {
            refuse(&gate, request, code, retry_after_seconds)
        }
        Some(Failure::Outage) => request.into_response(cut()),
        Some(Failure::LostAnswer) => next.call(request).await?.into_response(cut()),
        Some(Failure::BrokenOff) => broken_off(next.call(request).await?.map_into_boxed_body()).await?,
        Some(Failure::Malformed(malformed)) => {
            garble(next.call(request).await?.map_into_boxed_body(), malformed).await?
        }
    };
    if let Some(id) = correlation_id {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    Ok(response)
}

/// A call that is being answered, until dropped.
struct UnderWay<'a>(&'a Gate);

impl<'a> UnderWay<'a> {
    fn record(gate: &'a Gate, path: &str, names: Names<'_>) -> Self {
        gate.calls().record(path, names);
        Self(gate)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.calls().ended();
    }
}

/// actix answers unknown routes and wrong methods without a body, where each service has its own.
fn in_own_form(gate: &Gate, response: ServiceResponse) -> ServiceResponse {
    let status = response.status();
    let bare = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0));
    if !status.is_client_error() || !bare {
        return response;
    }
    let refusal = (gate.refusal)(status, response.request().path());
    response.into_response(refusal)
}

fn refuse(
    gate: &Gate,
    request: ServiceRequest,
    code: u16,
    retry_after_seconds: Option<u64>,
) -> ServiceResponse {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut refusal = (gate.refusal)(status, request.path());
    if let Some(seconds) = retry_after_seconds {
        refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    request.into_response(refusal)
}

/// A response that never leaves: its body fails before actix has flushed the head, and actix then
/// drops the connection.
fn cut() -> HttpResponse {
    HttpResponse::Ok().body(Cut)
}

struct Cut;

#[derive(Debug)]
struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("injected outage")
    }
}

impl std::error::Error for Disconnected {}

impl MessageBody for Cut {
    type Error = Disconnected;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Bytes, Disconnected>>> {
        task::Poll::Ready(Some(Err(Disconnected)))
    }
}

async fn broken_off(response: ServiceResponse<BoxBody>) -> Result<ServiceResponse, Error> {
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let body = to_bytes(body).await?;
    let half = body.slice(..body.len() / 2);
    let torn = Torn { half: Some(half), promised: body.len() as u64, has_flushed: false };
    Ok(ServiceResponse::new(request, head.set_body(BoxBody::new(torn))))
}

/// Fails after its first half, and once that has left.
struct Torn {
    half: Option<Bytes>,
    promised: u64,
    has_flushed: bool,
}

impl MessageBody for Torn {
    type Error = Disconnected;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.promised)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Bytes, Disconnected>>> {
        if let Some(half) = self.half.take() {
            return task::Poll::Ready(Some(Ok(half)));
        }
        // actix writes what it has while a body is pending, and only then.
        if !self.has_flushed {
            self.has_flushed = true;
            context.waker().wake_by_ref();
            return task::Poll::Pending;
        }
        task::Poll::Ready(Some(Err(Disconnected)))
    }
}

async fn garble(response: ServiceResponse<BoxBody>, malformed: Malformed) -> Result<ServiceResponse, Error> {
    let (request, response) = response.into_parts();
    let status = response.status();
    let body = to_bytes(response.into_body()).await?;

    let mut answer = HttpResponse::build(status);
    let answer = match malformed {
        Malformed::Truncated => answer.content_type("application/json").body(body.slice(..body.len() / 2)),
        Malformed::Garbage => answer.content_type("application/json").body(&b"\xfe\xff\x00{]\xc3\x28"[..]),
        Malformed::WrongTypes => {
            let value = serde_json::from_slice(&body).unwrap_or_default();
            answer.json(with_wrong_types(value))
        }
        Malformed::Numbers(text) => {
            let value = serde_json::from_slice(&body).unwrap_or_default();
            answer.json(with_numbers(value, &text))
        }
        Malformed::WrongContentType => {
            answer.content_type("text/html").body("<html><body><h1>It works</h1></body></html>")
        }
    };
    Ok(ServiceResponse::new(request, answer))
}

fn with_wrong_types(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(with_wrong_types).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, with_wrong_types(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Array(Vec::new()),
    }
}

fn with_numbers(value: Value, text: &str) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| with_numbers(value, text)).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, with_numbers(value, text))).collect()
        }
        Value::Number(_) => text.parse().map_or_else(|_| Value::from(text), Value::Number),
        Value::String(held) if Decimal::from_str_exact(&held).is_ok() => Value::from(text),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}
