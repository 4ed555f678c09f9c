//! One service on one port: its server, its call log and its faults.

mod admin;
mod calls;
pub(crate) mod faults;
mod gate;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::StatusCode,
    middleware::from_fn,
    web::{Data, PayloadConfig, ServiceConfig},
};
use tokio::{net::TcpSocket, task::JoinHandle};

use self::{faults::Faults, gate::Gate};

// A full batch of a thousand transactions is about a quarter of a megabyte.
const MAX_BODY_BYTES: usize = 4 << 20;

// Longer than the idle time of pooling clients, so that a reused connection is never half closed.
const KEEP_ALIVE: Duration = Duration::from_mins(2);

/// What makes a neighbour a particular service.
pub(crate) trait Service: Send + Sync + 'static {
    fn routes(config: &mut ServiceConfig);

    /// The body this service gives with an error status that has no better text: unknown routes,
    /// wrong methods, injected errors.
    fn refusal(status: StatusCode, path: &str) -> HttpResponse;

    /// Forgets everything that happened since the start.
    fn reset(&self);
}

/// A running service. Dropping it closes its port.
pub struct Neighbour<S> {
    pub(crate) service: Arc<S>,
    gate: Arc<Gate>,
    address: SocketAddr,
    door: Door,
    open: Open<S>,
}

type Open<S> = fn(&Arc<S>, &Arc<Gate>, TcpListener) -> io::Result<Door>;

enum Door {
    Open {
        handle: ServerHandle,
        task: JoinHandle<io::Result<()>>,
    },
    /// Bound without listening: whoever calls is refused, and nobody else is given the port.
    Shut {
        _place: TcpSocket,
    },
}

impl<S> Neighbour<S> {
    pub(crate) fn start(service: Arc<S>, port: u16, seed: u64) -> io::Result<Self>
    where
        S: Service,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Gate::new(seed, S::refusal));
        let door = Door::open(&service, &gate, listener)?;
        Ok(Self { service, gate, address, door, open: Door::open })
    }

    pub(crate) async fn stop(mut self) {
        self.door.close().await;
    }

    /// As if its process had ended: its connections close, and calls are refused. It still knows what it
    /// knew.
    pub async fn shut(&mut self) -> io::Result<()> {
        self.door.close().await;
        let place = TcpSocket::new_v4()?;
        place.set_reuseaddr(true)?;
        place.bind(self.address)?;
        self.door = Door::Shut { _place: place };
        Ok(())
    }

    /// Listens again where it did.
    pub fn reopen(&mut self) -> io::Result<()> {
        if matches!(self.door, Door::Shut { .. }) {
            let listener = TcpListener::bind(self.address)?;
            self.door = (self.open)(&self.service, &self.gate, listener)?;
        }
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many calls have arrived, whatever became of them. Calls under `/sandbox` do not count.
    pub fn calls(&self) -> u64 {
        self.gate.calls().total()
    }

    /// The calls to one path, without its query.
    pub fn calls_to(&self, path: &str) -> u64 {
        self.gate.calls().to(path)
    }

    /// The calls to all paths that begin so, such as the route of `/api/v1/price/`.
    pub fn calls_under(&self, prefix: &str) -> u64 {
        self.gate.calls().under(prefix)
    }

    /// The most calls that were being answered at the same time.
    pub fn most_calls_at_once(&self) -> u64 {
        self.gate.calls().most_at_once()
    }

    /// The latest `X-Correlation-ID` values, oldest first.
    pub fn correlation_ids(&self) -> Vec<String> {
        self.gate.calls().correlation_ids()
    }

    /// The W3C trace contexts of the latest calls that had one, in the order of arrival.
    pub fn traceparents(&self) -> Vec<String> {
        self.gate.calls().traceparents()
    }

    /// Replaces the faults. The same faults fail the same calls again: the draw starts afresh.
    pub fn inject(&self, faults: Faults) {
        self.gate.inject(faults);
    }

    pub fn recover(&self) {
        self.gate.inject(Faults::default());
    }
}

impl Door {
    #[expect(
        clippy::disallowed_methods,
        reason = "`close` awaits the task; dropping tells the server to end"
    )]
    fn open<S: Service>(service: &Arc<S>, gate: &Arc<Gate>, listener: TcpListener) -> io::Result<Self> {
        let (site, front) = (Data::from(Arc::clone(service)), Arc::clone(gate));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(site.clone())
                .app_data(Data::from(Arc::clone(&front)))
                .app_data(PayloadConfig::new(MAX_BODY_BYTES))
                .wrap(from_fn(gate::pass))
                .configure(admin::routes::<S>)
                .configure(S::routes)
        })
        .workers(1)
        .keep_alive(KEEP_ALIVE)
        .disable_signals()
        .listen(listener)?
        .run();
        Ok(Self::Open { handle: server.handle(), task: tokio::spawn(server) })
    }

    async fn close(&mut self) {
        if let Self::Open { handle, task } = self {
            handle.stop(false).await;
            // A server that failed is as stopped as one that ended.
            let _ = task.await;
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Self::Open { handle, .. } = self {
            // The command is sent by the call; the future only waits for it.
            drop(handle.stop(false));
        }
    }
}
