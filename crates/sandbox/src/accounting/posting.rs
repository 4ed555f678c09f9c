//! A batch of transactions: checked and booked one after another, answered together.

use actix_web::http::StatusCode;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use super::{
    amount::Amount,
    ledger::{Entry, Ledger, Rejection, Status, Transaction, Type},
};

const ID_LEN: usize = 24;
const MAX_SOURCE_ID_LEN: usize = 50;
const BAD_PORTFOLIO: &str = "invalid portfolio ID: portfolio ID must contain only alphanumeric characters";
const BAD_SECURITY: &str = "invalid security ID: security ID must contain only alphanumeric characters";
const DATE_FORMAT: &str = "%Y%m%d";

/// A request element, and its echo in the answer. Absent fields are empty, as in Go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransactionBody {
    #[serde(default, deserialize_with = "null_as_default")]
    portfolio_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_id: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    source_id: String,
    #[serde(default, deserialize_with = "null_as_default")]
    transaction_type: String,
    #[serde(default, deserialize_with = "null_as_default")]
    quantity: Amount,
    #[serde(default, deserialize_with = "null_as_default")]
    price: Amount,
    #[serde(default, deserialize_with = "null_as_default")]
    transaction_date: String,
}

/// Books what it can; the rest is reported beside it.
pub(super) fn post(ledger: &mut Ledger, batch: Vec<TransactionBody>, now: DateTime<Utc>) -> BatchBody {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (idx, transaction) in batch.into_iter().enumerate() {
        let booked = transaction.entry(idx).and_then(|entry| {
            ledger
                .post(entry, now)
                .map(PostedBody::from)
                .map_err(|rejection| vec![transaction.rejected(idx, rejection)])
        });
        match booked {
            Ok(posted) => successful.push(posted),
            Err(errors) => failed.push(FailedBody { transaction, errors }),
        }
    }
    BatchBody::new(successful, failed)
}

#[derive(Serialize)]
pub(super) struct BatchBody {
    successful: Option<Vec<PostedBody>>,
    failed: Option<Vec<FailedBody>>,
    summary: BatchSummaryBody,
}

impl BatchBody {
    fn new(successful: Vec<PostedBody>, failed: Vec<FailedBody>) -> Self {
        let total = successful.len() + failed.len();
        Self {
            summary: BatchSummaryBody {
                total_requested: total,
                successful: successful.len(),
                failed: failed.len(),
                success_rate: percentage(successful.len(), total),
            },
            // Empty lists are null, as a nil slice is in Go.
            successful: Some(successful).filter(|list| !list.is_empty()),
            failed: Some(failed).filter(|list| !list.is_empty()),
        }
    }

    /// 207 as soon as one failed, also when all did.
    pub(super) fn status(&self) -> StatusCode {
        if self.failed.is_some() { StatusCode::MULTI_STATUS } else { StatusCode::CREATED }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchSummaryBody {
    total_requested: usize,
    successful: usize,
    failed: usize,
    success_rate: Option<Number>,
}

#[derive(Serialize)]
struct FailedBody {
    transaction: TransactionBody,
    errors: Vec<FieldError>,
}

#[derive(Debug, Serialize)]
struct FieldError {
    field: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostedBody {
    id: usize,
    portfolio_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_id: Option<String>,
    source_id: String,
    status: &'static str,
    transaction_type: String,
    quantity: Amount,
    price: Amount,
    transaction_date: String,
    reprocessing_attempts: u32,
    version: u32,
}

impl From<&Transaction> for PostedBody {
    fn from(transaction: &Transaction) -> Self {
        let entry = &transaction.entry;
        Self {
            id: transaction.id,
            portfolio_id: entry.portfolio.clone(),
            security_id: entry.security.clone(),
            source_id: entry.source_id.clone(),
            status: status_code(transaction.status),
            transaction_type: entry.code.clone(),
            quantity: Amount(entry.quantity),
            price: Amount(entry.price),
            transaction_date: entry.date.format(DATE_FORMAT).to_string(),
            reprocessing_attempts: 0,
            version: transaction.version,
        }
    }
}

pub(super) fn status_code(status: Status) -> &'static str {
    match status {
        Status::Processed => "PROC",
        Status::Error => "ERROR",
    }
}

impl TransactionBody {
    fn entry(&self, idx: usize) -> Result<Entry, Vec<FieldError>> {
        let kind = Type::parse(&self.transaction_type);
        let date = date(&self.transaction_date);
        let errors = self.form_errors(kind, date);
        let (Some(kind), Some(date), true) = (kind, date, errors.is_empty()) else {
            return Err(errors);
        };
        self.check_rules(idx, kind)?;
        Ok(Entry {
            portfolio: self.portfolio_id.clone(),
            security: self.security_id.clone(),
            source_id: self.source_id.clone(),
            kind,
            code: self.transaction_type.clone(),
            quantity: self.quantity.0,
            price: self.price.0,
            date,
        })
    }

    fn form_errors(&self, kind: Option<Type>, date: Option<NaiveDate>) -> Vec<FieldError> {
        let mut errors = self.identifier_errors();
        if kind.is_none() {
            let message = "must be one of: BUY, SELL, SHORT, COVER, DEP, WD, IN, OUT";
            let code = &self.transaction_type;
            errors.push(field_error("transactionType", message, code));
        }
        if self.price.0 <= Decimal::ZERO {
            let price = self.price.0.normalize().to_string();
            errors.push(field_error("price", "must be positive", &price));
        }
        if date.is_none() {
            let message = "must be in YYYYMMDD format";
            let text = &self.transaction_date;
            errors.push(field_error("transactionDate", message, text));
        }
        errors.extend(self.misplaced_security(kind));
        errors
    }

    fn identifier_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let message = "must be exactly 24 characters";
        if self.portfolio_id.len() != ID_LEN {
            errors.push(field_error("portfolioId", message, &self.portfolio_id));
        }
        if let Some(security) = &self.security_id
            && security.len() != ID_LEN
        {
            errors.push(field_error("securityId", message, security));
        }
        if MAX_SOURCE_ID_LEN < self.source_id.len() {
            let message = "must not exceed 50 characters";
            errors.push(field_error("sourceId", message, &self.source_id));
        }
        errors
    }

    // A type the service does not know is not cash to it.
    fn misplaced_security(&self, kind: Option<Type>) -> Option<FieldError> {
        let message = match (kind.is_some_and(Type::is_cash), &self.security_id) {
            (true, Some(_)) => "must be null for DEP/WD transactions",
            (false, None) => "is required for non-cash transactions",
            (true, None) | (false, Some(_)) => return None,
        };
        let value = self.security_id.as_deref().unwrap_or_default();
        Some(field_error("securityId", message, value))
    }

    /// The second round of checks, which reports its findings as one.
    fn check_rules(&self, idx: usize, kind: Type) -> Result<(), Vec<FieldError>> {
        let (mut causes, mut follow_ups) = (Vec::new(), Vec::new());
        if !is_alphanumeric(&self.portfolio_id) {
            causes.push(BAD_PORTFOLIO);
            follow_ups.push("portfolio ID is required");
        }
        if self.security_id.as_deref().is_some_and(|id| !is_alphanumeric(id)) {
            causes.push(BAD_SECURITY);
            follow_ups.push("security ID is required");
        }
        if self.source_id.trim().is_empty() {
            causes.push("invalid source ID: source ID cannot be empty");
        }
        causes.extend(follow_ups);
        if kind.is_cash() && self.price.0 != Decimal::ONE {
            causes.push("cash transactions must have price of 1.0");
        }
        if self.quantity.0.is_zero() {
            causes.push("quantity cannot be zero");
        }
        if causes.is_empty() {
            return Ok(());
        }
        let message = format!("transaction validation failed: [{}]", causes.join(" "));
        Err(vec![field_error("transaction", &message, &format!("index_{idx}"))])
    }

    fn rejected(&self, idx: usize, rejection: Rejection) -> FieldError {
        let index = format!("index_{idx}");
        match rejection {
            Rejection::DuplicateSource => {
                field_error("sourceId", "source ID must be unique", &self.source_id)
            }
            Rejection::Unstorable => {
                let message = "repository error in create for transaction: numeric field overflow";
                field_error("repository", message, &index)
            }
            Rejection::Unprocessable => {
                let message = "Failed to persist balance changes: numeric field overflow";
                field_error("processing", message, &index)
            }
        }
    }
}

fn field_error(field: &'static str, message: &str, value: &str) -> FieldError {
    FieldError { field, message: message.to_owned(), value: value.to_owned() }
}

fn is_alphanumeric(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn date(text: &str) -> Option<NaiveDate> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| NaiveDate::parse_from_str(text, DATE_FORMAT).ok())?
}

/// Written as Go writes a float: 100 and not 100.0.
#[expect(clippy::cast_precision_loss, reason = "a batch has at most a thousand transactions")]
fn percentage(part: usize, whole: usize) -> Option<Number> {
    (part as f64 / whole as f64 * 100.0).to_string().parse().ok()
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
