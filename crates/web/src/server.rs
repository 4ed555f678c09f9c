//! The HTTP server: what every service's routes are served with.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::http::header::{ALLOW, LOCATION, RETRY_AFTER};
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, PayloadConfig};
use actix_web::{App, HttpServer};
use application::health::Health;
use application::idempotency::Idempotency;
use application::order_generation::OrderGeneration;

use crate::health::{self, Lifetime};
use crate::idempotency::REPLAYED;
use crate::passage::{CORRELATION_ID, InFlight, on_time, passage};
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
    /// Origins whose pages may call; `*` for any.
    pub cors_origins: Vec<String>,
    /// How many proxies stand before the service, whose word on who calls them is taken.
    pub trusted_proxies: usize,
    /// How long requests under way may take once the server stops.
    pub shutdown_timeout: Duration,
}

/// Longer than clients and load balancers keep a connection that nobody uses, mostly a minute: who closes it
/// while the other begins to use it costs a request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

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
            .app_data(settings.clone())
            .app_data(PayloadConfig::new(settings.max_body_bytes))
            .wrap(cors(&settings.cors_origins))
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
        .keep_alive(KEEP_ALIVE)
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

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_headers([CORRELATION_ID, ALLOW, LOCATION, RETRY_AFTER, REPLAYED])
        .max_age(600);
    if origins.iter().any(|origin| origin == "*") {
        // Any page may call, so none may do it with a user's cookies.
        return cors.allow_any_origin().send_wildcard();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
