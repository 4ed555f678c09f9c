//! Every attempt at a neighbour: counted, timed, and told of the trace it belongs to; and the calls that were
//! spared.

use application::health::BreakerState;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use reqwest::header::HeaderMap;
use upstream_http::{Attempted, Ending, Neighbours, Observer};

use super::traces;

/// In seconds.
const DURATIONS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

pub(crate) struct NeighbourFigures {
    attempts: Counter<u64>,
    durations: Histogram<f64>,
    breakers: Gauge<u64>,
}

impl NeighbourFigures {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            attempts: meter
                .u64_counter("external_service_requests_total")
                .with_description("Attempts at neighbours, by status or by what kept them from having one")
                .build(),
            durations: meter
                .f64_histogram("external_service_duration_seconds")
                .with_unit("s")
                .with_description("Time that attempts at neighbours took")
                .with_boundaries(DURATIONS.to_vec())
                .build(),
            breakers: meter
                .u64_gauge("circuit_breaker_state")
                .with_description(
                    "Whether a neighbour is called: 0 yes (closed), 1 a few calls (half open), 2 no (open)",
                )
                .build(),
        }
    }
}

/// Tells of the caches whenever the figures are read.
pub(crate) fn observe_caches(meter: &Meter, neighbours: Neighbours) {
    let of = neighbours.clone();
    meter
        .u64_observable_counter("cache_requests_total")
        .with_description("What was looked for in a cache: a hit was had without a call of its own")
        .with_callback(move |to| {
            for cache in of.caches() {
                for (result, count) in [("hit", cache.hits), ("miss", cache.misses)] {
                    to.observe(count, &[KeyValue::new("cache", cache.name), KeyValue::new("result", result)]);
                }
            }
        })
        .build();
    meter
        .u64_observable_gauge("cache_entries")
        .with_description("Answers of neighbours that are kept")
        .with_callback(move |to| {
            for cache in neighbours.caches() {
                to.observe(cache.entries, &[KeyValue::new("cache", cache.name)]);
            }
        })
        .build();
}

impl Observer for NeighbourFigures {
    fn outgoing(&self, headers: &mut HeaderMap) {
        traces::pass_on(headers);
    }

    fn attempt(&self, attempt: &Attempted) {
        let Attempted { service, endpoint, ending, took } = *attempt;
        let labels = [
            KeyValue::new("service", service),
            KeyValue::new("endpoint", endpoint),
            match ending {
                Ending::Answered(status) => KeyValue::new("status", i64::from(status)),
                Ending::TimedOut
                | Ending::OutOfTime
                | Ending::NotConnected
                | Ending::Broken
                | Ending::Abandoned => KeyValue::new("status", ending.to_string()),
            },
        ];
        self.attempts.add(1, &labels);
        self.durations.record(took.as_secs_f64(), &labels[..2]);
    }

    fn breaker(&self, service: &'static str, state: BreakerState) {
        let state = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.breakers.record(state, &[KeyValue::new("service", service)]);
    }
}
