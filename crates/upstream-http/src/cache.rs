//! Answers kept for a while, and asked for once however many want them; and how often that spared a call.

use std::error::Error;
use std::fmt;
use std::future::pending;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use application::{deadline, upstream};
use futures_util::FutureExt;
use moka::future;
use tokio::select;

use crate::config::CacheSize;

/// Keeps what was found; neither what is unknown nor a failure.
#[derive(Clone)]
pub(crate) struct Cache<K, V> {
    name: &'static str,
    /// `None` where nothing is to be kept.
    kept: Option<future::Cache<K, V>>,
    asked: Arc<Asked>,
}

/// Since the start.
#[derive(Default)]
struct Asked {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What a cache has been good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUse {
    /// Such as `tickers`.
    pub name: &'static str,
    /// How often an answer was had without a call of one's own, since the start.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
    /// Answers kept now.
    pub entries: u64,
}

enum Miss {
    Unknown,
    Failed(Arc<upstream::Error>),
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(name: &'static str, size: CacheSize) -> Self {
        let keep = || future::Cache::builder().time_to_live(size.ttl).max_capacity(size.capacity).build();
        Self { name, kept: (!size.ttl.is_zero()).then(keep), asked: Arc::default() }
    }

    pub(crate) fn told(&self) -> CacheUse {
        let entries = self.kept.as_ref().map_or(0, |kept| {
            // What has expired counts until someone clears up; whoever does so already is not waited for.
            let _ = kept.run_pending_tasks().now_or_never();
            kept.entry_count()
        });
        let [hits, misses] =
            [&self.asked.hits, &self.asked.misses].map(|count| count.load(Ordering::Relaxed));
        CacheUse { name: self.name, hits, misses, entries }
    }

    /// What is kept for `key`, asking nobody. Whoever gets it otherwise than by [`find`](Self::find) says
    /// so to [`missed`](Self::missed).
    pub(crate) async fn kept(&self, key: &K) -> Option<V> {
        let kept = self.kept.as_ref()?.get(key).await?;
        self.asked.hits.fetch_add(1, Ordering::Relaxed);
        Some(kept)
    }

    pub(crate) fn missed(&self, count: usize) {
        self.asked.misses.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) async fn keep(&self, key: K, value: V) {
        if let Some(cache) = &self.kept {
            cache.insert(key, value).await;
        }
    }

    /// What is kept for `key`, or else what `ask` comes to. Those who ask meanwhile wait for the same
    /// answer; if the one who asks goes away or runs out of time, one of them takes over.
    pub(crate) async fn find<F>(
        &self,
        key: K,
        ask: impl Fn() -> F + Send + Sync,
    ) -> Result<Option<V>, upstream::Error>
    where
        F: Future<Output = Result<Option<V>, upstream::Error>> + Send,
    {
        let Some(cache) = &self.kept else {
            self.missed(1);
            return ask().await;
        };
        loop {
            let is_asking = AtomicBool::new(false);
            let first_ask = async {
                is_asking.store(true, Ordering::Relaxed);
                match ask().await {
                    Ok(Some(value)) => Ok(value),
                    Ok(None) => Err(Miss::Unknown),
                    Err(error) => Err(Miss::Failed(Arc::new(error))),
                }
            };
            let miss = select! {
                biased;
                found = cache.try_get_with(key.clone(), first_ask) => match found {
                    Ok(value) => {
                        let asked = if is_asking.into_inner() { &self.asked.misses } else { &self.asked.hits };
                        asked.fetch_add(1, Ordering::Relaxed);
                        return Ok(Some(value));
                    }
                    Err(miss) => miss,
                },
                // Too late to ask, which the error then says.
                () = waited_in_vain(&is_asking) => {
                    self.missed(1);
                    return ask().await;
                }
            };
            // It was the other's time that ran out.
            if !is_asking.into_inner() && matches!(&*miss, Miss::Failed(error) if is_out_of_time(error)) {
                continue;
            }
            self.missed(1);
            return match &*miss {
                Miss::Unknown => Ok(None),
                Miss::Failed(error) => Err(shared(error)),
            };
        }
    }
}

/// Completes once the deadline has passed for one who waits for another. Who asks has an end of its own,
/// and a better one.
async fn waited_in_vain(is_asking: &AtomicBool) {
    deadline::passed().await;
    if is_asking.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}

fn is_out_of_time(error: &upstream::Error) -> bool {
    matches!(error, upstream::Error::OutOfTime { .. })
}

/// The same error for one more of those who waited.
fn shared(error: &Arc<upstream::Error>) -> upstream::Error {
    let source = Box::new(SharedSource(Arc::clone(error)));
    match **error {
        upstream::Error::Unavailable { service, ref about, retry_after, .. } => {
            upstream::Error::Unavailable { service, about: about.clone(), retry_after, source }
        }
        upstream::Error::OutOfTime { service, ref about, retry_after, .. } => {
            upstream::Error::OutOfTime { service, about: about.clone(), retry_after, source }
        }
        upstream::Error::Malformed { service, ref about, .. } => {
            upstream::Error::Malformed { service, about: about.clone(), source }
        }
    }
}

/// Stands for the source of an error that has several owners.
#[derive(Debug)]
struct SharedSource(Arc<upstream::Error>);

impl SharedSource {
    fn get(&self) -> &upstream::Source {
        match &*self.0 {
            upstream::Error::Unavailable { source, .. }
            | upstream::Error::OutOfTime { source, .. }
            | upstream::Error::Malformed { source, .. } => source,
        }
    }
}

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Error for SharedSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.get().source()
    }
}
