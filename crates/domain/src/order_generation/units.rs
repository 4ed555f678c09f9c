//! Decimals as integers of a common unit.

use ethnum::I256;
use rust_decimal::Decimal;

/// A decimal without zeros at the end of its fraction: mantissa · 10^-decimals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaled {
    pub(super) mantissa: i128,
    pub(super) decimals: u32,
}

impl Scaled {
    pub(super) fn of(number: Decimal) -> Self {
        let number = number.normalize();
        Self { mantissa: number.mantissa(), decimals: number.scale() }
    }

    /// In units of 10^-scale; `None` when it does not fit.
    pub(super) fn units(self, scale: u32) -> Option<i128> {
        let shift = usize::try_from(scale.checked_sub(self.decimals)?).ok()?;
        product(self.mantissa, *POWERS_OF_TEN.get(shift)?)
    }

    /// The same with zeros at the end of the fraction, where it has fewer decimals.
    pub(super) fn with_decimals(self, decimals: u32) -> Self {
        self.units(decimals).map_or(self, |mantissa| Self { mantissa, decimals })
    }

    /// This share of an amount, rounded down; at most a few times the amount.
    pub(super) fn share_of(self, amount: i128) -> i128 {
        let whole = power_of_ten(self.decimals);
        if let Some(product) = product(amount, self.mantissa) {
            return quotient(product, whole);
        }
        let product = I256::from(amount) * I256::from(self.mantissa);
        i128::try_from(product.div_euclid(I256::from(whole))).expect("at most a few times the amount")
    }
}

impl std::ops::Neg for Scaled {
    type Output = Self;

    fn neg(self) -> Self {
        Self { mantissa: -self.mantissa, ..self }
    }
}

/// `None` beyond 128 bits.
pub(super) fn product(a: i128, b: i128) -> Option<i128> {
    // Nearly all amounts fit 64 bits, whose product takes a single instruction.
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => Some(i128::from(a) * i128::from(b)),
        _ => a.checked_mul(b),
    }
}

/// The same where it is known to fit; panics where that was an error.
pub(super) fn times(a: i128, b: i128) -> i128 {
    product(a, b).expect("the bound on all amounts leaves room for their products")
}

/// Rounded down, for a divisor above zero.
pub(super) fn quotient(a: i128, b: i128) -> i128 {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => a.div_euclid(b).into(),
        _ => a.div_euclid(b),
    }
}

/// Panics beyond 10^38.
pub(super) const fn power_of_ten(exponent: u32) -> i128 {
    POWERS_OF_TEN[exponent as usize]
}

const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
};
