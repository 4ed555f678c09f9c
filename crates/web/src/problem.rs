//! Failures as HTTP: the one place where an error becomes a status.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use application::chain::Chain;
use application::order_generation::ports::OptimizerError;
use application::{correlation, order_generation, repository, upstream};
use domain::order_generation::model::ChangeRefused;
use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::ProblemCode;

/// How long a client should wait before it tries an outage again, in seconds, where nothing better is known.
const RETRY_AFTER: u64 = 5;

/// An error reply, `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
}

/// Code and title, the same for every problem of a kind.
#[derive(Debug, Clone, Copy)]
struct Kind {
    code: &'static str,
    title: &'static str,
}

/// One thing wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where, as a JSON pointer (RFC 6901).
    #[schema(example = "/positions/0/target")]
    pub(crate) pointer: String,
    #[schema(example = "target 0.123 is not a multiple of 0.005")]
    pub(crate) detail: String,
}

/// Every error of every route has this shape.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    #[serde(rename = "type")]
    #[schema(example = "urn:globeco:problem:invalid-body")]
    kind: String,
    /// What sort of problem this is; the same for every problem of its code.
    #[schema(example = "The request breaks a rule")]
    title: &'a str,
    #[schema(example = 422)]
    status: u16,
    /// What is wrong this time.
    #[schema(example = "/positions/0/target: target 0.123 is not a multiple of 0.005")]
    detail: &'a str,
    /// Short and stable; what clients match on.
    #[schema(example = "invalid-body")]
    code: &'a str,
    #[schema(example = "5f0c6c9e-9d3c-4f0e-8f0e-2f4f8b1c7d10")]
    correlation_id: Option<String>,
    /// For invalid bodies: everything that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    fn new(status: StatusCode, kind: Kind, detail: impl fmt::Display) -> Self {
        Self { status, kind, detail: detail.to_string(), errors: Vec::new(), retry_after: None }
    }

    /// A failure of ours: the client learns nothing but the status, the log everything.
    fn opaque(status: StatusCode, kind: Kind, error: &(dyn Error + 'static)) -> Self {
        tracing::error!(code = kind.code, error = %Chain(error), "request failed");
        Self::new(status, kind, kind.title)
    }

    /// Something we need is out; worth another try.
    fn unavailable(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        tracing::error!(code = kind.code, error = %Chain(error), "request failed");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, kind.title);
        Self { retry_after: Some(RETRY_AFTER), ..problem }
    }

    /// In whole seconds, rounded up, at least one: who comes back a moment too early came in vain.
    fn worth_another_try_after(self, pause: Duration) -> Self {
        let seconds = pause.as_secs() + u64::from(0 < pause.subsec_nanos());
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    /// The path, the query or the body cannot be read at all.
    pub(crate) fn malformed(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind { code, title: "The request cannot be read" }, detail)
    }

    /// The body can be read but breaks rules; `errors` names every one.
    pub(crate) fn invalid_body(errors: Vec<FieldError>) -> Self {
        let shown = |error: &FieldError| match error.pointer.as_str() {
            "" => error.detail.clone(),
            pointer => format!("{pointer}: {}", error.detail),
        };
        let detail = errors.iter().map(shown).collect::<Vec<_>>().join("; ");
        let kind = Kind { code: "invalid-body", title: "The request breaks a rule" };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, detail) }
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let kind = Kind { code: "body-too-large", title: "The request is too large" };
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, kind, format!("the body may have at most {limit} bytes"))
    }

    pub(crate) fn uri_too_long(limit: usize) -> Self {
        let kind = Kind { code: "uri-too-long", title: "The URL is too long" };
        let detail = format!("path and query may have at most {limit} bytes");
        Self::new(StatusCode::URI_TOO_LONG, kind, detail)
    }

    pub(crate) fn headers_too_large(limit: usize) -> Self {
        let kind = Kind { code: "headers-too-large", title: "The headers are too large" };
        let detail = format!("the headers may have at most {limit} bytes");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, kind, detail)
    }

    /// It is not waited for any longer.
    pub(crate) fn body_too_slow() -> Self {
        let kind = Kind { code: "body-too-slow", title: "The request took too long to arrive" };
        Self::new(StatusCode::REQUEST_TIMEOUT, kind, "the body did not arrive in time")
    }

    pub(crate) fn api_key_required() -> Self {
        let kind = Kind { code: "api-key-required", title: "An API key is required" };
        let detail = "send an API key, as Authorization: Bearer KEY or as X-API-Key: KEY";
        Self::new(StatusCode::UNAUTHORIZED, kind, detail)
    }

    pub(crate) fn api_key_unknown() -> Self {
        let kind = Kind { code: "api-key-unknown", title: "The API key is not known" };
        Self::new(StatusCode::UNAUTHORIZED, kind, "the API key that was sent is not known here")
    }

    pub(crate) fn too_many_requests(wait: Duration) -> Self {
        let kind = Kind { code: "too-many-requests", title: "Too many requests" };
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, "this caller asks more often than it may")
            .worth_another_try_after(wait)
    }

    pub(crate) fn overloaded() -> Self {
        let kind = Kind { code: "overloaded", title: "The service is busy" };
        let detail = "as many requests are under way as the service takes at the same time";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail)
            .worth_another_try_after(Duration::from_secs(1))
    }

    pub(crate) fn not_json() -> Self {
        let kind = Kind { code: "not-json", title: "The media type is not supported" };
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind, "the body must be application/json")
    }

    pub(crate) fn no_such_route(path: &str) -> Self {
        let kind = Kind { code: "no-such-route", title: "There is nothing here" };
        Self::new(StatusCode::NOT_FOUND, kind, format!("no route leads to {path}"))
    }

    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let kind = Kind { code: "method-not-allowed", title: "The method is not allowed" };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, kind, format!("allowed here: {allowed}"))
    }

    pub(crate) fn invalid_idempotency_key() -> Self {
        let detail = "Idempotency-Key must be given once, and be 1 to 255 visible ASCII characters, plain or as a \
                      quoted string";
        Self::malformed("invalid-idempotency-key", detail)
    }

    /// Its answer is to be had in a moment.
    pub(crate) fn request_in_flight() -> Self {
        let kind = Kind { code: "request-in-flight", title: "The same request is under way" };
        let problem =
            Self::new(StatusCode::CONFLICT, kind, "the request with this Idempotency-Key is under way");
        Self { retry_after: Some(1), ..problem }
    }

    pub(crate) fn idempotency_key_reused() -> Self {
        Self::refused("idempotency-key-reused", "this Idempotency-Key belongs to another request")
    }

    /// There is nothing left to answer a repetition with.
    pub(crate) fn result_gone() -> Self {
        let kind = Kind { code: "result-gone", title: "Not found" };
        Self::new(StatusCode::NOT_FOUND, kind, "what this request made has been deleted since")
    }

    pub(crate) fn id_taken() -> Self {
        Self::conflict("id-taken", "the id drawn for this request is taken; send it again")
    }

    /// Whether nothing was done because the request asked for what cannot be.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_client_error()
    }

    /// Refused before it reached a route; `reason` is for the client only if the fault is the client's.
    pub(crate) fn turned_away(status: StatusCode, reason: Option<&str>) -> Self {
        let kind = Kind { code: "turned-away", title: "The request cannot be served" };
        let reason = reason.filter(|_| status.is_client_error()).or(status.canonical_reason());
        Self::new(status, kind, reason.unwrap_or(kind.title))
    }

    fn not_found(code: &'static str, error: &order_generation::Error) -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind { code, title: "Not found" }, error)
    }

    fn conflict(code: &'static str, detail: impl fmt::Display) -> Self {
        let kind = Kind { code, title: "The request conflicts with what is stored" };
        Self::new(StatusCode::CONFLICT, kind, detail)
    }

    /// The request is well formed, and refused.
    fn refused(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind { code, title: "The request breaks a rule" }, detail)
    }
}

impl From<order_generation::Error> for Problem {
    fn from(error: order_generation::Error) -> Self {
        use order_generation::Error as E;
        const UNSOUND: Kind = Kind { code: "unsound-answer", title: "Internal server error" };
        match error {
            E::UnknownModel(_) => Self::not_found("model-not-found", &error),
            E::UnknownRebalance(_) => Self::not_found("rebalance-not-found", &error),
            E::NotInRebalance { .. } => Self::not_found("portfolio-not-in-rebalance", &error),
            E::UnknownPortfolio(_) | E::DoesNotFollow { .. } => {
                Self::not_found("portfolio-not-found", &error)
            }
            E::NameTaken(_) => Self::conflict("name-taken", error),
            E::ModelExists(_) => Self::conflict("model-exists", error),
            E::RebalanceExists(_) => Self::conflict("rebalance-exists", error),
            E::RunEnded(_) => Self::conflict("rebalance-cancelled", error),
            E::TooManyRuns => {
                let kind = Kind { code: "too-many-rebalances", title: "Too many rebalances are under way" };
                Self::unavailable(kind, &error)
            }
            E::Interrupted => {
                let kind = Kind { code: "interrupted", title: "The service was stopped" };
                Self::unavailable(kind, &error)
            }
            E::ModelModified { .. } => Self::conflict("model-modified", error),
            E::RebalanceModified { .. } => Self::conflict("rebalance-modified", error),
            E::ChangeRefused(refused) => refused.into(),
            E::Refused(refusal) => Self::refused(refusal.code(), refusal),
            E::AllRefused { ref refusal, .. } => Self::refused(refusal.code(), &error),
            E::Upstream(error) => error.into(),
            E::Optimizer(error) => error.into(),
            E::Unsound { .. } => Self::opaque(StatusCode::INTERNAL_SERVER_ERROR, UNSOUND, &error),
            E::Repository(error) => error.into(),
        }
    }
}

impl From<ChangeRefused> for Problem {
    fn from(refused: ChangeRefused) -> Self {
        match refused {
            ChangeRefused::SecurityAlreadyInModel(_) => Self::conflict("security-already-in-model", refused),
            ChangeRefused::PositionDiffers(_) => Self::conflict("position-differs", refused),
            ChangeRefused::SecurityNotInModel(_) => {
                let kind = Kind { code: "position-not-found", title: "Not found" };
                Self::new(StatusCode::NOT_FOUND, kind, refused)
            }
            ChangeRefused::Positions(_) => Self::refused("invalid-positions", refused),
            ChangeRefused::Followers(_) => Self::refused("invalid-portfolios", refused),
        }
    }
}

impl From<upstream::Error> for Problem {
    fn from(error: upstream::Error) -> Self {
        let kind = Kind { code: "external-service-unavailable", title: "External service unavailable" };
        let problem = Self::unavailable(kind, &error);
        match error {
            upstream::Error::Unavailable { retry_after: Some(pause), .. }
            | upstream::Error::OutOfTime { retry_after: Some(pause), .. } => {
                problem.worth_another_try_after(pause)
            }
            upstream::Error::Unavailable { retry_after: None, .. }
            | upstream::Error::OutOfTime { retry_after: None, .. }
            | upstream::Error::Malformed { .. } => problem,
        }
    }
}

impl From<OptimizerError> for Problem {
    fn from(error: OptimizerError) -> Self {
        match error {
            OptimizerError::OutOfTime => {
                let kind =
                    Kind { code: "optimizer-out-of-time", title: "The optimiser had no answer in time" };
                Self::unavailable(kind, &error)
            }
            // The use cases make refusals of the first two wherever they can happen.
            OptimizerError::Unsupported(_) | OptimizerError::NoSolution | OptimizerError::Broken { .. } => {
                let kind = Kind { code: "internal-error", title: "Internal server error" };
                Self::opaque(StatusCode::INTERNAL_SERVER_ERROR, kind, &error)
            }
        }
    }
}

impl From<repository::Error> for Problem {
    fn from(error: repository::Error) -> Self {
        const INTERNAL: Kind = Kind { code: "internal-error", title: "Internal server error" };
        match error {
            repository::Error::Unavailable { .. } => Self::unavailable(
                Kind { code: "store-unavailable", title: "The store is unavailable" },
                &error,
            ),
            // The use cases give these a meaning wherever they can happen.
            repository::Error::Missing
            | repository::Error::Conflict { .. }
            | repository::Error::Duplicate { .. }
            | repository::Error::Corrupt { .. } => {
                Self::opaque(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, &error)
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/problem+json");
        response.extensions_mut().insert(ProblemCode(self.kind.code));
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"globeco\"");
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        let body = ProblemBody {
            kind: format!("urn:globeco:problem:{}", self.kind.code),
            title: self.kind.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.kind.code,
            correlation_id: correlation::current().map(|id| id.to_string()),
            errors: &self.errors,
        };
        response.body(serde_json::to_string(&body).expect("strings and numbers serialise"))
    }
}
