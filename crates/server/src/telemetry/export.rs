//! The way to the collector, by gRPC or HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::logs::Severity;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as ExportsLogs};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as ExportsSpans};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{Collector, Headers, Protocol};

/// To be called in the runtime that shall carry what is sent by gRPC.
pub(super) fn spans(collector: &Collector) -> anyhow::Result<Watched<SpanExporter>> {
    let exporter = match collector.protocol {
        Protocol::Grpc => grpc(SpanExporter::builder().with_tonic(), collector)?.build(),
        Protocol::Http => http(SpanExporter::builder().with_http(), collector, "traces").build(),
    };
    Ok(Watched::new("traces", exporter.context("no export of traces")?))
}

pub(super) fn metrics(collector: &Collector) -> anyhow::Result<Watched<MetricExporter>> {
    let exporter = match collector.protocol {
        Protocol::Grpc => grpc(MetricExporter::builder().with_tonic(), collector)?.build(),
        Protocol::Http => http(MetricExporter::builder().with_http(), collector, "metrics").build(),
    };
    Ok(Watched::new("metrics", exporter.context("no export of metrics")?))
}

pub(super) fn logs(collector: &Collector) -> anyhow::Result<Watched<LogExporter>> {
    let exporter = match collector.protocol {
        Protocol::Grpc => grpc(LogExporter::builder().with_tonic(), collector)?.build(),
        Protocol::Http => http(LogExporter::builder().with_http(), collector, "logs").build(),
    };
    Ok(Watched::new("logs", exporter.context("no export of logs")?))
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, collector: &Collector) -> anyhow::Result<B> {
    let Headers(headers) = &collector.headers;
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| Ok((HeaderName::try_from(name)?, HeaderValue::try_from(value)?)))
        .collect::<anyhow::Result<_>>()?;
    Ok(builder
        .with_endpoint(&collector.url)
        .with_timeout(collector.timeout)
        .with_metadata(MetadataMap::from_headers(headers)))
}

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, collector: &Collector, signal: &str) -> B {
    let Headers(headers) = &collector.headers;
    builder
        .with_endpoint(format!("{}/v1/{signal}", collector.url))
        .with_timeout(collector.timeout)
        .with_headers(headers.iter().cloned().collect::<HashMap<_, _>>())
}

/// An exporter that logs when it begins to fail, and when it works again, but not every failure between.
#[derive(Debug)]
pub(super) struct Watched<E> {
    signal: &'static str,
    exporter: E,
    is_failing: AtomicBool,
}

impl<E> Watched<E> {
    fn new(signal: &'static str, exporter: E) -> Self {
        Self { signal, exporter, is_failing: AtomicBool::new(false) }
    }

    fn told(&self, exported: OTelSdkResult) -> OTelSdkResult {
        let signal = self.signal;
        match &exported {
            Ok(()) if self.is_failing.swap(false, Ordering::Relaxed) => {
                tracing::info!(signal, "the collector takes telemetry again");
            }
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(signal, %error, "the collector does not take telemetry; it is lost until it does");
            }
            Ok(()) | Err(_) => {}
        }
        exported
    }
}

impl<E: ExportsSpans> ExportsSpans for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.told(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: ExportsLogs> ExportsLogs for Watched<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.told(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.exporter.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.told(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Does what blocks on a thread of its own, which neither an async task nor the end of the process waits
/// for any longer than `patience`.
pub(super) async fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = oneshot::channel();
    let work = move || {
        work();
        // Whoever waited may have run out of patience.
        let _ = done.send(());
    };
    match thread::Builder::new().name("telemetry-flush".to_owned()).spawn(work) {
        Ok(_) if timeout(patience, is_done).await.is_ok() => {}
        Ok(_) | Err(_) => tracing::warn!("the last telemetry is lost: it could not be exported in time"),
    }
}
