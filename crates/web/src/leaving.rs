//! An answer on its way out: its request is over with the last byte, or when the client is gone.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::web::Bytes;
use futures_util::Stream;
use tracing::Span;

/// The body of an answer, and what ends with it.
pub(crate) struct Leaving<T> {
    body: BoxBody,
    /// Of the request: what is still read for the answer belongs to it.
    span: Span,
    _ends_with_it: T,
}

impl<T> Leaving<T> {
    pub(crate) fn new(body: BoxBody, span: Span, ends_with_it: T) -> Self {
        Self { body, span, _ends_with_it: ends_with_it }
    }
}

impl<T: Unpin> MessageBody for Leaving<T> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self { body, span, .. } = &mut *self;
        span.in_scope(|| Pin::new(body).poll_next(context))
    }
}

/// The body of a request in chunks, which its handler need not have read to the end.
///
/// What of it nobody wants any more the server reads and drops, however long that takes and whatever was
/// answered: a client that never ends it would hold its connection for ever. While this is kept beside the
/// answer, the body counts as unread, and the server closes the connection after the answer.
#[derive(Clone)]
pub(crate) struct Chunked(Rc<RefCell<Payload>>);

impl Chunked {
    /// Shares the body of a request that comes in chunks.
    pub(crate) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(TRANSFER_ENCODING) {
            return None;
        }
        let body = Self(Rc::new(RefCell::new(request.take_payload())));
        request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        Some(body)
    }
}

impl Stream for Chunked {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}
