//! The portfolio accounting service: transactions come in, balances are what they add up to.

mod amount;
mod ledger;
mod posting;
mod reads;

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{self, Bytes, Data, ServiceConfig},
};
use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde_json::json;

use self::{ledger::Ledger, posting::TransactionBody};
use crate::{
    clock,
    neighbour::{Neighbour, Service},
    state::State,
};

const MAX_BATCH: usize = 1000;

pub type Accounting = Neighbour<Books>;

/// What a portfolio holds: its cash, and the net quantity of every security it ever touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub cash: Decimal,
    pub holdings: BTreeMap<String, Decimal>,
}

impl Accounting {
    /// Makes the portfolio hold exactly this, without transactions.
    pub fn fund(&self, portfolio: &str, cash: Decimal, holdings: &[(&str, Decimal)]) {
        let mut ledger = self.service.ledger.lock();
        ledger.fund(portfolio, cash, holdings, clock::now());
    }

    /// `None` for a portfolio that was never touched.
    pub fn summary(&self, portfolio: &str) -> Option<Summary> {
        self.service.ledger.lock().summary(portfolio)
    }
}

/// The service's memory.
#[derive(Default)]
pub struct Books {
    ledger: State<Ledger>,
}

impl Service for Books {
    fn routes(config: &mut ServiceConfig) {
        config
            .service(web::resource("/api/v1/transactions").get(reads::transactions).post(post))
            .route("/api/v1/transaction/{id}", web::get().to(reads::transaction))
            .route("/api/v1/balances", web::get().to(reads::balances))
            .route("/api/v1/balance/{id}", web::get().to(reads::balance))
            .route("/api/v1/portfolios/{id}/summary", web::get().to(reads::summary))
            .route("/api/v2/", web::get().to(api_v2));
        for root in ["", "/api/v1"] {
            config
                .route(&format!("{root}/health"), web::get().to(reads::health))
                .route(&format!("{root}/health/live"), web::get().to(reads::live))
                .route(&format!("{root}/health/ready"), web::get().to(reads::ready))
                .route(&format!("{root}/health/detailed"), web::get().to(reads::detailed));
        }
    }

    fn refusal(status: StatusCode, _path: &str) -> HttpResponse {
        if status == StatusCode::NOT_FOUND {
            return HttpResponse::NotFound().content_type("text/plain").body("404 page not found\n");
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let code = if status == StatusCode::INTERNAL_SERVER_ERROR {
            "INTERNAL_ERROR".to_owned()
        } else {
            reason.to_uppercase().replace(' ', "_")
        };
        error(status, &code, reason)
    }

    fn reset(&self) {
        *self.ledger.lock() = Ledger::default();
    }
}

async fn post(books: Data<Books>, body: Bytes) -> HttpResponse {
    let Ok(batch) = serde_json::from_slice::<Option<Vec<TransactionBody>>>(&body) else {
        return error(StatusCode::BAD_REQUEST, "INVALID_JSON", "Invalid JSON format");
    };
    let batch = batch.unwrap_or_default();
    if batch.is_empty() {
        let message = "At least one transaction is required";
        return error(StatusCode::BAD_REQUEST, "EMPTY_BATCH", message);
    }
    if MAX_BATCH < batch.len() {
        let message = format!("Maximum {MAX_BATCH} transactions per batch");
        return error(StatusCode::BAD_REQUEST, "BATCH_TOO_LARGE", &message);
    }

    let answer = posting::post(&mut books.ledger.lock(), batch, clock::now());
    HttpResponse::build(answer.status()).json(answer)
}

async fn api_v2() -> HttpResponse {
    HttpResponse::NotImplemented().json(json!({ "message": "API v2 not implemented yet" }))
}

fn error(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({
        "error": { "code": code, "message": message, "timestamp": in_nanoseconds(clock::now()) },
    }))
}

fn in_nanoseconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}
