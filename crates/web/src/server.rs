//! The HTTP server: what every service's routes are served with.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, PayloadConfig};
use actix_web::{App, HttpServer};
use application::health::Health;
use application::idempotency::Idempotency;
use application::order_generation::OrderGeneration;

use crate::cors::cors;
use crate::gate::{Gate, gate};
use crate::health::{self, Lifetime};
use crate::passage::{InFlight, on_time, passage};
use crate::protection::Protection;
use crate::telemetry::{self, Telemetry};
use crate::{openapi, order_generation, routing};

#[derive(Debug, Clone)]
pub struct Settings {
    /// As health reports and the API's description name the service.
    pub service_name: String,
    pub version: String,
    pub workers: usize,
    /// A larger body is refused with 413.
    pub max_body_bytes: usize,
    /// What is done for a request of the API ends by then, its calls to the neighbours above all.
    pub request_deadline: Option<Duration>,
    pub protection: Protection,
    /// How many proxies stand before the service, whose word on who calls them is taken.
    pub trusted_proxies: usize,
    /// How long requests under way may take once the server stops.
    pub shutdown_timeout: Duration,
}

/// Serves order generation on `listener` until `shutdown` completes and the requests under way are answered.
pub async fn serve(
    listener: TcpListener,
    app: Arc<OrderGeneration>,
    idempotency: Arc<Idempotency>,
    health: Arc<Health>,
    telemetry: Arc<dyn Telemetry>,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let app: Data<OrderGeneration> = app.into();
    let idempotency: Data<Idempotency> = idempotency.into();
    let health: Data<Health> = health.into();
    let telemetry: Data<dyn Telemetry> = telemetry.into();
    let lifetime = Data::new(Lifetime::begin());
    let in_flight = Data::new(InFlight::default());
    let Settings { workers, shutdown_timeout, .. } = settings;
    let Protection { keep_alive, head_timeout, .. } = settings.protection;
    let entrance = Data::new(Gate::new(&settings.protection));
    let settings = Data::new(settings);

    let state = lifetime.clone();
    let build = move || {
        App::new()
            .app_data(app.clone())
            .app_data(idempotency.clone())
            .app_data(health.clone())
            .app_data(telemetry.clone())
            .app_data(state.clone())
            .app_data(in_flight.clone())
            .app_data(entrance.clone())
            .app_data(settings.clone())
            .app_data(PayloadConfig::new(settings.max_body_bytes))
            .wrap(from_fn(gate))
            .wrap(cors(&settings.protection.cors))
            .wrap(Compress::default())
            .wrap(from_fn(passage))
            .wrap(from_fn(on_time))
            .configure(order_generation::routes)
            .configure(health::routes)
            .configure(telemetry::routes)
            .configure(openapi::routes(&settings))
            .default_service(web::to(routing::no_such_route))
    };
    let server = HttpServer::new(build)
        .workers(workers)
        .keep_alive(keep_alive)
        .client_request_timeout(head_timeout)
        // Whoever closes its half has gone, as far as one can tell: nothing is done for it any more.
        .h1_allow_half_closed(false)
        .shutdown_timeout(shutdown_timeout.as_secs())
        .disable_signals()
        .listen(listener)?
        .run();

    let handle = server.handle();
    let stop = async {
        shutdown.await;
        lifetime.drain();
        handle.stop(true).await;
    };
    tokio::pin!(server);
    tokio::select! {
        outcome = &mut server => outcome,
        () = stop => server.await,
    }
}
