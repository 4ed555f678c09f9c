//! Rebalances as documents, in the reference service's words where it has them.
//!
//! Fields are read in the order in which they are written, which is the reference's too: so is it fast.

use application::repository::Source;
use bson::RawDocumentBuf;
use bson::oid::ObjectId;
use domain::Timestamp;
use domain::identifier::{ModelId, RebalanceId};
use domain::order_generation::model::ModelName;
use domain::order_generation::optimum::Method;
use domain::order_generation::progress::{Progress, Reason, RebalanceStatus};
use domain::order_generation::rebalance::{
    FailedPortfolio, Optimality, OptimalityStatus, PortfolioRebalance, Rebalance, RebalanceHeader,
    RebalancedPosition, Side, Trade,
};
use rust_decimal::Decimal;

use super::rules::{read_rule, read_rules, rule_word, write_number, write_rules};
use crate::document::{created, version};
use crate::fields::{Fields, Value};
use crate::writer::{Writer, document};

/// A rebalance, and where the portfolios of it are.
pub(super) struct Kept {
    pub(super) header: RebalanceHeader,
    pub(super) portfolios: Portfolios,
}

pub(super) enum Portfolios {
    /// In a collection of their own, under an id of their own.
    Apart { recording: ObjectId, number: usize },
    /// In the header. The reference service keeps all of them so.
    Within(Vec<PortfolioRebalance>),
}

/// A portfolio that is kept apart.
pub(super) struct Recorded {
    pub(super) recording: ObjectId,
    pub(super) ordinal: i64,
    pub(super) portfolio: PortfolioRebalance,
}

/// A header with its portfolios in it.
pub(super) fn whole(rebalance: &Rebalance) -> RawDocumentBuf {
    let Rebalance { header, portfolios } = rebalance;
    self::header(header, portfolios.len(), |to| {
        let midnight = midnight(header.date);
        to.list("portfolios", portfolios, |to, index, portfolio| {
            to.fields(index, |to| write_portfolio(to, portfolio, midnight));
        });
    })
}

/// A header whose portfolios are kept apart.
pub(super) fn header_alone(header: &RebalanceHeader, number: usize, recording: ObjectId) -> RawDocumentBuf {
    self::header(header, number, |to| to.object_id("recording", recording))
}

fn header(header: &RebalanceHeader, number: usize, portfolios: impl FnOnce(&mut Writer)) -> RawDocumentBuf {
    let RebalanceHeader { id, model, model_name, date, rules, status, failed, version, created_at } = header;
    document(|to| {
        to.object_id("_id", object_id(id));
        to.object_id("model_id", ObjectId::from_bytes(model.bytes()));
        to.date("rebalance_date", *date);
        to.text("model_name", model_name.as_str());
        to.whole("number_of_portfolios", count(number));
        portfolios(to);
        to.list("failed", failed, |to, index, failed| {
            to.fields(index, |to| {
                to.text("portfolio_id", failed.portfolio.as_str());
                to.text("code", &failed.code);
                to.text("detail", &failed.detail);
            });
        });
        to.whole("version", version.get());
        to.date("created_at", *created_at);
        write_rules(to, rules);
        write_status(to, status);
    })
}

fn count(portfolios: usize) -> i64 {
    i64::try_from(portfolios).expect("a list in memory is shorter than `i64::MAX`")
}

pub(super) const RUNNING: &str = "RUNNING";
pub(super) const FAILED: &str = "FAILED";
pub(super) const CANCELLED: &str = "CANCELLED";

/// A completed one has none, as those of the reference service.
fn write_status(to: &mut Writer, status: &RebalanceStatus) {
    let (word, progress) = match status {
        RebalanceStatus::Running(progress) => (RUNNING, progress),
        RebalanceStatus::Completed => return,
        RebalanceStatus::Failed { progress, .. } => (FAILED, progress),
        RebalanceStatus::Cancelled(progress) => (CANCELLED, progress),
    };
    to.text("status", word);
    to.whole("portfolios_total", count(progress.total));
    to.whole("portfolios_failed", count(progress.failed));
    if let RebalanceStatus::Failed { reason, .. } = status {
        to.fields("reason", |to| {
            to.text("code", &reason.code);
            to.text("detail", &reason.detail);
        });
    }
}

fn read_status_of(from: &mut Fields<'_>, rebalanced: usize) -> Result<RebalanceStatus, Source> {
    let Some(word) = from.optional("status", Value::text)? else {
        return Ok(RebalanceStatus::Completed);
    };
    let number = |number: Value<'_>| Ok(usize::try_from(number.whole()?)?);
    let progress = Progress {
        total: from.get("portfolios_total", number)?,
        rebalanced,
        failed: from.get("portfolios_failed", number)?,
    };
    match word {
        RUNNING => Ok(RebalanceStatus::Running(progress)),
        FAILED => {
            let reason = from.get("reason", |reason| reason.fields(read_reason))?;
            Ok(RebalanceStatus::Failed { reason, progress })
        }
        CANCELLED => Ok(RebalanceStatus::Cancelled(progress)),
        other => Err(format!("`{other}` is no status").into()),
    }
}

fn read_reason(from: &mut Fields<'_>) -> Result<Reason, Source> {
    Ok(Reason {
        code: from.get("code", |code| Ok(code.text()?.to_owned()))?,
        detail: from.get("detail", |detail| Ok(detail.text()?.to_owned()))?,
    })
}

pub(super) fn read_header(from: &mut Fields<'_>) -> Result<Kept, Source> {
    let id = from.get("_id", Value::object_id)?;
    let model = from.get("model_id", Value::object_id)?;
    let date = from.get("rebalance_date", Value::instant)?;
    let model_name = from.get("model_name", |name| Ok(ModelName::new(name.text()?)?))?;
    let number = from.get("number_of_portfolios", |number| Ok(usize::try_from(number.whole()?)?))?;
    let recording = from.optional("recording", Value::object_id)?;
    let portfolios = match recording {
        Some(recording) => Portfolios::Apart { recording, number },
        // The reference service counts portfolios that failed too; those kept are here to be counted.
        None => Portfolios::Within(read_portfolios(from)?),
    };
    let header = RebalanceHeader {
        id: RebalanceId::from_bytes(id.bytes()),
        model: ModelId::from_bytes(model.bytes()),
        model_name,
        date,
        failed: from
            .optional("failed", |failed| failed.list(|one| one.fields(read_failed)))?
            .unwrap_or_default(),
        version: from.get("version", version)?,
        created_at: created(from.optional("created_at", Value::instant)?, id)?,
        rules: read_rules(from)?,
        status: read_status_of(from, number)?,
    };
    match header.status {
        RebalanceStatus::Completed => Ok(Kept { header, portfolios }),
        RebalanceStatus::Running(_) | RebalanceStatus::Failed { .. } | RebalanceStatus::Cancelled(_) => {
            Ok(Kept { header, portfolios: Portfolios::Within(Vec::new()) })
        }
    }
}

/// Those of a header that has them, or of a part of it.
pub(super) fn read_portfolios(from: &mut Fields<'_>) -> Result<Vec<PortfolioRebalance>, Source> {
    let read = |portfolios: Value<'_>| portfolios.list(|portfolio| portfolio.fields(read_portfolio));
    Ok(from.optional("portfolios", read)?.unwrap_or_default())
}

fn read_failed(from: &mut Fields<'_>) -> Result<FailedPortfolio, Source> {
    Ok(FailedPortfolio {
        portfolio: from.get("portfolio_id", Value::parsed)?,
        code: from.get("code", |code| Ok(code.text()?.to_owned()))?,
        detail: from.get("detail", |detail| Ok(detail.text()?.to_owned()))?,
    })
}

/// What portfolios that are kept apart have of their rebalance.
pub(super) struct Origin {
    pub(super) rebalance: ObjectId,
    pub(super) recording: ObjectId,
    pub(super) date: Timestamp,
}

pub(super) fn portfolio_apart(
    origin: &Origin,
    ordinal: i64,
    portfolio: &PortfolioRebalance,
) -> RawDocumentBuf {
    document(|to| {
        to.object_id("_id", ObjectId::new());
        to.object_id("recording", origin.recording);
        // For whoever looks into the collection; here it is found by its recording.
        to.object_id("rebalance_id", origin.rebalance);
        to.whole("ordinal", ordinal);
        write_portfolio(to, portfolio, midnight(origin.date));
    })
}

pub(super) fn read_recorded(from: &mut Fields<'_>) -> Result<Recorded, Source> {
    Ok(Recorded {
        recording: from.get("recording", Value::object_id)?,
        ordinal: from.get("ordinal", Value::whole)?,
        portfolio: read_portfolio(from)?,
    })
}

fn write_portfolio(to: &mut Writer, portfolio: &PortfolioRebalance, midnight: Timestamp) {
    let PortfolioRebalance {
        portfolio,
        market_value,
        cash_before,
        cash_after,
        trading_costs,
        optimality,
        positions,
    } = portfolio;
    to.text("portfolio_id", portfolio.as_str());
    to.decimal("market_value", *market_value);
    to.decimal("cash_before_rebalance", *cash_before);
    to.decimal("cash_after_rebalance", *cash_after);
    to.fields("optimality", |to| {
        let Optimality { status, objective, lower_bound, method } = optimality;
        to.text("status", status_word(*status));
        to.decimal("objective", *objective);
        to.decimal("lower_bound", *lower_bound);
        to.text("method", method_word(*method));
    });
    to.list("positions", positions, |to, index, position| {
        to.fields(index, |to| write_position(to, position, midnight));
    });
    write_number(to, "trading_costs", *trading_costs);
}

fn read_portfolio(from: &mut Fields<'_>) -> Result<PortfolioRebalance, Source> {
    let portfolio = from.get("portfolio_id", Value::parsed)?;
    let market_value = from.exact("market_value");
    let cash_before = from.exact("cash_before_rebalance");
    let cash_after = from.exact("cash_after_rebalance");
    let optimality = from.optional("optimality", |optimality| optimality.fields(read_optimality))?;
    let positions = from.get("positions", |positions| positions.list(|one| one.fields(read_position)))?;
    // The reference service knows none.
    let optimality = optimality.map_or_else(|| unproven(market_value, &positions), Ok)?;
    let trading_costs = from.optional("trading_costs", Value::exact)?.unwrap_or_default();
    Ok(PortfolioRebalance {
        portfolio,
        market_value,
        cash_before,
        cash_after,
        trading_costs,
        optimality,
        positions,
    })
}

fn read_optimality(from: &mut Fields<'_>) -> Result<Optimality, Source> {
    Ok(Optimality {
        status: from.get("status", read_status)?,
        objective: from.exact("objective"),
        lower_bound: from.exact("lower_bound"),
        method: from.get("method", read_method)?,
    })
}

/// Nothing is known of how good the answer was, but that no objective is below zero.
fn unproven(market_value: Decimal, positions: &[RebalancedPosition]) -> Result<Optimality, Source> {
    let deviation = |position: &RebalancedPosition| {
        let wanted = market_value.checked_mul(position.target)?;
        Some(wanted.checked_sub(position.adjusted_value)?.abs())
    };
    let objective = positions
        .iter()
        .try_fold(Decimal::ZERO, |sum, position| sum.checked_add(deviation(position)?))
        .ok_or("its deviation from the model is too large to be reckoned")?;
    Ok(Optimality {
        status: OptimalityStatus::Bound,
        objective,
        lower_bound: Decimal::ZERO,
        method: Method::Search,
    })
}

fn write_position(to: &mut Writer, position: &RebalancedPosition, midnight: Timestamp) {
    to.text("security_id", position.security.as_str());
    to.decimal("price", position.price);
    to.decimal("original_quantity", position.original_quantity);
    to.decimal("adjusted_quantity", position.adjusted_quantity);
    to.decimal("original_position_market_value", position.original_value);
    to.decimal("adjusted_position_market_value", position.adjusted_value);
    to.decimal("target", position.target);
    to.decimal("high_drift", position.high_drift);
    to.decimal("low_drift", position.low_drift);
    to.decimal("actual", position.actual);
    to.decimal("actual_drift", position.actual_drift);
    to.flag("outside_band", position.outside_band);
    match position.trade {
        Some(Trade { side, quantity }) => {
            let quantity = quantity.try_into().expect("holdings and what is bought are counted in `i64`");
            to.text("transaction_type", side_word(side));
            to.whole("trade_quantity", quantity);
            // Read by others; here it is that of the rebalance.
            to.date("trade_date", midnight);
        }
        None => ["transaction_type", "trade_quantity", "trade_date"].into_iter().for_each(|it| to.null(it)),
    }
    if !position.shaped_by.is_empty() {
        to.list("shaped_by", &position.shaped_by, |to, index, rule| to.text(index, rule_word(*rule)));
    }
}

fn read_position(from: &mut Fields<'_>) -> Result<RebalancedPosition, Source> {
    Ok(RebalancedPosition {
        security: from.get("security_id", Value::parsed)?,
        price: from.exact("price"),
        original_quantity: from.exact("original_quantity"),
        adjusted_quantity: from.exact("adjusted_quantity"),
        original_value: from.exact("original_position_market_value"),
        adjusted_value: from.exact("adjusted_position_market_value"),
        target: from.exact("target"),
        high_drift: from.exact("high_drift"),
        low_drift: from.exact("low_drift"),
        actual: from.nearest("actual"),
        actual_drift: from.nearest("actual_drift"),
        outside_band: from.optional("outside_band", Value::flag)?.unwrap_or_default(),
        trade: read_trade(from)?,
        shaped_by: from.optional("shaped_by", |rules| rules.list(read_rule))?.unwrap_or_default(),
    })
}

fn read_trade(from: &mut Fields<'_>) -> Result<Option<Trade>, Source> {
    let side = from.optional("transaction_type", read_side)?;
    let quantity = from.optional("trade_quantity", |quantity| Ok(u64::try_from(quantity.whole()?)?))?;
    from.pass("trade_date")?;
    match (side, quantity) {
        (None, None) => Ok(None),
        (Some(side), Some(quantity)) => Ok(Some(Trade { side, quantity })),
        (Some(_), None) | (None, Some(_)) => Err("half a trade".into()),
    }
}

/// For the trade dates of others: the day on which the rebalance was made begins.
fn midnight(date: Timestamp) -> Timestamp {
    date.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

fn status_word(status: OptimalityStatus) -> &'static str {
    match status {
        OptimalityStatus::Optimal => "OPTIMAL",
        OptimalityStatus::WithinTolerance => "WITHIN_TOLERANCE",
        OptimalityStatus::Bound => "BOUND",
    }
}

fn read_status(status: Value<'_>) -> Result<OptimalityStatus, Source> {
    meant(
        status,
        &[OptimalityStatus::Optimal, OptimalityStatus::WithinTolerance, OptimalityStatus::Bound],
        status_word,
    )
}

fn method_word(method: Method) -> &'static str {
    match method {
        Method::OwnBest => "OWN_BEST",
        Method::Search => "SEARCH",
        Method::Table => "TABLE",
        Method::Cbc => "CBC",
    }
}

fn read_method(method: Value<'_>) -> Result<Method, Source> {
    meant(method, &[Method::OwnBest, Method::Search, Method::Table, Method::Cbc], method_word)
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

fn read_side(side: Value<'_>) -> Result<Side, Source> {
    meant(side, &[Side::Buy, Side::Sell], side_word)
}

/// Which of `all` a text is the word for.
fn meant<T: Copy>(text: Value<'_>, all: &[T], word: fn(T) -> &'static str) -> Result<T, Source> {
    let text = text.text()?;
    let meant = all.iter().copied().find(|it| word(*it) == text);
    meant.ok_or_else(|| format!("`{text}` is none of its words").into())
}

pub(super) fn object_id(id: &RebalanceId) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}
