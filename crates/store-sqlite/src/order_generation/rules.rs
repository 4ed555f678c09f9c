//! Trading rules as a JSON column: those that are set, and NULL where none is.

use std::collections::{BTreeMap, BTreeSet};

use application::repository::Source;
use domain::identifier::SecurityId;
use domain::order_generation::trading_rules::{GroupLimit, Lot, LotSizes, Rule, TradingRules};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::record::json;

pub(super) fn rules(rules: &TradingRules) -> Option<String> {
    let record = RulesRecord::from(rules);
    (record != RulesRecord::default()).then(|| json(&record))
}

pub(super) fn read_rules(json: Option<&str>) -> Result<TradingRules, Source> {
    let Some(json) = json else {
        return Ok(TradingRules::default());
    };
    let record: RulesRecord = serde_json::from_str(json)?;
    record.try_into()
}

// A rule of a later release must be kept to as well, or nothing be done.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RulesRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_cash: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_cash_share: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lot_size: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lot_sizes: BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_trade_value: Option<Exact>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    trade_only_outside_band: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    do_not_buy: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    do_not_sell: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restricted: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proportional_cost: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket_fee: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_trades: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_turnover: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_positions: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    group_limits: Vec<GroupLimitRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Exact>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct GroupLimitRecord {
    name: String,
    securities: Vec<String>,
    maximum: Exact,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Exact(#[serde(with = "crate::text::exact")] Decimal);

impl From<&TradingRules> for RulesRecord {
    fn from(rules: &TradingRules) -> Self {
        let TradingRules {
            minimum_cash,
            minimum_cash_share,
            lot_sizes: LotSizes { default: lot_size, per_security },
            minimum_trade_value,
            trade_only_outside_band,
            do_not_buy,
            do_not_sell,
            restricted,
            proportional_cost,
            ticket_fee,
            maximum_trades,
            maximum_turnover,
            maximum_positions,
            group_limits,
            gap,
        } = rules;
        Self {
            minimum_cash: unless_zero(minimum_cash.get()),
            minimum_cash_share: unless_zero(minimum_cash_share.get()),
            lot_size: (*lot_size != Lot::default()).then(|| lot_size.get()),
            lot_sizes: per_security.iter().map(|(security, lot)| (security.to_string(), lot.get())).collect(),
            minimum_trade_value: unless_zero(minimum_trade_value.get()),
            trade_only_outside_band: *trade_only_outside_band,
            do_not_buy: texts(do_not_buy),
            do_not_sell: texts(do_not_sell),
            restricted: texts(restricted),
            proportional_cost: unless_zero(proportional_cost.get()),
            ticket_fee: unless_zero(ticket_fee.get()),
            maximum_trades: *maximum_trades,
            maximum_turnover: maximum_turnover.map(|most| Exact(most.get())),
            maximum_positions: *maximum_positions,
            group_limits: group_limits.iter().map(GroupLimitRecord::from).collect(),
            gap: unless_zero(gap.get()),
        }
    }
}

impl TryFrom<RulesRecord> for TradingRules {
    type Error = Source;

    fn try_from(record: RulesRecord) -> Result<Self, Source> {
        let per_security = record.lot_sizes.into_iter();
        Ok(Self {
            minimum_cash: or_none(record.minimum_cash).try_into()?,
            minimum_cash_share: or_none(record.minimum_cash_share).try_into()?,
            lot_sizes: LotSizes {
                default: record.lot_size.map(lot).transpose()?.unwrap_or_default(),
                per_security: per_security
                    .map(|(security, units)| Ok((security.parse()?, lot(units)?)))
                    .collect::<Result<_, Source>>()?,
            },
            minimum_trade_value: or_none(record.minimum_trade_value).try_into()?,
            trade_only_outside_band: record.trade_only_outside_band,
            do_not_buy: securities(&record.do_not_buy)?,
            do_not_sell: securities(&record.do_not_sell)?,
            restricted: securities(&record.restricted)?,
            proportional_cost: or_none(record.proportional_cost).try_into()?,
            ticket_fee: or_none(record.ticket_fee).try_into()?,
            maximum_trades: record.maximum_trades,
            maximum_turnover: record.maximum_turnover.map(|Exact(most)| most.try_into()).transpose()?,
            maximum_positions: record.maximum_positions,
            group_limits: record
                .group_limits
                .into_iter()
                .map(GroupLimit::try_from)
                .collect::<Result<_, _>>()?,
            gap: or_none(record.gap).try_into()?,
        })
    }
}

impl From<&GroupLimit> for GroupLimitRecord {
    fn from(limit: &GroupLimit) -> Self {
        let GroupLimit { name, securities, maximum } = limit;
        Self { name: name.as_str().to_owned(), securities: texts(securities), maximum: Exact(maximum.get()) }
    }
}

impl TryFrom<GroupLimitRecord> for GroupLimit {
    type Error = Source;

    fn try_from(record: GroupLimitRecord) -> Result<Self, Source> {
        let GroupLimitRecord { name, securities: members, maximum: Exact(maximum) } = record;
        Ok(Self { name: name.parse()?, securities: securities(&members)?, maximum: maximum.try_into()? })
    }
}

/// `None` for a plain zero, which is what an absent number counts as.
fn unless_zero(number: Decimal) -> Option<Exact> {
    (!number.is_zero() || number.scale() != 0).then_some(Exact(number))
}

fn or_none(number: Option<Exact>) -> Decimal {
    number.map_or(Decimal::ZERO, |Exact(number)| number)
}

fn lot(units: u32) -> Result<Lot, Source> {
    Ok(Decimal::from(units).try_into()?)
}

fn texts(securities: &BTreeSet<SecurityId>) -> Vec<String> {
    securities.iter().map(SecurityId::to_string).collect()
}

fn securities(texts: &[String]) -> Result<BTreeSet<SecurityId>, Source> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Rule", rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RuleRecord {
    Cash,
    MinimumCash,
    LotSize,
    MinimumTradeValue,
    TradeOnlyOutsideBand,
    DoNotBuy,
    DoNotSell,
    Restricted,
    ProportionalCost,
    TicketFee,
    MaximumTrades,
    MaximumTurnover,
    MaximumPositions,
    GroupLimit,
}
