//! What the security and the portfolio service share because one web framework is under both:
//! lenient query integers, pages, and the two forms of `detail`.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Serialize;
use serde_json::{Value, json};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;

pub(crate) fn detail(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "detail": text }))
}

/// One entry of a 422 body.
#[derive(Debug, Serialize)]
pub(crate) struct Violation {
    #[serde(rename = "type")]
    kind: &'static str,
    loc: Vec<Value>,
    msg: Box<str>,
    input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Value>,
}

impl Violation {
    pub(crate) fn new(kind: &'static str, loc: Vec<Value>, msg: &str, input: Value) -> Self {
        Self { kind, loc, msg: msg.into(), input, ctx: None }
    }

    pub(crate) fn with_context(self, context: Value) -> Self {
        Self { ctx: Some(context), ..self }
    }
}

pub(crate) fn unprocessable(violations: &[Violation]) -> HttpResponse {
    HttpResponse::UnprocessableEntity().json(json!({ "detail": violations }))
}

/// The query of a request; the last of repeated parameters counts, unknown ones are ignored.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        Self(pairs.map(web::Query::into_inner).unwrap_or_default())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn integer(&self, name: &str, default: usize, min: usize) -> Result<usize, Violation> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let loc = vec![json!("query"), json!(name)];
        let Some(value) = lenient_integer(text) else {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            return Err(Violation::new("int_parsing", loc, msg, json!(text)));
        };
        usize::try_from(value).ok().filter(|value| min <= *value).ok_or_else(|| {
            let msg = format!("Input should be greater than or equal to {min}");
            Violation::new("greater_than_equal", loc, &msg, json!(text)).with_context(json!({ "ge": min }))
        })
    }
}

/// `4`, ` 4 `, `+4` and `4.0` are integers; `4.5`, `1e2` and the empty text are not.
pub(crate) fn lenient_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    whole.parse().ok()
}

pub(crate) struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    pub(crate) fn read(query: &Query) -> Result<Self, Vec<Violation>> {
        let limit = query.integer("limit", DEFAULT_LIMIT, 1).and_then(|limit| at_most_max(query, limit));
        let offset = query.integer("offset", 0, 0);
        match (limit, offset) {
            (Ok(limit), Ok(offset)) => Ok(Self { limit, offset }),
            (limit, offset) => Err(limit.err().into_iter().chain(offset.err()).collect()),
        }
    }

    pub(crate) fn of<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        let start = self.offset.min(all.len());
        let end = start.saturating_add(self.limit).min(all.len());
        &all[start..end]
    }

    /// Both flags go by the page, so they are a page off when the offset is not aligned.
    pub(crate) fn pagination_by_page(&self, total: usize) -> Pagination {
        let (pages, current) = (total.div_ceil(self.limit), self.offset / self.limit);
        Pagination {
            total_elements: total,
            total_pages: pages,
            current_page: current,
            page_size: self.limit,
            has_next: current + 1 < pages,
            has_previous: 0 < current,
        }
    }

    pub(crate) fn pagination_by_offset(&self, total: usize) -> Pagination {
        Pagination {
            has_next: self.offset.saturating_add(self.limit) < total,
            has_previous: 0 < self.offset,
            ..self.pagination_by_page(total)
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    total_elements: usize,
    total_pages: usize,
    current_page: usize,
    page_size: usize,
    has_next: bool,
    has_previous: bool,
}

fn at_most_max(query: &Query, limit: usize) -> Result<usize, Violation> {
    if limit <= MAX_LIMIT {
        return Ok(limit);
    }
    let loc = vec![json!("query"), json!("limit")];
    let msg = format!("Input should be less than or equal to {MAX_LIMIT}");
    Err(Violation::new("less_than_equal", loc, &msg, json!(query.get("limit")))
        .with_context(json!({ "le": MAX_LIMIT })))
}
