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
        if let Some(calls) = self.paths.get_mut(path) {
            *calls += 1;
        } else if self.paths.len() < MAX_PATHS {
            self.paths.insert(path.to_owned(), 1);
        }

        keep(&mut self.correlation_ids, names.correlation_id);
        keep(&mut self.traceparents, names.traceparent);
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
}
