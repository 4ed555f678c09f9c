//! Answers kept for a while, and asked for once however many want them.

use std::error::Error;
use std::fmt;
use std::future::pending;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use application::{deadline, upstream};
use moka::future;
use tokio::select;

use crate::config::CacheSize;

/// Keeps what was found; neither what is unknown nor a failure.
#[derive(Clone)]
pub(crate) struct Cache<K, V>(Option<future::Cache<K, V>>);

enum Miss {
    Unknown,
    Failed(Arc<upstream::Error>),
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(size: CacheSize) -> Self {
        let keep = || future::Cache::builder().time_to_live(size.ttl).max_capacity(size.capacity).build();
        Self((!size.ttl.is_zero()).then(keep))
    }

    /// What is kept for `key`, asking nobody.
    pub(crate) async fn kept(&self, key: &K) -> Option<V> {
        self.0.as_ref()?.get(key).await
    }

    pub(crate) async fn keep(&self, key: K, value: V) {
        if let Some(cache) = &self.0 {
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
        let Some(cache) = &self.0 else {
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
                    Ok(value) => return Ok(Some(value)),
                    Err(miss) => miss,
                },
                // Too late to ask, which the error then says.
                () = waited_in_vain(&is_asking) => return ask().await,
            };
            match &*miss {
                Miss::Unknown => return Ok(None),
                // It was the other's time that ran out.
                Miss::Failed(error) if is_out_of_time(error) && !is_asking.into_inner() => {}
                Miss::Failed(error) => return Err(shared(error)),
            }
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
