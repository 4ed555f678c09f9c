//! Trading rules within the documents of models and rebalances.
//!
//! Only those that are set are written. Where none is there is no field at all, as in the documents of the
//! reference service, which knows none.

use std::collections::BTreeSet;

use application::repository::Source;
use domain::identifier::SecurityId;
use domain::order_generation::trading_rules::{GroupLimit, InvalidRule, Lot, LotSizes, Rule, TradingRules};
use rust_decimal::Decimal;

use crate::fields::{Fields, Value};
use crate::writer::Writer;

pub(super) const TRADING_RULES: &str = "trading_rules";

pub(super) fn write_rules(to: &mut Writer, rules: &TradingRules) {
    let TradingRules {
        minimum_cash,
        minimum_cash_share,
        lot_sizes,
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
    to.fields_if_any(TRADING_RULES, |to| {
        write_number(to, "minimum_cash", minimum_cash.get());
        write_number(to, "minimum_cash_share", minimum_cash_share.get());
        to.fields_if_any("lot_size", |to| write_lot_sizes(to, lot_sizes));
        write_number(to, "minimum_trade_value", minimum_trade_value.get());
        if *trade_only_outside_band {
            to.flag("trade_only_outside_band", true);
        }
        write_securities(to, "do_not_buy", do_not_buy);
        write_securities(to, "do_not_sell", do_not_sell);
        write_securities(to, "restricted", restricted);
        write_number(to, "proportional_cost", proportional_cost.get());
        write_number(to, "ticket_fee", ticket_fee.get());
        if let Some(most) = *maximum_trades {
            to.whole("maximum_trades", most.into());
        }
        if let Some(most) = *maximum_turnover {
            to.decimal("maximum_turnover", most.get());
        }
        if let Some(most) = *maximum_positions {
            to.whole("maximum_positions", most.into());
        }
        if !group_limits.is_empty() {
            to.list("group_limits", group_limits, |to, index, limit| {
                to.fields(index, |to| write_group_limit(to, limit));
            });
        }
        write_number(to, "gap", gap.get());
    });
}

/// Unless it is a plain zero, which is what an absent one counts as.
pub(super) fn write_number(to: &mut Writer, name: &str, number: Decimal) {
    if !number.is_zero() || number.scale() != 0 {
        to.decimal(name, number);
    }
}

fn write_lot_sizes(to: &mut Writer, lots: &LotSizes) {
    let LotSizes { default, per_security } = lots;
    if *default != Lot::default() {
        to.whole("default", default.get().into());
    }
    if !per_security.is_empty() {
        to.list("per_security", per_security, |to, index, (security, lot)| {
            to.fields(index, |to| {
                to.text("security_id", security.as_str());
                to.whole("lot_size", lot.get().into());
            });
        });
    }
}

fn write_securities(to: &mut Writer, name: &str, securities: &BTreeSet<SecurityId>) {
    if !securities.is_empty() {
        to.list(name, securities, |to, index, security| to.text(index, security.as_str()));
    }
}

fn write_group_limit(to: &mut Writer, limit: &GroupLimit) {
    let GroupLimit { name, securities, maximum } = limit;
    to.text("name", name.as_str());
    to.list("securities", securities, |to, index, security| to.text(index, security.as_str()));
    to.decimal("maximum", maximum.get());
}

const KNOWN: [&str; 15] = [
    "minimum_cash",
    "minimum_cash_share",
    "lot_size",
    "minimum_trade_value",
    "trade_only_outside_band",
    "do_not_buy",
    "do_not_sell",
    "restricted",
    "proportional_cost",
    "ticket_fee",
    "maximum_trades",
    "maximum_turnover",
    "maximum_positions",
    "group_limits",
    "gap",
];

/// Those of a model or of a rebalance's header.
pub(super) fn read_rules(from: &mut Fields<'_>) -> Result<TradingRules, Source> {
    let rules = from.optional(TRADING_RULES, |rules| rules.fields(read_set_rules))?;
    Ok(rules.unwrap_or_default())
}

fn read_set_rules(from: &mut Fields<'_>) -> Result<TradingRules, Source> {
    // A rule of a later release must be kept to as well, or nothing be done.
    from.only(&KNOWN)?;
    Ok(TradingRules {
        minimum_cash: from.optional("minimum_cash", read_number)?.unwrap_or_default(),
        minimum_cash_share: from.optional("minimum_cash_share", read_number)?.unwrap_or_default(),
        lot_sizes: from.optional("lot_size", |lots| lots.fields(read_lot_sizes))?.unwrap_or_default(),
        minimum_trade_value: from.optional("minimum_trade_value", read_number)?.unwrap_or_default(),
        trade_only_outside_band: from.optional("trade_only_outside_band", Value::flag)?.unwrap_or_default(),
        do_not_buy: from.optional("do_not_buy", read_securities)?.unwrap_or_default(),
        do_not_sell: from.optional("do_not_sell", read_securities)?.unwrap_or_default(),
        restricted: from.optional("restricted", read_securities)?.unwrap_or_default(),
        proportional_cost: from.optional("proportional_cost", read_number)?.unwrap_or_default(),
        ticket_fee: from.optional("ticket_fee", read_number)?.unwrap_or_default(),
        maximum_trades: from.optional("maximum_trades", read_count)?,
        maximum_turnover: from.optional("maximum_turnover", read_number)?,
        maximum_positions: from.optional("maximum_positions", read_count)?,
        group_limits: from.optional("group_limits", read_group_limits)?.unwrap_or_default(),
        gap: from.optional("gap", read_number)?.unwrap_or_default(),
    })
}

fn read_number<T: TryFrom<Decimal, Error = InvalidRule>>(number: Value<'_>) -> Result<T, Source> {
    Ok(number.exact()?.try_into()?)
}

fn read_count(count: Value<'_>) -> Result<u32, Source> {
    Ok(count.whole()?.try_into()?)
}

fn read_lot(units: Value<'_>) -> Result<Lot, Source> {
    Ok(Decimal::from(units.whole()?).try_into()?)
}

fn read_lot_sizes(from: &mut Fields<'_>) -> Result<LotSizes, Source> {
    let lot_of_one = |from: &mut Fields<'_>| {
        Ok((from.get("security_id", Value::parsed)?, from.get("lot_size", read_lot)?))
    };
    let default = from.optional("default", read_lot)?.unwrap_or_default();
    let per_security =
        from.optional("per_security", |lots| lots.list(|lot| lot.fields(lot_of_one)))?.unwrap_or_default();
    Ok(LotSizes { default, per_security: per_security.into_iter().collect() })
}

fn read_securities(securities: Value<'_>) -> Result<BTreeSet<SecurityId>, Source> {
    Ok(securities.list(Value::parsed)?.into_iter().collect())
}

fn read_group_limits(limits: Value<'_>) -> Result<Vec<GroupLimit>, Source> {
    limits.list(|limit| {
        limit.fields(|from| {
            Ok(GroupLimit {
                name: from.get("name", Value::parsed)?,
                securities: from.get("securities", read_securities)?,
                maximum: from.get("maximum", read_number)?,
            })
        })
    })
}

pub(super) fn rule_word(rule: Rule) -> &'static str {
    match rule {
        Rule::Cash => "CASH",
        Rule::MinimumCash => "MINIMUM_CASH",
        Rule::LotSize => "LOT_SIZE",
        Rule::MinimumTradeValue => "MINIMUM_TRADE_VALUE",
        Rule::TradeOnlyOutsideBand => "TRADE_ONLY_OUTSIDE_BAND",
        Rule::DoNotBuy => "DO_NOT_BUY",
        Rule::DoNotSell => "DO_NOT_SELL",
        Rule::Restricted => "RESTRICTED",
        Rule::ProportionalCost => "PROPORTIONAL_COST",
        Rule::TicketFee => "TICKET_FEE",
        Rule::MaximumTrades => "MAXIMUM_TRADES",
        Rule::MaximumTurnover => "MAXIMUM_TURNOVER",
        Rule::MaximumPositions => "MAXIMUM_POSITIONS",
        Rule::GroupLimit => "GROUP_LIMIT",
    }
}

pub(super) fn read_rule(rule: Value<'_>) -> Result<Rule, Source> {
    let word = rule.text()?;
    let rule = Rule::ALL.into_iter().find(|rule| rule_word(*rule) == word);
    rule.ok_or_else(|| format!("`{word}` is no rule").into())
}
