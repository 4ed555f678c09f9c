//! What a neighbour has been asked.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

const MAX_PATHS: usize = 10_000;
const MAX_CORRELATION_IDS: usize = 1_000;

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallLog {
    total: u64,
    paths: BTreeMap<String, u64>,
    correlation_ids: VecDeque<String>,
}

impl CallLog {
    /// Beyond ten thousand distinct paths only the total still grows.
    pub(super) fn record(&mut self, path: &str, correlation_id: Option<&str>) {
        self.total += 1;
        if let Some(calls) = self.paths.get_mut(path) {
            *calls += 1;
        } else if self.paths.len() < MAX_PATHS {
            self.paths.insert(path.to_owned(), 1);
        }

        if let Some(id) = correlation_id {
            if self.correlation_ids.len() == MAX_CORRELATION_IDS {
                self.correlation_ids.pop_front();
            }
            self.correlation_ids.push_back(id.to_owned());
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_correlation_ids_are_kept() {
        let mut log = CallLog::default();
        for idx in 0..=MAX_CORRELATION_IDS {
            log.record("/", Some(&idx.to_string()));
        }

        let ids = log.correlation_ids();

        assert_eq!(ids.len(), MAX_CORRELATION_IDS);
        assert_eq!(ids[0], "1");
    }

    #[test]
    fn a_path_beyond_the_bound_counts_in_the_total_alone() {
        let mut log = CallLog::default();
        for idx in 0..=MAX_PATHS {
            log.record(&format!("/{idx}"), None);
        }
        log.record("/0", None);

        assert_eq!(log.to(&format!("/{MAX_PATHS}")), 0);
        assert_eq!(log.to("/0"), 2);
        assert_eq!(log.total(), 10_002);
    }
}
