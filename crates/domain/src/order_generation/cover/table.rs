//! The preferred choice by a table over the amount still to free.

use std::cmp::Reverse;

use super::{Choice, Run, Sum};

/// The preferred choice by a table over the amount still to free; `None` if it has too many cells.
///
/// Rows are entered last to first, so that reading the table first to last can give every row the
/// fewest steps that still lead to an optimum.
pub(super) fn preferred(runs: &[Run], n_rows: usize, need: i128, unit: i128, cells: u64) -> Option<Choice> {
    const MOST_AMOUNTS: usize = 250_000;

    let amounts = usize::try_from(need / unit).ok().filter(|amounts| *amounts < MOST_AMOUNTS)?;
    let rows: Vec<&[Run]> = runs.chunk_by(|a, b| a.row == b.row).collect();
    let most_steps = |runs: &[Run]| {
        let available = runs.iter().map(|run| run.count).sum::<i128>();
        // Later steps of a row free no more than its earlier ones.
        let smallest = runs[runs.len() - 1].size;
        usize::try_from(available.min((need + smallest - 1) / smallest)).ok()
    };
    let visits = rows.iter().try_fold(0, |visits: u64, runs| {
        let steps = u64::try_from(most_steps(runs)?).ok()?;
        (steps + 1).checked_mul(amounts as u64 + 1)?.checked_add(visits)
    })?;
    if cells < visits {
        return None;
    }

    let mut cheapest: Vec<Option<Sum>> = vec![None; amounts + 1];
    cheapest[0] = Some(Sum::ZERO);
    let mut decisions: Vec<(Vec<u32>, Vec<Rung>)> = Vec::with_capacity(rows.len());
    for runs in rows.iter().rev() {
        let ladder = ladder(runs, most_steps(runs)?, unit)?;
        let (next, decision) = enter_row(&cheapest, &ladder);
        cheapest = next;
        decisions.push((decision, ladder));
    }

    let sum = cheapest[amounts]?;
    let mut steps = vec![0; n_rows];
    let mut left = amounts;
    for (runs, (decision, ladder)) in rows.iter().zip(decisions.iter().rev()) {
        let count = decision[left];
        steps[runs[0].row] = i128::from(count);
        left = left.saturating_sub(ladder[count as usize].amounts);
    }
    Some(Choice { sum, steps })
}

/// So many steps of a row.
struct Rung {
    /// Units of the table that they free.
    amounts: usize,
    sum: Sum,
}

/// 0, 1, 2 … steps of a row.
fn ladder(runs: &[Run], most: usize, unit: i128) -> Option<Vec<Rung>> {
    let steps = runs.iter().flat_map(|run| (0..run.count).map(move |_| run)).take(most);
    let sums = steps.scan(Sum::ZERO, |sum, run| {
        *sum = sum.plus(run, 1);
        Some(*sum)
    });
    let counted = |sum: Sum| Some(Rung { amounts: usize::try_from(sum.freed / unit).ok()?, sum });
    std::iter::once(Sum::ZERO).chain(sums).map(counted).collect()
}

/// One row more: the best sum for each amount to free, and the fewest steps of the row that reach it.
fn enter_row(cheapest: &[Option<Sum>], ladder: &[Rung]) -> (Vec<Option<Sum>>, Vec<u32>) {
    let rank = |sum: &Sum| (sum.harm, sum.trades, Reverse(sum.freed));
    let best = |amount: usize| {
        let mut best: Option<(Sum, u32)> = None;
        for (count, Rung { amounts, sum: taken }) in (0_u32..).zip(ladder) {
            let Some(rest) = cheapest[amount.saturating_sub(*amounts)] else { continue };
            let sum = Sum {
                freed: taken.freed + rest.freed,
                harm: taken.harm + rest.harm,
                trades: taken.trades + rest.trades,
            };
            if best.is_none_or(|(found, _)| rank(&sum) < rank(&found)) {
                best = Some((sum, count));
            }
        }
        best
    };
    (0..cheapest.len())
        .map(|amount| best(amount).map_or((None, 0), |(sum, count)| (Some(sum), count)))
        .unzip()
}
