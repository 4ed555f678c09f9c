//! How numbers and instants are written in JSON.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use domain::{Date, Timestamp};
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::Number;

/// A decimal as a JSON number, digit for digit.
pub(crate) fn number(decimal: Decimal) -> Number {
    decimal.to_string().parse().expect("a decimal is written as JSON writes numbers")
}

/// RFC 3339 in UTC with `Z` and milliseconds.
pub(crate) fn instant(timestamp: Timestamp) -> String {
    timestamp.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `YYYY-MM-DD`.
pub(crate) fn civil(date: Date) -> String {
    date.to_string()
}

/// RFC 3339, or without a zone, which is then UTC; or a date, which is its midnight. Cut to milliseconds.
pub(crate) fn parse_instant(text: &str) -> Option<Timestamp> {
    let naive = |text: &str| {
        let at = |format| NaiveDateTime::parse_from_str(text, format).ok();
        let midnight = || Some(text.parse::<NaiveDate>().ok()?.and_time(chrono::NaiveTime::MIN));
        at("%Y-%m-%dT%H:%M:%S%.f").or_else(|| at("%Y-%m-%d %H:%M:%S%.f")).or_else(midnight)
    };
    let instant = match DateTime::parse_from_rfc3339(text) {
        Ok(instant) => instant.with_timezone(&Utc),
        Err(_) => naive(text)?.and_utc(),
    };
    DateTime::from_timestamp_millis(instant.timestamp_millis())
}

/// Writes a decimal as a string that keeps its decimals.
pub(crate) fn as_text<S: Serializer>(decimal: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    decimal.to_string().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn decimals_become_numbers_digit_for_digit() {
        for decimal in
            [dec!(62.8547), dec!(0.0199592644505103491), dec!(-100), dec!(7922816251426433759354395033.5)]
        {
            assert_eq!(serde_json::to_string(&number(decimal)).unwrap(), decimal.to_string());
        }
    }

    #[test]
    fn instants_are_read_with_or_without_a_zone_and_written_in_utc() {
        for (text, written) in [
            ("2024-12-19T10:30:00+02:00", "2024-12-19T08:30:00.000Z"),
            ("2024-12-19T10:30:00.123456Z", "2024-12-19T10:30:00.123Z"),
            ("2024-12-19T10:30:00", "2024-12-19T10:30:00.000Z"),
            ("2024-12-19 10:30:00.5", "2024-12-19T10:30:00.500Z"),
            ("2024-12-19", "2024-12-19T00:00:00.000Z"),
        ] {
            assert_eq!(parse_instant(text).map(instant).as_deref(), Some(written), "{text}");
        }
        for text in ["", "now", "2024-13-01", "2024-12-19T25:00:00Z", "1734604200"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
