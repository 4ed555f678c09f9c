//! The integers that a covering knapsack is reckoned in.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Rem, Sub, SubAssign};

use ethnum::I256;

/// An integer whose products fit a wider one. Amounts nearly always fit 64 bits, and are then reckoned
/// with in a fraction of the time.
pub(super) trait Number:
    Copy
    + Debug
    + Default
    + Ord
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + SubAssign
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Neg<Output = Self>
    + From<u32>
    + TryInto<u32>
    + Into<i128>
    + TryFrom<i128>
{
    type Wide: Copy + Debug + Default + Ord + Sub<Output = Self::Wide>;

    const ZERO: Self;
    const ONE: Self;
    /// Amounts add up to no more, so that a sum of two sums still fits.
    const LARGEST: i128;

    fn times(self, factor: Self) -> Self::Wide;

    /// Rounded down, and no more than `most`; nothing may be below zero.
    fn quotient(amount: Self::Wide, divisor: Self::Wide, most: Self) -> Self;

    /// Rounded up; it must fit, and nothing may be below zero.
    fn quotient_up(amount: Self::Wide, divisor: Self) -> Self;

    /// In 2^-32 of the `whole`, rounded down; neither may be below zero.
    fn share_of(self, whole: Self) -> u64;
}

impl Number for i64 {
    type Wide = i128;

    const ZERO: Self = 0;
    const ONE: Self = 1;
    const LARGEST: i128 = 1 << 61;

    fn times(self, factor: Self) -> i128 {
        i128::from(self) * i128::from(factor)
    }

    fn quotient(amount: i128, divisor: i128, most: Self) -> Self {
        Self::try_from(amount / divisor).map_or(most, |quotient| quotient.min(most))
    }

    fn quotient_up(amount: i128, divisor: Self) -> Self {
        let divisor = i128::from(divisor);
        Self::try_from((amount + divisor - 1) / divisor).expect("a sum of amounts")
    }

    fn share_of(self, whole: Self) -> u64 {
        u64::try_from((i128::from(self) << 32) / i128::from(whole)).unwrap_or(u64::MAX)
    }
}

impl Number for i128 {
    type Wide = I256;

    const ZERO: Self = 0;
    const ONE: Self = 1;
    const LARGEST: Self = 1 << 125;

    fn times(self, factor: Self) -> I256 {
        I256::from(self) * I256::from(factor)
    }

    fn quotient(amount: I256, divisor: I256, most: Self) -> Self {
        Self::try_from(amount / divisor).map_or(most, |quotient| quotient.min(most))
    }

    fn quotient_up(amount: I256, divisor: Self) -> Self {
        let divisor = I256::from(divisor);
        Self::try_from((amount + divisor - 1) / divisor).expect("a sum of amounts")
    }

    fn share_of(self, whole: Self) -> u64 {
        u64::try_from((I256::from(self) << 32) / I256::from(whole)).unwrap_or(u64::MAX)
    }
}
