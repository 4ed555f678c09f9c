//! Decimals as MongoDB keeps them, to the digit: its own and ours are both a whole number and a scale.

use bson::Decimal128;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SIGN: u128 = 1 << 127;
/// Where the exponent begins, and what is added to it.
const EXPONENT: u32 = 113;
const BIAS: i32 = 6176;
const COEFFICIENT: u128 = (1 << EXPONENT) - 1;
/// Set in infinities, in what is no number, and in numbers of more than 34 digits, which count as zero.
const NO_NUMBER: u128 = 0b11 << 125;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decimal {0} cannot be kept exactly")]
struct Inexact(Decimal128);

/// For `#[serde(with)]` on an amount: nothing is ever rounded to fit.
pub(crate) mod exact {
    pub(crate) use super::serialize;
    use super::{Decimal, Decimal128, Deserialize, Deserializer, de, read};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let stored = Decimal128::deserialize(deserializer)?;
        read(stored).map_err(de::Error::custom)
    }
}

/// For `#[serde(with)]` on a quotient, which was rounded anyway: 28 decimals are kept of it.
pub(crate) mod nearest {
    pub(crate) use super::serialize;
    use super::{Decimal, Decimal128, Deserialize, Deserializer, de, read, rounded};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let stored = Decimal128::deserialize(deserializer)?;
        read(stored).or_else(|inexact| rounded(stored).ok_or(inexact)).map_err(de::Error::custom)
    }
}

pub(crate) fn serialize<S: Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    write(*number).serialize(serializer)
}

fn write(number: Decimal) -> Decimal128 {
    let sign = if number.is_sign_negative() { SIGN } else { 0 };
    let exponent = u128::from(BIAS.unsigned_abs() - number.scale());
    Decimal128::from_bytes((sign | exponent << EXPONENT | number.mantissa().unsigned_abs()).to_le_bytes())
}

fn read(stored: Decimal128) -> Result<Decimal, Inexact> {
    let (negative, mut coefficient, mut scale) = parts(stored).ok_or(Inexact(stored))?;
    while (28 < scale || Decimal::try_from_i128_with_scale(coefficient, 0).is_err())
        && coefficient != 0
        && coefficient % 10 == 0
    {
        coefficient /= 10;
        scale -= 1;
    }
    if coefficient == 0 {
        scale = scale.clamp(0, 28);
    }
    while scale < 0 && coefficient <= i128::MAX / 10 {
        coefficient *= 10;
        scale += 1;
    }
    let scale = u32::try_from(scale).map_err(|_| Inexact(stored))?;
    let mut number = Decimal::try_from_i128_with_scale(coefficient, scale).map_err(|_| Inexact(stored))?;
    number.set_sign_negative(negative && coefficient != 0);
    Ok(number)
}

/// To 28 decimals, half away from zero; `None` if it is too large even so.
fn rounded(stored: Decimal128) -> Option<Decimal> {
    let (negative, coefficient, scale) = parts(stored)?;
    let surplus = u32::try_from(scale - 28).ok()?;
    let shrunk = match 10_i128.checked_pow(surplus) {
        Some(unit) => (coefficient + unit / 2) / unit,
        None => 0,
    };
    let mut number = Decimal::try_from_i128_with_scale(shrunk, 28).ok()?;
    number.set_sign_negative(negative && shrunk != 0);
    Some(number)
}

/// Whether it is negative, its digits, and how many of them are decimals.
fn parts(stored: Decimal128) -> Option<(bool, i128, i32)> {
    let bits = u128::from_le_bytes(stored.bytes());
    if bits & NO_NUMBER == NO_NUMBER {
        return None;
    }
    let coefficient = i128::try_from(bits & COEFFICIENT).ok()?;
    let exponent = i32::try_from((bits & !SIGN) >> EXPONENT).ok()?;
    Some((bits & SIGN != 0, coefficient, BIAS - exponent))
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    fn stored(text: &str) -> Decimal128 {
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
            assert_eq!(write(number), stored(&number.to_string()), "{number}");
            assert_eq!(read(write(number)).unwrap().to_string(), number.to_string());
        }
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
            assert_eq!(read(stored(text)).unwrap().to_string(), number, "{text}");
        }
        for text in ["NaN", "Infinity", "-Infinity", "1E-29", "1E+30", "79228162514264337593543950336"] {
            assert_eq!(read(stored(text)), Err(Inexact(stored(text))), "{text}");
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
            assert_eq!(rounded(stored(text)).unwrap().to_string(), number, "{text}");
        }
        assert_eq!(rounded(stored("NaN")), None);
    }
}
