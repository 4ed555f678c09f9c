//! Configuration: the annotated defaults in the binary, then files, then the environment, then flags.

mod layers;
mod protection;
pub(crate) mod reference;
mod secrets;
mod telemetry;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use domain::order_generation::problem::BandPolicy;
use serde::{Deserialize, Deserializer};
use store_mongodb::ConnectError;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use protection::any_of;
use telemetry::flag;
use web::AnyOf;

pub use layers::{Layers, Origin, Overrides, Setting};
pub use protection::Protection;
pub use telemetry::{Collector, Export, Headers, Protocol, Sampling, Telemetry};

const DEFAULTS: &str = include_str!("../config/default.toml");

/// The environment variables that are read, and the setting each of them gives.
///
/// Of two for one setting, the later wins.
const VARIABLES: &[(&str, &str, Form)] = &[
    ("HOST", "http.host", Form::Text),
    ("PORT", "http.port", Form::Number),
    ("HTTP_WORKERS", "http.workers", Form::Number),
    ("MAX_BODY_BYTES", "http.max_body_bytes", Form::Number),
    ("REQUEST_DEADLINE_MS", "http.request_deadline_milliseconds", Form::Number),
    ("CORS_ORIGINS", "http.cors_origins", Form::Text),
    ("CORS_ALLOW_METHODS", "http.cors_allow_methods", Form::Text),
    ("CORS_ALLOW_HEADERS", "http.cors_allow_headers", Form::Text),
    ("CORS_ALLOW_CREDENTIALS", "http.cors_allow_credentials", Form::Text),
    ("TRUSTED_PROXIES", "http.trusted_proxies", Form::Number),
    ("SHUTDOWN_TIMEOUT", "http.shutdown_timeout_seconds", Form::Number),
    ("API_KEYS", "protection.api_keys", Form::Text),
    ("API_KEYS_FILE", "protection.api_keys_file", Form::Text),
    ("API_KEYS_GUARD", "protection.api_keys_guard", Form::Text),
    ("MAX_REQUESTS_IN_FLIGHT", "protection.max_requests_in_flight", Form::Number),
    ("RATE_LIMIT_PER_SECOND", "protection.rate_limit_per_second", Form::Number),
    ("RATE_LIMIT_BURST", "protection.rate_limit_burst", Form::Number),
    ("CLIENT_REQUEST_TIMEOUT_MS", "protection.client_request_timeout_milliseconds", Form::Number),
    ("BODY_TIMEOUT_MS", "protection.body_timeout_milliseconds", Form::Number),
    ("KEEP_ALIVE_SECONDS", "protection.keep_alive_seconds", Form::Number),
    ("HSTS_MAX_AGE_SECONDS", "protection.hsts_max_age_seconds", Form::Number),
    ("X_FRAME_OPTIONS", "protection.x_frame_options", Form::Text),
    ("CONTENT_SECURITY_POLICY", "protection.content_security_policy", Form::Text),
    ("SERVICE_NAME", "service.name", Form::Text),
    ("LOG_LEVEL", "log.level", Form::Text),
    ("MONGODB_URL", "store.url", Form::Text),
    ("DATABASE_URL", "store.url", Form::Text),
    ("DATABASE_NAME", "store.name", Form::Text),
    ("DATABASE_MAX_CONNECTIONS", "store.max_connections", Form::Number),
    ("DATABASE_MIN_CONNECTIONS", "store.min_connections", Form::Number),
    ("DATABASE_IDLE_TIMEOUT_MS", "store.idle_timeout_milliseconds", Form::Number),
    ("DATABASE_TIMEOUT_MS", "store.timeout_milliseconds", Form::Number),
    ("IDEMPOTENCY_TTL_HOURS", "idempotency.ttl_hours", Form::Number),
    ("REBALANCING_MAX_WORKERS", "rebalance.max_parallel", Form::Number),
    ("MAX_PARALLEL_REBALANCES", "rebalance.max_parallel", Form::Number),
    ("BAND_POLICY", "rebalance.band_policy", Form::Text),
    ("OPTIMIZER", "rebalance.optimizer", Form::Text),
    ("OPTIMIZATION_TIMEOUT", "rebalance.optimization_timeout_seconds", Form::Number),
    ("OPTIMIZATION_WORKERS", "rebalance.optimization_workers", Form::Number),
    ("MAX_ASYNC_REBALANCES", "rebalance.max_async", Form::Number),
    ("REBALANCE_LEASE_MS", "rebalance.lease_milliseconds", Form::Number),
    ("PORTFOLIO_ACCOUNTING_SERVICE_URL", "neighbours.portfolio_accounting_url", Form::Text),
    ("SECURITY_SERVICE_URL", "neighbours.security_url", Form::Text),
    ("PRICING_SERVICE_URL", "neighbours.pricing_url", Form::Text),
    ("PORTFOLIO_SERVICE_URL", "neighbours.portfolio_url", Form::Text),
    ("EXTERNAL_SERVICE_TIMEOUT", "neighbours.timeout_seconds", Form::Number),
    ("EXTERNAL_SERVICE_RETRIES", "neighbours.attempts", Form::Number),
    ("EXTERNAL_SERVICE_BACKOFF_MS", "neighbours.first_backoff_milliseconds", Form::Number),
    ("EXTERNAL_SERVICE_MAX_CONCURRENT", "neighbours.max_concurrent", Form::Number),
    ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "neighbours.circuit_breaker_failure_threshold", Form::Number),
    ("CIRCUIT_BREAKER_TIMEOUT", "neighbours.circuit_breaker_timeout_seconds", Form::Number),
    ("CIRCUIT_BREAKER_HALF_OPEN_CALLS", "neighbours.circuit_breaker_half_open_calls", Form::Number),
    ("PORTFOLIO_ACCOUNTING_HEALTH_PATH", "neighbours.portfolio_accounting_health_path", Form::Text),
    ("SECURITY_HEALTH_PATH", "neighbours.security_health_path", Form::Text),
    ("PRICING_HEALTH_PATH", "neighbours.pricing_health_path", Form::Text),
    ("PORTFOLIO_HEALTH_PATH", "neighbours.portfolio_health_path", Form::Text),
    ("PRICES_BULK_THRESHOLD", "neighbours.prices_bulk_threshold", Form::Number),
    ("TICKER_CACHE_TTL", "neighbours.ticker_ttl_seconds", Form::Number),
    ("PRICE_CACHE_TTL", "neighbours.price_ttl_seconds", Form::Number),
    ("NAME_CACHE_TTL", "neighbours.name_ttl_seconds", Form::Number),
    ("CACHE_CAPACITY", "neighbours.cache_capacity", Form::Number),
    ("ENABLE_METRICS", "telemetry.count_requests", Form::Text),
    ("OTEL_SERVICE_NAME", "telemetry.service_name", Form::Text),
    ("OTEL_RESOURCE_ATTRIBUTES", "telemetry.resource_attributes", Form::Text),
    ("OTEL_SDK_DISABLED", "telemetry.disabled", Form::Text),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.endpoint", Form::Text),
    ("OTEL_COLLECTOR_GRPC_ENDPOINT", "telemetry.grpc_endpoint", Form::Text),
    ("OTEL_COLLECTOR_HTTP_ENDPOINT", "telemetry.http_endpoint", Form::Text),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "telemetry.protocol", Form::Text),
    ("OTEL_EXPORTER_OTLP_INSECURE", "telemetry.insecure", Form::Text),
    ("OTEL_INSECURE", "telemetry.insecure", Form::Text),
    ("OTEL_EXPORTER_OTLP_HEADERS", "telemetry.headers", Form::Text),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "telemetry.timeout_milliseconds", Form::Number),
    ("OTEL_TRACES_EXPORTER", "telemetry.traces", Form::Text),
    ("OTEL_METRICS_EXPORTER", "telemetry.metrics", Form::Text),
    ("OTEL_LOGS_EXPORTER", "telemetry.logs", Form::Text),
    ("OTEL_TRACES_SAMPLER", "telemetry.sampler", Form::Text),
    ("OTEL_TRACES_SAMPLER_ARG", "telemetry.sampler_argument", Form::Text),
    ("OTEL_METRIC_EXPORT_INTERVAL", "telemetry.metric_interval_milliseconds", Form::Number),
];

/// The flags of `globeco serve`, and the setting each of them gives.
const FLAGS: &[(&str, &str)] = &[
    ("--host", "http.host"),
    ("--port", "http.port"),
    ("--database-url", "store.url"),
    ("--log-level", "log.level"),
];

/// How a variable's text is read: `DATABASE_NAME=2024` is a name, `PORT=2024` a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Number,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub http: Http,
    pub protection: Protection,
    pub service: Service,
    pub log: Log,
    pub store: Store,
    pub idempotency: Idempotency,
    pub rebalance: Rebalance,
    pub neighbours: Neighbours,
    pub telemetry: Telemetry,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub host: String,
    pub port: u16,
    pub workers: usize,
    pub max_body_bytes: usize,
    /// Zero for none.
    #[serde(rename = "request_deadline_milliseconds", deserialize_with = "milliseconds")]
    pub request_deadline: Duration,
    #[serde(deserialize_with = "origins")]
    pub cors_origins: Vec<String>,
    #[serde(deserialize_with = "any_of")]
    pub cors_allow_methods: web::Methods,
    #[serde(deserialize_with = "any_of")]
    pub cors_allow_headers: web::HeaderNames,
    #[serde(deserialize_with = "flag")]
    pub cors_allow_credentials: bool,
    pub trusted_proxies: usize,
    #[serde(rename = "shutdown_timeout_seconds", deserialize_with = "seconds")]
    pub shutdown_timeout: Duration,
}

impl Http {
    pub fn cors(&self) -> Result<web::Cors, Unusable> {
        let origins = if self.cors_origins.iter().any(|origin| origin == "*") {
            AnyOf::Any
        } else {
            AnyOf::These(self.cors_origins.clone())
        };
        if self.cors_allow_credentials && origins == AnyOf::Any {
            let reason = "any page could use a user's cookies: it needs CORS_ORIGINS (http.cors_origins) that name \
                          who may";
            return Err(Unusable { key: "http.cors_allow_credentials", reason: reason.to_owned() });
        }
        Ok(web::Cors {
            origins,
            methods: self.cors_allow_methods.clone(),
            headers: self.cors_allow_headers.clone(),
            credentials: self.cors_allow_credentials,
        })
    }

    pub fn request_deadline(&self) -> Option<Duration> {
        Some(self.request_deadline).filter(|deadline| !deadline.is_zero())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    #[serde(deserialize_with = "log_filter")]
    pub level: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub url: String,
    pub name: String,
    pub max_connections: NonZeroU32,
    pub min_connections: u32,
    #[serde(rename = "idle_timeout_milliseconds", deserialize_with = "milliseconds")]
    pub idle_timeout: Duration,
    #[serde(rename = "timeout_milliseconds", deserialize_with = "milliseconds")]
    pub timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    #[serde(rename = "ttl_hours", deserialize_with = "hours")]
    pub kept_for: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebalance {
    pub max_parallel: NonZeroUsize,
    #[serde(deserialize_with = "band_policy")]
    pub band_policy: BandPolicy,
    #[serde(deserialize_with = "choice")]
    pub optimizer: Choice,
    #[serde(rename = "optimization_timeout_seconds", deserialize_with = "seconds")]
    pub optimization_timeout: Duration,
    pub optimization_workers: usize,
    pub max_async: usize,
    #[serde(rename = "lease_milliseconds", deserialize_with = "milliseconds")]
    pub lease: Duration,
    /// No setting: tests run the service in a program of their own, which is no worker.
    #[serde(skip)]
    pub worker_program: Option<PathBuf>,
}

/// Which optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The exact one, and CBC where rules need branching.
    Auto,
    Exact,
    Cbc,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbours {
    pub portfolio_accounting_url: HttpUrl,
    pub portfolio_accounting_health_path: String,
    pub security_url: HttpUrl,
    pub security_health_path: String,
    pub pricing_url: HttpUrl,
    pub pricing_health_path: String,
    pub portfolio_url: HttpUrl,
    pub portfolio_health_path: String,
    #[serde(rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
    #[serde(rename = "connect_timeout_seconds", deserialize_with = "seconds")]
    pub connect_timeout: Duration,
    pub attempts: NonZeroU32,
    #[serde(rename = "first_backoff_milliseconds", deserialize_with = "milliseconds")]
    pub first_backoff: Duration,
    pub max_concurrent: NonZeroUsize,
    /// Zero for never.
    #[serde(rename = "circuit_breaker_failure_threshold")]
    pub breaker_threshold: u32,
    #[serde(rename = "circuit_breaker_timeout_seconds", deserialize_with = "seconds")]
    pub breaker_pause: Duration,
    #[serde(rename = "circuit_breaker_half_open_calls")]
    pub breaker_probes: NonZeroU32,
    #[serde(rename = "name_timeout_milliseconds", deserialize_with = "milliseconds")]
    pub name_timeout: Duration,
    /// Zero for never.
    pub prices_bulk_threshold: usize,
    #[serde(rename = "ticker_ttl_seconds", deserialize_with = "seconds")]
    pub ticker_ttl: Duration,
    #[serde(rename = "price_ttl_seconds", deserialize_with = "seconds")]
    pub price_ttl: Duration,
    #[serde(rename = "name_ttl_seconds", deserialize_with = "seconds")]
    pub name_ttl: Duration,
    pub cache_capacity: u64,
    #[serde(rename = "probe_pause_seconds", deserialize_with = "seconds")]
    pub probe_pause: Duration,
}

/// An absolute `http` or `https` URL with nothing after its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A URL may hold a password, so only its scheme is repeated.
        let url = reqwest::Url::parse(&text)
            .map_err(|error| serde::de::Error::custom(format!("no absolute URL: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(serde::de::Error::custom("it must end with its path"));
        }
        match url.scheme() {
            "http" | "https" => Ok(Self(text)),
            scheme => {
                Err(serde::de::Error::custom(format!("the scheme must be http or https, not {scheme:?}")))
            }
        }
    }
}

/// Where models and rebalances are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Sqlite(PathBuf),
    /// A server's URL, which may hold a password, and the database on it.
    Mongodb {
        url: String,
        database: String,
    },
}

/// A setting that is sound by itself, and of no use with the others.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Unusable {
    pub key: &'static str,
    pub reason: String,
}

impl Store {
    pub fn location(&self) -> Result<Location, Unusable> {
        let unusable_url = |reason: String| Unusable { key: "store.url", reason };
        let unusable_name = |reason: String| Unusable { key: "store.name", reason };
        if self.url.is_empty() {
            let is_plain = !self.name.is_empty() && !self.name.contains(['/', '\\', '\0']);
            return if is_plain {
                Ok(Location::Sqlite(PathBuf::from("data").join(format!("{}.db", self.name))))
            } else {
                Err(unusable_name(format!("{:?} cannot name a file", self.name)))
            };
        }
        match self.url.split_once(':') {
            Some(("sqlite", path)) => match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(unusable_url("sqlite: needs a path after it".to_owned())),
                path => Ok(Location::Sqlite(path.into())),
            },
            Some(("mongodb" | "mongodb+srv", _)) => match store_mongodb::check(&self.url, &self.name) {
                Ok(()) => Ok(Location::Mongodb { url: self.url.clone(), database: self.name.clone() }),
                Err(error @ ConnectError::Database(_)) => Err(unusable_name(error.to_string())),
                Err(error) => Err(unusable_url(error.to_string())),
            },
            // A URL may hold a password, so only its scheme is repeated.
            Some((scheme, _)) => Err(unusable_url(format!(
                "there is no store for the scheme {scheme:?}; use sqlite:PATH or mongodb://HOST"
            ))),
            None => Err(unusable_url("it has no scheme; use sqlite:PATH or mongodb://HOST".to_owned())),
        }
    }
}

/// Reads all layers; an error names everything that is wrong.
pub fn load(files: &[PathBuf], overrides: &Overrides) -> anyhow::Result<Config> {
    Layers::read(files, overrides).config().map_err(|faults| anyhow::anyhow!(faults.join("; ")))
}

/// At least one.
fn hours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    NonZeroU32::deserialize(deserializer).map(|hours| Duration::from_hours(hours.get().into()))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// Separated by commas: `*`, or a scheme and a host as browsers send them.
fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let origins: Vec<_> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let is_origin = |text: &&String| {
        *text == "*"
            || reqwest::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == **text)
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(origins),
        Some(other) => {
            Err(serde::de::Error::custom(format!("{other:?} is no origin, such as https://example.com")))
        }
    }
}

fn log_filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    // A filter takes any lone word for the name of a module, and so `verbose` for silence.
    let mut lone_words = text.split(',').filter(|directive| !directive.contains(['=', '[']));
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    if lone_words.all(is_level) && EnvFilter::try_new(&text).is_ok() {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!("{text:?} is neither a level nor a log filter")))
}

fn band_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BandPolicy, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "strict" => Ok(BandPolicy::Strict),
        "nearest" => Ok(BandPolicy::Nearest),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither strict nor nearest"))),
    }
}

fn choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Choice, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "auto" => Ok(Choice::Auto),
        "exact" => Ok(Choice::Exact),
        "cbc" => Ok(Choice::Cbc),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither auto, exact nor cbc"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_documented_in_the_defaults_beside_a_setting_that_exists() {
        let settings = Layers::of_defaults().settings().unwrap();
        for (variable, key, _) in VARIABLES {
            let in_brackets = DEFAULTS.lines().filter(|line| line.starts_with('#')).any(|line| {
                let named = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
                named.is_some_and(|(names, _)| names.split([',', ' ']).any(|name| name == *variable))
            });
            assert!(in_brackets, "{variable}");
            assert!(settings.iter().any(|setting| setting.key == *key), "{key}");
        }
    }

    #[test]
    fn every_variable_in_the_defaults_is_read() {
        let is_variable = |word: &&str| {
            2 < word.len() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        let named = DEFAULTS.lines().filter_map(|line| line.split_once('[')?.1.split_once(']'));
        for variable in named.flat_map(|(names, _)| names.split([',', ' '])).filter(is_variable) {
            assert!(VARIABLES.iter().any(|(known, ..)| *known == variable), "{variable}");
        }
    }

    #[test]
    fn the_defaults_alone_are_a_configuration() {
        let config = Layers::of_defaults().config().unwrap();
        assert_eq!(config.http.port, 8080);
        assert_eq!(config.http.cors_origins, ["*"]);
        assert_eq!(
            config.store.location().unwrap(),
            Location::Sqlite(PathBuf::from("data/order-generation.db"))
        );
    }
}
