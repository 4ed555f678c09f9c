//! Decimals from text, exactly as written or not at all.

use rust_decimal::Decimal;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDecimal {
    #[error("is not a decimal number")]
    NotANumber,
    #[error("has more digits than can be kept exactly")]
    TooManyDigits,
}

/// Reads `12.50`, `-3`, `1e-8` or `0E-8`; keeps the written decimals.
///
/// `TooManyDigits` beyond 28 decimals or 96 bits: nothing is ever rounded to fit.
pub fn parse(text: &str) -> Result<Decimal, InvalidDecimal> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse().map_err(|_| InvalidDecimal::NotANumber)?),
        None => (text, 0_i32),
    };
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = !whole.is_empty()
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        && (fraction.is_empty() != unsigned.contains('.'));
    if !is_number {
        return Err(InvalidDecimal::NotANumber);
    }
    let number = Decimal::from_str_exact(digits)
        .or_else(|_| Decimal::from_str_exact(without_idle_zeros(digits)))
        .map_err(|_| InvalidDecimal::TooManyDigits)?;
    shifted(number, exponent).ok_or(InvalidDecimal::TooManyDigits)
}

/// `1.500` is `1.5`: zeros at the end of a fraction say nothing.
fn without_idle_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

fn shifted(number: Decimal, exponent: i32) -> Option<Decimal> {
    if number.is_zero() {
        return Some(number);
    }
    let scale = i64::from(number.scale()) - i64::from(exponent);
    let (factor, scale) = match u32::try_from(scale) {
        Ok(scale) => (1, scale),
        Err(_) => (10_i128.checked_pow(u32::try_from(-scale).ok()?)?, 0),
    };
    Decimal::try_from_i128_with_scale(number.mantissa().checked_mul(factor)?, scale).ok()
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn text_is_read_as_written() {
        for (text, number) in [
            ("12.50", dec!(12.50)),
            ("-3", dec!(-3)),
            ("+3", dec!(3)),
            ("1e-8", dec!(0.00000001)),
            ("1E-1", dec!(0.1)),
            ("2.5e3", dec!(2500)),
            ("0E-8", dec!(0)),
            ("79228162514264337593543950335", dec!(79228162514264337593543950335)),
            ("1.50000000000000000000000000000000000000", dec!(1.5)),
            ("0.0000000000000000000000000001", dec!(0.0000000000000000000000000001)),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        assert_eq!(parse("0.350").unwrap().to_string(), "0.350");
    }

    #[test]
    fn what_is_no_number_or_too_long_is_refused() {
        for text in [
            "",
            " ",
            "-",
            ".",
            "1.",
            ".5",
            "1_000",
            "0x10",
            "NaN",
            "Infinity",
            "1e",
            "1e1.5",
            "--1",
            "1,5",
            "1e99999999999",
        ] {
            assert_eq!(parse(text), Err(InvalidDecimal::NotANumber), "{text}");
        }
        for text in [
            "0.00000000000000000000000000001",
            "79228162514264337593543950336",
            "1e30",
            "1e-29",
            "1e-2147483648",
            "1e2147483647",
        ] {
            assert_eq!(parse(text), Err(InvalidDecimal::TooManyDigits), "{text}");
        }
    }
}
