//! Rebalancing in chunks, under way where everybody can see it: in memory that does not grow with the
//! number of portfolios.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use domain::Timestamp;
use domain::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use domain::order_generation::holdings::Holdings;
use domain::order_generation::model::Model;
use domain::order_generation::price::PriceSnapshot;
use domain::order_generation::priced_model::PricedModel;
use domain::order_generation::problem::Refusal;
use domain::order_generation::progress::{Progress, RebalanceStatus};
use domain::order_generation::rebalance::{FailedPortfolio, PortfolioRebalance, RebalanceHeader};
use domain::order_generation::trading_rules::TradingRules;
use domain::version::Version;
use futures_util::future::{BoxFuture, FutureExt, try_join3};
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::journal::{RunBegun, RunEntry, Stage};
use super::ports::{Ending, Holder, Lease};
use super::rebalance::failed;
use super::{Error, OrderGeneration};
use crate::chain::Chain;
use crate::{caller, correlation, deadline, repository, trace};

/// More portfolios than these are not rebalanced, or read, in memory.
pub const IN_MEMORY: usize = 256;

/// So many portfolios are read while as many are solved, and others written.
const CHUNK: usize = 64;

/// So many chunks are written at a time: while a store waits for its disk, it can make ready the next.
const WRITES: usize = 2;

/// How far a run has come is told to the store no more often: nobody looks more often.
const TELLING: Duration = Duration::from_millis(500);

/// What the runs that were told to stop may take to say so in the store.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub struct RunSettings {
    /// Runs at the same time of which nobody waits for the end.
    pub at_most: usize,
    /// How long a run that is not heard of is left alone.
    pub lease: Duration,
    /// Makes a span that nobody has entered yet part of the trace of the current one, which may end before.
    pub follow: fn(&Span),
}

/// The runs of this process.
pub struct UnderWay {
    holder: Holder,
    settings: RunSettings,
    /// Runs outlive the request that asked for them, and the thread that answers it.
    runtime: Handle,
    free: Arc<Semaphore>,
    stops: Mutex<HashMap<RebalanceId, oneshot::Sender<Stop>>>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Cancelled,
    ShuttingDown,
}

impl UnderWay {
    /// Within a runtime, on which the runs go on.
    pub fn new(settings: RunSettings) -> Self {
        Self {
            holder: Holder::new(getrandom::u64().expect("the system has a source of randomness")),
            settings,
            runtime: Handle::current(),
            free: Arc::new(Semaphore::new(settings.at_most)),
            stops: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    fn lease(&self) -> Lease {
        Lease { holder: self.holder, length: self.settings.lease }
    }

    fn stops(&self) -> MutexGuard<'_, HashMap<RebalanceId, oneshot::Sender<Stop>>> {
        self.stops.lock().expect("no holder of this lock panics")
    }

    fn stop(&self, id: &RebalanceId, why: Stop) {
        if let Some(stop) = self.stops().remove(id) {
            // Whoever has ended already need not be told.
            let _ = stop.send(why);
        }
    }

    async fn none_left(&self) {
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// A run that is counted until this is dropped.
struct Registered {
    app: Arc<OrderGeneration>,
    id: RebalanceId,
}

impl Registered {
    fn new(app: &Arc<OrderGeneration>, id: RebalanceId) -> (Self, oneshot::Receiver<Stop>) {
        let (stop, stopped) = oneshot::channel();
        app.under_way.stops().insert(id, stop);
        app.under_way.count.send_modify(|count| *count += 1);
        (Self { app: Arc::clone(app), id }, stopped)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.app.under_way.stops().remove(&self.id);
        self.app.under_way.count.send_modify(|count| *count -= 1);
    }
}

/// Who wants to know how a run ends.
enum Waiting {
    /// Nobody: the store tells.
    Nobody { _place: OwnedSemaphorePermit },
    /// The caller of this, for as long as it waits; else nothing is kept.
    Caller(oneshot::Sender<Result<(), Error>>),
}

struct Run {
    id: RebalanceId,
    model: Model,
    rules: TradingRules,
    date: Timestamp,
}

/// Lets `work` know, wherever it goes on, who asked for it in which request.
fn on_behalf<'a>(work: impl Future<Output = ()> + Send + 'a) -> BoxFuture<'a, ()> {
    let mut work = trace::scope(trace::current(), work).boxed();
    if let Some(caller) = caller::current() {
        work = caller::scope(caller, work).boxed();
    }
    if let Some(request) = correlation::current() {
        work = correlation::scope(request, work).boxed();
    }
    work
}

/// What the portfolios of a run came to.
#[derive(Default)]
struct Done {
    rebalanced: usize,
    failed: Vec<FailedPortfolio>,
    first_refusal: Option<(PortfolioId, Refusal)>,
}

enum Halt {
    Failed(Error),
    /// Someone else ended the run.
    Lost,
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

enum End {
    Done(Done),
    Halted(Halt),
    Stopped(Stop),
    Abandoned,
}

impl OrderGeneration {
    /// Begins to rebalance every portfolio of the model, and answers at once: what becomes of it is told by
    /// the record.
    ///
    /// As [`rebalance_model`](Self::rebalance_model), with its own answer to an outage: the record is FAILED.
    pub async fn start_rebalance(
        self: &Arc<Self>,
        model: &ModelId,
        keep_as: RebalanceId,
        rules: Option<TradingRules>,
    ) -> Result<RebalanceHeader, Error> {
        let model = match self.model(model).await {
            Ok(model) => model,
            Err(error) => {
                self.tell(model, None, &keep_as, Err(&error));
                return Err(error);
            }
        };
        let Ok(place) = Arc::clone(&self.under_way.free).try_acquire_owned() else {
            self.tell(&model.id, Some(model.version), &keep_as, Err(&Error::TooManyRuns));
            return Err(Error::TooManyRuns);
        };
        self.start(model, keep_as, rules, Waiting::Nobody { _place: place }).await
    }

    fn tell(
        &self,
        model: &ModelId,
        model_version: Option<Version>,
        rebalance: &RebalanceId,
        result: Result<(usize, usize), &Error>,
    ) {
        self.journal.run_ended(&RunEntry { model, model_version, rebalance, result });
    }

    /// Rebalances every portfolio of the model in chunks, and keeps all of them or none.
    pub(super) async fn run_to_the_end(
        self: &Arc<Self>,
        model: Model,
        keep_as: RebalanceId,
        rules: Option<TradingRules>,
    ) -> Result<(), Error> {
        let (told, end) = oneshot::channel();
        self.start(model, keep_as, rules, Waiting::Caller(told)).await?;
        // Whoever does not come to say how it ended has ended with the process.
        end.await.unwrap_or(Err(Error::Interrupted))
    }

    async fn start(
        self: &Arc<Self>,
        model: Model,
        id: RebalanceId,
        rules: Option<TradingRules>,
        waiting: Waiting,
    ) -> Result<RebalanceHeader, Error> {
        let rules = rules.unwrap_or_else(|| model.rules.clone());
        let run = Run { id, model, rules, date: self.clock.now() };
        let header = run.header();
        if let Err(error) = self.begin(&run, &header).await {
            self.tell_end(&run, Err(&error));
            return Err(error);
        }
        self.journal.run_begun(&RunBegun {
            model: &run.model.id,
            model_version: run.model.version,
            rebalance: &run.id,
            portfolios: run.total(),
        });

        let (registered, stopped) = Registered::new(self, id);
        // A child would keep the span of the request open.
        let span = tracing::info_span!(parent: None, "run", rebalance_id = %id, model_id = %run.model.id);
        (self.under_way.settings.follow)(&span);
        // A run that nobody waits for has all the time it needs.
        let late = match &waiting {
            Waiting::Nobody { .. } => None,
            Waiting::Caller(_) => deadline::remaining().map(|left| Instant::now() + left),
        };
        let app = Arc::clone(self);
        let life = async move {
            match late {
                Some(late) => deadline::scope(late, app.live(run, stopped, waiting)).await,
                None => app.live(run, stopped, waiting).await,
            }
            drop(registered);
        };
        self.under_way.runtime.spawn(on_behalf(life.instrument(span)));
        Ok(header)
    }

    async fn begin(&self, run: &Run, header: &RebalanceHeader) -> Result<(), Error> {
        if run.model.positions.is_empty() {
            return Err(Error::Refused(Refusal::EmptyModel));
        }
        self.runs.start(header, self.under_way.lease()).await.map_err(|error| match error {
            repository::Error::Duplicate { .. } => Error::RebalanceExists(run.id),
            repository::Error::Missing
            | repository::Error::Conflict { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        })
    }

    async fn live(&self, run: Run, stopped: oneshot::Receiver<Stop>, mut waiting: Waiting) {
        let progress = watch::Sender::new(run.progress(&Done::default()));
        let end = tokio::select! {
            biased;
            Ok(why) = stopped => End::Stopped(why),
            () = waiting.is_over() => End::Abandoned,
            halted = self.hold(&run, &progress) => End::Halted(halted),
            done = self.rebalance_in_chunks(&run, &progress) => match done {
                Ok(done) => End::Done(done),
                Err(halted) => End::Halted(halted),
            },
        };
        let so_far = *progress.borrow();
        match waiting {
            Waiting::Nobody { .. } => {
                let ended = self.end(&run, end, so_far).await;
                self.tell_end(&run, ended.as_ref().copied());
            }
            Waiting::Caller(told) => {
                let ended = self.end_or_forget(&run, end).await;
                self.tell_end(&run, ended.as_ref().copied());
                // Whoever has gone need not be told.
                let _ = told.send(ended.map(|_| ()));
            }
        }
    }

    fn tell_end(&self, run: &Run, ended: Result<(usize, usize), &Error>) {
        self.tell(&run.model.id, Some(run.model.version), &run.id, ended);
    }

    /// Renews the lease, and tells how far the run has come, until the run is someone else's.
    async fn hold(&self, run: &Run, progress: &watch::Sender<Progress>) -> Halt {
        let lease = self.under_way.lease();
        let mut progress = progress.subscribe();
        loop {
            let renewal = Instant::now() + lease.length / 3;
            tokio::time::sleep(TELLING.min(lease.length / 3)).await;
            // Whoever makes progress lives as long as this.
            let _ = tokio::time::timeout_at(renewal, progress.changed()).await;
            let so_far = *progress.borrow_and_update();
            match self.runs.renew(&run.id, lease, so_far).await {
                Ok(true) => {}
                Ok(false) => return Halt::Lost,
                Err(error) => tracing::warn!(error = %Chain(&error), "a lease is not renewed"),
            }
        }
    }

    /// Three stages side by side, each at most one chunk ahead of the next.
    async fn rebalance_in_chunks(&self, run: &Run, progress: &watch::Sender<Progress>) -> Result<Done, Halt> {
        let (read, mut to_solve) = mpsc::channel::<(&[PortfolioId], Vec<Holdings>, Arc<PriceSnapshot>)>(1);
        let (solved, mut to_write) = mpsc::channel(1);

        let reading = async move {
            let mut prices = Arc::<PriceSnapshot>::default();
            let mut asked = HashSet::new();
            for portfolios in run.model.followers.as_slice().chunks(CHUNK) {
                let holdings = self.holdings_of(portfolios).await?;
                let wanted = run.model.positions.iter().map(|position| position.security);
                let held = holdings.iter().flat_map(Holdings::securities);
                let met: BTreeSet<SecurityId> =
                    wanted.chain(held).filter(|security| asked.insert(*security)).collect();
                if !met.is_empty() {
                    let met: Vec<SecurityId> = met.into_iter().collect();
                    Arc::make_mut(&mut prices).extend(self.prices_of(&met).await?);
                }
                if read.send((portfolios, holdings, Arc::clone(&prices))).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let solving = async move {
            while let Some((portfolios, holdings, prices)) = to_solve.recv().await {
                let bands = self.policy.bands;
                let priced = PricedModel::new(&run.model.positions, &prices, &run.rules, bands);
                let priced = priced.map_err(Error::Refused)?;
                let decided = self.decide_all(&priced, portfolios, &holdings).await?;
                if solved.send((portfolios, decided)).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let writing = async move {
            let mut done = Done::default();
            let mut under_way = FuturesOrdered::new();
            loop {
                tokio::select! {
                    Some((portfolios, decided)) = to_write.recv(), if under_way.len() < WRITES => {
                        let before = run.progress(&done);
                        let rebalanced = done.take(portfolios, decided);
                        under_way.push_back(self.write(run, rebalanced, before, run.progress(&done)));
                    }
                    Some(so_far) = under_way.next() => {
                        progress.send_replace(so_far?);
                    }
                    else => return Ok::<_, Halt>(done),
                }
            }
        };
        let ((), (), done) = try_join3(reading, solving, writing).await?;
        Ok(done)
    }

    /// Gives back how far the run has come with it.
    async fn write(
        &self,
        run: &Run,
        rebalanced: Vec<PortfolioRebalance>,
        before: Progress,
        after: Progress,
    ) -> Result<Progress, Halt> {
        if !rebalanced.is_empty() {
            let append = self.runs.append(&run.id, self.under_way.holder, before.rebalanced, &rebalanced);
            if !self.journal.timed(Stage::Writing, append).await? {
                return Err(Halt::Lost);
            }
        }
        self.journal.run_advanced(&rebalanced, after.failed - before.failed);
        Ok(after)
    }

    /// Whatever the end, the record tells it. Returns how many were rebalanced and how many failed, if it
    /// is completed.
    async fn end(&self, run: &Run, end: End, so_far: Progress) -> Result<(usize, usize), Error> {
        let (ending, error) = match end {
            End::Done(done) => {
                let refusal = run.refusal(&done);
                (run.ending(done), refusal)
            }
            End::Halted(Halt::Failed(error)) => {
                tracing::error!(error = %Chain(&error), "rebalance failed");
                (Run::failure(&error, so_far), Some(error))
            }
            End::Stopped(Stop::ShuttingDown) => {
                (Run::failure(&Error::Interrupted, so_far), Some(Error::Interrupted))
            }
            End::Halted(Halt::Lost) | End::Stopped(Stop::Cancelled) | End::Abandoned => {
                return Err(Error::RunEnded(run.id));
            }
        };
        match self.finish(run, &ending).await {
            Ok(()) => error.map_or(Ok((ending.rebalanced, ending.failed.len())), Err),
            // Whoever was first has told.
            Err(error @ Error::RunEnded(_)) => Err(error),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the end of a rebalance is not kept");
                Err(error)
            }
        }
    }

    /// As somebody waits for it: what is not completed is not kept.
    async fn end_or_forget(&self, run: &Run, end: End) -> Result<(usize, usize), Error> {
        let error = match end {
            End::Done(done) => {
                let counts = (done.rebalanced, done.failed.len());
                let completed = match run.refusal(&done) {
                    None => self.finish(run, &run.ending(done)).await,
                    Some(refusal) => Err(refusal),
                };
                match completed {
                    Ok(()) => return Ok(counts),
                    Err(error) => error,
                }
            }
            End::Halted(Halt::Failed(error)) => error,
            End::Halted(Halt::Lost) | End::Stopped(Stop::Cancelled) => Error::RunEnded(run.id),
            End::Stopped(Stop::ShuttingDown) | End::Abandoned => Error::Interrupted,
        };
        if matches!(error, Error::RunEnded(_)) {
            return Err(error);
        }
        if let Err(left) = self.rebalances.delete(&run.id, Version::FIRST).await {
            // Its lease will end, and with it the run.
            tracing::warn!(error = %Chain(&left), "a rebalance that did not complete stays for now");
        }
        Err(error)
    }

    async fn finish(&self, run: &Run, ending: &Ending) -> Result<(), Error> {
        let is_ours = self.runs.finish(&run.id, self.under_way.holder, ending).await?;
        if is_ours { Ok(()) } else { Err(Error::RunEnded(run.id)) }
    }

    /// Ends the run of whoever has it.
    pub(super) async fn cancel(&self, id: &RebalanceId, expected: Version) -> Result<(), repository::Error> {
        self.runs.cancel(id, expected).await?;
        self.under_way.stop(id, Stop::Cancelled);
        Ok(())
    }

    /// Fails the runs of processes that are no more, over and over, until dropped.
    pub async fn watch_runs(&self) {
        loop {
            match self.runs.expire(&Error::Interrupted.reason()).await {
                Ok(lost) => {
                    for id in lost {
                        tracing::warn!(rebalance_id = %id, "rebalance interrupted: its process is gone");
                        self.journal.run_lost(&id);
                    }
                }
                Err(error) => tracing::warn!(error = %Chain(&error), "lost runs are not looked for"),
            }
            tokio::time::sleep(self.under_way.settings.lease / 3).await;
        }
    }

    /// Lets the runs under way come to their ends until `late`; those left then are FAILED.
    pub async fn drain(&self, late: Instant) {
        if tokio::time::timeout_at(late, self.under_way.none_left()).await.is_ok() {
            return;
        }
        let left: Vec<RebalanceId> = self.under_way.stops().keys().copied().collect();
        tracing::warn!(runs = left.len(), "rebalances are interrupted");
        for id in &left {
            self.under_way.stop(id, Stop::ShuttingDown);
        }
        if tokio::time::timeout(LAST_WORDS, self.under_way.none_left()).await.is_err() {
            tracing::warn!("interrupted rebalances are left to their leases");
        }
    }
}

impl Waiting {
    async fn is_over(&mut self) {
        match self {
            Self::Nobody { .. } => std::future::pending().await,
            Self::Caller(told) => told.closed().await,
        }
    }
}

impl Run {
    fn total(&self) -> usize {
        self.model.followers.as_slice().len()
    }

    fn progress(&self, done: &Done) -> Progress {
        Progress { total: self.total(), rebalanced: done.rebalanced, failed: done.failed.len() }
    }

    fn header(&self) -> RebalanceHeader {
        RebalanceHeader {
            id: self.id,
            model: self.model.id,
            model_name: self.model.name.clone(),
            date: self.date,
            rules: self.rules.clone(),
            status: RebalanceStatus::Running(self.progress(&Done::default())),
            failed: Vec::new(),
            version: Version::FIRST,
            created_at: self.date,
        }
    }

    /// If no portfolio came through.
    fn refusal(&self, done: &Done) -> Option<Error> {
        let (portfolio, refusal) = done.first_refusal.clone().filter(|_| done.rebalanced == 0)?;
        Some(Error::AllRefused { count: self.total(), portfolio, refusal })
    }

    fn failure(error: &Error, so_far: Progress) -> Ending {
        Ending { failure: Some(error.reason()), rebalanced: so_far.rebalanced, failed: Vec::new() }
    }

    fn ending(&self, done: Done) -> Ending {
        let failure = self.refusal(&done).map(|refusal| refusal.reason());
        Ending { failure, rebalanced: done.rebalanced, failed: done.failed }
    }
}

impl Done {
    /// Gives back the rebalanced ones, which are still to be written.
    fn take(
        &mut self,
        portfolios: &[PortfolioId],
        decided: Vec<Result<PortfolioRebalance, Refusal>>,
    ) -> Vec<PortfolioRebalance> {
        let mut rebalanced = Vec::with_capacity(decided.len());
        for (portfolio, decided) in portfolios.iter().zip(decided) {
            match decided {
                Ok(one) => rebalanced.push(one),
                Err(refusal) => {
                    self.failed.push(failed(portfolio, &refusal));
                    self.first_refusal.get_or_insert_with(|| (portfolio.clone(), refusal));
                }
            }
        }
        self.rebalanced += rebalanced.len();
        rebalanced
    }
}
