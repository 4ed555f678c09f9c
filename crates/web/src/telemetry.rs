//! Whom `web` tells of its traffic, and where the figures are read.

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Data, ServiceConfig};
use application::trace::TraceContext;
use tracing::Span;

use crate::routing::resource;

/// Is told of every request, and shows what was measured.
pub trait Telemetry: Send + Sync {
    /// A request came in; [`ended`](Self::ended) follows, whatever becomes of it.
    ///
    /// `span`, which no one has entered yet, can join the trace of the caller.
    fn began(&self, span: &Span, trace: Option<&TraceContext>);

    fn ended(&self, exchange: &Exchange<'_>);

    /// All figures, in Prometheus' text format.
    fn figures(&self) -> String;
}

/// A request, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// In upper case; [`OTHER_METHOD`] for one that HTTP does not define.
    pub method: &'static str,
    /// The path of its route, with names in place of ids; [`UNMATCHED`] if no route leads there.
    pub route: &'a str,
    /// [`ABANDONED`] if the client was gone before the answer.
    pub status: u16,
    /// The code of the problem that was the answer, if one was.
    pub problem: Option<&'static str>,
    /// Until the last byte of the answer, or until the client was gone.
    pub took: Duration,
}

pub const OTHER_METHOD: &str = "_OTHER";
pub const UNMATCHED: &str = "unmatched";
/// No status that is ever sent.
pub const ABANDONED: u16 = 499;

/// The code of the problem in a reply's body, left with the reply.
#[derive(Clone, Copy)]
pub(crate) struct ProblemCode(pub(crate) &'static str);

/// One request on its way; tells its end when dropped.
pub(crate) struct Journey {
    telemetry: Data<dyn Telemetry>,
    pub(crate) method: &'static str,
    pub(crate) route: String,
    start: Instant,
    status: u16,
    problem: Option<&'static str>,
}

impl Journey {
    pub(crate) fn new(telemetry: Data<dyn Telemetry>, request: &ServiceRequest) -> Self {
        Self {
            telemetry,
            method: name(request.method()),
            route: request.match_pattern().unwrap_or_else(|| UNMATCHED.to_owned()),
            start: Instant::now(),
            status: ABANDONED,
            problem: None,
        }
    }

    pub(crate) fn began(&self, span: &Span, trace: Option<&TraceContext>) {
        self.telemetry.began(span, trace);
    }

    pub(crate) fn answered(&mut self, status: StatusCode, problem: Option<ProblemCode>) {
        self.status = status.as_u16();
        self.problem = problem.map(|ProblemCode(code)| code);
    }

    pub(crate) fn took(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        let Self { method, ref route, status, problem, .. } = *self;
        self.telemetry.ended(&Exchange { method, route, status, problem, took: self.took() });
    }
}

/// Anyone may send any word as a method.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER_METHOD,
    }
}

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(resource("/metrics", [(Method::GET, web::to(metrics))]));
}

/// What was counted and measured since the start, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((
        status = 200, description = "The figures", body = String, content_type = "text/plain",
        example = json!("# TYPE http_requests_in_flight gauge\nhttp_requests_in_flight 1\n"),
    )),
)]
pub(crate) async fn metrics(telemetry: Data<dyn Telemetry>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(telemetry.figures())
}
