//! A collector of OTLP, by gRPC and by HTTP, that keeps what it is sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

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
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use prost::Message;
use tonic::{Request, Response, Status, async_trait};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// How the collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Grpc,
    Http,
}

pub(crate) struct Collector {
    pub(crate) endpoint: String,
    received: Received,
    _http: Option<MockServer>,
}

/// All that came, in the order of arrival.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Kept>>);

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) spans: Vec<Span>,
    /// Each series of each counter, gauge and histogram, by name and attributes, to its last number: the
    /// value, or how many were recorded.
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) logs: Vec<Log>,
    /// Of whoever sent anything.
    pub(crate) resources: Vec<Attributes>,
    /// The value of the header `api-key` of each export.
    pub(crate) keys: Vec<Option<String>>,
}

pub(crate) type Attributes = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for one that has none.
    pub(crate) parent: String,
    /// As the protocol numbers them: 1 internal, 2 server, 3 client.
    pub(crate) kind: i32,
    /// In nanoseconds.
    pub(crate) end: u64,
    pub(crate) is_error: bool,
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) message: String,
    pub(crate) trace: String,
    pub(crate) attributes: Attributes,
}

impl Collector {
    pub(crate) async fn start(by: By) -> Self {
        let received = Received::default();
        match by {
            By::Grpc => {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address: SocketAddr = listener.local_addr().unwrap();
                let incoming = tonic::transport::server::TcpIncoming::from(listener);
                let serve = tonic::transport::Server::builder()
                    .add_service(TraceServiceServer::new(received.clone()))
                    .add_service(MetricsServiceServer::new(received.clone()))
                    .add_service(LogsServiceServer::new(received.clone()))
                    .serve_with_incoming(incoming);
                #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                tokio::spawn(serve);
                Self { endpoint: format!("http://{address}"), received, _http: None }
            }
            By::Http => {
                let server = MockServer::start().await;
                let keeper = received.clone();
                let answer = move |request: &wiremock::Request| keeper.answer(request);
                Mock::given(any()).respond_with(answer).mount(&server).await;
                Self { endpoint: server.uri(), received, _http: Some(server) }
            }
        }
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.received.0.lock().unwrap()
    }
}

impl Received {
    fn keep(&self, key: Option<String>, keep: impl FnOnce(&mut Kept)) {
        let mut kept = self.0.lock().unwrap();
        kept.keys.push(key);
        keep(&mut kept);
    }

    fn answer(&self, request: &wiremock::Request) -> ResponseTemplate {
        let key = request.headers.get("api-key").map(|key| key.to_str().unwrap().to_owned());
        let body = request.body.as_slice();
        match request.url.path() {
            "/v1/traces" => self.keep(key, |kept| kept.traces(Message::decode(body).unwrap())),
            "/v1/metrics" => self.keep(key, |kept| kept.metrics(Message::decode(body).unwrap())),
            "/v1/logs" => self.keep(key, |kept| kept.logs(Message::decode(body).unwrap())),
            path => panic!("nothing is exported to {path}"),
        }
        ResponseTemplate::new(200)
    }
}

fn key_of<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("api-key").map(|key| key.to_str().unwrap().to_owned())
}

#[async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(key_of(&request), |kept| kept.traces(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.keep(key_of(&request), |kept| kept.metrics(request.into_inner()));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.keep(key_of(&request), |kept| kept.logs(request.into_inner()));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Kept {
    fn traces(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            self.resources.push(attributes(&of_resource.resource.unwrap().attributes));
            for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
                self.spans.push(Span {
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    kind: span.kind,
                    end: span.end_time_unix_nano,
                    is_error: span.status.is_some_and(|status| status.code == 2),
                    attributes: attributes(&span.attributes),
                });
            }
        }
    }

    fn metrics(&mut self, request: ExportMetricsServiceRequest) {
        for of_resource in request.resource_metrics {
            self.resources.push(attributes(&of_resource.resource.unwrap().attributes));
            for metric in of_resource.scope_metrics.into_iter().flat_map(|of_scope| of_scope.metrics) {
                let mut keep = |labels: &[KeyValue], number: f64| {
                    let labels: Vec<_> =
                        attributes(labels).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
                    self.figures.insert(format!("{}{{{}}}", metric.name, labels.join(",")), number);
                };
                match metric.data.unwrap() {
                    Data::Sum(sum) => {
                        sum.data_points.iter().for_each(|it| keep(&it.attributes, number(it.value.unwrap())));
                    }
                    Data::Gauge(gauge) => {
                        gauge
                            .data_points
                            .iter()
                            .for_each(|it| keep(&it.attributes, number(it.value.unwrap())));
                    }
                    Data::Histogram(histogram) => {
                        #[expect(clippy::cast_precision_loss, reason = "a count of a test")]
                        histogram.data_points.iter().for_each(|it| keep(&it.attributes, it.count as f64));
                    }
                    Data::ExponentialHistogram(_) | Data::Summary(_) => panic!("{} is neither", metric.name),
                }
            }
        }
    }

    fn logs(&mut self, request: ExportLogsServiceRequest) {
        for of_resource in request.resource_logs {
            self.resources.push(attributes(&of_resource.resource.unwrap().attributes));
            for record in of_resource.scope_logs.into_iter().flat_map(|of_scope| of_scope.log_records) {
                self.logs.push(Log {
                    message: text(record.body.as_ref()),
                    trace: hex(&record.trace_id),
                    attributes: attributes(&record.attributes),
                });
            }
        }
    }
}

fn attributes(attributes: &[KeyValue]) -> Attributes {
    attributes.iter().map(|it| (it.key.clone(), text(it.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of a test")]
fn number(value: number_data_point::Value) -> f64 {
    match value {
        number_data_point::Value::AsDouble(number) => number,
        number_data_point::Value::AsInt(number) => number as f64,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}
