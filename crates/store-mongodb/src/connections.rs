//! How many connections there are, by what the driver tells of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;

/// The connections to all servers right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub used: u64,
    pub idle: u64,
}

/// What has become of connections since the start.
#[derive(Clone, Default)]
pub(crate) struct Connecting(Arc<Counts>);

#[derive(Default)]
struct Counts {
    created: AtomicU64,
    closed: AtomicU64,
    taken: AtomicU64,
    returned: AtomicU64,
}

impl Connecting {
    pub(crate) fn handler(&self) -> EventHandler<CmapEvent> {
        let Self(counts) = self.clone();
        EventHandler::callback(move |event| counts.count(&event))
    }

    pub(crate) fn now(&self) -> Connections {
        let Counts { created, closed, taken, returned } = &*self.0;
        // An end is counted after its beginning, so it is read before.
        let fewer = |ends: &AtomicU64, beginnings: &AtomicU64| {
            let ends = ends.load(Ordering::SeqCst);
            beginnings.load(Ordering::SeqCst).saturating_sub(ends)
        };
        let used = fewer(returned, taken);
        Connections { used, idle: fewer(closed, created).saturating_sub(used) }
    }
}

impl Counts {
    fn count(&self, event: &CmapEvent) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is of pools, and of waiting for them")]
        let counted = match event {
            CmapEvent::ConnectionCreated(_) => &self.created,
            CmapEvent::ConnectionClosed(_) => &self.closed,
            CmapEvent::ConnectionCheckedOut(_) => &self.taken,
            CmapEvent::ConnectionCheckedIn(_) => &self.returned,
            _ => return,
        };
        counted.fetch_add(1, Ordering::SeqCst);
    }
}
