//! The bodies of the portfolio service, read as leniently as it reads them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Timelike, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Portfolio;
use crate::fast_api::{Query, Violation, lenient_integer};

// From this magnitude on, a number of seconds is taken for milliseconds.
const MILLISECONDS_FROM: i64 = 20_000_000_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortfolioBody {
    portfolio_id: String,
    name: String,
    date_created: String,
    version: i64,
}

impl From<&Portfolio> for PortfolioBody {
    fn from(portfolio: &Portfolio) -> Self {
        let format =
            if portfolio.created.nanosecond() == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
        Self {
            portfolio_id: portfolio.id.clone(),
            name: portfolio.name.clone(),
            date_created: portfolio.created.to_rfc3339_opts(format, true),
            version: portfolio.version,
        }
    }
}

/// A portfolio to create.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) created: Option<DateTime<Utc>>,
    pub(super) version: Option<i64>,
}

/// A new state of the portfolio at `version`.
pub(super) struct Revision {
    pub(super) name: String,
    pub(super) created: Option<DateTime<Utc>>,
    pub(super) version: i64,
}

pub(super) fn draft(body: &[u8]) -> Result<Draft, Vec<Violation>> {
    draft_at(&parse(body)?, &[json!("body")])
}

pub(super) fn drafts(body: &[u8]) -> Result<Vec<Draft>, Vec<Violation>> {
    let value = parse(body)?;
    let Value::Array(elements) = value else {
        return Err(vec![Violation::new(
            "list_type",
            vec![json!("body")],
            "Input should be a valid list",
            value,
        )]);
    };

    let (mut drafts, mut violations) = (Vec::new(), Vec::new());
    for (idx, element) in elements.iter().enumerate() {
        match draft_at(element, &[json!("body"), json!(idx)]) {
            Ok(draft) => drafts.push(draft),
            Err(found) => violations.extend(found),
        }
    }
    if violations.is_empty() { Ok(drafts) } else { Err(violations) }
}

pub(super) fn revision(body: &[u8]) -> Result<Revision, Vec<Violation>> {
    let value = parse(body)?;
    let loc = [json!("body")];
    let mut fields = Fields::of(&value, &loc)?;
    // Required, and never compared with the path.
    fields.text("portfolioId");
    let name = fields.text("name");
    let created = fields.instant("dateCreated");
    let version = fields.integer("version");
    if version.is_none() {
        fields.require("version");
    }
    match (name, version) {
        (Some(name), Some(version)) if fields.violations.is_empty() => {
            Ok(Revision { name, created, version })
        }
        _ => Err(fields.violations),
    }
}

pub(super) fn version_of(query: &Query) -> Result<i64, Violation> {
    let loc = vec![json!("query"), json!("version")];
    match query.get("version") {
        None => Err(Violation::new("missing", loc, "Field required", Value::Null)),
        Some(text) => lenient_integer(text).ok_or_else(|| not_an_integer("int_parsing", loc, json!(text))),
    }
}

fn parse(body: &[u8]) -> Result<Value, Vec<Violation>> {
    if body.is_empty() {
        let loc = vec![json!("body")];
        return Err(vec![Violation::new("missing", loc, "Field required", Value::Null)]);
    }
    serde_json::from_slice(body).map_err(|err| {
        let loc = vec![json!("body"), json!(err.column().saturating_sub(1))];
        vec![
            Violation::new("json_invalid", loc, "JSON decode error", json!({}))
                .with_context(json!({ "error": err.to_string() })),
        ]
    })
}

fn draft_at(value: &Value, loc: &[Value]) -> Result<Draft, Vec<Violation>> {
    let mut fields = Fields::of(value, loc)?;
    let name = fields.text("name");
    let created = fields.instant("dateCreated");
    let version = fields.integer("version");
    match name {
        Some(name) if fields.violations.is_empty() => Ok(Draft { name, created, version }),
        _ => Err(fields.violations),
    }
}

struct Fields<'a> {
    object: &'a Map<String, Value>,
    loc: &'a [Value],
    violations: Vec<Violation>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, loc: &'a [Value]) -> Result<Self, Vec<Violation>> {
        let object = value.as_object().ok_or_else(|| {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            vec![Violation::new("model_attributes_type", loc.to_vec(), msg, value.clone())]
        })?;
        Ok(Self { object, loc, violations: Vec::new() })
    }

    fn loc_of(&self, name: &str) -> Vec<Value> {
        (self.loc.iter().cloned()).chain([json!(name)]).collect()
    }

    fn require(&mut self, name: &str) {
        let loc = self.loc_of(name);
        let violation = match self.object.get(name) {
            None => Violation::new("missing", loc, "Field required", json!(self.object)),
            Some(Value::Null) => {
                let msg = "Input should be a valid integer";
                Violation::new("int_type", loc, msg, Value::Null)
            }
            Some(_) => return,
        };
        self.violations.push(violation);
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let violation = match self.object.get(name) {
            Some(Value::String(text)) => return Some(text.clone()),
            Some(other) => {
                let msg = "Input should be a valid string";
                Violation::new("string_type", self.loc_of(name), msg, other.clone())
            }
            None => {
                let input = json!(self.object);
                Violation::new("missing", self.loc_of(name), "Field required", input)
            }
        };
        self.violations.push(violation);
        None
    }

    fn integer(&mut self, name: &str) -> Option<i64> {
        let value = self.object.get(name)?;
        let (text, kind) = match value {
            Value::Null => return None,
            Value::Bool(flag) => return Some(i64::from(*flag)),
            Value::Number(number) => (number.to_string(), "int_from_float"),
            Value::String(text) => (text.clone(), "int_parsing"),
            Value::Array(_) | Value::Object(_) => (String::new(), "int_type"),
        };
        let integer = lenient_integer(&text);
        if integer.is_none() {
            let violation = not_an_integer(kind, self.loc_of(name), value.clone());
            self.violations.push(violation);
        }
        integer
    }

    fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let value = self.object.get(name)?;
        let instant = match value {
            Value::Null => return None,
            Value::String(text) => instant(text),
            Value::Number(number) => epoch(&number.to_string()),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        if instant.is_none() {
            let msg = "Input should be a valid datetime or date, input is malformed";
            let loc = self.loc_of(name);
            let violation = Violation::new("datetime_from_date_parsing", loc, msg, value.clone());
            self.violations.push(violation);
        }
        instant
    }
}

fn not_an_integer(kind: &'static str, loc: Vec<Value>, input: Value) -> Violation {
    let msg = match kind {
        "int_from_float" => "Input should be a valid integer, got a number with a fractional part",
        "int_parsing" => "Input should be a valid integer, unable to parse string as an integer",
        _ => "Input should be a valid integer",
    };
    Violation::new(kind, loc, msg, input)
}

/// RFC 3339 with a space for the `T`, without seconds, without a zone (UTC then), a bare date, or
/// a number of seconds.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let text = text.to_ascii_uppercase().replacen(' ', "T", 1);
    let zoned = match text.strip_suffix('Z') {
        Some(local) => format!("{local}+0000"),
        None => text.clone(),
    };
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .into_iter()
        .find_map(|format| {
            DateTime::parse_from_str(&zoned, &format!("{format}%z"))
                .map(|instant| instant.to_utc())
                .or_else(|_| NaiveDateTime::parse_from_str(&text, format).map(|it| it.and_utc()))
                .ok()
        })
        .or_else(|| epoch(&text))
}

fn epoch(text: &str) -> Option<DateTime<Utc>> {
    let number = rust_decimal::Decimal::from_str_exact(text).ok()?;
    let millis =
        if number.abs() <= MILLISECONDS_FROM.into() { number.checked_mul(1000.into())? } else { number };
    DateTime::from_timestamp_millis(millis.floor().try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let found = instant(text).map(|it| it.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        assert_eq!(found.as_deref(), Some(expect), "{text}");
    }

    #[test]
    fn a_date_may_take_many_forms() {
        check("2024-06-07T12:00:00Z", "2024-06-07T12:00:00Z");
        check("2024-06-07 12:00", "2024-06-07T12:00:00Z");
        check("2024-06-07t12:00:00.123z", "2024-06-07T12:00:00.123Z");
        check("2024-06-07T12:00:00+02:00", "2024-06-07T10:00:00Z");
        check("2024-06-07", "2024-06-07T00:00:00Z");
        check("1717761600", "2024-06-07T12:00:00Z");
        check("1717761600123", "2024-06-07T12:00:00.123Z");
        check("20240607", "1970-08-23T06:23:27Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "now", "2024-06-07T12", "2024-13-07", "garbage"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
