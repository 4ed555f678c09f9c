//! Rebalances as documents, in the reference service's words where it has them.

use application::repository::Source;
use bson::DateTime;
use bson::oid::ObjectId;
use domain::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use domain::order_generation::model::ModelName;
use domain::order_generation::optimum::Method;
use domain::order_generation::rebalance::{
    FailedPortfolio, Optimality, OptimalityStatus, PortfolioRebalance, Rebalance, RebalanceHeader,
    RebalancedPosition, Side, Trade,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::decimal::{exact, nearest};
use crate::document::{self, Whole, date, instant, text};

#[derive(Serialize, Deserialize)]
pub(super) struct RebalanceDocument {
    #[serde(rename = "_id")]
    id: ObjectId,
    model_id: ObjectId,
    rebalance_date: DateTime,
    model_name: String,
    number_of_portfolios: Whole,
    /// Under which its portfolios are kept in a collection of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<ObjectId>,
    /// The reference service keeps the portfolios here; it has no `recording`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    portfolios: Vec<PortfolioDocument>,
    #[serde(default)]
    failed: Vec<FailureRecord>,
    version: Whole,
    created_at: Option<DateTime>,
}

/// A rebalance, and where the portfolios of it are.
pub(super) struct Kept {
    pub(super) header: RebalanceHeader,
    pub(super) portfolios: Portfolios,
}

pub(super) enum Portfolios {
    Recorded { recording: ObjectId, number: usize },
    Embedded(Vec<PortfolioRebalance>),
}

impl RebalanceDocument {
    pub(super) fn of(rebalance: &Rebalance, recording: ObjectId) -> Self {
        let header = &rebalance.header;
        let number =
            i64::try_from(rebalance.portfolios.len()).expect("a list in memory is shorter than `i64::MAX`");
        Self {
            id: object_id(&header.id),
            model_id: ObjectId::from_bytes(header.model.bytes()),
            rebalance_date: date(header.date),
            model_name: header.model_name.as_str().to_owned(),
            number_of_portfolios: Whole(number),
            recording: Some(recording),
            portfolios: Vec::new(),
            failed: header.failed.iter().map(FailureRecord::from).collect(),
            version: Whole(header.version.get()),
            created_at: Some(date(header.created_at)),
        }
    }
}

impl TryFrom<RebalanceDocument> for Kept {
    type Error = Source;

    fn try_from(document: RebalanceDocument) -> Result<Self, Source> {
        let header = RebalanceHeader {
            id: RebalanceId::from_bytes(document.id.bytes()),
            model: ModelId::from_bytes(document.model_id.bytes()),
            model_name: ModelName::new(&document.model_name)?,
            date: instant(document.rebalance_date)?,
            failed: document.failed.into_iter().map(FailedPortfolio::from).collect(),
            version: document::version(document.version)?,
            created_at: document::created(document.created_at, document.id)?,
        };
        let portfolios = match document.recording {
            // The reference service counts portfolios that failed too; those kept are here to be counted.
            None => Portfolios::Embedded(
                document.portfolios.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            ),
            Some(recording) => {
                let number = document.number_of_portfolios.0.try_into()?;
                Portfolios::Recorded { recording, number }
            }
        };
        Ok(Self { header, portfolios })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PortfolioDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<ObjectId>,
    /// For whoever looks into the collection; here it is found by its recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebalance_id: Option<ObjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ordinal: Option<i64>,
    #[serde(with = "text")]
    portfolio_id: PortfolioId,
    #[serde(with = "exact")]
    market_value: Decimal,
    #[serde(with = "exact")]
    cash_before_rebalance: Decimal,
    #[serde(with = "exact")]
    cash_after_rebalance: Decimal,
    /// The reference service knows none.
    optimality: Option<OptimalityRecord>,
    positions: Vec<PositionRecord>,
}

/// A portfolio, and of which recording.
pub(super) struct Recorded {
    pub(super) recording: ObjectId,
    pub(super) portfolio: PortfolioRebalance,
}

impl PortfolioDocument {
    pub(super) fn of(
        header: &RebalanceHeader,
        recording: ObjectId,
        ordinal: i64,
        portfolio: &PortfolioRebalance,
    ) -> Self {
        let midnight = date(header.trade_date().and_time(chrono::NaiveTime::MIN).and_utc());
        Self {
            recording: Some(recording),
            rebalance_id: Some(object_id(&header.id)),
            ordinal: Some(ordinal),
            portfolio_id: portfolio.portfolio.clone(),
            market_value: portfolio.market_value,
            cash_before_rebalance: portfolio.cash_before,
            cash_after_rebalance: portfolio.cash_after,
            optimality: Some(OptimalityRecord::from(&portfolio.optimality)),
            positions: portfolio
                .positions
                .iter()
                .map(|position| PositionRecord::of(position, midnight))
                .collect(),
        }
    }
}

impl TryFrom<PortfolioDocument> for PortfolioRebalance {
    type Error = Source;

    fn try_from(document: PortfolioDocument) -> Result<Self, Source> {
        let market_value = document.market_value;
        let positions: Vec<RebalancedPosition> =
            document.positions.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let optimality = match document.optimality {
            Some(kept) => kept.into(),
            None => unproven(market_value, &positions)?,
        };
        Ok(Self {
            portfolio: document.portfolio_id,
            market_value,
            cash_before: document.cash_before_rebalance,
            cash_after: document.cash_after_rebalance,
            optimality,
            positions,
        })
    }
}

impl TryFrom<PortfolioDocument> for Recorded {
    type Error = Source;

    fn try_from(document: PortfolioDocument) -> Result<Self, Source> {
        let recording = document.recording.ok_or("it is of no recording")?;
        Ok(Self { recording, portfolio: document.try_into()? })
    }
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

#[derive(Serialize, Deserialize)]
struct OptimalityRecord {
    #[serde(with = "StatusRecord")]
    status: OptimalityStatus,
    #[serde(with = "exact")]
    objective: Decimal,
    #[serde(with = "exact")]
    lower_bound: Decimal,
    #[serde(with = "MethodRecord")]
    method: Method,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OptimalityStatus", rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusRecord {
    Optimal,
    WithinTolerance,
    Bound,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Method", rename_all = "SCREAMING_SNAKE_CASE")]
enum MethodRecord {
    OwnBest,
    Search,
    Table,
}

impl From<&Optimality> for OptimalityRecord {
    fn from(optimality: &Optimality) -> Self {
        let Optimality { status, objective, lower_bound, method } = *optimality;
        Self { status, objective, lower_bound, method }
    }
}

impl From<OptimalityRecord> for Optimality {
    fn from(record: OptimalityRecord) -> Self {
        let OptimalityRecord { status, objective, lower_bound, method } = record;
        Self { status, objective, lower_bound, method }
    }
}

#[derive(Serialize, Deserialize)]
struct PositionRecord {
    #[serde(with = "text")]
    security_id: SecurityId,
    #[serde(with = "exact")]
    price: Decimal,
    #[serde(with = "exact")]
    original_quantity: Decimal,
    #[serde(with = "exact")]
    adjusted_quantity: Decimal,
    #[serde(with = "exact")]
    original_position_market_value: Decimal,
    #[serde(with = "exact")]
    adjusted_position_market_value: Decimal,
    #[serde(with = "exact")]
    target: Decimal,
    #[serde(with = "exact")]
    high_drift: Decimal,
    #[serde(with = "exact")]
    low_drift: Decimal,
    #[serde(with = "nearest")]
    actual: Decimal,
    #[serde(with = "nearest")]
    actual_drift: Decimal,
    #[serde(default)]
    outside_band: bool,
    transaction_type: Option<SideRecord>,
    trade_quantity: Option<Whole>,
    /// Read by others; here it is that of the rebalance.
    trade_date: Option<DateTime>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum SideRecord {
    Buy,
    Sell,
}

impl PositionRecord {
    fn of(position: &RebalancedPosition, trade_date: DateTime) -> Self {
        Self {
            security_id: position.security,
            price: position.price,
            original_quantity: position.original_quantity,
            adjusted_quantity: position.adjusted_quantity,
            original_position_market_value: position.original_value,
            adjusted_position_market_value: position.adjusted_value,
            target: position.target,
            high_drift: position.high_drift,
            low_drift: position.low_drift,
            actual: position.actual,
            actual_drift: position.actual_drift,
            outside_band: position.outside_band,
            transaction_type: position.trade.map(|trade| match trade.side {
                Side::Buy => SideRecord::Buy,
                Side::Sell => SideRecord::Sell,
            }),
            trade_quantity: position.trade.map(|trade| Whole(quantity(trade))),
            trade_date: position.trade.map(|_| trade_date),
        }
    }
}

fn quantity(trade: Trade) -> i64 {
    trade.quantity.try_into().expect("holdings and what is bought are counted in `i64`")
}

impl TryFrom<PositionRecord> for RebalancedPosition {
    type Error = Source;

    fn try_from(record: PositionRecord) -> Result<Self, Source> {
        let trade = match (record.transaction_type, record.trade_quantity) {
            (None, None) => None,
            (Some(side), Some(Whole(quantity))) => {
                let side = match side {
                    SideRecord::Buy => Side::Buy,
                    SideRecord::Sell => Side::Sell,
                };
                Some(Trade { side, quantity: quantity.try_into()? })
            }
            (Some(_), None) | (None, Some(_)) => return Err("half a trade".into()),
        };
        Ok(Self {
            security: record.security_id,
            price: record.price,
            original_quantity: record.original_quantity,
            adjusted_quantity: record.adjusted_quantity,
            original_value: record.original_position_market_value,
            adjusted_value: record.adjusted_position_market_value,
            target: record.target,
            high_drift: record.high_drift,
            low_drift: record.low_drift,
            actual: record.actual,
            actual_drift: record.actual_drift,
            outside_band: record.outside_band,
            trade,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct FailureRecord {
    #[serde(with = "text")]
    portfolio_id: PortfolioId,
    code: String,
    detail: String,
}

impl From<&FailedPortfolio> for FailureRecord {
    fn from(failed: &FailedPortfolio) -> Self {
        let FailedPortfolio { portfolio, code, detail } = failed.clone();
        Self { portfolio_id: portfolio, code, detail }
    }
}

impl From<FailureRecord> for FailedPortfolio {
    fn from(record: FailureRecord) -> Self {
        let FailureRecord { portfolio_id: portfolio, code, detail } = record;
        Self { portfolio, code, detail }
    }
}

pub(super) fn object_id(id: &RebalanceId) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}
