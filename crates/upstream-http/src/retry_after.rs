//! How long a failing service asks to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};

/// A date is taken against the one of the answer itself, so that no two clocks need agree; without that,
/// it says nothing.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are as good as for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let (until, now) = (date(headers, &RETRY_AFTER)?, date(headers, &DATE)?);
    Some(until.duration_since(now).unwrap_or_default())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOON: &str = "Sun, 29 Nov 2026 12:00:00 GMT";

    fn check(text: &str, now: Option<&str>, expect: Option<u64>) {
        let header = |name, text: &str| (name, HeaderValue::from_str(text).unwrap());
        let headers = [Some(header(RETRY_AFTER, text)), now.map(|now| header(DATE, now))];
        let headers: HeaderMap = headers.into_iter().flatten().collect();
        assert_eq!(retry_after(&headers), expect.map(Duration::from_secs), "{text:?} at {now:?}");
    }

    #[test]
    fn it_is_seconds_or_a_date_in_any_of_the_three_forms() {
        check("0", None, Some(0));
        check("120", None, Some(120));
        check(" 7 ", Some(NOON), Some(7));
        check("99999999999999999999999", None, Some(u64::MAX));
        for date in
            ["Sun, 29 Nov 2026 12:02:00 GMT", "Sunday, 29-Nov-26 12:02:00 GMT", "Sun Nov 29 12:02:00 2026"]
        {
            check(date, Some(NOON), Some(120));
        }
    }

    #[test]
    fn a_date_that_is_over_asks_for_no_pause() {
        check("Sun, 29 Nov 2026 11:00:00 GMT", Some(NOON), Some(0));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for text in ["", "-1", "+1", "1.5", "1 s", "soon", "Sun, 29 Nov 2026", "١"] {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_bytes(text.as_bytes()).unwrap())]);
            assert_eq!(retry_after(&headers), None, "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
        check(NOON, None, None);
        check(NOON, Some("yesterday"), None);
    }
}
