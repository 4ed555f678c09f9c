//! One attempt of a call: waits for its turn, reads the whole answer, says what it came to.
//!
//! It lies inside the retry, which sees no bodies and so could neither repeat a call whose body broke
//! off nor leave alone an error status that is an answer; both read the [`Outcome`] left here.

use std::sync::Arc;

use application::chain::Chain;
use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response, StatusCode};
use reqwest_middleware::{Error, Middleware, Next, Result};
use reqwest_retry::{Retryable, RetryableStrategy};
use tokio::sync::Semaphore;

/// What a body may hold; the largest honest one is a hundredth of it.
pub(crate) const MAX_BODY: usize = 8 * 1024 * 1024;

/// What an attempt came to, if there was an answer at all.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Found(Vec<u8>),
    Unknown,
    /// The body was larger than [`MAX_BODY`].
    Oversized,
    /// A status that another attempt would meet again.
    Refused(StatusCode),
    /// A status that another attempt may not meet again.
    Failing(StatusCode),
}

#[derive(Debug, thiserror::Error)]
#[error("it answered {0}")]
pub(crate) struct UnexpectedStatus(pub(crate) StatusCode);

pub(crate) struct Attempt {
    pub(crate) service: &'static str,
    /// How often the retry around it tries.
    pub(crate) attempts: u32,
    pub(crate) permits: Arc<Semaphore>,
    /// What a 500 says when it means that nothing is known.
    pub(crate) unknown: &'static [&'static str],
}

/// Which attempt of its call it is, from 1.
#[derive(Clone, Copy)]
struct Ordinal(u32);

#[async_trait]
impl Middleware for Attempt {
    async fn handle(&self, request: Request, call: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let attempt = call.get().map_or(1, |Ordinal(last)| last + 1);
        call.insert(Ordinal(attempt));

        let answer = {
            let _permit = self.permits.acquire().await.map_err(Error::middleware)?;
            self.answer(next.run(request, call).await).await
        };
        if attempt < self.attempts && is_transient(&answer) {
            self.log(attempt, &answer);
        }
        answer
    }
}

impl Attempt {
    async fn answer(&self, response: Result<Response>) -> Result<Response> {
        let mut response = response?;
        let outcome = match response.status() {
            status if status.is_success() => match body(&mut response).await? {
                Some(body) => Outcome::Found(body),
                None => Outcome::Oversized,
            },
            StatusCode::NOT_FOUND => Outcome::Unknown,
            StatusCode::INTERNAL_SERVER_ERROR if self.means_unknown(&mut response).await? => Outcome::Unknown,
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Outcome::Failing(status)
            }
            status => Outcome::Refused(status),
        };
        response.extensions_mut().insert(outcome);
        Ok(response)
    }

    async fn means_unknown(&self, response: &mut Response) -> Result<bool> {
        if self.unknown.is_empty() {
            return Ok(false);
        }
        let body = body(response).await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        Ok(self.unknown.iter().any(|words| text.contains(words)))
    }

    fn log(&self, attempt: u32, answer: &Result<Response>) {
        let reason = match answer {
            Ok(response) => response.status().to_string(),
            Err(error) => Chain(error).to_string(),
        };
        tracing::warn!(service = self.service, attempt, reason, "trying again");
    }
}

/// `None` for a body that is too large.
async fn body(response: &mut Response) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if MAX_BODY - body.len() < chunk.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn is_transient(answer: &Result<Response>) -> bool {
    match answer {
        Ok(response) => matches!(response.extensions().get(), Some(Outcome::Failing(_))),
        Err(Error::Reqwest(_)) => true,
        Err(Error::Middleware(_)) => false,
    }
}

/// Repeats calls that got no whole answer, or a failing one.
pub(crate) struct TransientOnly;

impl RetryableStrategy for TransientOnly {
    fn handle(&self, answer: &Result<Response>) -> Option<Retryable> {
        is_transient(answer).then_some(Retryable::Transient)
    }
}
