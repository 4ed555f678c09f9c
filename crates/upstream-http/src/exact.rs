//! Decimals as JSON spells them, never by way of a binary float.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Number, Value};

/// A JSON number, or a string that holds one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Exact(pub(crate) Decimal);

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotExact {
    #[error("a number is expected, bare or in a string")]
    NotANumber,
    #[error("a number has more digits than are kept exactly")]
    TooPrecise,
}

impl TryFrom<Value> for Exact {
    type Error = NotExact;

    fn try_from(value: Value) -> Result<Self, NotExact> {
        let number = match value {
            Value::Number(number) => number,
            Value::String(text) => text.parse().map_err(|_| NotExact::NotANumber)?,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(NotExact::NotANumber);
            }
        };
        decimal(&number).map(Self).ok_or(NotExact::TooPrecise)
    }
}

/// `None` where digits would be lost.
fn decimal(number: &Number) -> Option<Decimal> {
    let text = number.as_str();
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let mut decimal = Decimal::from_str_exact(digits)
        .or_else(|_| Decimal::from_str_exact(without_idle_zeros(digits)))
        .ok()?;

    let scale = i32::try_from(decimal.scale()).ok()?.checked_sub(exponent)?;
    if let Ok(scale) = u32::try_from(scale) {
        decimal.set_scale(scale).ok()?;
        return Some(decimal);
    }
    decimal.set_scale(0).ok()?;
    let power = 10_i128.checked_pow(scale.unsigned_abs())?;
    decimal.checked_mul(Decimal::try_from_i128_with_scale(power, 0).ok()?)
}

/// `1.500` is `1.5`: zeros at the end of a fraction say nothing.
fn without_idle_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Option<&str>) {
        let read: Option<Exact> = serde_json::from_str(json).ok();
        let expect: Option<Decimal> = expect.map(|text| Decimal::from_str_exact(text).unwrap());
        assert_eq!(read.map(|Exact(decimal)| decimal), expect, "{json}");
    }

    #[test]
    fn numbers_and_strings_are_read_to_the_last_digit() {
        for (json, expect) in [
            ("101.20", "101.20"),
            (r#""7500.50""#, "7500.50"),
            ("-0.00000001", "-0.00000001"),
            (r#""-50""#, "-50"),
            ("0.1", "0.1"),
            ("9007199254740993", "9007199254740993"),
            ("79228162514264337593543950335", "79228162514264337593543950335"),
            (r#""0.1234567890123456789012345678""#, "0.1234567890123456789012345678"),
            ("1E-8", "0.00000001"),
            (r#""1E-8""#, "0.00000001"),
            ("0E-8", "0"),
            ("1.25e3", "1250"),
            ("1.25E+1", "12.5"),
            ("-3e0", "-3"),
            ("1e28", "10000000000000000000000000000"),
            ("1.50000000000000000000000000000000000000", "1.5"),
            ("2.00000000000000000000000000000000000000", "2"),
        ] {
            check(json, Some(expect));
        }
    }

    #[test]
    fn numbers_that_would_need_rounding_are_refused() {
        for json in [
            "123456789012345678901234567890",
            r#""123456789012345678901234567890""#,
            "79228162514264337593543950336",
            "0.12345678901234567890123456789",
            "1e-29",
            "1e29",
            "8e28",
            "1e400",
            "1e99999999999999999999",
            "1e2147483647",
            "1e-2147483648",
        ] {
            check(json, None);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for json in [
            "null",
            "true",
            "[]",
            "{}",
            r#""""#,
            r#"" 1""#,
            r#""1 ""#,
            r#""1,000""#,
            r#""1_000""#,
            r#""0x10""#,
            r#""NaN""#,
            r#""Infinity""#,
            r#""one""#,
        ] {
            check(json, None);
        }
    }
}
