//! Spans on their way to a collector, and the trace of whoever calls and is called.

use std::sync::LazyLock;

use application::trace::{self, TraceContext};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
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

/// Makes a span that nobody has entered yet a part of the caller's trace, if that makes sense.
pub(super) fn adopt(span: &Span, trace: &TraceContext) {
    // Without a collector there are no traces to be part of.
    let _ = span.set_parent(PROPAGATOR.extract(&Incoming(trace)));
}

/// Makes a span that nobody has entered yet a part of the current trace, below the current span, which
/// need not wait for it.
pub(crate) fn follow(span: &Span) {
    let current = Span::current().context().span().span_context().clone();
    let _ = span.set_parent(Context::new().with_remote_span_context(current));
}

/// Tells whoever receives these headers of the current trace; without one of ours, of the caller's as it
/// is, so that those before and after us are in one.
pub(super) fn pass_on(headers: &mut HeaderMap) {
    let mut context = Span::current().context();
    if !context.span().span_context().is_valid()
        && let Some(trace) = trace::current()
    {
        context = PROPAGATOR.extract(&Incoming(&trace));
    }
    PROPAGATOR.inject_context(&context, &mut Outgoing(headers));
}

struct Incoming<'a>(&'a TraceContext);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.0.parent),
            "tracestate" => self.0.state.as_deref(),
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
