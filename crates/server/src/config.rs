//! Configuration: the annotated defaults in the binary, then files, then the environment, then flags.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use domain::order_generation::problem::BandPolicy;
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::{Deserialize, Deserializer};

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
    ("SHUTDOWN_TIMEOUT", "http.shutdown_timeout_seconds", Form::Number),
    ("SERVICE_NAME", "service.name", Form::Text),
    ("LOG_LEVEL", "log.level", Form::Text),
    ("MONGODB_URL", "store.url", Form::Text),
    ("DATABASE_URL", "store.url", Form::Text),
    ("DATABASE_NAME", "store.name", Form::Text),
    ("DATABASE_MAX_CONNECTIONS", "store.max_connections", Form::Number),
    ("DATABASE_MIN_CONNECTIONS", "store.min_connections", Form::Number),
    ("DATABASE_IDLE_TIMEOUT_MS", "store.idle_timeout_milliseconds", Form::Number),
    ("DATABASE_TIMEOUT_MS", "store.timeout_milliseconds", Form::Number),
    ("REBALANCING_MAX_WORKERS", "rebalance.max_parallel", Form::Number),
    ("MAX_PARALLEL_REBALANCES", "rebalance.max_parallel", Form::Number),
    ("BAND_POLICY", "rebalance.band_policy", Form::Text),
    ("OPTIMIZER", "rebalance.optimizer", Form::Text),
    ("OPTIMIZATION_TIMEOUT", "rebalance.optimization_timeout_seconds", Form::Number),
    ("OPTIMIZATION_WORKERS", "rebalance.optimization_workers", Form::Number),
    ("PORTFOLIO_ACCOUNTING_SERVICE_URL", "neighbours.portfolio_accounting_url", Form::Text),
    ("SECURITY_SERVICE_URL", "neighbours.security_url", Form::Text),
    ("PRICING_SERVICE_URL", "neighbours.pricing_url", Form::Text),
    ("PORTFOLIO_SERVICE_URL", "neighbours.portfolio_url", Form::Text),
    ("EXTERNAL_SERVICE_TIMEOUT", "neighbours.timeout_seconds", Form::Number),
    ("EXTERNAL_SERVICE_RETRIES", "neighbours.attempts", Form::Number),
    ("EXTERNAL_SERVICE_BACKOFF_MS", "neighbours.first_backoff_milliseconds", Form::Number),
    ("EXTERNAL_SERVICE_MAX_CONCURRENT", "neighbours.max_concurrent", Form::Number),
    ("TICKER_CACHE_TTL", "neighbours.ticker_ttl_seconds", Form::Number),
    ("PRICE_CACHE_TTL", "neighbours.price_ttl_seconds", Form::Number),
    ("NAME_CACHE_TTL", "neighbours.name_ttl_seconds", Form::Number),
    ("CACHE_CAPACITY", "neighbours.cache_capacity", Form::Number),
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
    pub service: Service,
    pub log: Log,
    pub store: Store,
    pub rebalance: Rebalance,
    pub neighbours: Neighbours,
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
    #[serde(rename = "shutdown_timeout_seconds", deserialize_with = "seconds")]
    pub shutdown_timeout: Duration,
}

impl Http {
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
pub struct Rebalance {
    pub max_parallel: NonZeroUsize,
    #[serde(deserialize_with = "band_policy")]
    pub band_policy: BandPolicy,
    #[serde(deserialize_with = "choice")]
    pub optimizer: Choice,
    #[serde(rename = "optimization_timeout_seconds", deserialize_with = "seconds")]
    pub optimization_timeout: Duration,
    pub optimization_workers: usize,
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
    #[serde(rename = "name_timeout_milliseconds", deserialize_with = "milliseconds")]
    pub name_timeout: Duration,
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

/// An absolute `http` or `https` URL.
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

impl Store {
    pub fn location(&self) -> anyhow::Result<Location> {
        if self.url.is_empty() {
            let is_plain = !self.name.is_empty() && !self.name.contains(['/', '\\', '\0']);
            ensure!(is_plain, "DATABASE_NAME (store.name): {:?} cannot name a file", self.name);
            return Ok(Location::Sqlite(PathBuf::from("data").join(format!("{}.db", self.name))));
        }
        match self.url.split_once(':') {
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                ensure!(!path.is_empty(), "DATABASE_URL (store.url): sqlite: needs a path after it");
                Ok(Location::Sqlite(path.into()))
            }
            Some(("mongodb" | "mongodb+srv", _)) => {
                ensure!(!self.name.is_empty(), "DATABASE_NAME (store.name): a database needs a name");
                Ok(Location::Mongodb { url: self.url.clone(), database: self.name.clone() })
            }
            // A URL may hold a password, so only its scheme is repeated.
            Some((scheme, _)) => bail!(
                "DATABASE_URL (store.url): there is no store for the scheme {scheme:?}; \
                 use sqlite:PATH or mongodb://HOST"
            ),
            None => bail!("DATABASE_URL (store.url): it has no scheme; use sqlite:PATH or mongodb://HOST"),
        }
    }
}

/// What command-line flags say, over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<(&'static str, String, Form)>);

impl Overrides {
    pub fn text(&mut self, key: &'static str, value: Option<String>) {
        self.0.extend(value.map(|value| (key, value, Form::Text)));
    }

    pub fn number(&mut self, key: &'static str, value: Option<u64>) {
        self.0.extend(value.map(|value| (key, value.to_string(), Form::Number)));
    }
}

/// Reads all layers; an error names the setting, its variable, and what is wrong.
pub fn load(files: &[PathBuf], overrides: &Overrides) -> anyhow::Result<Config> {
    let mut layers = Figment::from(Toml::string(DEFAULTS));
    for file in files {
        ensure!(file.is_file(), "no configuration file at {}", file.display());
        layers = layers.merge(Toml::file_exact(file));
    }
    layers = with_environment(layers);
    for (key, value, form) in &overrides.0 {
        layers = match form {
            Form::Text => layers.merge(Serialized::default(key, value)),
            Form::Number => {
                layers.merge(Serialized::default(key, value.parse::<u64>().context("a flag's number")?))
            }
        };
    }
    layers.extract().map_err(|error| explained(&error))
}

fn with_environment(layers: Figment) -> Figment {
    VARIABLES.iter().fold(layers, |layers, (variable, key, form)| match value_of(variable) {
        None => layers,
        Some(text) => match (form, text.trim().parse::<u64>()) {
            (Form::Number, Ok(number)) => layers.merge(Serialized::default(key, number)),
            // Not a number after all: extraction will say so, naming the variable.
            (Form::Number, Err(_)) | (Form::Text, _) => layers.merge(Serialized::default(key, text)),
        },
    })
}

fn value_of(variable: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where configuration is read")]
    std::env::var(variable).ok()
}

/// `PORT (http.port): invalid type: found string "abc", expected u16`, and the file if it is one's.
fn explained(error: &figment::Error) -> anyhow::Error {
    let one = |error: figment::Error| {
        let key = error.path.join(".");
        let variables: Vec<&str> =
            VARIABLES.iter().filter(|(_, known, _)| *known == key).map(|(variable, ..)| *variable).collect();
        let setting = match variables.as_slice() {
            [] => key,
            variables => format!("{} ({key})", variables.join(" or ")),
        };
        let file = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()?.file_path());
        let file = file.map(|file| file.display().to_string());
        let parts = [file.as_deref().unwrap_or_default(), &setting, &error.kind.to_string()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    };
    anyhow::anyhow!(error.clone().into_iter().map(one).collect::<Vec<_>>().join("; "))
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
        let defaults = Figment::from(Toml::string(DEFAULTS));
        for (variable, key, _) in VARIABLES {
            let in_brackets = DEFAULTS.lines().filter(|line| line.starts_with('#')).any(|line| {
                let named = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
                named.is_some_and(|(names, _)| names.split([',', ' ']).any(|name| name == *variable))
            });
            assert!(in_brackets, "{variable}");
            assert!(defaults.find_value(key).is_ok(), "{key}");
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
        let config: Config = Figment::from(Toml::string(DEFAULTS)).extract().unwrap();
        assert_eq!(config.http.port, 8080);
        assert_eq!(config.http.cors_origins, ["*"]);
        assert_eq!(
            config.store.location().unwrap(),
            Location::Sqlite(PathBuf::from("data/order-generation.db"))
        );
    }
}
