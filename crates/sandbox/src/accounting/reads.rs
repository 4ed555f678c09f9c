//! What can be asked of the books, and the health of the service.

use std::cmp::Reverse;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Path},
};
use chrono::SecondsFormat;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Books,
    amount::Amount,
    error, in_nanoseconds,
    ledger::{Balance, Leg, Transaction},
    posting::{PostedBody, status_code},
};
use crate::clock;

const DEFAULT_LIMIT: usize = 50;
const MAX_ROWS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryBody {
    portfolio_id: String,
    cash_balance: Amount,
    security_count: usize,
    last_updated: String,
    securities: Vec<HoldingBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HoldingBody {
    security_id: String,
    quantity_long: Amount,
    quantity_short: Amount,
    net_quantity: Amount,
    last_updated: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BalanceBody {
    id: usize,
    portfolio_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_id: Option<String>,
    quantity_long: Amount,
    quantity_short: Amount,
    last_updated: String,
    version: u32,
}

#[derive(Serialize)]
struct BalancesBody {
    balances: Vec<BalanceBody>,
    pagination: PaginationBody,
}

#[derive(Serialize)]
struct TransactionsBody {
    transactions: Vec<PostedBody>,
    pagination: PaginationBody,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaginationBody {
    limit: usize,
    offset: usize,
    total: usize,
    has_more: bool,
    page: usize,
    total_pages: usize,
}

#[derive(Serialize)]
struct HealthBody<'a> {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    environment: &'static str,
    checks: &'a Value,
}

pub(super) async fn summary(books: Data<Books>, portfolio: Path<String>) -> HttpResponse {
    let ledger = books.ledger.lock();
    let rows: Vec<(&Leg, &Balance)> = ledger.balances_of(&portfolio).take(MAX_ROWS).collect();
    if rows.is_empty() {
        // The papers promise a 404, which the service's own handler cannot reach.
        return error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "Failed to retrieve portfolio summary",
        );
    }

    let mut cash = Decimal::ZERO;
    let mut securities = Vec::new();
    for (leg, balance) in rows {
        match leg {
            Leg::Cash => cash = balance.long,
            Leg::Security(security) => securities.push(HoldingBody {
                security_id: security.clone(),
                quantity_long: Amount(balance.long),
                quantity_short: Amount(balance.short),
                net_quantity: Amount(balance.long - balance.short),
                last_updated: last_updated(balance),
            }),
        }
    }
    HttpResponse::Ok().json(SummaryBody {
        portfolio_id: portfolio.into_inner(),
        cash_balance: Amount(cash),
        security_count: securities.len(),
        last_updated: in_nanoseconds(clock::now()),
        securities,
    })
}

pub(super) async fn balances(books: Data<Books>, request: HttpRequest) -> HttpResponse {
    let query = Query::of(&request);
    let (portfolio, security) = (query.get("portfolio_id"), query.get("security_id"));
    let only_zero = query.get("zero_balances_only") == Some("true");
    let ledger = books.ledger.lock();
    let found: Vec<_> = ledger
        .balances()
        .filter(|(owner, leg, balance)| {
            portfolio.is_none_or(|wanted| wanted == *owner)
                && security.is_none_or(|wanted| security_of(leg) == Some(wanted))
                && (!only_zero || balance.long.is_zero() && balance.short.is_zero())
        })
        .collect();
    let (page, pagination) = query.page(&found);
    HttpResponse::Ok().json(BalancesBody {
        balances: (page.iter()).map(|(owner, leg, balance)| balance_body(owner, leg, balance)).collect(),
        pagination,
    })
}

pub(super) async fn balance(books: Data<Books>, id: Path<String>) -> HttpResponse {
    let Ok(id) = id.parse::<usize>() else {
        let message = "Balance ID must be a valid integer";
        return error(StatusCode::BAD_REQUEST, "INVALID_ID", message);
    };
    let ledger = books.ledger.lock();
    match ledger.balances().find(|(_, _, balance)| balance.id == id) {
        Some((owner, leg, balance)) => HttpResponse::Ok().json(balance_body(owner, leg, balance)),
        None => error(StatusCode::NOT_FOUND, "NOT_FOUND", "Balance not found"),
    }
}

pub(super) async fn transactions(books: Data<Books>, request: HttpRequest) -> HttpResponse {
    let query = Query::of(&request);
    let ledger = books.ledger.lock();
    let is = |name, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
    let mut found: Vec<&Transaction> = (ledger.transactions().iter())
        .filter(|transaction| {
            let entry = &transaction.entry;
            is("portfolio_id", &entry.portfolio)
                && is("security_id", entry.security.as_deref().unwrap_or_default())
                && is("transaction_type", &entry.code)
                && is("status", status_code(transaction.status))
        })
        .collect();
    // Stable: of one date, the earlier posted comes first.
    found.sort_by_key(|transaction| Reverse(transaction.entry.date));
    let (page, pagination) = query.page(&found);
    HttpResponse::Ok().json(TransactionsBody {
        transactions: page.iter().map(|found| PostedBody::from(*found)).collect(),
        pagination,
    })
}

pub(super) async fn transaction(books: Data<Books>, id: Path<String>) -> HttpResponse {
    let Ok(id) = id.parse::<usize>() else {
        let message = "Transaction ID must be a valid integer";
        return error(StatusCode::BAD_REQUEST, "INVALID_ID", message);
    };
    let ledger = books.ledger.lock();
    let found = (ledger.transactions().iter()).find(|transaction| transaction.id == id);
    match found {
        Some(transaction) => HttpResponse::Ok().json(PostedBody::from(transaction)),
        None => error(StatusCode::NOT_FOUND, "NOT_FOUND", "Transaction not found"),
    }
}

pub(super) async fn health() -> HttpResponse {
    health_body("healthy", &json!({}))
}

pub(super) async fn live() -> HttpResponse {
    health_body("alive", &Value::Null)
}

pub(super) async fn ready() -> HttpResponse {
    health_body("ready", &neighbours())
}

pub(super) async fn detailed() -> HttpResponse {
    health_body("healthy", &neighbours())
}

fn neighbours() -> Value {
    json!({ "portfolio_service": "healthy", "security_service": "healthy" })
}

fn health_body(status: &'static str, checks: &Value) -> HttpResponse {
    HttpResponse::Ok().json(HealthBody {
        status,
        timestamp: in_nanoseconds(clock::now()),
        version: "1.0.0",
        environment: "development",
        checks,
    })
}

fn balance_body(owner: &str, leg: &Leg, balance: &Balance) -> BalanceBody {
    BalanceBody {
        id: balance.id,
        portfolio_id: owner.to_owned(),
        security_id: security_of(leg).map(str::to_owned),
        quantity_long: Amount(balance.long),
        quantity_short: Amount(balance.short),
        last_updated: last_updated(balance),
        version: balance.version,
    }
}

fn security_of(leg: &Leg) -> Option<&str> {
    match leg {
        Leg::Security(security) => Some(security),
        Leg::Cash => None,
    }
}

/// When the row was created: the service swaps its two timestamps.
fn last_updated(balance: &Balance) -> String {
    balance.created.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Filters and pages as the service reads them: what it cannot parse, it ignores.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &HttpRequest) -> Self {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        Self(pairs.map(web::Query::into_inner).unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn page<'a, T>(&self, all: &'a [T]) -> (&'a [T], PaginationBody) {
        let number = |name| self.get(name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit").filter(|limit| (1..=MAX_ROWS).contains(limit)).unwrap_or(DEFAULT_LIMIT);
        let offset = number("offset").unwrap_or_default();
        let start = offset.min(all.len());
        let end = offset.saturating_add(limit).min(all.len());
        let pagination = PaginationBody {
            limit,
            offset,
            total: all.len(),
            has_more: end < all.len(),
            page: offset / limit + 1,
            total_pages: all.len().div_ceil(limit),
        };
        (&all[start..end], pagination)
    }
}
