//! What is told of the service's work, and to whom: the `telemetry` section.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Unusable, milliseconds, seconds};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    #[serde(deserialize_with = "flag")]
    pub count_requests: bool,
    pub service_name: String,
    #[serde(deserialize_with = "pairs")]
    pub resource_attributes: Vec<(String, String)>,
    #[serde(deserialize_with = "flag")]
    pub disabled: bool,
    pub endpoint: String,
    pub grpc_endpoint: String,
    pub http_endpoint: String,
    #[serde(deserialize_with = "protocol")]
    pub protocol: Option<Protocol>,
    #[serde(deserialize_with = "flag")]
    pub insecure: bool,
    pub headers: Headers,
    #[serde(rename = "timeout_milliseconds", deserialize_with = "milliseconds")]
    pub timeout: Duration,
    #[serde(deserialize_with = "export")]
    pub traces: Export,
    #[serde(deserialize_with = "export")]
    pub metrics: Export,
    #[serde(deserialize_with = "export")]
    pub logs: Export,
    pub sampler: String,
    pub sampler_argument: String,
    pub metric_interval_milliseconds: NonZeroU64,
    #[serde(rename = "flush_timeout_seconds", deserialize_with = "seconds")]
    pub flush_timeout: Duration,
}

/// Whether one of the three goes to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    Otlp,
    None,
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Binary protobuf over HTTP.
    Http,
}

/// Where telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    pub protocol: Protocol,
    /// With a scheme and without a slash at its end.
    pub url: String,
    pub headers: Headers,
    /// What one export may take.
    pub timeout: Duration,
}

/// Which traces are recorded where the caller has not decided, or whether the caller may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Of the traces that begin here.
    pub ratio: f64,
    /// A trace that began elsewhere is recorded if it was there.
    pub follows_parent: bool,
}

/// Sent along with every export. They may hold a token, so their values are shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Telemetry {
    /// `None` if nobody asked for any export.
    pub fn collector(&self) -> Result<Option<Collector>, Unusable> {
        let (protocol, endpoint, key) = self.endpoint();
        if self.disabled || endpoint.is_empty() {
            return Ok(None);
        }
        Ok(Some(Collector {
            protocol,
            url: url(endpoint, self.insecure)
                .map_err(|reason| Unusable { key, reason: reason.to_owned() })?,
            headers: self.headers.clone(),
            timeout: self.timeout,
        }))
    }

    /// The general one before the particular ones, and gRPC before HTTP: there is one export.
    fn endpoint(&self) -> (Protocol, &str, &'static str) {
        if !self.endpoint.is_empty() {
            return (self.protocol.unwrap_or(Protocol::Grpc), &self.endpoint, "telemetry.endpoint");
        }
        let only_http = self.grpc_endpoint.is_empty() && !self.http_endpoint.is_empty();
        match self.protocol.unwrap_or(if only_http { Protocol::Http } else { Protocol::Grpc }) {
            Protocol::Grpc => (Protocol::Grpc, &self.grpc_endpoint, "telemetry.grpc_endpoint"),
            Protocol::Http => (Protocol::Http, &self.http_endpoint, "telemetry.http_endpoint"),
        }
    }

    pub fn sampling(&self) -> Result<Sampling, Unusable> {
        let unusable = |key, reason: String| Unusable { key, reason };
        let (follows_parent, name) = match self.sampler.strip_prefix("parentbased_") {
            Some(name) => (true, name),
            None => (false, self.sampler.as_str()),
        };
        let ratio = match name {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                let ratio = self.sampler_argument.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                ratio.ok_or_else(|| {
                    let reason = format!("{:?} is no share from 0 to 1", self.sampler_argument);
                    unusable("telemetry.sampler_argument", reason)
                })?
            }
            _ => {
                return Err(unusable("telemetry.sampler", format!("there is no sampler {:?}", self.sampler)));
            }
        };
        Ok(Sampling { ratio, follows_parent })
    }
}

/// An endpoint is often written as `host:port`. It may hold a password where none belongs, so that what is
/// wrong with it does not repeat it.
fn url(endpoint: &str, insecure: bool) -> Result<String, &'static str> {
    const NONE: &str = "it is no endpoint, such as http://collector:4317";
    let url = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("{}://{endpoint}", if insecure { "http" } else { "https" })
    };
    let parsed = reqwest::Url::parse(&url).map_err(|_| NONE)?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(NONE);
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("credentials belong in OTEL_EXPORTER_OTLP_HEADERS (telemetry.headers)");
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err("it must end with its path");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers = pairs(deserializer)?;
        let is_sound = |(name, value): &(String, String)| {
            reqwest::header::HeaderName::try_from(name.as_str()).is_ok()
                && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        if headers.iter().all(is_sound) {
            Ok(Self(headers))
        } else {
            Err(serde::de::Error::custom("these are no headers, such as name=value,name=value"))
        }
    }
}

/// `key=value,key=value`, percent-encoded where needed.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| Some((key.to_owned(), decoded(value.trim())?)))?
    };
    // The text may hold a token, so it is not repeated.
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| pair(part).ok_or("this is no list such as key=value,key=value"))
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

/// `None` for what is no percent-encoded UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        let digits = str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}

/// `true` or `false`, as a file writes it or as a variable does.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Flag(bool),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Flag(flag) => Ok(flag),
        Written::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" | "" => Ok(false),
            _ => Err(serde::de::Error::custom(format!("{text:?} is neither true nor false"))),
        },
    }
}

fn protocol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Protocol>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        "grpc" => Ok(Some(Protocol::Grpc)),
        "http/protobuf" => Ok(Some(Protocol::Http)),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither grpc nor http/protobuf"))),
    }
}

fn export<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Export, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "otlp" => Ok(Export::Otlp),
        "none" => Ok(Export::None),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither otlp nor none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_scheme_or_gets_one() {
        for (endpoint, insecure, expected) in [
            ("collector:4317", true, "http://collector:4317"),
            ("collector:4317", false, "https://collector:4317"),
            ("http://collector:4318/", false, "http://collector:4318"),
            ("https://collector/otlp", true, "https://collector/otlp"),
            ("10.0.0.1:4317", true, "http://10.0.0.1:4317"),
        ] {
            assert_eq!(url(endpoint, insecure).unwrap(), expected, "{endpoint}");
        }
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused_without_being_repeated() {
        for endpoint in ["http://", "ftp://secret", "http://user:secret@host", "host:secret", "h/?key=secret"]
        {
            assert!(!url(endpoint, true).unwrap_err().contains("secret"), "{endpoint}");
        }
    }

    #[test]
    fn pairs_are_percent_decoded() {
        for (text, expected) in [("a%20b", Some("a b")), ("%C3%A4", Some("ä")), ("%4", None), ("%FF", None)]
        {
            assert_eq!(decoded(text).as_deref(), expected, "{text}");
        }
    }
}
