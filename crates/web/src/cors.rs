//! What pages of other origins may do.

use std::str::FromStr;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::idempotency::{PREFERENCE_APPLIED, REPLAYED};
use crate::passage::CORRELATION_ID;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    pub origins: AnyOf<String>,
    pub methods: AnyOf<Method>,
    pub headers: AnyOf<HeaderName>,
    /// Whether a page may call with its user's cookies: never a page of any origin.
    pub credentials: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyOf<T> {
    Any,
    These(Vec<T>),
}

pub type Methods = AnyOf<Method>;
pub type HeaderNames = AnyOf<HeaderName>;

/// Separated by commas; `*` for any. The error is what could not be read.
impl<T: FromStr> FromStr for AnyOf<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
        if parts().any(|part| part == "*") {
            return Ok(Self::Any);
        }
        parts()
            .map(|part| part.parse().map_err(|_| part.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self::These)
    }
}

pub(crate) fn cors(settings: &Cors) -> actix_cors::Cors {
    let mut cors = actix_cors::Cors::default()
        .expose_headers([
            CORRELATION_ID,
            ALLOW,
            LOCATION,
            RETRY_AFTER,
            WWW_AUTHENTICATE,
            PREFERENCE_APPLIED,
            REPLAYED,
        ])
        .max_age(600);
    cors = match &settings.methods {
        AnyOf::Any => cors.allow_any_method(),
        AnyOf::These(methods) => cors.allowed_methods(methods.clone()),
    };
    cors = match &settings.headers {
        AnyOf::Any => cors.allow_any_header(),
        AnyOf::These(headers) => cors.allowed_headers(headers.clone()),
    };
    match &settings.origins {
        AnyOf::Any => cors.allow_any_origin().send_wildcard(),
        AnyOf::These(origins) => {
            let cors = origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin));
            if settings.credentials { cors.supports_credentials() } else { cors }
        }
    }
}
