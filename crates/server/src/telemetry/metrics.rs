//! The instruments of a service, and who reads them: `GET /metrics`, and a collector if there is one.

use std::time::Duration;

use anyhow::Context;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use super::resource::resource;
use super::{export, process};
use crate::config::{Export, Telemetry};

/// Every instrument is made once, by the part of the service that records with it, and has the same name
/// for both readers.
pub(crate) struct Metrics {
    registry: Registry,
    provider: SdkMeterProvider,
    meter: Meter,
    flush_timeout: Duration,
}

impl Metrics {
    /// To be called in the runtime that shall carry what is exported, until [`stop`](Self::stop).
    pub(crate) fn start(config: &Telemetry) -> anyhow::Result<Self> {
        let registry = Registry::new();
        // The names are the contract's, and whole as they are.
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_counter_suffixes()
            .without_units()
            .scope_info_enabled(false)
            .build()
            .context("no figures for GET /metrics")?;
        let mut provider = SdkMeterProvider::builder().with_resource(resource(config)).with_reader(reader);
        if let (Some(collector), Export::Otlp) = (config.collector()?, config.metrics) {
            let interval = Duration::from_millis(config.metric_interval_milliseconds.get());
            let exporter = export::metrics(&collector)?;
            provider =
                provider.with_reader(PeriodicReader::builder(exporter).with_interval(interval).build());
        }
        let provider = provider.build();
        let meter = provider.meter("globeco");
        process::observe(&meter);
        Ok(Self { registry, provider, meter, flush_timeout: config.flush_timeout })
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// In Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(error = %error, "the figures cannot be written");
            String::new()
        })
    }

    /// Exports what there is, and no more; a collector that does not take it is not waited for.
    pub(crate) async fn stop(&self) {
        let (provider, flush_timeout) = (self.provider.clone(), self.flush_timeout);
        export::within(flush_timeout, move || {
            // It reports what was lost itself.
            let _ = provider.shutdown_with_timeout(flush_timeout);
        })
        .await;
    }
}
