//! Reading JSON bodies so that everything wrong with one is reported at once.
//!
//! Keys are `snake_case`, or `camelCase` as an alias. Unknown keys are ignored, unless whoever reads the
//! object refuses them.

use std::cell::RefCell;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest};
use domain::Timestamp;
use domain::decimal;
use domain::version::Version;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};

use crate::problem::{FieldError, Problem};
use crate::scalar::parse_instant;
use crate::server::Settings;

/// A request's JSON body.
pub(crate) struct Body {
    value: Value,
    bytes: Bytes,
}

impl Body {
    /// As it was sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the body as an object; `None` from `read` means that it noted at least one error.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Fields<'_>) -> Option<T>) -> Result<T, Problem> {
        let errors = RefCell::default();
        let node = Node { value: &self.value, pointer: String::new(), errors: &errors };
        let outcome = node.fields().and_then(|fields| read(&fields));
        match outcome {
            Some(outcome) if errors.borrow().is_empty() => Ok(outcome),
            Some(_) | None => Err(Problem::invalid_body(errors.into_inner())),
        }
    }
}

impl FromRequest for Body {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let bytes = bytes(request, payload);
        Box::pin(async move {
            if !is_json {
                return Err(Problem::not_json().into());
            }
            let bytes = bytes.await?;
            if bytes.is_empty() {
                return Err(Problem::malformed("malformed-json", "the body is empty").into());
            }
            Ok(Self { value: json(&bytes)?, bytes })
        })
    }
}

/// A JSON body that need not be there: an empty one is none, whatever its media type, and so is `null`.
pub(crate) struct OptionalBody(Option<Body>);

impl OptionalBody {
    /// As it was sent; nothing without one.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Body::bytes)
    }

    /// As [`Body::read`], if there is a body.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Fields<'_>) -> Option<T>) -> Result<Option<T>, Problem> {
        self.0.as_ref().map(|body| body.read(read)).transpose()
    }
}

impl FromRequest for OptionalBody {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let bytes = bytes(request, payload);
        Box::pin(async move {
            let bytes = bytes.await?;
            if bytes.is_empty() {
                return Ok(Self(None));
            }
            if !is_json {
                return Err(Problem::not_json().into());
            }
            let value = json(&bytes)?;
            Ok(Self((!value.is_null()).then_some(Body { value, bytes })))
        })
    }
}

fn bytes(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Bytes, Problem>> + use<> {
    let settings = request.app_data::<Data<Settings>>().expect("the server has them");
    let (limit, timeout) = (settings.max_body_bytes, settings.protection.body_timeout);
    let bytes = Bytes::from_request(request, payload);
    async move {
        let arrived = tokio::time::timeout(timeout, bytes).await.map_err(|_| Problem::body_too_slow())?;
        arrived.map_err(|error| unreadable(&error, limit))
    }
}

fn json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::malformed("malformed-json", format!("the body is not JSON: {error}")))
}

fn unreadable(error: &actix_web::Error, limit: usize) -> Problem {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => Problem::body_too_large(limit),
        Some(_) | None => Problem::malformed("unreadable-body", "the body broke off or cannot be decoded"),
    }
}

/// A body without a content type is taken for JSON, as today's clients expect.
fn is_json(request: &HttpRequest) -> bool {
    let Some(media_type) = request.headers().get(CONTENT_TYPE) else { return true };
    let media_type = media_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// A value of the body and where it stands.
pub(crate) struct Node<'a> {
    value: &'a Value,
    pointer: String,
    errors: &'a RefCell<Vec<FieldError>>,
}

/// The members of an object of the body.
pub(crate) struct Fields<'a> {
    members: &'a Map<String, Value>,
    pointer: String,
    errors: &'a RefCell<Vec<FieldError>>,
    /// Names that were asked for.
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// A member that must be there.
    pub(crate) fn required(&self, name: &'static str) -> Option<Node<'a>> {
        let node = self.optional(name);
        if node.is_none() {
            self.wrong(name, "is missing");
        }
        node
    }

    /// A member that is there and not null.
    pub(crate) fn given(&self, name: &'static str) -> Option<Node<'a>> {
        self.optional(name).filter(|node| !node.is_null())
    }

    pub(crate) fn optional(&self, name: &'static str) -> Option<Node<'a>> {
        self.known.borrow_mut().push(name);
        let alias = camel_case(name);
        let (key, value) = self.members.get_key_value(name).or_else(|| self.members.get_key_value(&alias))?;
        if name != alias && self.members.contains_key(name) && self.members.contains_key(&alias) {
            self.wrong(name, &format!("is given twice, the second time as {alias}"));
        }
        Some(Node { value, pointer: format!("{}/{key}", self.pointer), errors: self.errors })
    }

    /// Every member, under whatever name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.members.iter().map(|(key, value)| {
            let pointer = format!("{}/{}", self.pointer, escaped(key));
            (key.as_str(), Node { value, pointer, errors: self.errors })
        })
    }

    /// Notes that every member that nobody has asked for by now is wrong.
    pub(crate) fn refuse_others(&self, detail: &str) {
        let known = self.known.borrow();
        let is_known = |key: &str| known.iter().any(|name| *name == key || camel_case(name) == key);
        for (_, node) in self.all().filter(|(key, _)| !is_known(key)) {
            node.wrong::<()>(detail);
        }
    }

    /// Notes that the member `path`, or something under it, breaks a rule; under the name that was sent.
    pub(crate) fn wrong(&self, path: &str, detail: &(impl Display + ?Sized)) {
        let alias = camel_case(path);
        let is_alias = !self.members.contains_key(path) && self.members.contains_key(&alias);
        let pointer = format!("{}/{}", self.pointer, if is_alias { &alias } else { path });
        self.errors.borrow_mut().push(FieldError { pointer, detail: detail.to_string() });
    }
}

impl<'a> Node<'a> {
    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    fn fields(self) -> Option<Fields<'a>> {
        match self.value {
            Value::Object(members) => {
                let Self { pointer, errors, .. } = self;
                Some(Fields { members, pointer, errors, known: RefCell::default() })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.wrong("must be an object")
            }
        }
    }

    /// Reads a list, each element by `read`. Every element is read, whatever is wrong with the others.
    pub(crate) fn list<T>(&self, read: impl FnMut(Node<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(elements) = self.value else { return self.wrong("must be a list") };
        let node = |(index, value)| Node {
            value,
            pointer: format!("{}/{index}", self.pointer),
            errors: self.errors,
        };
        let read: Vec<Option<T>> = elements.iter().enumerate().map(node).map(read).collect();
        read.into_iter().collect()
    }

    pub(crate) fn object<T>(self, read: impl FnOnce(&Fields<'a>) -> Option<T>) -> Option<T> {
        read(&self.fields()?)
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.wrong("must be a string")
            }
        }
    }

    /// A text that a domain type accepts.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.text()?.parse().map_or_else(|error: T::Err| self.wrong(&error), Some)
    }

    /// A decimal, as a number or as a string, that a domain type accepts.
    pub(crate) fn decimal<T: TryFrom<Decimal, Error: Display>>(&self) -> Option<T> {
        let decimal = match self.value {
            Value::Number(number) => decimal::parse(number.as_str()),
            Value::String(text) => decimal::parse(text.trim()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return self.wrong("must be a decimal number, or a string that holds one");
            }
        };
        match decimal.map(T::try_from) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => self.wrong(&error),
            Err(error) => self.wrong(&error),
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.wrong("must be true or false")
            }
        }
    }

    pub(crate) fn version(&self) -> Option<Version> {
        let number: Decimal = self.decimal()?;
        match number.normalize() {
            whole if whole.scale() == 0 => match whole.to_i64().map(Version::try_from) {
                Some(Ok(version)) => Some(version),
                Some(Err(error)) => self.wrong(&error),
                None => self.wrong("is too large"),
            },
            _ => self.wrong("must be a whole number"),
        }
    }

    /// An instant or null.
    #[expect(clippy::option_option, reason = "what cannot be read is not what is null")]
    pub(crate) fn instant_or_null(&self) -> Option<Option<Timestamp>> {
        if self.is_null() {
            return Some(None);
        }
        match parse_instant(self.text()?) {
            Some(instant) => Some(Some(instant)),
            None => self.wrong("must be an RFC 3339 date and time, such as 2024-12-19T10:30:00Z"),
        }
    }

    /// Notes that this value breaks a rule.
    pub(crate) fn wrong<T>(&self, detail: &(impl Display + ?Sized)) -> Option<T> {
        self.errors
            .borrow_mut()
            .push(FieldError { pointer: self.pointer.clone(), detail: detail.to_string() });
        None
    }
}

/// As a part of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        camel + &initial.to_ascii_uppercase() + rest
    })
}
