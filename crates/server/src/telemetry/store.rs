//! Every command to the store: counted, timed, and a span of its own.

use std::future::Future;
use std::time::{Duration, Instant};

use application::idempotency::{Answer, Claim, Claimed, IdempotencyKeys, Key, OperationId};
use application::order_generation::ports::{
    Direction, Ending, Holder, Lease, ModelKey, ModelRepository, OpenRebalance, Page, RebalanceKey,
    RebalanceRepository, RebalanceRuns,
};
use application::repository::Error;
use async_trait::async_trait;
use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId, RebalanceId};
use domain::order_generation::model::{Model, ModelContent};
use domain::order_generation::progress::{Progress, Reason};
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::version::Version;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use tracing::Instrument;
use tracing::field::Empty;

use crate::store::Store;

/// In seconds.
const DURATIONS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

#[derive(Clone)]
pub(crate) struct StoreFigures {
    /// As OpenTelemetry names the store.
    system: &'static str,
    commands: Counter<u64>,
    durations: Histogram<f64>,
}

impl StoreFigures {
    pub(crate) fn new(meter: &Meter, system: &'static str) -> Self {
        Self {
            system,
            commands: meter
                .u64_counter("database_operations_total")
                .with_description("Commands to the store, by what they came to")
                .build(),
            durations: meter
                .f64_histogram("database_operation_duration_seconds")
                .with_unit("s")
                .with_description("Time that commands to the store took")
                .with_boundaries(DURATIONS.to_vec())
                .build(),
        }
    }

    /// Tells of the store's connections whenever the figures are read.
    pub(crate) fn observe_connections(meter: &Meter, store: Store) {
        meter
            .u64_observable_gauge("database_connections")
            .with_description("Connections to the store")
            .with_callback(move |to| {
                for (pool, used, idle) in store.pools() {
                    for (state, count) in [("used", used), ("idle", idle)] {
                        to.observe(count, &[KeyValue::new("pool", pool), KeyValue::new("state", state)]);
                    }
                }
            })
            .build();
    }

    async fn observe<T>(
        &self,
        collection: &'static str,
        operation: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let span = tracing::debug_span!(
            "store",
            otel.name = format!("{operation} {collection}"),
            otel.kind = "client",
            db.system.name = self.system,
            db.operation.name = operation,
            db.collection.name = collection,
            error.type = Empty,
            otel.status_code = Empty,
        );
        let start = Instant::now();
        let done = command.instrument(span.clone()).await;
        let took = start.elapsed();

        let status = status(&done);
        if let Err(Error::Corrupt { .. } | Error::Unavailable { .. }) = &done {
            span.record("error.type", status);
            span.record("otel.status_code", "ERROR");
        }
        let labels = [
            KeyValue::new("operation", operation),
            KeyValue::new("collection", collection),
            KeyValue::new("status", status),
        ];
        self.commands.add(1, &labels);
        self.durations.record(took.as_secs_f64(), &labels[..2]);
        done
    }
}

/// A refusal, such as a conflict, is an answer.
fn status<T>(done: &Result<T, Error>) -> &'static str {
    match done {
        Ok(_) => "ok",
        Err(Error::Missing) => "missing",
        Err(Error::Conflict { .. }) => "conflict",
        Err(Error::Duplicate { .. }) => "duplicate",
        Err(Error::Corrupt { .. }) => "corrupt",
        Err(Error::Unavailable { .. }) => "unavailable",
    }
}

/// A repository, observed.
pub(crate) struct Observed<R: ?Sized> {
    pub(crate) inner: Box<R>,
    pub(crate) figures: StoreFigures,
}

impl Observed<dyn ModelRepository> {
    async fn observe<T>(
        &self,
        operation: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.figures.observe("models", operation, command).await
    }
}

impl Observed<dyn RebalanceRepository> {
    async fn observe<T>(
        &self,
        operation: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.figures.observe("rebalances", operation, command).await
    }
}

impl Observed<dyn RebalanceRuns> {
    async fn observe<T>(
        &self,
        operation: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.figures.observe("rebalances", operation, command).await
    }
}

impl Observed<dyn IdempotencyKeys> {
    async fn observe<T>(
        &self,
        operation: &'static str,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.figures.observe("idempotency_keys", operation, command).await
    }
}

#[async_trait]
impl ModelRepository for Observed<dyn ModelRepository> {
    async fn find(&self, id: &ModelId) -> Result<Option<Model>, Error> {
        self.observe("find", self.inner.find(id)).await
    }

    async fn list(&self, order: &[(ModelKey, Direction)], page: Page) -> Result<Vec<Model>, Error> {
        self.observe("list", self.inner.list(order, page)).await
    }

    async fn newest_followed_by(&self, portfolio: &PortfolioId) -> Result<Option<Model>, Error> {
        self.observe("find_followed", self.inner.newest_followed_by(portfolio)).await
    }

    async fn insert(&self, model: &Model) -> Result<(), Error> {
        self.observe("insert", self.inner.insert(model)).await
    }

    async fn replace(
        &self,
        id: &ModelId,
        content: &ModelContent,
        last_rebalance_date: Option<Timestamp>,
        expected: Version,
    ) -> Result<Model, Error> {
        self.observe("replace", self.inner.replace(id, content, last_rebalance_date, expected)).await
    }

    async fn delete(&self, id: &ModelId, expected: Version) -> Result<(), Error> {
        self.observe("delete", self.inner.delete(id, expected)).await
    }
}

#[async_trait]
impl RebalanceRepository for Observed<dyn RebalanceRepository> {
    async fn record(&self, rebalance: &Rebalance) -> Result<(), Error> {
        self.observe("record", self.inner.record(rebalance)).await
    }

    async fn open(&self, id: &RebalanceId) -> Result<Option<OpenRebalance<'static>>, Error> {
        self.observe("open", self.inner.open(id)).await
    }

    async fn list(&self, order: &[(RebalanceKey, Direction)], page: Page) -> Result<Vec<Rebalance>, Error> {
        self.observe("list", self.inner.list(order, page)).await
    }

    async fn containing(&self, portfolios: &[PortfolioId], page: Page) -> Result<Vec<Rebalance>, Error> {
        self.observe("containing", self.inner.containing(portfolios, page)).await
    }

    async fn find_portfolio(
        &self,
        id: &RebalanceId,
        portfolio: &PortfolioId,
    ) -> Result<Option<PortfolioRebalance>, Error> {
        self.observe("find_portfolio", self.inner.find_portfolio(id, portfolio)).await
    }

    async fn delete(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        self.observe("delete", self.inner.delete(id, expected)).await
    }
}

#[async_trait]
impl RebalanceRuns for Observed<dyn RebalanceRuns> {
    async fn start(&self, header: &RebalanceHeader, lease: Lease) -> Result<(), Error> {
        self.observe("start", self.inner.start(header, lease)).await
    }

    async fn append(
        &self,
        id: &RebalanceId,
        holder: Holder,
        first: usize,
        portfolios: &[PortfolioRebalance],
    ) -> Result<bool, Error> {
        self.observe("append", self.inner.append(id, holder, first, portfolios)).await
    }

    async fn renew(&self, id: &RebalanceId, lease: Lease, progress: Progress) -> Result<bool, Error> {
        self.observe("renew", self.inner.renew(id, lease, progress)).await
    }

    async fn finish(&self, id: &RebalanceId, holder: Holder, ending: &Ending) -> Result<bool, Error> {
        self.observe("finish", self.inner.finish(id, holder, ending)).await
    }

    async fn cancel(&self, id: &RebalanceId, expected: Version) -> Result<(), Error> {
        self.observe("cancel", self.inner.cancel(id, expected)).await
    }

    async fn expire(&self, reason: &Reason) -> Result<Vec<RebalanceId>, Error> {
        self.observe("expire", self.inner.expire(reason)).await
    }
}

#[async_trait]
impl IdempotencyKeys for Observed<dyn IdempotencyKeys> {
    async fn claim(&self, key: &Key, claim: &Claim) -> Result<Claimed, Error> {
        self.observe("claim", self.inner.claim(key, claim)).await
    }

    async fn renew(&self, key: &Key, holder: OperationId, lease: Duration) -> Result<bool, Error> {
        self.observe("renew", self.inner.renew(key, holder, lease)).await
    }

    async fn answer(&self, key: &Key, holder: OperationId, answer: &Answer) -> Result<bool, Error> {
        self.observe("answer", self.inner.answer(key, holder, answer)).await
    }

    async fn release(&self, key: &Key, holder: OperationId) -> Result<(), Error> {
        self.observe("release", self.inner.release(key, holder)).await
    }

    async fn suspend(&self, key: &Key, holder: OperationId) -> Result<(), Error> {
        self.observe("suspend", self.inner.suspend(key, holder)).await
    }
}
