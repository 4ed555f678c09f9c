//! Decimals as the accounting service writes them: strings, exact, without trailing zeros.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

const DECIMAL_PLACES: u32 = 8;

// decimal(18,8) leaves ten digits before the point.
const LIMIT: Decimal = Decimal::from_parts(1_410_065_408, 2, 0, false, 0);

/// Read from a JSON number or string, never through a binary float.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount(pub(super) Decimal);

/// As a column stores it, or `None` if it does not fit.
pub(super) fn stored(value: Decimal) -> Option<Decimal> {
    let rounded = value.round_dp_with_strategy(DECIMAL_PLACES, RoundingStrategy::MidpointAwayFromZero);
    (rounded.abs() < LIMIT).then_some(rounded)
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.normalize())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(de::Error::custom("a decimal is a number or a string"));
            }
        };
        let decimal = if text.contains(['e', 'E']) { Decimal::from_scientific(&text) } else { text.parse() };
        decimal.map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn an_amount_survives_from_text_to_text() {
        let check = |json: &str, expect: &str| {
            let amount: Amount = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&amount).unwrap(), format!("{expect:?}"));
        };

        check("100.50", "100.5");
        check(r#""100.50""#, "100.5");
        check("1.5e3", "1500");
        check("-0.0", "0");
        check("0.10000000000000000001", "0.10000000000000000001");
    }

    #[test]
    fn eight_places_are_stored_and_ten_digits_fit() {
        assert_eq!(stored(dec!(0.000000005)), Some(dec!(0.00000001)));
        assert_eq!(stored(dec!(-0.000000005)), Some(dec!(-0.00000001)));
        assert_eq!(stored(dec!(9999999999)), Some(dec!(9999999999)));
        assert_eq!(stored(dec!(10000000000)), None);
    }
}
