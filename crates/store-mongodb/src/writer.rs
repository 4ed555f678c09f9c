//! Writes documents straight to their bytes: a large rebalance has a million values.

use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use bson::spec::ElementType;
use domain::Timestamp;
use rust_decimal::Decimal;

use crate::decimal;

/// A document under way.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

pub(crate) fn document(write: impl FnOnce(&mut Writer)) -> RawDocumentBuf {
    let mut writer = Writer { bytes: Vec::new() };
    writer.enclosed(write);
    RawDocumentBuf::from_bytes(writer.bytes).expect("its length was written last")
}

impl Writer {
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.begin(ElementType::String, name);
        self.length(text.len() + 1);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    pub(crate) fn decimal(&mut self, name: &str, number: Decimal) {
        self.begin(ElementType::Decimal128, name);
        self.bytes.extend_from_slice(&decimal::stored(number).bytes());
    }

    pub(crate) fn whole(&mut self, name: &str, number: i64) {
        self.begin(ElementType::Int64, name);
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn date(&mut self, name: &str, instant: Timestamp) {
        self.begin(ElementType::DateTime, name);
        self.bytes.extend_from_slice(&instant.timestamp_millis().to_le_bytes());
    }

    pub(crate) fn object_id(&mut self, name: &str, id: ObjectId) {
        self.begin(ElementType::ObjectId, name);
        self.bytes.extend_from_slice(&id.bytes());
    }

    pub(crate) fn flag(&mut self, name: &str, flag: bool) {
        self.begin(ElementType::Boolean, name);
        self.bytes.push(flag.into());
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.begin(ElementType::Null, name);
    }

    pub(crate) fn fields(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.begin(ElementType::EmbeddedDocument, name);
        self.enclosed(write);
    }

    /// Nothing where `write` writes nothing.
    pub(crate) fn fields_if_any(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.begin(ElementType::EmbeddedDocument, name);
        self.length(0);
        let nothing = self.bytes.len();
        write(self);
        if self.bytes.len() == nothing {
            self.bytes.truncate(start);
        } else {
            self.end(nothing - size_of::<i32>());
        }
    }

    /// `write` gives each item the name it is told.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, &str, T),
    ) {
        self.begin(ElementType::Array, name);
        self.enclosed(|writer| {
            for (index, item) in items.into_iter().enumerate() {
                write(writer, &index.to_string(), item);
            }
        });
    }

    fn begin(&mut self, kind: ElementType, name: &str) {
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
    }

    /// What `write` writes, its length before it and a zero after it.
    fn enclosed(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.length(0);
        write(self);
        self.end(start);
    }

    fn end(&mut self, start: usize) {
        self.bytes.push(0);
        let length = length(self.bytes.len() - start);
        self.bytes[start..start + length.len()].copy_from_slice(&length);
    }

    fn length(&mut self, bytes: usize) {
        self.bytes.extend_from_slice(&length(bytes));
    }
}

fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).expect("no server takes a document as large as that").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use bson::{Bson, DateTime, Document, doc, oid};
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn a_document_is_written_as_the_library_writes_it() {
        let id = oid::ObjectId::from_bytes([7; 12]);
        let date = DateTime::from_millis(-1);

        let written = document(|to| {
            to.object_id("_id", id);
            to.text("name", "Größe\0");
            to.text("empty", "");
            to.decimal("price", dec!(-12.3400));
            to.whole("quantity", i64::MIN);
            to.date("date", Timestamp::from_timestamp_millis(-1).unwrap());
            to.flag("on", true);
            to.null("null");
            to.fields("inner", |to| to.whole("a", 1));
            to.fields("nothing", |_| {});
            to.fields_if_any("some", |to| to.whole("a", 1));
            to.fields_if_any("none", |_| {});
            to.list("list", 0..12, Writer::whole);
            to.list("no_list", [0; 0], Writer::whole);
        });

        let expected = doc! {
            "_id": id,
            "name": "Größe\0",
            "empty": "",
            "price": Bson::Decimal128("-12.3400".parse().unwrap()),
            "quantity": i64::MIN,
            "date": date,
            "on": true,
            "null": Bson::Null,
            "inner": { "a": 1_i64 },
            "nothing": {},
            "some": { "a": 1_i64 },
            "list": (0..12_i64).collect::<Vec<_>>(),
            "no_list": [],
        };
        assert_eq!(written, RawDocumentBuf::try_from(&expected).unwrap());
        assert_eq!(Document::try_from(written).unwrap(), expected);
    }
}
