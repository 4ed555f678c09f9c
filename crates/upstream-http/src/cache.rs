//! Answers kept for a while, and asked for once however many want them.

use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use application::upstream;
use moka::future;

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
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(size: CacheSize) -> Self {
        let keep = || future::Cache::builder().time_to_live(size.ttl).max_capacity(size.capacity).build();
        Self((!size.ttl.is_zero()).then(keep))
    }

    /// What is kept for `key`, or else what `ask` comes to. Those who ask meanwhile wait for the same
    /// answer; if the one who asks goes away, one of them takes over.
    pub(crate) async fn find(
        &self,
        key: K,
        ask: impl Future<Output = Result<Option<V>, upstream::Error>>,
    ) -> Result<Option<V>, upstream::Error> {
        let Some(cache) = &self.0 else {
            return ask.await;
        };
        let ask = async {
            match ask.await {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(Miss::Unknown),
                Err(error) => Err(Miss::Failed(Arc::new(error))),
            }
        };
        match cache.try_get_with(key, ask).await {
            Ok(value) => Ok(Some(value)),
            Err(miss) => match &*miss {
                Miss::Unknown => Ok(None),
                Miss::Failed(error) => Err(shared(error)),
            },
        }
    }
}

/// The same error for one more of those who waited.
fn shared(error: &Arc<upstream::Error>) -> upstream::Error {
    let source = Box::new(SharedSource(Arc::clone(error)));
    match &**error {
        upstream::Error::Unavailable { service, about, .. } => {
            upstream::Error::Unavailable { service, about: about.clone(), source }
        }
        upstream::Error::Malformed { service, about, .. } => {
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
            upstream::Error::Unavailable { source, .. } | upstream::Error::Malformed { source, .. } => source,
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
