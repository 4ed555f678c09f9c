//! A service from its first breath to its last.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::compose::{self, Composed};
use crate::config::Config;
use crate::telemetry::http::HttpTelemetry;
use crate::telemetry::metrics::Metrics;

/// The Order Generation Service, wired and listening, but not answering yet.
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    composed: Composed,
    metrics: Arc<Metrics>,
    config: Config,
}

impl Service {
    /// Takes the port and opens the store, which need not be there yet.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let address = (config.http.host.as_str(), config.http.port);
        let listener = TcpListener::bind(address).with_context(|| {
            format!("HOST, PORT (http.host, http.port): cannot listen on {}:{}", address.0, address.1)
        })?;
        let address = listener.local_addr()?;
        let metrics = Arc::new(Metrics::start(&config.telemetry)?);
        let composed = compose::order_generation(&config, &metrics).await?;
        if let Err(error) = composed.store.prepare().await {
            // It is tried again by the first call that needs it.
            tracing::warn!(error = format!("{error:#}"), "the store cannot be prepared yet");
        }
        Ok(Self { listener, address, composed, metrics, config })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` completes; then finishes those under way and closes the store.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { listener, address, composed, metrics, config } = self;
        let Composed { app, idempotency, health, store } = composed;
        let telemetry = HttpTelemetry::new(Arc::clone(&metrics), config.telemetry.count_requests);
        let settings = web::Settings {
            service_name: config.service.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workers: compose::or_cores(config.http.workers),
            max_body_bytes: config.http.max_body_bytes,
            request_deadline: config.http.request_deadline(),
            protection: web::Protection {
                api_keys: config.protection.all_api_keys()?,
                guarded: config.protection.api_keys_guard,
                max_requests_in_flight: config.protection.max_requests_in_flight(),
                rate: config.protection.rate(),
                head_timeout: config.protection.head_timeout,
                body_timeout: config.protection.body_timeout,
                keep_alive: config.protection.keep_alive,
                cors: config.http.cors()?,
                headers: config.protection.headers(),
            },
            trusted_proxies: config.http.trusted_proxies,
            shutdown_timeout: config.http.shutdown_timeout,
        };
        let (stopping, stopped_at) = oneshot::channel();
        let shutdown = async move {
            shutdown.await;
            // Whoever waits for it has not ended before.
            let _ = stopping.send(Instant::now());
        };
        tracing::info!(%address, "order generation is listening");

        let serve = web::serve(
            listener,
            app.clone(),
            idempotency,
            health.clone(),
            Arc::new(telemetry),
            settings,
            shutdown,
        );
        select! {
            served = serve => served.context("the HTTP server failed")?,
            () = health.watch(config.neighbours.probe_pause) => {}
            () = app.watch_runs() => {}
        }
        let since = stopped_at.await.unwrap_or_else(|_| Instant::now());
        app.drain(since + config.http.shutdown_timeout).await;
        store.close().await;
        metrics.stop().await;
        tracing::info!("order generation has stopped");
        Ok(())
    }
}

/// Completes when the operating system asks the process to stop, from the call on.
pub(crate) fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let cannot_listen = "cannot listen to signals";
    let mut terminate = signal(SignalKind::terminate()).context(cannot_listen)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(cannot_listen)?;
    Ok(async move {
        select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
    })
}
