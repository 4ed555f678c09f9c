//! The security service: identifiers, tickers and descriptions, read only.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Path, ServiceConfig},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    fast_api::{Page, Pagination, Query, detail, unprocessable},
    neighbour::{Neighbour, Service},
    seeded,
    universe::Universe,
};

const TYPE_ABBREVIATION: &str = "CS";
const TYPE_DESCRIPTION: &str = "Common Stock";
const MAX_TICKER_LEN: usize = 50;

pub type Securities = Neighbour<SecurityMaster>;

impl Securities {
    /// The identifier of a ticker, the same in every sandbox of the same seed.
    pub fn id_of(&self, ticker: &str) -> Option<String> {
        let listings = &self.service.listings;
        let listing = listings.iter().find(|listing| listing.ticker == ticker)?;
        Some(listing.id.clone())
    }
}

/// All securities, in the order of the universe.
pub struct SecurityMaster {
    type_id: String,
    listings: Vec<Listing>,
    by_id: BTreeMap<String, usize>,
}

struct Listing {
    id: String,
    ticker: String,
    description: String,
}

impl SecurityMaster {
    pub(crate) fn new(universe: &Universe, seed: u64) -> Self {
        let id = |purpose: &str| seeded::object_id(&mut seeded::rng(seed, purpose));
        let listings: Vec<Listing> = universe
            .securities()
            .iter()
            .map(|security| Listing {
                id: id(&format!("security {}", security.ticker)),
                ticker: security.ticker.clone(),
                description: security.description.clone(),
            })
            .collect();
        let by_id = (listings.iter().enumerate()).map(|(idx, listing)| (listing.id.clone(), idx)).collect();
        Self { type_id: id("security type CS"), listings, by_id }
    }

    fn v1<'a>(&'a self, listing: &'a Listing) -> SecurityV1<'a> {
        SecurityV1 {
            ticker: &listing.ticker,
            description: &listing.description,
            security_type_id: &self.type_id,
            version: 1,
            security_id: &listing.id,
            security_type: self.security_type(None),
        }
    }

    fn v2<'a>(&'a self, listing: &'a Listing) -> SecurityV2<'a> {
        SecurityV2 {
            security_id: &listing.id,
            ticker: &listing.ticker,
            description: &listing.description,
            security_type_id: &self.type_id,
            version: 1,
            security_type: self.security_type(Some(1)),
        }
    }

    fn security_type(&self, version: Option<u32>) -> NestedType<'_> {
        NestedType {
            security_type_id: &self.type_id,
            abbreviation: TYPE_ABBREVIATION,
            description: TYPE_DESCRIPTION,
            version,
        }
    }

    fn type_body(&self) -> TypeBody<'_> {
        TypeBody {
            abbreviation: TYPE_ABBREVIATION,
            description: TYPE_DESCRIPTION,
            version: 1,
            security_type_id: &self.type_id,
        }
    }
}

impl Service for SecurityMaster {
    fn routes(config: &mut ServiceConfig) {
        config
            .route("/api/v1/security/{id}", web::get().to(by_id))
            .route("/api/v1/securities", web::get().to(list))
            .route("/api/v1/securityTypes", web::get().to(types))
            .route("/api/v1/securityType/{id}", web::get().to(type_by_id))
            .route("/api/v2/securities", web::get().to(search));
        for (path, status) in
            [("/health/liveness", "alive"), ("/health/readiness", "ready"), ("/health/startup", "started")]
        {
            let probe = move || async move { HttpResponse::Ok().json(json!({ "status": status })) };
            config.route(path, web::get().to(probe));
        }
    }

    fn refusal(status: StatusCode, _path: &str) -> HttpResponse {
        if status.is_server_error() {
            // The blank after the colon is the service's own.
            return HttpResponse::build(status)
                .content_type("application/json")
                .body(r#"{"error": "Internal server error"}"#);
        }
        detail(status, status.canonical_reason().unwrap_or_default())
    }

    fn reset(&self) {}
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecurityV1<'a> {
    ticker: &'a str,
    description: &'a str,
    security_type_id: &'a str,
    version: u32,
    security_id: &'a str,
    security_type: NestedType<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecurityV2<'a> {
    security_id: &'a str,
    ticker: &'a str,
    description: &'a str,
    security_type_id: &'a str,
    version: u32,
    security_type: NestedType<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NestedType<'a> {
    security_type_id: &'a str,
    abbreviation: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeBody<'a> {
    abbreviation: &'a str,
    description: &'a str,
    version: u32,
    security_type_id: &'a str,
}

#[derive(Serialize)]
struct SearchBody<'a> {
    securities: Vec<SecurityV2<'a>>,
    pagination: Pagination,
}

async fn by_id(master: Data<SecurityMaster>, id: Path<String>) -> HttpResponse {
    if !is_object_id(&id) {
        return SecurityMaster::refusal(StatusCode::INTERNAL_SERVER_ERROR, "");
    }
    match master.by_id.get(&id.to_ascii_lowercase()) {
        Some(&idx) => HttpResponse::Ok().json(master.v1(&master.listings[idx])),
        None => detail(StatusCode::NOT_FOUND, "Security not found"),
    }
}

async fn list(master: Data<SecurityMaster>) -> HttpResponse {
    let all: Vec<_> = (master.listings.iter()).map(|listing| master.v1(listing)).collect();
    HttpResponse::Ok().json(all)
}

async fn types(master: Data<SecurityMaster>) -> HttpResponse {
    HttpResponse::Ok().json([master.type_body()])
}

async fn type_by_id(master: Data<SecurityMaster>, id: Path<String>) -> HttpResponse {
    if *id == master.type_id {
        HttpResponse::Ok().json(master.type_body())
    } else {
        detail(StatusCode::NOT_FOUND, "Security type not found")
    }
}

async fn search(master: Data<SecurityMaster>, request: HttpRequest) -> HttpResponse {
    let query = Query::of(&request);
    let page = match Page::read(&query) {
        Ok(page) => page,
        Err(violations) => return unprocessable(&violations),
    };
    let filter = match Filter::read(&query) {
        Ok(filter) => filter,
        Err(rule) => return detail(StatusCode::BAD_REQUEST, rule),
    };

    let mut found: Vec<&Listing> =
        (master.listings.iter()).filter(|listing| filter.admits(&listing.ticker)).collect();
    found.sort_by(|a, b| a.ticker.cmp(&b.ticker));
    HttpResponse::Ok().json(SearchBody {
        securities: (page.of(&found).iter()).map(|listing| master.v2(listing)).collect(),
        pagination: page.pagination_by_offset(found.len()),
    })
}

enum Filter<'a> {
    All,
    Exact(&'a str),
    Containing(&'a str),
}

impl<'a> Filter<'a> {
    fn read(query: &'a Query) -> Result<Self, &'static str> {
        let filter = match (query.get("ticker"), query.get("ticker_like")) {
            (None, None) => return Ok(Self::All),
            (Some(_), Some(_)) => {
                return Err("Only one of 'ticker' or 'ticker_like' parameters can be provided");
            }
            (Some(ticker), None) => Self::Exact(ticker),
            (None, Some(part)) => Self::Containing(part),
        };
        if filter.is_well_formed() {
            Ok(filter)
        } else {
            Err("Ticker must be 1-50 characters and contain only alphanumeric characters, dots, and hyphens")
        }
    }

    fn is_well_formed(&self) -> bool {
        match self {
            Self::All => true,
            Self::Exact(text) | Self::Containing(text) => {
                (1..=MAX_TICKER_LEN).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
            }
        }
    }

    fn admits(&self, ticker: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(text) => matches_pattern(ticker.as_bytes(), text.as_bytes()),
            Self::Containing(text) => {
                ticker.as_bytes().windows(text.len()).any(|window| matches_pattern(window, text.as_bytes()))
            }
        }
    }
}

/// The service does not escape its patterns, so a dot stands for any character.
fn matches_pattern(text: &[u8], pattern: &[u8]) -> bool {
    text.len() == pattern.len()
        && (text.iter().zip(pattern))
            .all(|(byte, wanted)| *wanted == b'.' || byte.eq_ignore_ascii_case(wanted))
}

fn is_object_id(id: &str) -> bool {
    id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_a_pattern_matches_any_character() {
        assert!(Filter::Exact("brk.b").admits("BRK.B"));
        assert!(Filter::Exact("BRK.B").admits("BRKXB"));
        assert!(!Filter::Exact("BRK").admits("BRK.B"));
        assert!(Filter::Containing("k.").admits("BRK.B"));
        assert!(!Filter::Containing("LONGER").admits("A"));
    }
}
