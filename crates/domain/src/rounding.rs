//! The one place where numbers are rounded. Everything else is exact.

use ethnum::U256;
use rust_decimal::Decimal;

/// Significant digits of the shares and drifts kept in a record.
pub const RECORD_DIGITS: u32 = 18;

/// Decimals of the share shown in the reply of a rebalance.
pub const REPLY_DECIMALS: u32 = 4;

/// `numerator / denominator` to `decimals` decimals, half away from zero; zero when the denominator is.
///
/// In integers, so a quotient a hair off the half is never mistaken for it.
/// Panics when the result needs more than the 28 digits of a decimal; shares and drifts never do.
pub fn quotient_to_decimals(numerator: Decimal, denominator: Decimal, decimals: u32) -> Decimal {
    if denominator.is_zero() {
        return Decimal::new(0, decimals);
    }
    Fraction::new(numerator, denominator).rounded(decimals)
}

/// `numerator / denominator` to [`RECORD_DIGITS`] significant digits, half away from zero, without
/// trailing zeros; zero when the denominator is.
///
/// Panics as [`quotient_to_decimals`] does.
pub fn quotient_for_the_record(numerator: Decimal, denominator: Decimal) -> Decimal {
    if numerator.is_zero() || denominator.is_zero() {
        return Decimal::ZERO;
    }
    let fraction = Fraction::new(numerator, denominator);
    let decimals = fraction.decimals_for(RECORD_DIGITS).min(Decimal::MAX_SCALE);
    fraction.rounded(decimals).normalize()
}

/// A quotient of whole numbers.
struct Fraction {
    is_negative: bool,
    dividend: U256,
    divisor: U256,
}

impl Fraction {
    fn new(numerator: Decimal, denominator: Decimal) -> Self {
        // 96 bits of mantissa and at most 28 digits of alignment stay below 256 bits.
        let aligned = |number: Decimal, other: Decimal| {
            let zeros = other.scale().saturating_sub(number.scale());
            U256::from(number.mantissa().unsigned_abs()) * power_of_ten(zeros)
        };
        Self {
            is_negative: numerator.is_sign_negative() != denominator.is_sign_negative(),
            dividend: aligned(numerator, denominator),
            divisor: aligned(denominator, numerator),
        }
    }

    /// The fewest decimals that show so many significant digits.
    fn decimals_for(&self, digits: u32) -> u32 {
        let whole_digits = self.dividend / self.divisor;
        if U256::ONE <= whole_digits {
            return digits.saturating_sub(digits_of(whole_digits));
        }
        // One less than the zeros behind the point, or as many.
        let zeros = (digits_of(self.divisor) - digits_of(self.dividend)).min(Decimal::MAX_SCALE);
        let first_digit_comes = self.divisor <= self.dividend * power_of_ten(zeros);
        digits - 1 + zeros + u32::from(!first_digit_comes)
    }

    fn rounded(&self, decimals: u32) -> Decimal {
        let (quotient, remainder) = self.divided(decimals);
        let up = self.divisor - remainder <= remainder;
        let units = i128::try_from(quotient + U256::from(up)).expect("a quotient of 28 digits at most");
        let units = if self.is_negative { -units } else { units };
        Decimal::try_from_i128_with_scale(units, decimals).expect("a quotient of 28 digits at most")
    }

    /// The quotient in units of 10^-decimals, rounded down, and what is left.
    fn divided(&self, decimals: u32) -> (U256, U256) {
        let narrow = |number: U256| u128::try_from(number).ok();
        if let (Some(dividend), Some(divisor)) = (narrow(self.dividend), narrow(self.divisor))
            && let Some(dividend) = dividend.checked_mul(10_u128.pow(decimals))
        {
            return (U256::from(dividend / divisor), U256::from(dividend % divisor));
        }
        // Digit by digit, since all of them at once may not fit.
        let ten = U256::new(10);
        let whole = (self.dividend / self.divisor, self.dividend % self.divisor);
        (0..decimals).fold(whole, |(quotient, remainder), _| {
            let dividend = remainder * ten;
            (quotient * ten + dividend / self.divisor, dividend % self.divisor)
        })
    }
}

fn power_of_ten(exponent: u32) -> U256 {
    U256::new(10_u128.pow(exponent))
}

fn digits_of(number: U256) -> u32 {
    match u128::try_from(number) {
        Ok(number) => number.checked_ilog10().map_or(0, |digits| digits + 1),
        Err(_) => digits_of(number / power_of_ten(38)) + 38,
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
        let least = Decimal::from_parts(1, 0, 0, false, 28);
        assert_eq!(quotient_for_the_record(least, Decimal::MAX), Decimal::ZERO);
        assert_eq!(quotient_for_the_record(least, dec!(2)), least);
        assert_eq!(quotient_for_the_record(least, dec!(0.0000000001)), dec!(0.000000000000000001));
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
