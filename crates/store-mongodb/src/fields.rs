//! Reads documents straight from their bytes.
//!
//! A large rebalance has a million values: to decode them through serde takes three times as long as to
//! fetch them, and the iterators of `bson` take as long as the fetching.

#![expect(clippy::inline_always, reason = "names are constants then: a quarter less to do")]

use std::str::FromStr;

use application::repository::Source;
use bson::oid::ObjectId;
use bson::spec::ElementType;
use bson::{Decimal128, RawDocument};
use domain::Timestamp;
use rust_decimal::Decimal;

use crate::decimal::{self, Inexact};

/// The fields of a document. Those asked for in their stored order are found at once, others by a search.
pub(crate) struct Fields<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    passed_over: bool,
    wrong: Option<Source>,
}

#[derive(Debug, thiserror::Error)]
#[error("field `{name}`")]
struct Unreadable {
    name: &'static str,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("is missing")]
    Missing,
    #[error("is not {0}")]
    Not(&'static str),
    #[error("the document is cut off, or has a type of value that is not known")]
    Malformed,
}

/// What `read` makes of a document's fields, unless one of them was wrong.
pub(crate) fn read<'a, T>(
    document: &'a RawDocument,
    read: impl FnOnce(&mut Fields<'a>) -> Result<T, Source>,
) -> Result<T, Source> {
    read_within(document.as_bytes(), read)
}

fn read_within<'a, T>(
    document: &'a [u8],
    read: impl FnOnce(&mut Fields<'a>) -> Result<T, Source>,
) -> Result<T, Source> {
    let elements = elements(document)?;
    let mut fields = Fields { all: elements, rest: elements, passed_over: false, wrong: None };
    let read = read(&mut fields);
    match fields.wrong {
        None => read,
        Some(wrong) => Err(wrong),
    }
}

/// Of a document or an array: without its length, but with the zero at its end.
fn elements(document: &[u8]) -> Result<&[u8], Wrong> {
    document.get(size_of::<i32>()..).ok_or(Wrong::Malformed)
}

impl<'a> Fields<'a> {
    #[inline(always)]
    pub(crate) fn get<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Source>,
    ) -> Result<T, Source> {
        let found = self.find(name).and_then(|found| found.ok_or(Wrong::Missing)).map_err(Source::from);
        found.and_then(read).map_err(|source| Unreadable { name, source }.into())
    }

    /// `None` where the field is absent or null.
    #[inline(always)]
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Source>,
    ) -> Result<Option<T>, Source> {
        let found = self.find(name).map_err(Source::from);
        let found = found.map(|found| found.filter(|value| value.kind != ElementType::Null));
        found
            .and_then(|found| found.map(read).transpose())
            .map_err(|source| Unreadable { name, source }.into())
    }

    /// For a field that nobody needs: what follows it is then found at once.
    pub(crate) fn pass(&mut self, name: &'static str) -> Result<(), Source> {
        self.find(name)?;
        Ok(())
    }

    /// An error where there is any other field.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Source> {
        let mut rest = self.all;
        while let Some(element) = Element::first(rest)? {
            if !names.iter().any(|name| name.as_bytes() == element.name) {
                let name = String::from_utf8_lossy(element.name);
                return Err(format!("nothing is known of a field `{name}`").into());
            }
            rest = element.rest;
        }
        Ok(())
    }

    /// Nothing is ever rounded to fit. If the field is wrong, reading the document fails in the end:
    /// a million `Result`s of decimals take as long as all else.
    #[inline(always)]
    pub(crate) fn exact(&mut self, name: &'static str) -> Decimal {
        self.decimal(name, decimal::exact)
    }

    /// Of a quotient, which was rounded anyway, 28 decimals are kept; else as `exact`.
    #[inline(always)]
    pub(crate) fn nearest(&mut self, name: &'static str) -> Decimal {
        self.decimal(name, decimal::nearest)
    }

    #[inline(always)]
    fn decimal(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Decimal128) -> Result<Decimal, Inexact>,
    ) -> Decimal {
        if let Some(rest) = self.rest.strip_prefix(&[ElementType::Decimal128 as u8])
            && let Some(rest) = rest.strip_prefix(name.as_bytes())
            && let Some(rest) = rest.strip_prefix(&[0])
            && let Some((bytes, rest)) = rest.split_first_chunk()
            && let Some(number) = decimal::plain(Decimal128::from_bytes(*bytes))
        {
            self.rest = rest;
            return number;
        }
        let found = self.get(name, |value| Ok(read(value.decimal128()?)?));
        found.unwrap_or_else(|wrong| {
            self.wrong.get_or_insert(wrong);
            Decimal::ZERO
        })
    }

    #[inline(always)]
    fn find(&mut self, name: &str) -> Result<Option<Value<'a>>, Wrong> {
        if let Some((&kind, rest)) = self.rest.split_first()
            && let Some(rest) = rest.strip_prefix(name.as_bytes())
            && let Some(rest) = rest.strip_prefix(&[0])
        {
            let (value, rest) = Value::first(kind, rest)?;
            self.rest = rest;
            return Ok(Some(value));
        }
        self.search(name)
    }

    #[inline(never)]
    fn search(&mut self, name: &str) -> Result<Option<Value<'a>>, Wrong> {
        while let Some(Element { name: found, value, rest }) = Element::first(self.rest)? {
            self.rest = rest;
            if found == name.as_bytes() {
                return Ok(Some(value));
            }
            self.passed_over = true;
        }
        let mut rest = if self.passed_over { self.all } else { return Ok(None) };
        while let Some(element) = Element::first(rest)? {
            if element.name == name.as_bytes() {
                return Ok(Some(element.value));
            }
            rest = element.rest;
        }
        Ok(None)
    }
}

struct Element<'a> {
    name: &'a [u8],
    value: Value<'a>,
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    /// `None` at the end of a document.
    fn first(elements: &'a [u8]) -> Result<Option<Self>, Wrong> {
        let (&kind, rest) = elements.split_first().ok_or(Wrong::Malformed)?;
        if kind == 0 {
            return Ok(None);
        }
        let (name, rest) = at_zero(rest).ok_or(Wrong::Malformed)?;
        let (value, rest) = Value::first(kind, rest)?;
        Ok(Some(Self { name, value, rest }))
    }
}

/// What lies before the first zero, and what after it.
fn at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// How many bytes the value takes that `rest` begins with.
fn size(kind: ElementType, rest: &[u8]) -> Option<usize> {
    let length = || usize::try_from(i32::from_le_bytes(*rest.first_chunk()?)).ok();
    Some(match kind {
        ElementType::Undefined | ElementType::Null | ElementType::MaxKey | ElementType::MinKey => 0,
        ElementType::Boolean => 1,
        ElementType::Int32 => 4,
        ElementType::Double | ElementType::DateTime | ElementType::Timestamp | ElementType::Int64 => 8,
        ElementType::ObjectId => 12,
        ElementType::Decimal128 => 16,
        ElementType::String | ElementType::JavaScriptCode | ElementType::Symbol => {
            length()?.checked_add(4)?
        }
        ElementType::Binary => length()?.checked_add(5)?,
        ElementType::DbPointer => length()?.checked_add(16)?,
        ElementType::EmbeddedDocument | ElementType::Array | ElementType::JavaScriptCodeWithScope => {
            length()?
        }
        ElementType::RegularExpression => rest.len() - at_zero(at_zero(rest)?.1)?.1.len(),
    })
}

/// Items of a list for which there is room before they are read.
const MOST_RESERVED: usize = 256;

#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    kind: ElementType,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The value that `bytes` begin with, and what follows it.
    #[inline]
    fn first(kind: u8, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Wrong> {
        let kind = ElementType::from(kind).ok_or(Wrong::Malformed)?;
        let size = size(kind, bytes).ok_or(Wrong::Malformed)?;
        let (bytes, rest) = bytes.split_at_checked(size).ok_or(Wrong::Malformed)?;
        Ok((Self { kind, bytes }, rest))
    }

    pub(crate) fn text(self) -> Result<&'a str, Source> {
        let wrong = Wrong::Not("a text");
        let (_length, text) = self.of_kind(ElementType::String, wrong)?.split_at_checked(4).ok_or(wrong)?;
        let text = text.strip_suffix(&[0]).ok_or(wrong)?;
        Ok(str::from_utf8(text)?)
    }

    pub(crate) fn parsed<T: FromStr<Err: Into<Source>>>(self) -> Result<T, Source> {
        self.text()?.parse().map_err(Into::into)
    }

    /// Nothing is ever rounded to fit.
    pub(crate) fn exact(self) -> Result<Decimal, Source> {
        Ok(decimal::exact(self.decimal128()?)?)
    }

    fn decimal128(self) -> Result<Decimal128, Wrong> {
        self.array(ElementType::Decimal128, Wrong::Not("a decimal")).map(Decimal128::from_bytes)
    }

    /// A whole number, whichever of its types some program chose for it.
    pub(crate) fn whole(self) -> Result<i64, Source> {
        /// Whole numbers up to here are exact as doubles.
        const EXACT: f64 = 9_007_199_254_740_992.0;

        let wrong = Wrong::Not("a whole number");
        if self.kind == ElementType::Int32 {
            return Ok(i32::from_le_bytes(self.array(ElementType::Int32, wrong)?).into());
        }
        if self.kind == ElementType::Double {
            let number = f64::from_le_bytes(self.array(ElementType::Double, wrong)?);
            if number.fract() != 0.0 || EXACT < number.abs() {
                return Err(wrong.into());
            }
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
            return Ok(number as i64);
        }
        Ok(i64::from_le_bytes(self.array(ElementType::Int64, wrong)?))
    }

    pub(crate) fn instant(self) -> Result<Timestamp, Source> {
        let millis = i64::from_le_bytes(self.array(ElementType::DateTime, Wrong::Not("a date"))?);
        Timestamp::from_timestamp_millis(millis)
            .ok_or_else(|| format!("no instant is {millis} ms from 1970").into())
    }

    pub(crate) fn object_id(self) -> Result<ObjectId, Source> {
        Ok(ObjectId::from_bytes(self.array(ElementType::ObjectId, Wrong::Not("an object id"))?))
    }

    /// Of any subtype.
    pub(crate) fn binary(self) -> Result<&'a [u8], Source> {
        let wrong = Wrong::Not("binary");
        let (_length_and_subtype, bytes) =
            self.of_kind(ElementType::Binary, wrong)?.split_at_checked(5).ok_or(wrong)?;
        Ok(bytes)
    }

    pub(crate) fn flag(self) -> Result<bool, Source> {
        let [flag] = self.array(ElementType::Boolean, Wrong::Not("true or false"))?;
        Ok(flag != 0)
    }

    pub(crate) fn fields<T>(
        self,
        read: impl FnOnce(&mut Fields<'a>) -> Result<T, Source>,
    ) -> Result<T, Source> {
        read_within(self.of_kind(ElementType::EmbeddedDocument, Wrong::Not("a document"))?, read)
    }

    pub(crate) fn list<T>(self, read: impl Fn(Value<'a>) -> Result<T, Source>) -> Result<Vec<T>, Source> {
        let mut rest = elements(self.of_kind(ElementType::Array, Wrong::Not("a list"))?)?;
        let mut list = Vec::new();
        while let Some(element) = Element::first(rest)? {
            if list.is_empty() {
                let size_of_first = rest.len() - element.rest.len();
                list.reserve((rest.len() / size_of_first).min(MOST_RESERVED));
            }
            list.push(read(element.value)?);
            rest = element.rest;
        }
        Ok(list)
    }

    fn array<const N: usize>(self, kind: ElementType, wrong: Wrong) -> Result<[u8; N], Wrong> {
        self.of_kind(kind, wrong)?.try_into().map_err(|_| wrong)
    }

    fn of_kind(self, kind: ElementType, wrong: Wrong) -> Result<&'a [u8], Wrong> {
        if self.kind == kind { Ok(self.bytes) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc, oid, rawdoc};
    use rust_decimal_macros::dec;

    use super::*;

    fn decimal(text: &str) -> Decimal128 {
        text.parse().unwrap()
    }

    fn of_every_type() -> RawDocumentBuf {
        let document = doc! {
            "double": 1.5,
            "string": "Größe",
            "document": { "inner": 1 },
            "array": ["a", "b"],
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 3] },
            "undefined": Bson::Undefined,
            "object_id": oid::ObjectId::from_bytes([7; 12]),
            "boolean": true,
            "date": bson::DateTime::from_millis(1_700_000_000_123),
            "null": Bson::Null,
            "regex": bson::Regex { pattern: bson::cstr!("^a").into(), options: bson::cstr!("i").into() },
            "code": Bson::JavaScriptCode("1".to_owned()),
            "symbol": Bson::Symbol("s".to_owned()),
            "scoped": bson::JavaScriptCodeWithScope { code: "1".to_owned(), scope: doc! { "a": 1 } },
            "int32": -3,
            "timestamp": bson::Timestamp { time: 1, increment: 2 },
            "int64": i64::MIN,
            "decimal": decimal("-12.3400"),
            "max": Bson::MaxKey,
            "min": Bson::MinKey,
            "last": "z",
        };
        RawDocumentBuf::try_from(&document).unwrap()
    }

    #[test]
    fn fields_are_found_in_any_order_among_values_of_every_type() {
        let document = of_every_type();

        read(&document, |from| {
            assert_eq!(from.get("last", Value::text)?, "z");
            assert_eq!(from.get("string", Value::text)?, "Größe");
            assert_eq!(from.get("string", Value::text)?, "Größe");
            assert_eq!(from.get("array", |list| list.list(Value::text))?, ["a", "b"]);
            assert_eq!(
                from.get("document", |inner| inner.fields(|inner| inner.get("inner", Value::whole)))?,
                1
            );
            assert_eq!(from.get("object_id", Value::object_id)?.bytes(), [7; 12]);
            assert!(from.get("boolean", Value::flag)?);
            assert_eq!(from.get("date", Value::instant)?.timestamp_millis(), 1_700_000_000_123);
            assert_eq!(from.get("int32", Value::whole)?, -3);
            assert_eq!(from.get("int64", Value::whole)?, i64::MIN);
            assert_eq!(from.exact("decimal").to_string(), "-12.3400");
            assert_eq!(from.optional("null", Value::text)?, None);
            assert_eq!(from.optional("absent", Value::text)?, None);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        fn check<'a, T>(
            document: &'a RawDocument,
            name: &'static str,
            wrong: impl FnOnce(Value<'a>) -> Result<T, Source>,
        ) {
            let error = read(document, |from| from.get(name, wrong)).map(drop).unwrap_err();
            assert_eq!(error.to_string(), format!("field `{name}`"));
        }
        let document = of_every_type();

        check(&document, "absent", Value::text);
        check(&document, "null", Value::text);
        check(&document, "double", Value::whole);
        check(&document, "boolean", Value::whole);
        check(&document, "string", Value::exact);
        check(&document, "int32", Value::object_id);
        check(&document, "document", |inner| inner.fields(|inner| inner.get("other", Value::whole)));
        check(&document, "array", |list| list.list(Value::whole));
        assert!(read(&document, |from| from.optional("int32", Value::text)).is_err());
    }

    #[test]
    fn a_wrong_decimal_fails_the_document_however_it_goes_on() {
        for document in [
            rawdoc! { "price": "5", "name": "a" },
            rawdoc! { "price": decimal("NaN"), "name": "a" },
            rawdoc! { "price": decimal("1E-29"), "name": "a" },
            rawdoc! { "price": null, "name": "a" },
            rawdoc! { "name": "a" },
        ] {
            let name = read(&document, |from| {
                assert_eq!(from.exact("price"), dec!(0));
                from.get("name", Value::text)
            });

            assert_eq!(name.unwrap_err().to_string(), "field `price`", "{document:?}");
        }
        let tiny = rawdoc! { "price": decimal("1E-29") };
        assert_eq!(read(&tiny, |from| Ok(from.nearest("price"))).unwrap(), dec!(0));
    }

    #[test]
    fn whole_numbers_may_be_of_any_type_that_holds_them() {
        for (value, whole) in [
            (Bson::Int32(-7), Some(-7)),
            (Bson::Int64(i64::MAX), Some(i64::MAX)),
            (Bson::Double(-7.0), Some(-7)),
            (Bson::Double(9_007_199_254_740_992.0), Some(9_007_199_254_740_992)),
            (Bson::Double(9_007_199_254_740_994.0), None),
            (Bson::Double(0.5), None),
            (Bson::Double(f64::NAN), None),
            (Bson::Double(f64::INFINITY), None),
            (Bson::String("7".to_owned()), None),
        ] {
            let document = RawDocumentBuf::try_from(&doc! { "n": value.clone() }).unwrap();
            assert_eq!(read(&document, |from| from.get("n", Value::whole)).ok(), whole, "{value}");
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_told() {
        let document = rawdoc! { "a": 1, "b": 2 };

        assert!(read(&document, |from| from.only(&["b", "a", "c"])).is_ok());
        let error = read(&document, |from| from.only(&["a"])).unwrap_err();
        assert!(error.to_string().contains("`b`"), "{error}");
    }

    #[test]
    fn a_document_with_any_byte_changed_is_read_or_refused_but_never_panics() {
        let sound = of_every_type().into_bytes();
        for at in 4..sound.len() - 1 {
            for changed in [0, 1, 0x02, 0x04, 0x7f, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] = changed;
                let document = RawDocumentBuf::from_bytes(bytes).unwrap();
                // Whatever it finds, and though it is asked for the last first.
                let _ = read(&document, |from| {
                    let last = from.get("last", Value::text).map(drop);
                    let array = from.get("array", |list| list.list(Value::text)).map(drop);
                    let inner =
                        from.get("document", |inner| inner.fields(|inner| inner.get("inner", Value::whole)));
                    from.exact("decimal");
                    last.and(array).and(inner)
                });
            }
        }
    }
}
