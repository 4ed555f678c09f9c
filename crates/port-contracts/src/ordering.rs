//! How sorted lists are checked, whatever they list.

use std::cmp::Ordering;
use std::fmt::Debug;

use application::order_generation::ports::{Direction, Page};

pub(crate) const ALL: Page = Page { offset: 0, limit: None };

/// No key, every key alone and every pair of keys, in either direction.
pub(crate) fn orders<K: Copy>(keys: &[K]) -> Vec<Vec<(K, Direction)>> {
    let both = |key: &K| [(*key, Direction::Ascending), (*key, Direction::Descending)];
    let keys: Vec<_> = keys.iter().flat_map(both).collect();
    let pairs = keys.iter().flat_map(|a| keys.iter().map(|b| vec![*a, *b]));
    let singles = keys.iter().map(|key| vec![*key]);
    [vec![]].into_iter().chain(singles).chain(pairs).collect()
}

/// Sorts by `order`; `compare` compares by one key, and `tie` when all keys are equal.
pub(crate) fn sorted<T: Clone, K: Copy>(
    things: &[T],
    order: &[(K, Direction)],
    compare: impl Fn(K, &T, &T) -> Ordering,
    tie: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    let mut things = things.to_vec();
    things.sort_by(|a, b| {
        order
            .iter()
            .map(|(key, direction)| match direction {
                Direction::Ascending => compare(*key, a, b),
                Direction::Descending => compare(*key, b, a),
            })
            .find(|ordering| ordering.is_ne())
            .unwrap_or_else(|| tie(a, b))
    });
    things
}

/// Asks for stretches of `all`, the whole list, and past its end.
pub(crate) async fn assert_pages<T: Clone + Debug + PartialEq>(
    all: &[T],
    list: impl AsyncFn(Page) -> Vec<T>,
) {
    let length = u64::try_from(all.len()).unwrap();
    let edges = [0, 1, length - 1, length, length + 1, u64::MAX];
    for offset in edges {
        for limit in edges.map(Some).into_iter().chain([None]) {
            let page = Page { offset, limit };
            let count = |rows: u64| usize::try_from(rows).unwrap();
            let rest = all.iter().skip(count(offset));
            let expected: Vec<T> = rest.take(limit.map_or(usize::MAX, count)).cloned().collect();

            assert_eq!(list(page).await, expected, "{page:?}");
        }
    }
}
