//! The JSON columns. Their field names and words are kept for good.

use application::repository::Source;
use domain::identifier::{PortfolioId, SecurityId};
use domain::order_generation::optimum::Method;
use domain::order_generation::position::{Band, Position, Positions};
use domain::order_generation::progress::Reason;
use domain::order_generation::rebalance::{
    FailedPortfolio, Optimality, OptimalityStatus, RebalancedPosition, Side, Trade,
};
use domain::order_generation::trading_rules::Rule;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::rules::RuleRecord;
use crate::text::{self, exact};

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are text, numbers, lists and structs")
}

pub(super) fn model_positions(positions: &Positions) -> String {
    let records: Vec<PositionRecord> = positions.iter().map(PositionRecord::from).collect();
    json(&records)
}

pub(super) fn read_model_positions(json: &str) -> Result<Positions, Source> {
    let records: Vec<PositionRecord> = serde_json::from_str(json)?;
    let positions = records.into_iter().map(Position::try_from).collect::<Result<_, _>>()?;
    Ok(Positions::new(positions).map_err(|mut broken| broken.swap_remove(0))?)
}

pub(super) fn optimality(optimality: &Optimality) -> String {
    json(&KeptOptimality(optimality.clone()))
}

pub(super) fn read_optimality(json: &str) -> Result<Optimality, Source> {
    let KeptOptimality(optimality) = serde_json::from_str(json)?;
    Ok(optimality)
}

pub(super) fn rebalanced_positions(positions: &[RebalancedPosition]) -> String {
    let kept: Vec<KeptPosition> = positions.iter().cloned().map(KeptPosition).collect();
    json(&kept)
}

pub(super) fn read_rebalanced_positions(json: &str) -> Result<Vec<RebalancedPosition>, Source> {
    let kept: Vec<KeptPosition> = serde_json::from_str(json)?;
    Ok(kept.into_iter().map(|KeptPosition(kept)| kept).collect())
}

pub(super) fn failed(failed: &[FailedPortfolio]) -> String {
    let kept: Vec<KeptFailure> = failed.iter().cloned().map(KeptFailure).collect();
    json(&kept)
}

pub(super) fn read_failed(json: &str) -> Result<Vec<FailedPortfolio>, Source> {
    let kept: Vec<KeptFailure> = serde_json::from_str(json)?;
    Ok(kept.into_iter().map(|KeptFailure(kept)| kept).collect())
}

pub(super) fn reason(reason: &Reason) -> String {
    json(&KeptReason(reason.clone()))
}

pub(super) fn read_reason(json: &str) -> Result<Reason, Source> {
    let KeptReason(reason) = serde_json::from_str(json)?;
    Ok(reason)
}

#[derive(Serialize, Deserialize)]
struct PositionRecord {
    #[serde(with = "text")]
    security: SecurityId,
    #[serde(with = "exact")]
    target: Decimal,
    #[serde(with = "exact")]
    low_drift: Decimal,
    #[serde(with = "exact")]
    high_drift: Decimal,
}

impl From<&Position> for PositionRecord {
    fn from(position: &Position) -> Self {
        Self {
            security: position.security,
            target: position.target.get(),
            low_drift: position.band.low(),
            high_drift: position.band.high(),
        }
    }
}

impl TryFrom<PositionRecord> for Position {
    type Error = Source;

    fn try_from(record: PositionRecord) -> Result<Self, Source> {
        Ok(Self {
            security: record.security,
            target: record.target.try_into()?,
            band: Band::new(record.low_drift.try_into()?, record.high_drift.try_into()?)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct KeptOptimality(#[serde(with = "OptimalityRecord")] Optimality);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Optimality")]
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
    Cbc,
}

#[derive(Serialize, Deserialize)]
struct KeptPosition(#[serde(with = "RebalancedPositionRecord")] RebalancedPosition);

#[derive(Serialize, Deserialize)]
#[serde(remote = "RebalancedPosition")]
struct RebalancedPositionRecord {
    #[serde(with = "text")]
    security: SecurityId,
    #[serde(with = "exact")]
    price: Decimal,
    #[serde(with = "exact")]
    original_quantity: Decimal,
    #[serde(with = "exact")]
    adjusted_quantity: Decimal,
    #[serde(with = "exact")]
    original_value: Decimal,
    #[serde(with = "exact")]
    adjusted_value: Decimal,
    #[serde(with = "exact")]
    target: Decimal,
    #[serde(with = "exact")]
    high_drift: Decimal,
    #[serde(with = "exact")]
    low_drift: Decimal,
    #[serde(with = "exact")]
    actual: Decimal,
    #[serde(with = "exact")]
    actual_drift: Decimal,
    outside_band: bool,
    #[serde(with = "trade")]
    trade: Option<Trade>,
    #[serde(with = "shaped_by", default, skip_serializing_if = "Vec::is_empty")]
    shaped_by: Vec<Rule>,
}

#[derive(Serialize, Deserialize)]
struct KeptTrade(#[serde(with = "TradeRecord")] Trade);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Trade")]
struct TradeRecord {
    #[serde(with = "SideRecord")]
    side: Side,
    quantity: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Side", rename_all = "SCREAMING_SNAKE_CASE")]
enum SideRecord {
    Buy,
    Sell,
}

mod trade {
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, KeptTrade, Serialize, Trade};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(trade: &Option<Trade>, serializer: S) -> Result<S::Ok, S::Error> {
        trade.map(KeptTrade).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Trade>, D::Error> {
        let kept = Option::deserialize(deserializer)?;
        Ok(kept.map(|KeptTrade(trade)| trade))
    }
}

#[derive(Serialize, Deserialize)]
struct KeptRule(#[serde(with = "RuleRecord")] Rule);

mod shaped_by {
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, KeptRule, Rule, Serialize};

    pub(super) fn serialize<S: Serializer>(rules: &[Rule], serializer: S) -> Result<S::Ok, S::Error> {
        let kept: Vec<KeptRule> = rules.iter().copied().map(KeptRule).collect();
        kept.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
        let kept = Vec::deserialize(deserializer)?;
        Ok(kept.into_iter().map(|KeptRule(rule)| rule).collect())
    }
}

#[derive(Serialize, Deserialize)]
struct KeptFailure(#[serde(with = "FailureRecord")] FailedPortfolio);

#[derive(Serialize, Deserialize)]
#[serde(remote = "FailedPortfolio")]
struct FailureRecord {
    #[serde(with = "text")]
    portfolio: PortfolioId,
    code: String,
    detail: String,
}

#[derive(Serialize, Deserialize)]
struct KeptReason(#[serde(with = "ReasonRecord")] Reason);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Reason")]
struct ReasonRecord {
    code: String,
    detail: String,
}
