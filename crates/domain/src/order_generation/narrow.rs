//! Own bests in 64 bits and without divisions, for the many portfolios that need no more.

use std::sync::Arc;

/// What the own bests of rows depend on, where neither costs nor a least trade have a say in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NarrowRows {
    /// Of the rows' lots; those of a model are shared by its portfolios.
    pub(super) prices: Arc<[NarrowPrice]>,
    pub(super) rows: Vec<NarrowRow>,
}

/// A price, and what to multiply by instead of dividing by it.
///
/// With 2^shift the least power of two not below the price, ⌈2^(63 + shift) / price⌉ fits 64 bits, and is so
/// near that it gives the exact quotient by twice the price of every number below 2^63 (T. Granlund and
/// P. L. Montgomery, *Division by invariant integers using multiplication*, PLDI 1994).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NarrowPrice {
    price: i64,
    multiplier: u64,
    shift: u32,
}

/// What is a row's own. Nothing exceeds 2^60, nor do the sums over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NarrowRow {
    target: i64,
    /// The lots nearest to the target are as many as twice the price goes into it.
    dividend: u64,
    lowest: i64,
    highest: i64,
}

/// What all rows at their own bests come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnBests {
    pub(super) spent: i64,
    pub(super) deviation: u64,
}

impl NarrowRows {
    /// Fills in the lots of least deviation of each row; among equals those nearest to what is held.
    pub(super) fn place(&self, lots: &mut Vec<i64>) -> OwnBests {
        lots.resize(self.rows.len(), 0);
        let (mut spent, mut deviation) = (0, 0);
        for ((row, price), lots) in self.rows.iter().zip(&*self.prices).zip(lots) {
            *lots = price.half_lots_in(row.dividend).max(row.lowest).min(row.highest);
            let worth = *lots * price.price;
            spent += worth;
            deviation += row.target.abs_diff(worth);
        }
        OwnBests { spent, deviation }
    }
}

impl NarrowPrice {
    /// Of a price above zero and of at most 2^60.
    pub(super) fn new(price: i64) -> Self {
        let unsigned = price.unsigned_abs();
        let shift = unsigned.next_power_of_two().trailing_zeros();
        let multiplier = (1_u128 << (63 + shift)).div_ceil(u128::from(unsigned));
        let multiplier = u64::try_from(multiplier).expect("the price is above half of 2^shift");
        Self { price, multiplier, shift }
    }

    /// The lots that an amount below 2^62 suffices for.
    pub(super) fn lots_in(&self, amount: u64) -> i64 {
        self.half_lots_in(2 * amount)
    }

    /// ⌊dividend / (2 · price)⌋, of a dividend below 2^63.
    fn half_lots_in(&self, dividend: u64) -> i64 {
        let (_, high_half) = dividend.carrying_mul(self.multiplier, 0);
        (high_half >> self.shift).cast_signed()
    }
}

impl NarrowRow {
    pub(super) fn new(price: NarrowPrice, target: i64, held: i64, lowest: i64, highest: i64) -> Self {
        // Half a price above the target, so that rounding down leads to the nearest; and a hair less, so that
        // of two that are as near it leads to the lower, unless more than the target is held.
        let is_held_above = target < held * price.price;
        let dividend = 2 * target + price.price - i64::from(!is_held_above);
        Self { target, dividend: dividend.max(0).unsigned_abs(), lowest, highest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplying_gives_the_exact_quotient() {
        const MOST: i64 = 1 << 60;

        let around = |number: i64| [number - 1, number, number + 1];
        let powers = (1..60).flat_map(|exponent| around(1 << exponent));
        let others = [1, 3, 7, 1_009, 999_999_937, 10_i64.pow(17), 10_i64.pow(17) + 3];
        for price in powers.chain(others).filter(|price| (1..=MOST).contains(price)) {
            let narrow = NarrowPrice::new(price);
            let most = MOST / price;
            for lots in [0, 1, 2, 3, 1_000, most / 3, most].map(|lots| lots.min(most)) {
                for amount in around(lots * price).into_iter().filter(|amount| 0 <= *amount) {
                    assert_eq!(narrow.lots_in(amount.unsigned_abs()), amount / price, "{amount} / {price}");
                }
            }
            for dividend in [i64::MAX, i64::MAX - 1, i64::MAX / 2 / price * price * 2 - 1] {
                let exact = i128::from(dividend) / (2 * i128::from(price));
                let found = narrow.half_lots_in(dividend.unsigned_abs());
                assert_eq!(i128::from(found), exact, "{dividend} / {price} / 2");
            }
        }
    }

    #[test]
    fn half_way_between_two_lots_the_one_nearer_to_what_is_held_is_best() {
        let price = NarrowPrice::new(10);
        for (target, held, best) in
            [(25, 2, 2), (25, 3, 3), (25, 0, 2), (25, 9, 3), (24, 9, 2), (26, 0, 3), (-5, 1, 0)]
        {
            let row = NarrowRow::new(price, target, held, 0, 9);
            let rows = NarrowRows { prices: [price].into(), rows: vec![row] };
            let mut lots = Vec::new();

            let sums = rows.place(&mut lots);

            assert_eq!(lots, [best], "{target} with {held} held");
            assert_eq!(sums, OwnBests { spent: 10 * best, deviation: target.abs_diff(10 * best) });
        }
    }
}
