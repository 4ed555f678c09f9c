//! How identifiers, decimals and numbers are described: what is accepted and what is refused.
//!
//! Bodies name a kind in `format`; here each kind becomes the keywords of JSON Schema that say what it is.

use serde_json::{Map, Number, Value, json};
use utoipa::ToSchema;

/// Names a model; answered in lower case.
#[derive(ToSchema)]
#[schema(as = ModelId, format = "model-id", example = "6835a1b2c3d4e5f6a7b8c9d0")]
#[expect(dead_code, reason = "describes what clients write")]
pub(crate) struct ModelIdText(String);

/// Names a kept rebalance; answered in lower case.
#[derive(ToSchema)]
#[schema(as = RebalanceId, format = "rebalance-id", example = "6835a1b2c3d4e5f6a7b8c9d1")]
#[expect(dead_code, reason = "describes what clients write")]
pub(crate) struct RebalanceIdText(String);

/// Names a portfolio: 1 to 64 characters, none of them blank or a control character.
#[derive(ToSchema)]
#[schema(as = PortfolioId, format = "portfolio-id", example = "683b6d88a29ee10e8b499643")]
#[expect(dead_code, reason = "describes what clients write")]
pub(crate) struct PortfolioIdText(String);

/// Names a security: 24 letters or digits. Hexadecimal ones are answered in lower case.
#[derive(ToSchema)]
#[schema(as = SecurityId, format = "security-id", example = "0534f90f046632697ab87be7")]
#[expect(dead_code, reason = "describes what clients write")]
pub(crate) struct SecurityIdText(String);

/// Units to a lot.
#[derive(ToSchema)]
#[schema(as = Lot, format = "lot", example = 100)]
#[expect(dead_code, reason = "describes what clients write")]
pub(crate) struct LotNumber(u32);

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Parameter,
    Request,
    Response,
}

enum Kind {
    /// A text, and how many characters it has, if its pattern does not say so.
    Text { pattern: &'static str, length: Option<(u8, u8)> },
    /// From zero; answered as text, or as a number where that is said, and sent as either.
    ///
    /// The pattern is of the text as it had better be written. Blanks around it, a sign and an exponent are
    /// read, too, but no pattern could tell what they amount to.
    Decimal { pattern: &'static str, bounds: Option<Bounds> },
    /// Answered as a number; in bodies sent as its digits, too.
    Whole { digits: &'static str, least: u64, most: u64 },
}

/// As JSON writes them.
struct Bounds {
    most: &'static str,
    step: Option<&'static str>,
}

/// A text with more than blanks, and without control characters.
const NAME: &str = r"^[^\u0000-\u001F\u007F-\u009F]*[^\u0000-\u0020\u007F-\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000][^\u0000-\u001F\u007F-\u009F]*$";

fn kind(format: &str) -> Option<Kind> {
    let hexadecimal = Kind::Text { pattern: "^[0-9a-fA-F]{24}$", length: None };
    let decimal = |pattern, most, step| Kind::Decimal { pattern, bounds: Some(Bounds { most, step }) };
    Some(match format {
        "model-id" | "rebalance-id" => hexadecimal,
        "security-id" => Kind::Text { pattern: "^[0-9A-Za-z]{24}$", length: None },
        "portfolio-id" => Kind::Text {
            pattern: r"^[^\u0000-\u0020\u007F-\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]+$",
            length: Some((1, 64)),
        },
        "model-name" => Kind::Text { pattern: NAME, length: Some((1, 255)) },
        "group-name" => Kind::Text { pattern: NAME, length: Some((1, 100)) },
        "model-keys" => Kind::Text {
            pattern: "^ *([+-]? *(model_id|name|last_rebalance_date))? *(, *([+-]? *(model_id|name|last_rebalance_date))? *)*$",
            length: None,
        },
        "idempotency-key" => {
            Kind::Text { pattern: r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#, length: None }
        }
        "decimal" => Kind::Decimal { pattern: r"^-?[0-9]+(\.[0-9]+)?$", bounds: None },
        "target" => {
            decimal(r"^0(\.([0-8]([0-9]([05]0*)?)?|9([0-4]([05]0*)?|50*)?))?$", "0.95", Some("0.005"))
        }
        "drift" => decimal(r"^(0(\.[0-9]{1,28})?|1(\.0+)?)$", "1", None),
        "amount" => {
            decimal(r"^([0-9]{1,15}(\.[0-9]{1,4}0*)?|10{15}(\.0+)?)$", "1000000000000000", Some("0.0001"))
        }
        "share" => decimal(r"^(0(\.[0-9]{1,8}0*)?|1(\.0+)?)$", "1", Some("0.00000001")),
        "turnover" => decimal(r"^([01](\.[0-9]{1,8}0*)?|2(\.0+)?)$", "2", Some("0.00000001")),
        "cost-rate" => decimal(r"^0(\.(0([0-9]{1,5}0*)?|10*))?$", "0.1", Some("0.000001")),
        "version" => Kind::Whole { digits: "^[1-9][0-9]{0,17}$", least: 1, most: i64::MAX.unsigned_abs() },
        "count" => Kind::Whole { digits: "^[0-9]{1,9}$", least: 0, most: u32::MAX.into() },
        "lot" => Kind::Whole { digits: "^([1-9][0-9]{0,5}|1000000)$", least: 1, most: 1_000_000 },
        "offset" => Kind::Whole { digits: "^[0-9]{1,18}$", least: 0, most: i64::MAX.unsigned_abs() },
        _ => return None,
    })
}

/// Says in a schema, and in those inside it, what their kinds mean.
pub(super) fn describe(schema: &mut Value, place: Place) {
    match schema {
        Value::Object(members) => {
            if let Some(kind) = members.get("format").and_then(Value::as_str).and_then(kind) {
                members.remove("format");
                kind.describe(members, place);
            }
            members.values_mut().for_each(|member| describe(member, place));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| describe(element, place)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Kind {
    fn describe(&self, schema: &mut Map<String, Value>, place: Place) {
        let mut say = |keyword: &str, value: Value| schema.insert(keyword.to_owned(), value);
        match self {
            Self::Text { pattern, length } => {
                say("pattern", json!(pattern));
                if let Some((least, most)) = length {
                    say("minLength", json!(least));
                    say("maxLength", json!(most));
                }
            }
            Self::Decimal { pattern, bounds } => {
                say("format", json!("decimal"));
                if let Some(Bounds { most, step }) = bounds.as_ref().filter(|_| place == Place::Request) {
                    say("minimum", json!(0));
                    say("maximum", number(most));
                    step.map(|step| say("multipleOf", number(step)));
                    also(schema, "string", "number");
                }
                if has_type(schema, "string") {
                    schema.insert("pattern".to_owned(), json!(pattern));
                }
            }
            Self::Whole { digits, least, most } => {
                say("minimum", json!(least));
                say("maximum", json!(most));
                if place == Place::Request {
                    say("pattern", json!(digits));
                    also(schema, "integer", "string");
                }
            }
        }
    }
}

fn number(text: &str) -> Value {
    Value::Number(text.parse::<Number>().expect("the bounds are numbers"))
}

fn has_type(schema: &Map<String, Value>, name: &str) -> bool {
    schema["type"].as_array().map_or(schema["type"] == name, |names| names.iter().any(|it| it == name))
}

/// Lets what has one type have another as well.
fn also(schema: &mut Map<String, Value>, one: &str, other: &str) {
    let names = match schema.remove("type") {
        Some(Value::Array(names)) => names,
        Some(name) => vec![name],
        None => Vec::new(),
    };
    let is_it = names.iter().any(|name| name == one);
    let names: Vec<Value> = names.into_iter().chain(is_it.then(|| json!(other))).collect();
    schema.insert("type".to_owned(), names.into());
}
