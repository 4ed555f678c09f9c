//! Requests: the figures of the contract, and the trace of whoever calls.

use std::sync::Arc;

use application::trace::TraceContext;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use tracing::Span;
use web::Exchange;

use super::metrics::Metrics;
use super::traces;

/// In milliseconds.
const DURATIONS: [f64; 11] = [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];

pub(crate) struct HttpTelemetry {
    metrics: Arc<Metrics>,
    /// `None` if requests shall not be counted.
    figures: Option<Figures>,
}

impl HttpTelemetry {
    pub(crate) fn new(metrics: Arc<Metrics>, count_requests: bool) -> Self {
        let figures = count_requests.then(|| Figures::new(metrics.meter()));
        Self { metrics, figures }
    }
}

struct Figures {
    requests: Counter<u64>,
    durations: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
    errors: Counter<u64>,
    turned_away: Counter<u64>,
}

/// The codes of the problems that say so: to a caller without a key, one who asks too often, and whoever
/// comes when the service is full.
const TURNED_AWAY: [&str; 4] = ["api-key-required", "api-key-unknown", "too-many-requests", "overloaded"];

impl Figures {
    fn new(meter: &Meter) -> Self {
        let turned_away = meter
            .u64_counter("requests_turned_away_total")
            .with_description(
                "Requests refused before anything was done for them, by the code of the problem",
            )
            .build();
        // An increase can be told from the first one on.
        for reason in TURNED_AWAY {
            turned_away.add(0, &[KeyValue::new("reason", reason)]);
        }
        Self {
            turned_away,
            requests: meter
                .u64_counter("http_requests_total")
                .with_description("Requests answered, or abandoned by their clients (status 499)")
                .build(),
            durations: meter
                .f64_histogram("http_request_duration_milliseconds")
                .with_unit("ms")
                .with_description("Time until the last byte of an answer, or until the client was gone")
                .with_boundaries(DURATIONS.to_vec())
                .build(),
            in_flight: meter
                .i64_up_down_counter("http_requests_in_flight")
                .with_description("Requests being answered")
                .build(),
            errors: meter
                .u64_counter("errors_total")
                .with_description(
                    "Requests answered with a status of 500 or more, by the code of the problem",
                )
                .build(),
        }
    }

    fn record(&self, exchange: &Exchange<'_>) {
        let Exchange { method, route, status, problem, took } = *exchange;
        let path = KeyValue::new("path", route.to_owned());
        if 500 <= status {
            let error_type = KeyValue::new("error_type", problem.unwrap_or("turned-away"));
            self.errors.add(1, &[error_type, KeyValue::new("endpoint", path.value.clone())]);
        }
        if let Some(reason) = problem.filter(|code| TURNED_AWAY.contains(code)) {
            self.turned_away.add(1, &[KeyValue::new("reason", reason)]);
        }
        let labels = [KeyValue::new("method", method), path, KeyValue::new("status", i64::from(status))];
        self.requests.add(1, &labels);
        self.durations.record(took.as_secs_f64() * 1000.0, &labels);
        self.in_flight.add(-1, &[]);
    }
}

impl web::Telemetry for HttpTelemetry {
    fn began(&self, span: &Span, trace: Option<&TraceContext>) {
        if let Some(trace) = trace {
            traces::adopt(span, trace);
        }
        if let Some(figures) = &self.figures {
            figures.in_flight.add(1, &[]);
        }
    }

    fn ended(&self, exchange: &Exchange<'_>) {
        if let Some(figures) = &self.figures {
            figures.record(exchange);
        }
    }

    fn figures(&self) -> String {
        self.metrics.text()
    }
}
