//! `offset`, `limit` and `sort_by`, as every list takes them.

use application::order_generation::ports::{Direction, Page};

use crate::parameters::Parameters;
use crate::problem::Problem;

/// `offset` and `limit`; a list without a limit goes to its end.
pub(crate) fn page(parameters: &Parameters) -> Result<Page, Problem> {
    let offset = parameters.count("offset", "Offset")?.unwrap_or(0);
    let limit = parameters.count("limit", "Limit")?;
    Ok(Page { offset, limit })
}

/// `offset` and `limit` of a list of large things: 10 of them unless told, 100 at most.
pub(crate) fn short_page(parameters: &Parameters) -> Result<Page, Problem> {
    const DEFAULT: u64 = 10;
    const MOST: u64 = 100;

    let Page { offset, limit } = page(parameters)?;
    match limit.unwrap_or(DEFAULT) {
        limit if (1..=MOST).contains(&limit) => Ok(Page { offset, limit: Some(limit) }),
        _ => Err(Problem::malformed("invalid-query", format!("Limit must be between 1 and {MOST}"))),
    }
}

/// `sort_by`: keys separated by commas, each with an optional `+` or `-`; blanks and empty keys are skipped.
///
/// An unencoded `+` arrives as a blank, and means the same.
pub(crate) fn sort_keys(parameters: &Parameters) -> impl Iterator<Item = (&str, Direction)> {
    let keys = parameters.text("sort_by").unwrap_or_default().split(',').map(str::trim);
    keys.filter(|key| !key.is_empty()).map(|key| match key.strip_prefix('-') {
        Some(key) => (key.trim_start(), Direction::Descending),
        None => (key.strip_prefix('+').unwrap_or(key).trim_start(), Direction::Ascending),
    })
}
