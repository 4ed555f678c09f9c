//! Spans on their way to a collector, and the trace of whoever calls and is called.

use std::sync::LazyLock;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::export;
use super::resource::resource;
use crate::config::{Collector, Sampling, Telemetry};

/// The crates whose spans tell of our work.
const OURS: &[&str] = &["application", "server", "upstream_http", "web"];

/// W3C Trace Context.
static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

pub(super) fn provider(config: &Telemetry, collector: &Collector) -> anyhow::Result<SdkTracerProvider> {
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(config))
        .with_sampler(sampler(config.sampling()?))
        .with_batch_exporter(export::spans(collector)?)
        .build())
}

fn sampler(sampling: Sampling) -> Sampler {
    let Sampling { ratio, follows_parent } = sampling;
    let sampler = match ratio {
        1.0.. => Sampler::AlwaysOn,
        ..=0.0 => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio),
    };
    if follows_parent { Sampler::ParentBased(Box::new(sampler)) } else { sampler }
}

/// Log lines go their own way; the spans of libraries, those of the export among them, go nowhere.
pub(super) fn is_exported(metadata: &Metadata<'_>) -> bool {
    let origin = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_span() && OURS.contains(&origin)
}

/// Makes a span that nobody has entered yet a part of the trace that the headers tell of, if they do.
pub(super) fn adopt(span: &Span, header: &dyn Fn(&str) -> Option<String>) {
    if let Some(parent) = header("traceparent") {
        let carrier = Incoming { parent, state: header("tracestate") };
        // Without a collector there are no traces to be part of.
        let _ = span.set_parent(PROPAGATOR.extract(&carrier));
    }
}

/// Tells whoever receives these headers of the current trace, if there is one.
pub(super) fn pass_on(headers: &mut HeaderMap) {
    PROPAGATOR.inject_context(&Span::current().context(), &mut Outgoing(headers));
}

struct Incoming {
    parent: String,
    state: Option<String>,
}

impl Extractor for Incoming {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.parent),
            "tracestate" => self.state.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        // There is a state only where the caller had one.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
