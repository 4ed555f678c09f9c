//! What was not as it should be.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Each sort of trouble with how often it was met, and its first example.
#[derive(Default)]
pub(super) struct Trouble(RefCell<BTreeMap<&'static str, (u64, String)>>);

impl Trouble {
    pub(super) fn note(&self, sort: &'static str, example: impl Into<String>) {
        let mut all = self.0.borrow_mut();
        all.entry(sort).or_insert_with(|| (0, example.into())).0 += 1;
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let all = self.0.borrow();
        all.iter().map(|(sort, (count, example))| format!("{count} × {sort}, such as: {example}")).collect()
    }
}
