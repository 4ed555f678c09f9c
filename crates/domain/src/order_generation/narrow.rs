//! Own bests in 64 bits and without divisions, for the many portfolios that need no more.

/// What a row's own best depends on, where neither costs nor a least trade have a say in it.
///
/// Nothing exceeds 2^60, nor do the sums over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NarrowRow {
    pub(super) price: i64,
    /// Of the price; see [`inverse`].
    pub(super) inverse: u64,
    pub(super) target: i64,
    pub(super) held: i64,
    pub(super) lowest: i64,
    pub(super) highest: i64,
}

/// What all rows at their own bests come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnBests {
    pub(super) spent: i64,
    pub(super) deviation: i64,
}

/// ⌊(2^64 − 1) / price⌋, of a price above zero.
///
/// The high half of a number below 2^63 times this is the quotient by the price, or one less.
pub(super) const fn inverse(price: i64) -> u64 {
    u64::MAX / price.unsigned_abs()
}

/// Fills in the lots of least deviation of each row; among equals those nearest to what is held.
pub(super) fn place(rows: &[NarrowRow], lots: &mut Vec<i64>) -> OwnBests {
    let mut sum = OwnBests { spent: 0, deviation: 0 };
    lots.clear();
    lots.extend(rows.iter().map(|row| {
        let best = row.own_best();
        let worth = best * row.price;
        sum.spent += worth;
        sum.deviation += (row.target - worth).abs();
        best
    }));
    sum
}

impl NarrowRow {
    fn own_best(&self) -> i64 {
        // Below a target of less than nothing there is nothing: a range ends at zero, or is a single number.
        let target = self.target.max(0);
        let high_half = (u128::from(target.unsigned_abs()) * u128::from(self.inverse)) >> 64;
        let mut below = i64::try_from(high_half).unwrap_or(i64::MAX);
        let mut remainder = target - below * self.price;
        if self.price <= remainder {
            below += 1;
            remainder -= self.price;
        }
        let is_up = match (2 * remainder).cmp(&self.price) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => below < self.held,
            std::cmp::Ordering::Greater => true,
        };
        (below + i64::from(is_up)).clamp(self.lowest, self.highest)
    }
}
