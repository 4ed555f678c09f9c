//! Who comes in: before anything is done for a request, its caller must be within the rate, show a key that
//! is known where keys are asked for, and find a slot free.
//!
//! The order of all that a request passes is, from outside in: its deadline, which everything counts against;
//! the passage, so that whatever turns a request away is counted, logged and given the correlation id and the
//! security headers; compression; CORS, so that a page may read why it was turned away, and since a preflight
//! cannot show a key; and then this gate, before any body is read. In the gate the rate comes first: it counts
//! guesses at keys as well. A slot comes last, so that strangers take none.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, ResponseError};
use application::caller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api_keys::Shown;
use crate::problem::Problem;
use crate::protection::{Guarded, Protection};
use crate::rate_limit::RateLimit;

/// What the gate remembers.
pub(crate) struct Gate {
    rate_limit: Option<RateLimit>,
    asks_for_keys: bool,
    guarded: Guarded,
    slots: Option<Arc<Semaphore>>,
}

impl Gate {
    pub(crate) fn new(protection: &Protection) -> Self {
        let slots = |most: NonZeroUsize| Arc::new(Semaphore::new(most.get().min(Semaphore::MAX_PERMITS)));
        Self {
            rate_limit: protection.rate.map(RateLimit::new),
            asks_for_keys: !protection.api_keys.is_empty(),
            guarded: protection.guarded,
            slots: protection.max_requests_in_flight.map(slots),
        }
    }

    fn admit(&self, request: &ServiceRequest) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        check_head(request)?;
        let area = Area::of(request.path());
        if area == Area::Api
            && let (Some(limit), Some(caller)) = (&self.rate_limit, caller::current())
        {
            limit.check(&caller).map_err(Problem::too_many_requests)?;
        }
        let is_guarded = match (self.guarded, area) {
            (_, Area::Api) | (Guarded::AllButHealth, Area::Description) => true,
            (_, Area::Health) | (Guarded::Api, Area::Description) => false,
        };
        if self.asks_for_keys && is_guarded {
            check_key(request)?;
        }
        match &self.slots {
            Some(slots) if area == Area::Api => match Arc::clone(slots).try_acquire_owned() {
                Ok(slot) => Ok(Some(slot)),
                Err(_) => Err(Problem::overloaded()),
            },
            Some(_) | None => Ok(None),
        }
    }
}

/// Of path and query, in bytes: more than any route has use for.
const MOST_OF_TARGET: usize = 8 << 10;
/// Of all names and values, in bytes.
const MOST_OF_HEADERS: usize = 32 << 10;

/// The server reads heads of up to 128 KB and 96 headers, and refuses larger ones with an empty 431 itself.
fn check_head(request: &ServiceRequest) -> Result<(), Problem> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if MOST_OF_TARGET < target {
        return Err(Problem::uri_too_long(MOST_OF_TARGET));
    }
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.as_bytes().len()).sum();
    if MOST_OF_HEADERS < headers { Err(Problem::headers_too_large(MOST_OF_HEADERS)) } else { Ok(()) }
}

fn check_key(request: &ServiceRequest) -> Result<(), Problem> {
    match request.extensions().get() {
        Some(Shown::Known(_)) => Ok(()),
        Some(Shown::Unknown) => Err(Problem::api_key_unknown()),
        Some(Shown::Nothing) | None => Err(Problem::api_key_required()),
    }
}

pub(crate) fn is_of_the_api(path: &str) -> bool {
    Area::of(path) == Area::Api
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    Health,
    /// The figures, and the description of the interface: nothing that is kept.
    Description,
    /// All else, lest another way to write a path lead around the gate.
    Api,
}

impl Area {
    fn of(path: &str) -> Self {
        let is_beneath =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_beneath("/health") {
            Self::Health
        } else if ["/metrics", "/docs", "/openapi.json"].into_iter().any(is_beneath) {
            Self::Description
        } else {
            Self::Api
        }
    }
}

pub(crate) async fn gate(
    gate: Data<Gate>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match gate.admit(&request) {
        Ok(slot) => {
            let response = next.call(request).await?;
            Ok(response.map_body(|_, body| EitherBody::left(Held { body: body.boxed(), slot })))
        }
        Err(refusal) => Ok(request.into_response(refusal.error_response()).map_into_right_body()),
    }
}

/// A body that keeps its request's slot until it is sent, or the client is gone.
struct Held {
    body: BoxBody,
    slot: Option<OwnedSemaphorePermit>,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, slot } = self;
        body.try_into_bytes().map_err(|body| Self { body, slot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_is_written_plainly_leads_around_the_gate() {
        for (path, area) in [
            ("/health", Area::Health),
            ("/health/", Area::Health),
            ("/health/live", Area::Health),
            ("/healthy", Area::Api),
            ("/metrics", Area::Description),
            ("/docs/index.html", Area::Description),
            ("/api/v1/models", Area::Api),
            ("/%61pi/v1/models", Area::Api),
            ("//api/v1/models", Area::Api),
            ("/", Area::Api),
            ("", Area::Api),
        ] {
            assert_eq!(Area::of(path), area, "{path}");
        }
    }
}
