//! What a neighbour has been asked.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

const MAX_PATHS: usize = 10_000;
/// Of those ids and traces that callers name.
const MAX_NAMES: usize = 1_000;

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallLog {
    total: u64,
    /// The most calls that were being answered at the same time.
    most_at_once: u64,
    #[serde(skip)]
    under_way: u64,
    paths: BTreeMap<String, u64>,
    correlation_ids: VecDeque<String>,
    #[serde(skip)]
    traceparents: VecDeque<String>,
}

/// What a caller says of the work that a call belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names<'a> {
    pub(super) correlation_id: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
}

impl CallLog {
    /// Beyond ten thousand distinct paths only the total still grows.
    pub(super) fn record(&mut self, path: &str, names: Names<'_>) {
        self.total += 1;
        self.under_way += 1;
        self.most_at_once = self.most_at_once.max(self.under_way);
        if let Some(calls) = self.paths.get_mut(path) {
            *calls += 1;
        } else if self.paths.len() < MAX_PATHS {
            self.paths.insert(path.to_owned(), 1);
        }

        keep(&mut self.correlation_ids, names.correlation_id);
        keep(&mut self.traceparents, names.traceparent);
    }

    /// One that was recorded has been answered, or its caller has gone.
    pub(super) fn ended(&mut self) {
        // Those before the log was forgotten are not in it.
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(super) fn most_at_once(&self) -> u64 {
        self.most_at_once
    }

    pub(super) fn under(&self, prefix: &str) -> u64 {
        let from = self.paths.range(prefix.to_owned()..);
        from.take_while(|(path, _)| path.starts_with(prefix)).map(|(_, calls)| calls).sum()
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn to(&self, path: &str) -> u64 {
        self.paths.get(path).copied().unwrap_or_default()
    }

    pub(super) fn correlation_ids(&self) -> Vec<String> {
        self.correlation_ids.iter().cloned().collect()
    }

    pub(super) fn traceparents(&self) -> Vec<String> {
        self.traceparents.iter().cloned().collect()
    }
}

fn keep(names: &mut VecDeque<String>, name: Option<&str>) {
    if let Some(name) = name {
        if names.len() == MAX_NAMES {
            names.pop_front();
        }
        names.push_back(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_correlation_ids_are_kept() {
        let mut log = CallLog::default();
        for idx in 0..=MAX_NAMES {
            log.record("/", Names { correlation_id: Some(&idx.to_string()), ..Names::default() });
        }

        let ids = log.correlation_ids();

        assert_eq!(ids.len(), MAX_NAMES);
        assert_eq!(ids[0], "1");
    }

    #[test]
    fn a_path_beyond_the_bound_counts_in_the_total_alone() {
        let mut log = CallLog::default();
        for idx in 0..=MAX_PATHS {
            log.record(&format!("/{idx}"), Names::default());
        }
        log.record("/0", Names::default());

        assert_eq!(log.to(&format!("/{MAX_PATHS}")), 0);
        assert_eq!(log.to("/0"), 2);
        assert_eq!(log.total(), 10_002);
    }

    #[test]
    fn the_calls_of_a_route_are_those_whose_path_begins_so() {
        let mut log = CallLog::default();
        for path in ["/price/A", "/price/A", "/price/B", "/prices", "/pric", "/q"] {
            log.record(path, Names::default());
        }

        assert_eq!(
            [log.under("/price/"), log.under("/price"), log.under("/"), log.under("/r")],
            [3, 4, 6, 0]
        );
    }

    #[test]
    fn the_most_at_once_stays_when_calls_have_ended() {
        let mut log = CallLog::default();
        for _ in 0..3 {
            log.record("/", Names::default());
        }
        log.ended();
        log.record("/", Names::default());
        assert_eq!(log.most_at_once(), 3);
    }
}
