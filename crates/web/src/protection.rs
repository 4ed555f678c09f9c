//! How the server protects itself and those who call it.

use std::num::NonZeroUsize;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};

use crate::api_keys::ApiKeys;
use crate::cors::Cors;
use crate::rate_limit::Rate;

#[derive(Debug, Clone)]
pub struct Protection {
    /// Where there is none, none is asked for.
    pub api_keys: ApiKeys,
    pub guarded: Guarded,
    /// A request of the API beyond these is refused with 503 at once.
    pub max_requests_in_flight: Option<NonZeroUsize>,
    /// Of each caller.
    pub rate: Option<Rate>,
    /// How long a client may take over a request's line and headers.
    pub head_timeout: Duration,
    /// How long a client may take over a request's body.
    pub body_timeout: Duration,
    /// How long a connection that nobody uses is kept.
    pub keep_alive: Duration,
    pub cors: Cors,
    pub headers: SecurityHeaders,
}

/// What nobody gets without a key, where there are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// The figures and the description of the interface are open.
    Api,
    AllButHealth,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Of `Strict-Transport-Security`; zero for none.
    pub hsts_max_age: Duration,
    /// `X-Frame-Options`.
    pub frames: Frames,
    pub content_security_policy: bool,
}

/// Who may show our pages in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    Deny,
    SameOrigin,
}

const API_POLICY: &str = "default-src 'self'";
/// Swagger UI writes styles and a script into its page.
const DOCS_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

impl SecurityHeaders {
    /// Those of a reply to a request for `path`.
    pub(crate) fn of(&self, path: &str) -> Vec<(HeaderName, HeaderValue)> {
        let frames = match self.frames {
            Frames::Deny => "DENY",
            Frames::SameOrigin => "SAMEORIGIN",
        };
        let mut headers = vec![
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static(frames)),
            (header::X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
            (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
        ];
        if !self.hsts_max_age.is_zero() {
            let value = format!("max-age={}; includeSubDomains", self.hsts_max_age.as_secs());
            headers.push((
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::try_from(value).expect("digits and plain letters"),
            ));
        }
        if self.content_security_policy {
            let policy = if path.starts_with("/docs") { DOCS_POLICY } else { API_POLICY };
            headers.push((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)));
        }
        headers
    }
}
