//! Reading what a request says in its path and its query.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::web::{Path, Query};
use actix_web::{FromRequest, HttpRequest};
use domain::identifier::{InvalidIdentifier, ModelId, PortfolioId, RebalanceId};
use domain::version::Version;
use serde::Deserialize;

use crate::problem::Problem;

/// The path's and the query's parameters. Those that a route does not know are ignored.
pub(crate) struct Parameters {
    path: Identifiers,
    query: HashMap<String, String>,
}

/// As routes name the parts of their paths; empty where a route has no such part.
#[derive(Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the paths name them so")]
struct Identifiers {
    model_id: String,
    portfolio_id: String,
    rebalance_id: String,
}

impl Parameters {
    pub(crate) fn model_id(&self) -> Result<ModelId, Problem> {
        identifier("invalid-id", "model_id", &self.path.model_id)
    }

    pub(crate) fn portfolio_id(&self) -> Result<PortfolioId, Problem> {
        identifier("invalid-id", "portfolio_id", &self.path.portfolio_id)
    }

    pub(crate) fn rebalance_id(&self) -> Result<RebalanceId, Problem> {
        identifier("invalid-id", "rebalance_id", &self.path.rebalance_id)
    }

    /// The model named in the query.
    pub(crate) fn chosen_model(&self) -> Result<Option<ModelId>, Problem> {
        self.text("model_id").map(|text| identifier("invalid-query", "model_id", text)).transpose()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Problem> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off") => Ok(false),
            Some(_) => Err(Problem::malformed("invalid-query", format!("{name} must be true or false"))),
        }
    }

    /// A whole number from zero; `noun` is how the refusal names it.
    pub(crate) fn count(&self, name: &str, noun: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.query.get(name) else { return Ok(None) };
        // Stores count in signed 64 bits; a larger number could only ever mean a mistake.
        match text.trim().parse() {
            Ok(count) if count <= i64::MAX.unsigned_abs() => Ok(Some(count)),
            Ok(_) | Err(_) => {
                Err(Problem::malformed("invalid-query", format!("{noun} must be a non-negative integer")))
            }
        }
    }

    pub(crate) fn version(&self) -> Result<Version, Problem> {
        let text = self.query.get("version");
        let text = text
            .ok_or_else(|| Problem::malformed("invalid-query", "the query parameter version is missing"))?;
        let version = text.trim().parse::<i64>().ok().and_then(|number| Version::try_from(number).ok());
        version.ok_or_else(|| Problem::malformed("invalid-query", "version must be a positive integer"))
    }
}

fn identifier<T: FromStr<Err = InvalidIdentifier>>(
    code: &'static str,
    name: &str,
    text: &str,
) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::malformed(code, format!("{name} {error}")))
}

impl FromRequest for Parameters {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let path = Path::<Identifiers>::extract(request).into_inner();
        let query = Query::<HashMap<String, String>>::from_query(request.query_string());
        ready(match (path, query) {
            (Ok(path), Ok(query)) => Ok(Self { path: path.into_inner(), query: query.into_inner() }),
            (Err(_), _) => Err(Problem::malformed("invalid-path", "the path cannot be decoded")),
            (_, Err(_)) => Err(Problem::malformed("invalid-query", "the query string cannot be decoded")),
        })
    }
}
