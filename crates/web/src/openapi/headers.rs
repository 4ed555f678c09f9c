//! The headers of responses, which no handler describes: many routes have them alike.

use serde_json::{Value, json};

use super::bodies::operations;

struct Header {
    name: &'static str,
    description: &'static str,
    /// Whether each such response has it.
    required: bool,
    schema: fn() -> Value,
    applies: fn(&Response<'_>) -> bool,
}

/// Of an operation, one of its responses.
struct Response<'a> {
    operation: &'a Value,
    status: &'a str,
    body: &'a Value,
}

impl Response<'_> {
    fn is_of(&self, operation: &str, status: &str) -> bool {
        self.operation["operationId"] == operation && self.status == status
    }

    fn is_a_success(&self) -> bool {
        self.status.starts_with('2')
    }

    fn is_a_problem(&self) -> bool {
        self.body["content"].get("application/problem+json").is_some()
    }

    fn takes_a_key(&self) -> bool {
        let mut parameters = self.operation["parameters"].as_array().into_iter().flatten();
        parameters.any(|parameter| parameter["name"] == "Idempotency-Key")
    }
}

pub(super) const CORRELATION_ID: &str = "5f0c6c9e-9d3c-4f0e-8f0e-2f4f8b1c7d10";

const HEADERS: &[Header] = &[
    Header {
        name: "X-Correlation-ID",
        description: "Of the request, or made for it; the log has it, too",
        required: true,
        schema: || json!({ "type": "string", "example": CORRELATION_ID }),
        applies: |_| true,
    },
    Header {
        name: "Retry-After",
        description: "Seconds to wait before another try, where that is known",
        required: false,
        schema: || json!({ "type": "integer", "minimum": 0, "example": 5 }),
        applies: |response| {
            let is_in_flight = response.status == "409" && response.takes_a_key();
            response.is_a_problem() && (is_in_flight || matches!(response.status, "429" | "503"))
        },
    },
    Header {
        name: "WWW-Authenticate",
        description: "How to show a key",
        required: true,
        schema: || json!({ "type": "string", "const": "Bearer realm=\"globeco\"" }),
        applies: |response| response.status == "401",
    },
    Header {
        name: "Location",
        description: "The path of the model",
        required: true,
        schema: || json!({ "type": "string", "example": "/api/v1/model/6835a1b2c3d4e5f6a7b8c9d0" }),
        applies: |response| response.is_of("create_model", "201"),
    },
    Header {
        name: "Location",
        description: "The path of the record, which tells what becomes of the rebalance",
        required: true,
        schema: || json!({ "type": "string", "example": "/api/v1/rebalance/6835a1b2c3d4e5f6a7b8c9d1" }),
        applies: |response| response.is_of("rebalance_model", "202"),
    },
    Header {
        name: "Preference-Applied",
        description: "That `Prefer` was followed",
        required: true,
        schema: || json!({ "type": "string", "const": "respond-async" }),
        applies: |response| response.is_of("rebalance_model", "202"),
    },
    Header {
        name: "Idempotent-Replayed",
        description: "That a request with this `Idempotency-Key` was answered before, and nothing was done \
                      this time; absent otherwise",
        required: false,
        schema: || json!({ "type": "string", "const": "true" }),
        applies: |response| response.takes_a_key() && response.is_a_success(),
    },
    Header {
        name: "Cache-Control",
        description: "Events are of the moment",
        required: true,
        schema: || json!({ "type": "string", "const": "no-cache" }),
        applies: |response| response.body["content"].get("text/event-stream").is_some(),
    },
    Header {
        name: "X-Accel-Buffering",
        description: "That proxies pass each event on at once",
        required: true,
        schema: || json!({ "type": "string", "const": "no" }),
        applies: |response| response.body["content"].get("text/event-stream").is_some(),
    },
];

pub(super) fn describe(document: &mut Value) {
    for operation in operations(document) {
        let mut responses = operation["responses"].take();
        for (status, body) in responses.as_object_mut().into_iter().flatten() {
            let response = Response { operation, status, body };
            let headers: serde_json::Map<String, Value> = HEADERS
                .iter()
                .filter(|header| (header.applies)(&response))
                .map(|header| (header.name.to_owned(), header.described()))
                .collect();
            body["headers"] = headers.into();
        }
        operation["responses"] = responses;
    }
}

impl Header {
    fn described(&self) -> Value {
        json!({ "description": self.description, "required": self.required, "schema": (self.schema)() })
    }
}
