//! What telemetry costs: the service without a collector, with one that takes everything, and with one that
//! is not there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use reqwest::Client;
use tokio::net::TcpStream;
use tonic::{Request, Response, Status, async_trait};

use super::Contender;
use crate::neighbours::Neighbours;
use crate::process::{Running, free_port, globeco};
use crate::say;
use crate::service::{Launch, StoreKind};

const SETTINGS: [&str; 3] = ["no telemetry", "a collector", "a dead collector"];

/// A collector of OTLP by gRPC, which ends when it is dropped.
pub(super) struct Collecting {
    _running: Running,
    log: PathBuf,
}

impl Collecting {
    /// How many spans came.
    pub(super) fn spans(&self) -> Result<usize> {
        let log = std::fs::read_to_string(&self.log)?;
        let last = log.lines().last().context("nothing was exported")?;
        Ok(last.parse()?)
    }
}

/// The service on one store in each of the three settings, and the collector.
pub(super) async fn contenders(
    kind: &StoreKind,
    folder: &Path,
    neighbours: &Neighbours,
    client: &Client,
) -> Result<(Vec<Contender>, Collecting)> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([super::COLLECTOR, &port.to_string()]);
    let log = folder.join(format!("collector {}.log", kind.name()));
    let mut running = Running::start(&mut command, &log)?;
    running
        .until(async || {
            TcpStream::connect(("127.0.0.1", port)).await?;
            Ok(())
        })
        .await?;

    let mut contenders = Vec::new();
    for (setting, port) in SETTINGS.into_iter().zip([None, Some(port), Some(free_port()?)]) {
        let name = format!("{}, {setting}", kind.name());
        let database = format!("bench_http_{}_{}", std::process::id(), contenders.len());
        let mut launch = Launch::new(globeco()?, folder, &database, neighbours)?;
        launch.variables.extend(kind.variables(folder, &database));
        if let Some(port) = port {
            launch.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}")));
        }
        let served = launch.start(client).await?;
        let mut contender = Contender::new(&name, served.base, Some(served.process));
        contender.database = kind.bare(&database).await?;
        contenders.push(contender);
    }
    Ok((contenders, Collecting { _running: running, log }))
}

pub(super) fn collect(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let collector = Collector::default();
    let serve = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector.clone()))
        .add_service(LogsServiceServer::new(collector))
        .serve(([127, 0, 0, 1], port).into());
    Ok(runtime.block_on(serve)?)
}

/// Takes whatever comes, keeps nothing, and prints how many spans there were so far.
#[derive(Clone, Default)]
struct Collector(Arc<AtomicUsize>);

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.get_ref().resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: usize = scopes.map(|scope| scope.spans.len()).sum();
        say(&format!("{}\n", self.0.fetch_add(spans, Ordering::Relaxed) + spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        _: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
