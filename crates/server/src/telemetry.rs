//! What is told of the service's work: log lines on standard output, figures at `GET /metrics`, and all of
//! it, with traces, to a collector if there is one.
//!
//! No other crate knows of OpenTelemetry. They make spans and log lines, and ports are wrapped here.

mod export;
pub(crate) mod http;
pub(crate) mod journal;
mod line;
mod logs;
pub(crate) mod metrics;
pub(crate) mod neighbours;
pub(crate) mod optimizer;
mod process;
mod resource;
pub(crate) mod store;
pub(crate) mod traces;

use std::io::stdout;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{Config, Export};

/// Log lines and traces under way, until [`stop`](Self::stop).
#[must_use]
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    flush_timeout: Duration,
}

/// Starts log lines for the life of the process; and traces, if someone takes them.
pub(crate) fn start(config: &Config) -> anyhow::Result<Telemetry> {
    let telemetry = &config.telemetry;
    let collector = telemetry.collector()?;
    let to = |export| collector.as_ref().filter(|_| export == Export::Otlp);
    let traces = to(telemetry.traces).map(|collector| traces::provider(telemetry, collector)).transpose()?;
    let logs = to(telemetry.logs).map(|collector| logs::provider(telemetry, collector)).transpose()?;

    let lines = tracing_subscriber::fmt::layer()
        .event_format(line::Lines {
            service: telemetry.service_name.clone(),
            version: env!("CARGO_PKG_VERSION"),
        })
        .fmt_fields(line::RequestFields)
        .with_writer(stdout)
        .with_filter(filter(&config.log.level)?);
    let spans = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("globeco"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(filter_fn(traces::is_exported).with_max_level_hint(LevelFilter::DEBUG))
    });
    let records = match &logs {
        Some(provider) => {
            let filter = filter(&config.log.level)?.and(filter_fn(logs::is_exported));
            Some(OpenTelemetryTracingBridge::new(provider).with_filter(filter))
        }
        None => None,
    };
    // A second start in one process, as tests make it, keeps the first subscriber.
    let _ =
        tracing::subscriber::set_global_default(Registry::default().with(spans).with(lines).with(records));
    Ok(Telemetry { traces, logs, flush_timeout: telemetry.flush_timeout })
}

/// The audit trail is kept whatever else is logged, unless the filter names it.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(format!("audit=info,{level}"))?)
}

impl Telemetry {
    /// Exports what there is; a collector that does not take it is not waited for.
    pub(crate) async fn stop(self) {
        let Self { traces, logs, flush_timeout } = self;
        if traces.is_none() && logs.is_none() {
            return;
        }
        export::within(flush_timeout, move || {
            // They report what was lost themselves.
            if let Some(traces) = traces {
                let _ = traces.shutdown_with_timeout(flush_timeout);
            }
            if let Some(logs) = logs {
                let _ = logs.shutdown_with_timeout(flush_timeout);
            }
        })
        .await;
    }
}
