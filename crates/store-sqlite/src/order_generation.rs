//! The tables of order generation.

mod models;
mod rebalances;
mod record;
mod rules;
mod runs;

use application::order_generation::ports::{Direction, Page};
use sqlx::{QueryBuilder, Sqlite};

fn sql(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}

/// SQL knows no offset without a limit; this one is none.
const TO_THE_END: i64 = -1;

fn push_page(query: &mut QueryBuilder<Sqlite>, page: Page) {
    // No table has as many rows as an `i64` can count.
    let within = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    query
        .push(" LIMIT ")
        .push_bind(page.limit.map_or(TO_THE_END, within))
        .push(" OFFSET ")
        .push_bind(within(page.offset));
}
