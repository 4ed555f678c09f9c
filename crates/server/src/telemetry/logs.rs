//! Log records on their way to a collector.

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LogRecord;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider};
use tracing::Metadata;

use super::export;
use super::line::on_behalf;
use super::resource::resource;
use crate::config::{Collector, Telemetry};

/// Libraries that take part in the export: what they say of it would be exported, and so on for ever.
const CARRIERS: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "reqwest",
    "rustls",
    "tonic",
    "tower",
];

pub(super) fn provider(config: &Telemetry, collector: &Collector) -> anyhow::Result<SdkLoggerProvider> {
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource(config))
        .with_log_processor(Correlated)
        .with_batch_exporter(export::logs(collector)?)
        .build())
}

pub(super) fn is_exported(metadata: &Metadata<'_>) -> bool {
    let origin = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_event() && !CARRIERS.contains(&origin)
}

/// Tells with each record on whose behalf it is.
#[derive(Debug)]
struct Correlated;

impl LogProcessor for Correlated {
    fn emit(&self, record: &mut SdkLogRecord, _scope: &InstrumentationScope) {
        for (name, value) in on_behalf() {
            record.add_attribute(name, value);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}
