//! The portfolio service: names, dates and versions of portfolios.

mod body;

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Bytes, Data, Path, ServiceConfig},
};
use chrono::{DateTime, SubsecRound, Utc};
use rand::rngs::StdRng;
use serde::Serialize;

use self::body::{Draft, PortfolioBody};
use crate::{
    clock,
    fast_api::{Page, Pagination, Query, detail, unprocessable},
    neighbour::{Neighbour, Service},
    seeded,
    state::State,
};

const MAX_BULK: usize = 100;
const MAX_NAME_CHARS: usize = 200;
const NOT_FOUND: &str = "Portfolio not found";
const CONFLICT: &str = "Version conflict";

const ROOT_BODY: &str = r#"{"message":"GlobeCo Portfolio Service","version":"2.0.0","environment":"development","status":"operational","features":{"unified_monitoring":true,"prometheus_removed":true,"optimized_performance":true,"environment_profiles":true,"circuit_breakers":true,"validation_caching":true}}"#;

pub type Portfolios = Neighbour<Register>;

impl Portfolios {
    /// Adds a portfolio, or renames the one with this id.
    pub fn add(&self, id: &str, name: &str) {
        let mut records = self.service.records.lock();
        match records.find(id) {
            Some(portfolio) => name.clone_into(&mut portfolio.name),
            None => records.push(Portfolio {
                id: id.to_owned(),
                name: name.to_owned(),
                created: clock::now().trunc_subsecs(3),
                version: 1,
            }),
        }
    }
}

/// All portfolios, in the order they were created.
pub struct Register {
    seed: u64,
    records: State<Records>,
}

struct Records {
    ids: StdRng,
    portfolios: Vec<Portfolio>,
    /// Where in the list each is, by its id.
    places: BTreeMap<String, usize>,
}

struct Portfolio {
    id: String,
    name: String,
    created: DateTime<Utc>,
    version: i64,
}

impl Register {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, records: State::new(Records::new(seed)) }
    }
}

impl Records {
    fn new(seed: u64) -> Self {
        Self { ids: seeded::rng(seed, "portfolios"), portfolios: Vec::new(), places: BTreeMap::new() }
    }

    fn find(&mut self, id: &str) -> Option<&mut Portfolio> {
        self.portfolios.get_mut(*self.places.get(id)?)
    }

    fn push(&mut self, portfolio: Portfolio) {
        self.places.insert(portfolio.id.clone(), self.portfolios.len());
        self.portfolios.push(portfolio);
    }

    fn remove(&mut self, id: &str) {
        self.portfolios.retain(|portfolio| portfolio.id != id);
        let place = |(idx, portfolio): (usize, &Portfolio)| (portfolio.id.clone(), idx);
        self.places = self.portfolios.iter().enumerate().map(place).collect();
    }

    fn insert(&mut self, drafts: Vec<Draft>) -> &[Portfolio] {
        let start = self.portfolios.len();
        let now = clock::now();
        for draft in drafts {
            let portfolio = Portfolio {
                id: seeded::object_id(&mut self.ids),
                name: draft.name,
                created: draft.created.unwrap_or(now).trunc_subsecs(3),
                version: draft.version.unwrap_or(1),
            };
            self.push(portfolio);
        }
        &self.portfolios[start..]
    }
}

impl Service for Register {
    fn routes(config: &mut ServiceConfig) {
        config
            .service(web::resource("/api/v1/portfolios").get(list).post(create))
            .service(web::resource("/api/v1/portfolio/{id}").get(by_id).put(update).delete(remove))
            .service(web::resource("/api/v2/portfolios").get(search).post(create_many))
            .route("/", web::get().to(root))
            .route("/health", web::get().to(health));
        for (path, status, probe_type) in [
            ("/health/live", "alive", "liveness"),
            ("/health/ready", "ready", "readiness"),
            ("/health/startup", "started", "startup"),
            ("/health/detailed", "healthy", "detailed"),
        ] {
            let probe = move || async move { HttpResponse::Ok().json(ProbeBody::new(status, probe_type)) };
            config.route(path, web::get().to(probe));
        }
    }

    fn refusal(status: StatusCode, _path: &str) -> HttpResponse {
        let text = if status == StatusCode::INTERNAL_SERVER_ERROR {
            "Internal server error"
        } else {
            status.canonical_reason().unwrap_or_default()
        };
        detail(status, text)
    }

    fn reset(&self) {
        *self.records.lock() = Records::new(self.seed);
    }
}

#[derive(Serialize)]
struct SearchBody {
    portfolios: Vec<PortfolioBody>,
    pagination: Pagination,
}

#[derive(Serialize)]
struct ProbeBody {
    status: &'static str,
    timestamp: String,
    service: &'static str,
    probe_type: &'static str,
}

impl ProbeBody {
    fn new(status: &'static str, probe_type: &'static str) -> Self {
        Self {
            status,
            timestamp: clock::now().to_rfc3339(),
            service: "globeco-portfolio-service",
            probe_type,
        }
    }
}

async fn list(register: Data<Register>) -> HttpResponse {
    let records = register.records.lock();
    let all: Vec<PortfolioBody> = records.portfolios.iter().map(PortfolioBody::from).collect();
    HttpResponse::Ok().json(all)
}

async fn by_id(register: Data<Register>, id: Path<String>) -> HttpResponse {
    match register.records.lock().find(&id) {
        Some(portfolio) => HttpResponse::Ok().json(PortfolioBody::from(&*portfolio)),
        None => detail(StatusCode::NOT_FOUND, NOT_FOUND),
    }
}

async fn create(register: Data<Register>, body: Bytes) -> HttpResponse {
    match body::draft(&body) {
        Ok(draft) => {
            let mut records = register.records.lock();
            let created = records.insert(vec![draft]);
            HttpResponse::Created().json(created.first().map(PortfolioBody::from))
        }
        Err(violations) => unprocessable(&violations),
    }
}

async fn create_many(register: Data<Register>, body: Bytes) -> HttpResponse {
    let drafts = match body::drafts(&body) {
        Ok(drafts) => drafts,
        Err(violations) => return unprocessable(&violations),
    };
    if let Err(text) = check_bulk(&drafts) {
        return detail(StatusCode::BAD_REQUEST, &text);
    }
    let mut records = register.records.lock();
    let created: Vec<PortfolioBody> = records.insert(drafts).iter().map(PortfolioBody::from).collect();
    HttpResponse::Created().json(created)
}

async fn update(register: Data<Register>, id: Path<String>, body: Bytes) -> HttpResponse {
    let revision = match body::revision(&body) {
        Ok(revision) => revision,
        Err(violations) => return unprocessable(&violations),
    };
    let mut records = register.records.lock();
    let Some(portfolio) = records.find(&id) else {
        return detail(StatusCode::NOT_FOUND, NOT_FOUND);
    };
    if portfolio.version != revision.version {
        return detail(StatusCode::CONFLICT, CONFLICT);
    }
    portfolio.name = revision.name;
    portfolio.version = portfolio.version.saturating_add(1);
    if let Some(created) = revision.created {
        portfolio.created = created.trunc_subsecs(3);
    }
    HttpResponse::Ok().json(PortfolioBody::from(&*portfolio))
}

async fn remove(register: Data<Register>, id: Path<String>, request: HttpRequest) -> HttpResponse {
    let version = match body::version_of(&Query::of(&request)) {
        Ok(version) => version,
        Err(violation) => return unprocessable(&[violation]),
    };
    let mut records = register.records.lock();
    let Some(portfolio) = records.find(&id) else {
        return detail(StatusCode::NOT_FOUND, NOT_FOUND);
    };
    if portfolio.version != version {
        return detail(StatusCode::CONFLICT, CONFLICT);
    }
    records.remove(&id);
    HttpResponse::NoContent().finish()
}

async fn search(register: Data<Register>, request: HttpRequest) -> HttpResponse {
    let query = Query::of(&request);
    let page = match Page::read(&query) {
        Ok(page) => page,
        Err(violations) => return unprocessable(&violations),
    };
    let filter = match Filter::read(&query) {
        Ok(filter) => filter,
        Err(text) => return detail(StatusCode::BAD_REQUEST, text),
    };

    let records = register.records.lock();
    let mut found: Vec<&Portfolio> =
        (records.portfolios.iter()).filter(|portfolio| filter.admits(&portfolio.name)).collect();
    found.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    HttpResponse::Ok().json(SearchBody {
        portfolios: (page.of(&found).iter()).map(|portfolio| PortfolioBody::from(*portfolio)).collect(),
        pagination: page.pagination_by_page(found.len()),
    })
}

async fn root() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(ROOT_BODY)
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("OK")
}

/// Names already stored are welcome again; only one request may not repeat itself.
fn check_bulk(drafts: &[Draft]) -> Result<(), String> {
    if drafts.is_empty() {
        return Err("Request must contain at least 1 portfolio".to_owned());
    }
    if MAX_BULK < drafts.len() {
        return Err(format!("Request cannot contain more than {MAX_BULK} portfolios"));
    }

    let (mut seen, mut reported) = (BTreeSet::new(), BTreeSet::new());
    let mut repeated = Vec::new();
    for draft in drafts {
        let name = draft.name.trim().to_lowercase();
        if !seen.insert(name.clone()) && reported.insert(name) {
            repeated.push(draft.name.as_str());
        }
    }
    if repeated.is_empty() {
        return Ok(());
    }
    Err(format!("Duplicate portfolio names found in request: {}", repeated.join(", ")))
}

enum Filter {
    All,
    Exact(String),
    Containing(String),
}

impl Filter {
    fn read(query: &Query) -> Result<Self, &'static str> {
        let (name, name_like) = (query.get("name"), query.get("name_like"));
        if name.is_some_and(|name| !name.is_empty())
            && name_like.is_some_and(|name_like| !name_like.is_empty())
        {
            return Err("Only one search parameter allowed: name or name_like");
        }
        let exact = name.map(searchable).transpose()?;
        let containing = name_like.map(searchable).transpose()?;
        Ok(match (exact, containing) {
            (Some(name), _) => Self::Exact(name),
            (None, Some(part)) => Self::Containing(part),
            (None, None) => Self::All,
        })
    }

    fn admits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(wanted) => name.to_lowercase() == *wanted,
            Self::Containing(part) => name.to_lowercase().contains(part.as_str()),
        }
    }
}

/// The lower-case form of a name that may be searched for; stored names may hold anything.
fn searchable(name: &str) -> Result<String, &'static str> {
    if name.trim().is_empty() {
        return Err("Search parameter cannot be empty");
    }
    let allowed =
        |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_' || char.is_whitespace();
    if MAX_NAME_CHARS < name.chars().count() || !name.chars().all(allowed) {
        return Err(
            "Invalid portfolio name format. Name must be 1-200 characters, alphanumeric, spaces, hyphens, and underscores only",
        );
    }
    Ok(name.to_lowercase())
}
