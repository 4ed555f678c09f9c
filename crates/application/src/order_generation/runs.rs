//! Rebalancing in chunks, under way where everybody can see it: in memory that does not grow with the
//! number of portfolios.

use std::collections::{BTreeSet, HashMap, HashSet};
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
use futures_util::future::try_join3;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;

use super::journal::{RunEntry, Stage};
use super::ports::{Ending, Holder, Lease};
use super::rebalance::failed;
use super::{Error, OrderGeneration};
use crate::chain::Chain;
use crate::{correlation, deadline, repository};

/// So many portfolios are read while as many are solved, and as many written.
pub const CHUNK: usize = 256;

/// What the runs that were told to stop may take to say so in the store.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub struct RunSettings {
    /// Runs at the same time of which nobody waits for the end.
    pub at_most: usize,
    /// How long a run that is not heard of is left alone.
    pub lease: Duration,
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
        let started = self.start_unwaited(model, keep_as, rules).await;
        if let Err(error) = &started {
            self.tell(model, &keep_as, Err(error));
        }
        started
    }

    async fn start_unwaited(
        self: &Arc<Self>,
        model: &ModelId,
        keep_as: RebalanceId,
        rules: Option<TradingRules>,
    ) -> Result<RebalanceHeader, Error> {
        let model = self.model(model).await?;
        let place = Arc::clone(&self.under_way.free).try_acquire_owned().map_err(|_| Error::TooManyRuns)?;
        self.start(model, keep_as, rules, Waiting::Nobody { _place: place }).await
    }

    fn tell(&self, model: &ModelId, rebalance: &RebalanceId, result: Result<(usize, usize), &Error>) {
        self.journal.run(&RunEntry { model, rebalance, result });
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
        if model.positions.is_empty() {
            return Err(Error::Refused(Refusal::EmptyModel));
        }
        let rules = rules.unwrap_or_else(|| model.rules.clone());
        let run = Run { id, model, rules, date: self.clock.now() };
        let header = run.header();
        self.runs.start(&header, self.under_way.lease()).await.map_err(|error| match error {
            repository::Error::Duplicate { .. } => Error::RebalanceExists(id),
            repository::Error::Missing
            | repository::Error::Conflict { .. }
            | repository::Error::Corrupt { .. }
            | repository::Error::Unavailable { .. } => error.into(),
        })?;

        let (registered, stopped) = Registered::new(self, id);
        let span = tracing::info_span!("run", rebalance_id = %id, model_id = %run.model.id);
        span.follows_from(tracing::Span::current());
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
        let life = life.instrument(span);
        match correlation::current() {
            Some(request) => self.under_way.runtime.spawn(correlation::scope(request, life)),
            None => self.under_way.runtime.spawn(life),
        };
        Ok(header)
    }

    async fn live(&self, run: Run, stopped: oneshot::Receiver<Stop>, mut waiting: Waiting) {
        tracing::info!(portfolios = run.total(), "rebalance under way");
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
            Waiting::Nobody { .. } => self.end(&run, end, so_far).await,
            Waiting::Caller(told) => {
                let ended = self.end_or_forget(&run, end).await;
                if told.send(ended).is_err() {
                    tracing::info!("the caller did not wait for the end");
                }
            }
        }
    }

    /// Renews the lease until the run is someone else's.
    async fn hold(&self, run: &Run, progress: &watch::Sender<Progress>) -> Halt {
        let lease = self.under_way.lease();
        loop {
            tokio::time::sleep(lease.length / 3).await;
            let so_far = *progress.borrow();
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
            while let Some((portfolios, decided)) = to_write.recv().await {
                let rebalanced = done.take(portfolios, decided);
                self.journal.timed(Stage::Writing, self.write(run, &mut done, rebalanced)).await?;
                progress.send_replace(run.progress(&done));
                if !self.runs.renew(&run.id, self.under_way.lease(), run.progress(&done)).await? {
                    return Err(Halt::Lost);
                }
            }
            Ok(done)
        };
        let ((), (), done) = try_join3(reading, solving, writing).await?;
        Ok(done)
    }

    async fn write(
        &self,
        run: &Run,
        done: &mut Done,
        rebalanced: Vec<PortfolioRebalance>,
    ) -> Result<(), Halt> {
        let ours = rebalanced.is_empty()
            || self.runs.append(&run.id, self.under_way.holder, done.rebalanced, &rebalanced).await?;
        done.rebalanced += rebalanced.len();
        if ours { Ok(()) } else { Err(Halt::Lost) }
    }

    /// Whatever the end, the record tells it.
    async fn end(&self, run: &Run, end: End, so_far: Progress) {
        let failure =
            |reason| Ending { failure: Some(reason), rebalanced: so_far.rebalanced, failed: Vec::new() };
        let (ending, error) = match end {
            End::Done(done) => {
                let refusal = run.refusal(&done);
                (run.ending(done), refusal)
            }
            End::Halted(Halt::Failed(error)) => {
                tracing::error!(error = %Chain(&error), "rebalance failed");
                (failure(error.reason()), Some(error))
            }
            End::Stopped(Stop::ShuttingDown) => {
                (failure(Error::Interrupted.reason()), Some(Error::Interrupted))
            }
            End::Halted(Halt::Lost) | End::Stopped(Stop::Cancelled) | End::Abandoned => {
                self.tell(&run.model.id, &run.id, Err(&Error::RunEnded(run.id)));
                return;
            }
        };
        let counts = (ending.rebalanced, ending.failed.len());
        match self.finish(run, &ending).await {
            Ok(true) => self.tell(&run.model.id, &run.id, error.as_ref().map_or(Ok(counts), Err)),
            Ok(false) => self.tell(&run.model.id, &run.id, Err(&Error::RunEnded(run.id))),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the end of a rebalance is not kept");
                self.tell(&run.model.id, &run.id, Err(&error.into()));
            }
        }
    }

    /// As somebody waits for it: what is not completed is not kept.
    async fn end_or_forget(&self, run: &Run, end: End) -> Result<(), Error> {
        let error = match end {
            End::Done(done) => {
                let counts = (done.rebalanced, done.failed.len());
                match run.refusal(&done) {
                    None => match self.finish(run, &run.ending(done)).await {
                        Ok(true) => {
                            self.tell(&run.model.id, &run.id, Ok(counts));
                            return Ok(());
                        }
                        Ok(false) => return Err(Error::RunEnded(run.id)),
                        Err(error) => error.into(),
                    },
                    Some(refusal) => refusal,
                }
            }
            End::Halted(Halt::Failed(error)) => error,
            End::Halted(Halt::Lost) | End::Stopped(Stop::Cancelled) => return Err(Error::RunEnded(run.id)),
            End::Stopped(Stop::ShuttingDown) | End::Abandoned => Error::Interrupted,
        };
        if let Err(left) = self.rebalances.delete(&run.id, Version::FIRST).await {
            // Its lease will end, and with it the run.
            tracing::warn!(error = %Chain(&left), "a rebalance that did not complete stays for now");
        }
        Err(error)
    }

    async fn finish(&self, run: &Run, ending: &Ending) -> Result<bool, repository::Error> {
        let finished = self.runs.finish(&run.id, self.under_way.holder, ending).await?;
        if finished {
            tracing::info!(
                rebalanced = ending.rebalanced,
                failed = ending.failed.len(),
                code = ending.failure.as_ref().map(|reason| reason.code.as_str()),
                "rebalance recorded"
            );
        }
        Ok(finished)
    }

    /// Ends the run of whoever has it.
    pub(super) async fn cancel(&self, id: &RebalanceId, expected: Version) -> Result<(), repository::Error> {
        self.runs.cancel(id, expected).await?;
        self.under_way.stop(id, Stop::Cancelled);
        tracing::info!(rebalance_id = %id, "rebalance cancelled");
        Ok(())
    }

    /// Fails the runs of processes that are no more, over and over, until dropped.
    pub async fn watch_runs(&self) {
        loop {
            match self.runs.expire(&Error::Interrupted.reason()).await {
                Ok(lost) => {
                    for id in lost {
                        tracing::warn!(rebalance_id = %id, "rebalance interrupted: its process is gone");
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

    fn ending(&self, done: Done) -> Ending {
        let failure = self.refusal(&done).map(|refusal| refusal.reason());
        Ending { failure, rebalanced: done.rebalanced, failed: done.failed }
    }
}

impl Done {
    /// The rebalanced ones, which are still to be written.
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
        rebalanced
    }
}
