//! One log line: a JSON object with what happened, and on whose behalf.

use std::fmt::{self, Debug};

use application::{caller, correlation};
use chrono::{DateTime, SecondsFormat, Utc};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// What the lines tell of a request: fields of its span, and what they are called there.
const OF_A_REQUEST: &[(&str, &str)] = &[
    ("caller", "caller"),
    ("correlation_id", "correlation_id"),
    ("http.request.method", "method"),
    ("url.path", "path"),
];

/// Writes lines.
pub(super) struct Lines {
    pub(super) service: String,
    pub(super) version: &'static str,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Object::default();
        line.member("timestamp", &now());
        line.member("level", metadata.level().as_str());
        line.member("target", metadata.target());
        event.record(&mut line);
        line.member("service", &self.service);
        line.member("version", self.version);

        let request = ctx.event_scope().and_then(|scope| {
            let root = scope.from_root().next()?;
            let fields = root.extensions().get::<FormattedFields<N>>()?.fields.clone();
            (!fields.is_empty()).then_some(fields)
        });
        if let Some(request) = request {
            line.members(&request);
        } else {
            // Where only lines more important than the request's span are logged.
            for (name, value) in on_behalf() {
                line.member(name, &value);
            }
        }
        Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            if span.is_valid() {
                line.member("trace_id", &span.trace_id().to_string());
                line.member("span_id", &span.span_id().to_string());
            }
        });
        writeln!(to, "{{{}}}", line.0)
    }
}

/// Of the request that this task works for, if it works for one.
pub(super) fn on_behalf() -> impl Iterator<Item = (&'static str, String)> {
    let caller = caller::current().map(|caller| ("caller", caller.to_string()));
    let id = correlation::current().map(|id| ("correlation_id", id.to_string()));
    caller.into_iter().chain(id)
}

fn now() -> String {
    #[expect(clippy::disallowed_methods, reason = "when a line is written is no part of any use case")]
    let now: DateTime<Utc> = Utc::now();
    now.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Keeps of a span what lines tell of a request.
pub(super) struct RequestFields;

impl<'writer> FormatFields<'writer> for RequestFields {
    fn format_fields<R: RecordFields>(&self, mut to: Writer<'writer>, fields: R) -> fmt::Result {
        let mut kept = OfRequest::default();
        fields.record(&mut kept);
        to.write_str(&kept.0.0)
    }
}

/// Members of a JSON object, without its braces.
#[derive(Default)]
struct Object(String);

impl Object {
    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        write_json(&mut self.0, name);
        self.0.push(':');
        write_json(&mut self.0, value);
    }

    fn members(&mut self, members: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(members.trim_end());
    }
}

/// Strings, booleans and finite numbers always serialise; what does not is null.
fn write_json<T: Serialize + ?Sized>(to: &mut String, value: &T) {
    match serde_json::to_string(value) {
        Ok(json) => to.push_str(&json),
        Err(_) => to.push_str("null"),
    }
}

impl Visit for Object {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), &value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.member(field.name(), &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.member(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field.name(), &format!("{value:?}"));
    }
}

#[derive(Default)]
struct OfRequest(Object);

impl OfRequest {
    fn keep(&mut self, field: &Field, value: &str) {
        if let Some((_, name)) = OF_A_REQUEST.iter().find(|(known, _)| *known == field.name()) {
            self.0.member(name, value);
        }
    }
}

impl Visit for OfRequest {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Reckoned for the few fields that are kept.
        if OF_A_REQUEST.iter().any(|(known, _)| *known == field.name()) {
            self.keep(field, &format!("{value:?}"));
        }
    }
}
