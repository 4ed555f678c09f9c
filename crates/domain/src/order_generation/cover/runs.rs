//! The steps down that rows offer.

use std::cmp::Ordering;

use super::super::problem::Row;
use super::super::units::times;
use super::number::Number;

/// Equal steps down of one row, to be taken after the row's earlier runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<N> {
    pub(super) row: usize,
    /// What a step frees: the price, and the cost saved or less the cost added.
    pub(super) size: N,
    /// What a step adds to deviation and cost; never below zero.
    pub(super) harm: N,
    /// What a step adds to the units traded: a lot, or minus a lot while it buys less.
    pub(super) trades: N,
    pub(super) count: N,
    /// The harm of a unit freed, rounded down.
    rate: u64,
}

impl<N: Number> Run<N> {
    /// Whether a step harms less than it frees: where trading is free, only undoing a round-up does.
    pub(super) fn is_mild(&self) -> bool {
        self.harm < self.size
    }

    /// Least harm per unit freed first; among equals the largest, the fewest trades, the later rows.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let by_harm = || self.harm.times(other.size).cmp(&other.harm.times(self.size));
        self.rate
            .cmp(&other.rate)
            .then_with(by_harm)
            .then_with(|| other.size.cmp(&self.size))
            .then_with(|| self.trades.cmp(&other.trades))
            .then_with(|| other.row.cmp(&self.row))
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.size == other.size && self.harm == other.harm
    }
}

/// Lists the runs of all rows down from the `best`, and tells what divides all their sizes; `None` if
/// they add up to too much.
pub(super) fn list<N: Number>(rows: &[Row], best: &[i64], runs: &mut Vec<Run<N>>) -> Option<N> {
    runs.clear();
    runs.reserve(3 * rows.len());
    let (mut unit, mut sum) = (N::ZERO, 0);
    let fits = |amount: i128| N::try_from(amount).ok();
    for (idx, (row, &best)) in rows.iter().zip(best).enumerate() {
        if best == row.lowest {
            continue;
        }
        let (price, cost, lot) = (fits(row.price)?, fits(row.cost)?, fits(row.lot.into())?);
        let mut add = |from: i64, to: i64, deviation: N| {
            if from <= to {
                return Some(());
            }
            let (size, harm, trades) = if row.held < from {
                (price + cost, deviation - cost, -lot)
            } else {
                (price - cost, deviation + cost, lot)
            };
            let count = i128::from(from - to);
            unit = gcd(size, unit);
            sum += times(size.max(harm).max(lot).into(), count);
            let rate = if harm == size { 1 << 32 } else { harm.share_of(size) };
            runs.push(Run { row: idx, size, harm, trades, count: fits(count)?, rate });
            Some(())
        };
        // Only the first step may begin above the target.
        let below_target = best - 1;
        let missing = row.target - times(below_target.into(), row.price);
        let deviation = if missing < row.price { fits(2 * missing - row.price)? } else { price };
        let down_to_held = row.held.clamp(row.lowest, below_target);
        add(best, below_target, deviation)?;
        add(below_target, down_to_held, price)?;
        add(down_to_held, row.lowest, price)?;
    }
    (sum <= N::LARGEST).then_some(unit)
}

pub(super) fn gcd<N: Number>(a: N, b: N) -> N {
    if b == N::ZERO { a } else { gcd(b, a % b) }
}
