//! What the HTTP server does to protect itself: the `protection` section.

use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use web::{AnyOf, ApiKeys, Frames, Guarded, Rate, SecurityHeaders};

use super::telemetry::flag;
use super::{Unusable, milliseconds, seconds};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    #[serde(deserialize_with = "parsed")]
    pub api_keys: ApiKeys,
    /// Empty for none.
    pub api_keys_file: PathBuf,
    #[serde(deserialize_with = "guarded")]
    pub api_keys_guard: Guarded,
    /// Zero for no limit.
    pub max_requests_in_flight: usize,
    /// Zero for no limit.
    pub rate_limit_per_second: u32,
    pub rate_limit_burst: NonZeroU32,
    #[serde(rename = "client_request_timeout_milliseconds", deserialize_with = "some_milliseconds")]
    pub head_timeout: Duration,
    #[serde(rename = "body_timeout_milliseconds", deserialize_with = "some_milliseconds")]
    pub body_timeout: Duration,
    #[serde(rename = "keep_alive_seconds", deserialize_with = "seconds")]
    pub keep_alive: Duration,
    #[serde(rename = "hsts_max_age_seconds", deserialize_with = "seconds")]
    pub hsts_max_age: Duration,
    #[serde(deserialize_with = "frames")]
    pub x_frame_options: Frames,
    #[serde(deserialize_with = "flag")]
    pub content_security_policy: bool,
}

impl Protection {
    /// Of the setting and of the file, together.
    pub fn all_api_keys(&self) -> Result<ApiKeys, Unusable> {
        if self.api_keys_file.as_os_str().is_empty() {
            return Ok(self.api_keys.clone());
        }
        let unusable = |reason: String| Unusable {
            key: "protection.api_keys_file",
            reason: format!("{}: {reason}", self.api_keys_file.display()),
        };
        let text =
            std::fs::read_to_string(&self.api_keys_file).map_err(|error| unusable(error.to_string()))?;
        let of_the_file: ApiKeys =
            text.parse().map_err(|error: web::NoApiKey| unusable(error.to_string()))?;
        // Whoever names a file wants keys asked for.
        if of_the_file.is_empty() {
            return Err(unusable("it holds no key".to_owned()));
        }
        Ok(self.api_keys.clone().and(of_the_file))
    }

    pub fn max_requests_in_flight(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.max_requests_in_flight)
    }

    pub fn rate(&self) -> Option<Rate> {
        let per_second = NonZeroU32::new(self.rate_limit_per_second)?;
        Some(Rate { per_second, burst: self.rate_limit_burst })
    }

    pub fn headers(&self) -> SecurityHeaders {
        SecurityHeaders {
            hsts_max_age: self.hsts_max_age,
            frames: self.x_frame_options,
            content_security_policy: self.content_security_policy,
        }
    }
}

/// `*`, or words separated by commas.
pub(super) fn any_of<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<AnyOf<T>, D::Error> {
    let read = String::deserialize(deserializer)?.parse();
    read.map_err(|other: String| D::Error::custom(format!("{other:?} cannot stand in such a list")))
}

fn parsed<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// A client that is given no time cannot be served.
fn some_milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match milliseconds(deserializer)? {
        Duration::ZERO => Err(D::Error::custom("it must be more than 0")),
        duration => Ok(duration),
    }
}

fn guarded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Guarded, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "api" => Ok(Guarded::Api),
        "all" => Ok(Guarded::AllButHealth),
        other => Err(D::Error::custom(format!("{other:?} is neither api nor all"))),
    }
}

fn frames<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Frames, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "DENY" => Ok(Frames::Deny),
        "SAMEORIGIN" => Ok(Frames::SameOrigin),
        other => Err(D::Error::custom(format!("{other:?} is neither DENY nor SAMEORIGIN"))),
    }
}
