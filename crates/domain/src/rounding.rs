//! The one place where numbers are rounded. Everything else is exact.

use ethnum::U256;
use rust_decimal::Decimal;

/// Significant digits of the shares and drifts kept in a record.
pub const RECORD_DIGITS: usize = 18;

/// Decimals of the share shown in the reply of a rebalance.
pub const REPLY_DECIMALS: u32 = 4;

/// `numerator / denominator` to `decimals` decimals, half away from zero; zero when the denominator is.
///
/// Long division on integers, so a quotient a hair off the half is never mistaken for it.
/// Panics when the result needs more than the 28 digits of a decimal; shares and drifts never do.
pub fn quotient_to_decimals(numerator: Decimal, denominator: Decimal, decimals: u32) -> Decimal {
    if denominator.is_zero() {
        return Decimal::new(0, decimals);
    }
    let mut division = LongDivision::of(numerator, denominator);
    for _ in 0..decimals {
        division.next_decimal();
    }
    division.round_half_up(decimals)
}

/// `numerator / denominator` to [`RECORD_DIGITS`] significant digits, half away from zero, without
/// trailing zeros; zero when the denominator is.
///
/// Panics as [`quotient_to_decimals`] does.
pub fn quotient_for_the_record(numerator: Decimal, denominator: Decimal) -> Decimal {
    if numerator.is_zero() || denominator.is_zero() {
        return Decimal::ZERO;
    }
    let limit = U256::new(10_u128.pow(u32::try_from(RECORD_DIGITS).unwrap_or(u32::MAX) - 1));
    let mut division = LongDivision::of(numerator, denominator);
    let mut decimals = 0;
    while division.quotient < limit && decimals < Decimal::MAX_SCALE {
        division.next_decimal();
        decimals += 1;
    }
    division.round_half_up(decimals).normalize()
}

struct LongDivision {
    negative: bool,
    quotient: U256,
    remainder: U256,
    divisor: U256,
}

impl LongDivision {
    fn of(numerator: Decimal, denominator: Decimal) -> Self {
        // 96 bits of mantissa and at most 28 digits of alignment stay below 256 bits.
        let aligned = |number: Decimal, other: Decimal| {
            U256::from(number.mantissa().unsigned_abs())
                * U256::new(10_u128.pow(other.scale().saturating_sub(number.scale())))
        };
        let dividend = aligned(numerator, denominator);
        let divisor = aligned(denominator, numerator);
        Self {
            negative: numerator.is_sign_negative() != denominator.is_sign_negative(),
            quotient: dividend / divisor,
            remainder: dividend % divisor,
            divisor,
        }
    }

    fn next_decimal(&mut self) {
        let dividend = self.remainder * U256::new(10);
        self.quotient = self.quotient * U256::new(10) + dividend / self.divisor;
        self.remainder = dividend % self.divisor;
    }

    fn round_half_up(self, decimals: u32) -> Decimal {
        let up = self.divisor - self.remainder <= self.remainder;
        let units = i128::try_from(self.quotient + U256::from(up)).expect("a quotient of 28 digits at most");
        let units = if self.negative { -units } else { units };
        Decimal::try_from_i128_with_scale(units, decimals).expect("a quotient of 28 digits at most")
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!(quotient_to_decimals(dec!(1), dec!(8), 2), dec!(0.13));
        assert_eq!(quotient_to_decimals(dec!(-1), dec!(8), 2), dec!(-0.13));
        assert_eq!(quotient_to_decimals(dec!(12499999999999), dec!(100000000000000), 2), dec!(0.12));
        assert_eq!(quotient_to_decimals(dec!(26962.65), dec!(44974.43), 4), dec!(0.5995));
    }

    #[test]
    fn a_record_keeps_eighteen_significant_digits() {
        assert_eq!(quotient_for_the_record(dec!(26962.65), dec!(44974.43)), dec!(0.599510655276787277));
        assert_eq!(quotient_for_the_record(dec!(2), dec!(3)), dec!(0.666666666666666667));
        assert_eq!(quotient_for_the_record(dec!(1), dec!(3000000)), dec!(0.000000333333333333333333));
        assert_eq!(quotient_for_the_record(dec!(1000), dec!(8)), dec!(125));
        assert_eq!(quotient_for_the_record(dec!(5), dec!(0)), Decimal::ZERO);
        assert_eq!(quotient_for_the_record(dec!(-1), dec!(4)), dec!(-0.25));
    }

    #[test]
    fn every_small_quotient_is_off_by_half_a_unit_at_most() {
        // Twice the distance in units of the last decimal, times the denominator; ties go away from zero.
        let check = |rounded: Decimal, decimals: u32, numerator: i128, denominator: i128| {
            let units = rounded.mantissa() * 10_i128.pow(decimals - rounded.scale());
            let off = 2 * (units * denominator - numerator * 10_i128.pow(decimals)) * numerator.signum();
            assert!(-denominator < off && off <= denominator, "{numerator}/{denominator}: {rounded}");
        };
        for numerator in -150_i128..=150 {
            for denominator in 1_i128..=150 {
                let (over, under) = (Decimal::from(numerator), Decimal::from(denominator));
                let of_18_digits = |decimals: &u32| {
                    10_i128.pow(17) <= numerator.abs() * 10_i128.pow(*decimals) / denominator
                };
                let decimals = (15..=20).find(of_18_digits).unwrap_or(0);

                check(quotient_to_decimals(over, under, 2), 2, numerator, denominator);
                check(quotient_for_the_record(over, under), decimals, numerator, denominator);
            }
        }
    }
}
