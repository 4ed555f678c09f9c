//! Decimals as JSON spells them, never by way of a binary float.

use domain::decimal::{self, InvalidDecimal};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

/// A JSON number, or a string that holds one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Exact(pub(crate) Decimal);

impl TryFrom<Value> for Exact {
    type Error = InvalidDecimal;

    fn try_from(value: Value) -> Result<Self, InvalidDecimal> {
        match value {
            Value::Number(number) => decimal::parse(number.as_str()),
            Value::String(text) => decimal::parse(&text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(InvalidDecimal::NotANumber)
            }
        }
        .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Option<&str>) {
        let read: Option<Exact> = serde_json::from_str(json).ok();
        assert_eq!(read.map(|Exact(decimal)| decimal.to_string()).as_deref(), expect, "{json}");
    }

    #[test]
    fn numbers_and_strings_are_read_to_the_last_digit() {
        for (json, expect) in [
            ("101.20", "101.20"),
            (r#""7500.50""#, "7500.50"),
            ("-0.00000001", "-0.00000001"),
            ("9007199254740993", "9007199254740993"),
            (r#""0.1234567890123456789012345678""#, "0.1234567890123456789012345678"),
            ("1E-8", "0.00000001"),
        ] {
            check(json, Some(expect));
        }
    }

    #[test]
    fn what_is_no_number_or_would_need_rounding_is_refused() {
        for json in [
            "null",
            "true",
            "[]",
            "{}",
            r#""""#,
            r#"" 1""#,
            r#""NaN""#,
            "0.12345678901234567890123456789",
            "1e400",
        ] {
            check(json, None);
        }
    }
}
