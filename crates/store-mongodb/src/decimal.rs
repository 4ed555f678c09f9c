//! Decimals as MongoDB keeps them, to the digit: its own and ours are both a whole number and a scale.

use bson::Decimal128;
use rust_decimal::Decimal;

const SIGN: u128 = 1 << 127;
/// Where the exponent begins, and what is added to it.
const EXPONENT: u32 = 113;
const BIAS: i32 = 6176;
const COEFFICIENT: u128 = (1 << EXPONENT) - 1;
/// Set in infinities, in what is no number, and in numbers of more than 34 digits, which count as zero.
const NO_NUMBER: u128 = 0b11 << 125;
/// Of our own decimals.
const MAX_SCALE: i32 = 28;
const MAX_COEFFICIENT: u128 = (1 << 96) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decimal {0} cannot be kept exactly")]
pub(crate) struct Inexact(Decimal128);

pub(crate) fn stored(number: Decimal) -> Decimal128 {
    let sign = if number.is_sign_negative() { SIGN } else { 0 };
    let exponent = u128::from(BIAS.unsigned_abs() - number.scale());
    Decimal128::from_bytes((sign | exponent << EXPONENT | number.mantissa().unsigned_abs()).to_le_bytes())
}

/// Nothing is ever rounded to fit.
pub(crate) fn exact(stored: Decimal128) -> Result<Decimal, Inexact> {
    plain(stored).or_else(|| rescaled(stored)).ok_or(Inexact(stored))
}

/// One with no more digits than ours, as are all that were written here.
#[inline]
pub(crate) fn plain(stored: Decimal128) -> Option<Decimal> {
    let (negative, coefficient, scale) = parts(stored)?;
    decimal(negative, coefficient, scale)
}

/// Of a number that others wrote: with more trailing zeros than we have room for, or with too few.
fn rescaled(stored: Decimal128) -> Option<Decimal> {
    let (negative, mut coefficient, mut scale) = parts(stored)?;
    while (MAX_SCALE < scale || MAX_COEFFICIENT < coefficient) && coefficient != 0 && coefficient % 10 == 0 {
        coefficient /= 10;
        scale -= 1;
    }
    if coefficient == 0 {
        scale = scale.clamp(0, MAX_SCALE);
    }
    while scale < 0 && coefficient <= MAX_COEFFICIENT {
        coefficient *= 10;
        scale += 1;
    }
    decimal(negative, coefficient, scale)
}

/// For a quotient, which was rounded anyway: 28 decimals are kept of it.
pub(crate) fn nearest(stored: Decimal128) -> Result<Decimal, Inexact> {
    exact(stored).or_else(|inexact| rounded(stored).ok_or(inexact))
}

/// To 28 decimals, half away from zero; `None` if it is too large even so.
fn rounded(stored: Decimal128) -> Option<Decimal> {
    let (negative, coefficient, scale) = parts(stored)?;
    let surplus = u32::try_from(scale - MAX_SCALE).ok()?;
    let shrunk = match 10_u128.checked_pow(surplus) {
        Some(unit) => (coefficient + unit / 2) / unit,
        None => 0,
    };
    decimal(negative, shrunk, MAX_SCALE)
}

/// `None` if it has more digits than a decimal of ours.
#[inline]
fn decimal(negative: bool, coefficient: u128, scale: i32) -> Option<Decimal> {
    let scale = u32::try_from(scale).ok().filter(|_| scale <= MAX_SCALE)?;
    if MAX_COEFFICIENT < coefficient {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "cut into three words of 32 bits")]
    let [low, middle, high] = [coefficient as u32, (coefficient >> 32) as u32, (coefficient >> 64) as u32];
    // There is no zero below zero here.
    Some(Decimal::from_parts(low, middle, high, negative && coefficient != 0, scale))
}

/// Whether it is negative, its digits, and how many of them are decimals.
#[inline]
fn parts(stored: Decimal128) -> Option<(bool, u128, i32)> {
    let bits = u128::from_le_bytes(stored.bytes());
    if bits & NO_NUMBER == NO_NUMBER {
        return None;
    }
    let exponent = i32::try_from((bits & !SIGN) >> EXPONENT).ok()?;
    Some((bits & SIGN != 0, bits & COEFFICIENT, BIAS - exponent))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use rust_decimal_macros::dec;

    use super::*;

    fn kept(text: &str) -> Decimal128 {
        text.parse().unwrap()
    }

    #[test]
    fn decimals_are_written_as_their_text_says() {
        for number in [
            dec!(0),
            dec!(0.00),
            dec!(1),
            dec!(-0.01),
            dec!(12.3400),
            dec!(100.000),
            Decimal::MAX,
            Decimal::MIN,
            dec!(0.0000000000000000000000000001),
            dec!(-7.9228162514264337593543950335),
        ] {
            assert_eq!(stored(number), kept(&number.to_string()), "{number}");
            assert_eq!(exact(stored(number)).unwrap().to_string(), number.to_string());
        }
    }

    /// Of every length, scale and sign.
    #[test]
    fn decimals_are_kept_to_the_digit_as_their_text_says() {
        let mut dice = StdRng::seed_from_u64(20_240_607);
        for length in 0..=96 {
            for scale in 0..=28 {
                for _ in 0..3 {
                    let coefficient = dice.random_range(0..1_i128 << length);
                    let extremes = [coefficient, (1 << length) - 1, coefficient / 1000 * 1000];
                    for coefficient in extremes.into_iter().flat_map(|it| [it, -it]) {
                        let number = Decimal::from_i128_with_scale(coefficient, scale);
                        assert_eq!(stored(number), kept(&number.to_string()), "{number}");
                        assert_eq!(exact(stored(number)).unwrap().to_string(), number.to_string());
                    }
                }
            }
        }
    }

    /// Of up to its 34 digits, at any exponent, against what is made of it written out.
    #[test]
    fn any_decimal_that_others_may_write_is_read_as_its_text_says_or_refused() {
        let mut dice = StdRng::seed_from_u64(20_240_607);
        let (mut n_read, mut n_refused) = (0, 0);
        for _ in 0..50_000 {
            let most = 10_i128.pow(dice.random_range(0..=34));
            let zeros = 10_i128.pow(dice.random_range(0..=6));
            let coefficient = dice.random_range(1 - most..most) / zeros * zeros;
            let exponent = dice.random_range(-36..=8);
            let text = format!("{coefficient}E{exponent}");
            match (exact(kept(&text)), Decimal::from_str_exact(&written_out(coefficient, exponent))) {
                (Ok(number), Ok(expected)) => {
                    assert_eq!(number, expected, "{text}");
                    n_read += 1;
                }
                (Err(_), Err(_)) => n_refused += 1,
                (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
            }
        }
        assert!(5_000 < n_read && 5_000 < n_refused, "{n_read} read, {n_refused} refused");
    }

    /// Without an exponent, and without zeros at its end.
    fn written_out(coefficient: i128, exponent: i32) -> String {
        let sign = if coefficient < 0 { "-" } else { "" };
        let places = usize::try_from(exponent.unsigned_abs()).unwrap();
        let digits = coefficient.unsigned_abs().to_string();
        if 0 <= exponent {
            return format!("{sign}{digits}{}", "0".repeat(places));
        }
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        format!("{sign}{whole}.{}", fraction.trim_end_matches('0')).trim_end_matches('.').to_owned()
    }

    #[test]
    fn what_others_wrote_is_read_where_it_fits() {
        for (text, number) in [
            ("1E+3", "1000"),
            ("-2.50E+1", "-25.0"),
            ("0E-8", "0.00000000"),
            ("0E+8", "0"),
            ("0E-6000", "0.0000000000000000000000000000"),
            ("1.000000000000000000000000000000000", "1.0000000000000000000000000000"),
            ("-0", "0"),
        ] {
            assert_eq!(exact(kept(text)).unwrap().to_string(), number, "{text}");
        }
        for text in ["NaN", "Infinity", "-Infinity", "1E-29", "1E+30", "79228162514264337593543950336"] {
            assert_eq!(exact(kept(text)), Err(Inexact(kept(text))), "{text}");
        }
    }

    #[test]
    fn a_quotient_with_more_digits_is_rounded_to_those_that_are_kept() {
        for (text, number) in [
            ("0.01995926445051035000000000012345", "0.0199592644505103500000000001"),
            ("-0.00000000000000000000000000015", "-0.0000000000000000000000000002"),
            ("1E-40", "0.0000000000000000000000000000"),
            ("1E-6000", "0.0000000000000000000000000000"),
        ] {
            assert_eq!(rounded(kept(text)).unwrap().to_string(), number, "{text}");
        }
        assert_eq!(rounded(kept("NaN")), None);
    }
}
