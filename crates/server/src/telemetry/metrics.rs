//! The instruments of a service, and who reads them: `GET /metrics`, and a collector if there is one.

use anyhow::Context;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::process;

/// Every instrument is made once, by the part of the service that records with it, and has the same name
/// for both readers.
pub(crate) struct Metrics {
    registry: Registry,
    meter: Meter,
    /// The instruments work while it is there.
    _provider: SdkMeterProvider,
}

impl Metrics {
    pub(crate) fn start(resource: Resource) -> anyhow::Result<Self> {
        let registry = Registry::new();
        // The names are the contract's, and whole as they are.
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_counter_suffixes()
            .without_units()
            .scope_info_enabled(false)
            .build()
            .context("no figures for GET /metrics")?;
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        let meter = provider.meter("globeco");
        process::observe(&meter);
        Ok(Self { registry, meter, _provider: provider })
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
}
