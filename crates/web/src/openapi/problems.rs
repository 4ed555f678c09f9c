//! The responses that no handler describes, because they are all routes'.

use serde_json::{Value, json};

use super::headers::CORRELATION_ID;

struct Problem {
    status: &'static str,
    description: &'static str,
    applies: fn(&Operation<'_>) -> bool,
    /// An example: code, title, detail.
    example: [&'static str; 3],
}

struct Operation<'a> {
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn is_of_the_api(&self) -> bool {
        self.path.starts_with("/api/")
    }

    fn takes_a_key(&self) -> bool {
        let mut parameters = self.value["parameters"].as_array().into_iter().flatten();
        parameters.any(|parameter| parameter["name"] == "Idempotency-Key")
    }

    fn has_body(&self) -> bool {
        self.value.get("requestBody").is_some()
    }
}

const PROBLEMS: &[Problem] = &[
    Problem {
        status: "400",
        description: "The request cannot be read",
        applies: |operation| operation.is_of_the_api(),
        example: ["invalid-query", "The request cannot be read", "Limit must be a non-negative integer"],
    },
    Problem {
        status: "401",
        description: "An API key is required, or the one that was sent is not known",
        applies: |operation| operation.is_of_the_api() || operation.path == "/metrics",
        example: [
            "api-key-unknown",
            "The API key is not known",
            "the API key that was sent is not known here",
        ],
    },
    Problem {
        status: "404",
        description: "There is no such thing",
        // Also of what a repeated request made, if it has been deleted since.
        applies: |operation| {
            operation.is_of_the_api() && (operation.path.contains('{') || operation.takes_a_key())
        },
        example: ["model-not-found", "Not found", "Model 6835a1b2c3d4e5f6a7b8c9d0 not found"],
    },
    Problem {
        status: "408",
        description: "The body did not arrive in time",
        applies: |operation| operation.has_body(),
        example: ["body-too-slow", "The request took too long to arrive", "the body did not arrive in time"],
    },
    Problem {
        status: "409",
        description: "It conflicts with what is stored",
        applies: |_| false,
        example: [
            "model-modified",
            "The request conflicts with what is stored",
            "Model has been modified by another process",
        ],
    },
    Problem {
        status: "413",
        description: "The body is too large",
        applies: |operation| operation.has_body(),
        example: ["body-too-large", "The request is too large", "the body may have at most 2097152 bytes"],
    },
    Problem {
        status: "414",
        description: "Path and query are too long",
        applies: |operation| operation.is_of_the_api(),
        example: ["uri-too-long", "The URL is too long", "path and query may have at most 8192 bytes"],
    },
    Problem {
        status: "415",
        description: "The body is not JSON",
        applies: |operation| operation.has_body(),
        example: ["not-json", "The media type is not supported", "the body must be application/json"],
    },
    Problem {
        status: "422",
        description: "The request breaks a rule; `errors` lists everything wrong with a body",
        applies: |operation| operation.has_body(),
        example: [
            "invalid-body",
            "The request breaks a rule",
            "/positions/0/target: target 0.123 is not a multiple of 0.005",
        ],
    },
    Problem {
        status: "429",
        description: "The caller asks more often than it may; `Retry-After` says when to try again",
        applies: |operation| operation.is_of_the_api(),
        example: ["too-many-requests", "Too many requests", "this caller asks more often than it may"],
    },
    Problem {
        status: "431",
        description: "The headers are too large",
        applies: |operation| operation.is_of_the_api(),
        example: [
            "headers-too-large",
            "The headers are too large",
            "the headers may have at most 32768 bytes",
        ],
    },
    Problem {
        status: "500",
        description: "A fault of the service; its log has the cause, under the correlation id",
        applies: |operation| operation.is_of_the_api(),
        example: ["internal-error", "Internal server error", "Internal server error"],
    },
    Problem {
        status: "503",
        description: "The store or a neighbour is out, or the service is busy; `Retry-After` says when to try again",
        applies: |operation| operation.is_of_the_api(),
        example: ["store-unavailable", "The store is unavailable", "The store is unavailable"],
    },
];

/// Adds to each operation the problems that it has with all of its sort, and gives every problem its form
/// and an example.
pub(super) fn describe(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            for problem in PROBLEMS {
                let applies = (problem.applies)(&Operation { path, value: operation });
                let responses = &mut operation["responses"];
                if applies && responses.get(problem.status).is_none() {
                    responses[problem.status] = json!({ "description": problem.description });
                }
                if let Some(response) = responses.get_mut(problem.status)
                    && response.get("content").is_none()
                {
                    response["content"] = problem.content();
                }
            }
        }
    }
    describe_api_keys(document);
}

/// Whoever runs the service decides whether it asks for keys.
fn describe_api_keys(document: &mut Value) {
    document["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "Where the service asks for API keys" },
        "api_key": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "The same key, where `Authorization` has another use",
        },
    });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, item) in paths.filter(|(path, _)| path.starts_with("/api/")) {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            operation["security"] = json!([{}, { "bearer": [] }, { "api_key": [] }]);
        }
    }
}

impl Problem {
    fn content(&self) -> Value {
        let [code, title, detail] = self.example;
        let mut example = json!({
            "type": format!("urn:globeco:problem:{code}"), "title": title,
            "status": self.status.parse::<u16>().ok(), "detail": detail, "code": code,
            "correlation_id": CORRELATION_ID,
        });
        if let Some((pointer, detail)) =
            detail.split_once(": ").filter(|(pointer, _)| pointer.starts_with('/'))
        {
            example["errors"] = json!([{ "pointer": pointer, "detail": detail }]);
        }
        json!({
            "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" }, "example": example,
            },
        })
    }
}
