//! Trading rules over HTTP.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use domain::identifier::SecurityId;
use domain::order_generation::trading_rules::{GroupLimit, Lot, LotSizes, Rule, TradingRules};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::body::{Fields, Node};
use crate::openapi::{LotNumber, SecurityIdText};
use crate::scalar::number;

/// What a manager asks of a rebalance beyond the bands. A rule that is left out, or null, is not set, and
/// only those that are set are answered. A member that is no rule is refused.
#[derive(Serialize, ToSchema)]
#[schema(
    as = TradingRules,
    example = json!({ "minimum_cash": "2500.00", "lot_size": { "default": 10 }, "ticket_fee": "9.50", "maximum_trades": 20 }),
)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradingRulesBody {
    /// Money that must be left, except in a portfolio that was never funded: 0 to 10^15, with at most 4
    /// decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2500.00", format = "amount")]
    minimum_cash: Option<Value>,
    /// Share of market value that must be left as cash; the larger of the two minimums counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.02", format = "share")]
    minimum_cash_share: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    lot_size: Option<LotSizeBody>,
    /// A trade is worth at least this or is not made, not even to reach a band: 0 to 10^15, with at most 4
    /// decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "500", format = "amount")]
    minimum_trade_value: Option<Value>,
    /// A position inside its band is left alone; or sold, never bought, where the others need its cash.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = true)]
    trade_only_outside_band: Option<bool>,
    /// Securities never bought, each once. This list and the next two stand above the bands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeSet<SecurityIdText>>)]
    do_not_buy: Option<Vec<String>>,
    /// Securities never sold, each once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeSet<SecurityIdText>>)]
    do_not_sell: Option<Vec<String>>,
    /// Securities neither bought nor sold, each once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeSet<SecurityIdText>>)]
    restricted: Option<Vec<String>>,
    /// What trading costs for each unit of money traded: 0 to 0.1, with at most 6 decimals. Counts in the
    /// objective and is paid in cash.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.0005", format = "cost-rate")]
    proportional_cost: Option<Value>,
    /// What every trade costs, whatever its size: 0 to 10^15, with at most 4 decimals. Counts in the
    /// objective and is paid in cash.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "9.50", format = "amount")]
    ticket_fee: Option<Value>,
    /// Securities traded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, example = 20, format = "count")]
    maximum_trades: Option<u32>,
    /// Value bought and sold together, as a share of market value: 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.25", format = "turnover")]
    maximum_turnover: Option<Value>,
    /// Securities held afterwards, those of which only a fraction is left included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, example = 60, format = "count")]
    maximum_positions: Option<u32>,
    /// Of all securities of a group together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    group_limits: Option<Vec<GroupLimitBody>>,
    /// How far, as a share of the objective, an answer may be from the best where finding the best takes
    /// long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.001", format = "share")]
    gap: Option<Value>,
}

/// Securities of the model are traded in whole lots, and what is held beyond whole lots stays held. What
/// the model does not want is sold whatever its lot.
#[derive(Serialize, ToSchema)]
#[schema(as = LotSize)]
#[serde(deny_unknown_fields)]
struct LotSizeBody {
    /// Units to a lot; 1 unless told.
    #[schema(value_type = Option<u32>, format = "lot", example = 10)]
    default: u32,
    /// Lots of their own, by security.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<SecurityIdText, LotNumber>>, example = json!({"0534f90f046632697ab87be7": 100}))]
    per_security: BTreeMap<String, u32>,
}

/// The value of some securities together may be at most a share of market value.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupLimit)]
#[serde(deny_unknown_fields)]
struct GroupLimitBody {
    #[schema(format = "group-name", example = "Technology")]
    name: String,
    /// Each once.
    #[schema(value_type = BTreeSet<SecurityIdText>)]
    securities: Vec<String>,
    #[schema(value_type = String, example = "0.40", format = "share")]
    maximum: Value,
}

impl TradingRulesBody {
    /// `None` where there are none.
    pub(crate) fn new(rules: &TradingRules) -> Option<Self> {
        Self::written(rules, |decimal| Value::String(decimal.to_string()))
    }

    fn written(rules: &TradingRules, form: fn(Decimal) -> Value) -> Option<Self> {
        let above_zero = |decimal: Decimal| (!decimal.is_zero()).then(|| form(decimal));
        let groups = || rules.group_limits.iter().map(|limit| GroupLimitBody::new(limit, form)).collect();
        (!rules.are_none()).then(|| Self {
            minimum_cash: above_zero(rules.minimum_cash.get()),
            minimum_cash_share: above_zero(rules.minimum_cash_share.get()),
            lot_size: (rules.lot_sizes != LotSizes::default()).then(|| (&rules.lot_sizes).into()),
            minimum_trade_value: above_zero(rules.minimum_trade_value.get()),
            trade_only_outside_band: rules.trade_only_outside_band.then_some(true),
            do_not_buy: some_of(&rules.do_not_buy),
            do_not_sell: some_of(&rules.do_not_sell),
            restricted: some_of(&rules.restricted),
            proportional_cost: above_zero(rules.proportional_cost.get()),
            ticket_fee: above_zero(rules.ticket_fee.get()),
            maximum_trades: rules.maximum_trades,
            maximum_turnover: rules.maximum_turnover.map(|turnover| form(turnover.get())),
            maximum_positions: rules.maximum_positions,
            group_limits: (!rules.group_limits.is_empty()).then(groups),
            gap: above_zero(rules.gap.get()),
        })
    }
}

impl From<&LotSizes> for LotSizeBody {
    fn from(sizes: &LotSizes) -> Self {
        let own = |(security, lot): (&SecurityId, &Lot)| (security.to_string(), lot.get());
        Self { default: sizes.default.get(), per_security: sizes.per_security.iter().map(own).collect() }
    }
}

impl GroupLimitBody {
    fn new(limit: &GroupLimit, form: fn(Decimal) -> Value) -> Self {
        Self {
            name: limit.name.as_str().to_owned(),
            securities: limit.securities.iter().map(SecurityId::to_string).collect(),
            maximum: form(limit.maximum.get()),
        }
    }
}

fn some_of(securities: &BTreeSet<SecurityId>) -> Option<Vec<String>> {
    (!securities.is_empty()).then(|| securities.iter().map(SecurityId::to_string).collect())
}

/// [`TradingRulesBody`] as kept rebalances have it: with numbers in the place of strings that hold one.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct KeptTradingRulesBody(TradingRulesBody);

impl KeptTradingRulesBody {
    /// `None` where there are none.
    pub(crate) fn new(rules: &TradingRules) -> Option<Self> {
        TradingRulesBody::written(rules, |decimal| Value::Number(number(decimal))).map(Self)
    }
}

impl PartialSchema for KeptTradingRulesBody {
    fn schema() -> RefOr<Schema> {
        let mut schema = serde_json::to_value(TradingRulesBody::schema()).expect("a schema is plain JSON");
        schema["description"] = "The rules of a kept rebalance, with numbers.".into();
        schema["example"] = json!({ "minimum_cash": 2500, "lot_size": { "default": 10 }, "ticket_fee": 9.5, "maximum_trades": 20 });
        describe_numbers(&mut schema);
        serde_json::from_value(schema).expect("a schema of numbers is a schema, too")
    }
}

impl ToSchema for KeptTradingRulesBody {
    fn name() -> Cow<'static, str> {
        "KeptTradingRules".into()
    }
}

/// Of the strings, decimals alone have a number for an example.
fn describe_numbers(schema: &mut Value) {
    if let Value::Object(members) = schema
        && let Some(number) = members.get("example").and_then(|example| example.as_str()?.parse().ok())
    {
        members.insert("example".to_owned(), Value::Number(number));
        let is_nullable = members["type"].is_array();
        members["type"] = if is_nullable { json!(["number", "null"]) } else { json!("number") };
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(describe_numbers),
        Value::Array(elements) => elements.iter_mut().for_each(describe_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A rule that alone keeps a position from the whole shares nearest its target. CASH is none that anybody
/// set: there is no more than there is.
#[derive(Serialize, ToSchema)]
#[schema(as = ShapingRule)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum RuleBody {
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

impl RuleBody {
    pub(crate) fn all(rules: &[Rule]) -> Vec<Self> {
        rules.iter().map(|rule| Self::from(*rule)).collect()
    }
}

impl From<Rule> for RuleBody {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Cash => Self::Cash,
            Rule::MinimumCash => Self::MinimumCash,
            Rule::LotSize => Self::LotSize,
            Rule::MinimumTradeValue => Self::MinimumTradeValue,
            Rule::TradeOnlyOutsideBand => Self::TradeOnlyOutsideBand,
            Rule::DoNotBuy => Self::DoNotBuy,
            Rule::DoNotSell => Self::DoNotSell,
            Rule::Restricted => Self::Restricted,
            Rule::ProportionalCost => Self::ProportionalCost,
            Rule::TicketFee => Self::TicketFee,
            Rule::MaximumTrades => Self::MaximumTrades,
            Rule::MaximumTurnover => Self::MaximumTurnover,
            Rule::MaximumPositions => Self::MaximumPositions,
            Rule::GroupLimit => Self::GroupLimit,
        }
    }
}

pub(crate) fn trading_rules(fields: &Fields<'_>) -> Option<TradingRules> {
    let minimum_cash = or_default(fields.given("minimum_cash"), |node| node.decimal());
    let minimum_cash_share = or_default(fields.given("minimum_cash_share"), |node| node.decimal());
    let lot_sizes = or_default(fields.given("lot_size"), |node| node.object(lot_sizes));
    let minimum_trade_value = or_default(fields.given("minimum_trade_value"), |node| node.decimal());
    let trade_only_outside_band = or_default(fields.given("trade_only_outside_band"), |node| node.flag());
    let do_not_buy = or_default(fields.given("do_not_buy"), |node| securities(&node));
    let do_not_sell = or_default(fields.given("do_not_sell"), |node| securities(&node));
    let restricted = or_default(fields.given("restricted"), |node| securities(&node));
    let proportional_cost = or_default(fields.given("proportional_cost"), |node| node.decimal());
    let ticket_fee = or_default(fields.given("ticket_fee"), |node| node.decimal());
    let maximum_trades = or_default(fields.given("maximum_trades"), |node| node.decimal().map(Some));
    let maximum_turnover = or_default(fields.given("maximum_turnover"), |node| node.decimal().map(Some));
    let maximum_positions = or_default(fields.given("maximum_positions"), |node| node.decimal().map(Some));
    let group_limits =
        or_default(fields.given("group_limits"), |node| node.list(|limit| limit.object(group_limit)));
    let gap = or_default(fields.given("gap"), |node| node.decimal());
    fields.refuse_others("is not a trading rule");
    Some(TradingRules {
        minimum_cash: minimum_cash?,
        minimum_cash_share: minimum_cash_share?,
        lot_sizes: lot_sizes?,
        minimum_trade_value: minimum_trade_value?,
        trade_only_outside_band: trade_only_outside_band?,
        do_not_buy: do_not_buy?,
        do_not_sell: do_not_sell?,
        restricted: restricted?,
        proportional_cost: proportional_cost?,
        ticket_fee: ticket_fee?,
        maximum_trades: maximum_trades?.map(|Count(most)| most),
        maximum_turnover: maximum_turnover?,
        maximum_positions: maximum_positions?.map(|Count(most)| most),
        group_limits: group_limits?,
        gap: gap?,
    })
}

fn or_default<'a, T: Default>(node: Option<Node<'a>>, read: impl FnOnce(Node<'a>) -> Option<T>) -> Option<T> {
    node.map_or_else(|| Some(T::default()), read)
}

fn lot_sizes(fields: &Fields<'_>) -> Option<LotSizes> {
    let default = or_default(fields.given("default"), |node| node.decimal());
    let per_security = or_default(fields.given("per_security"), |node| node.object(lots));
    fields.refuse_others("is not a part of lot_size");
    Some(LotSizes { default: default?, per_security: per_security? })
}

fn lots(fields: &Fields<'_>) -> Option<BTreeMap<SecurityId, Lot>> {
    let mut lots = BTreeMap::new();
    for (key, node) in fields.all() {
        let lot = node.decimal();
        let wrong = match key.parse::<SecurityId>() {
            Ok(security) => lots.insert(security, lot).map(|_| repeated(&security)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(detail) = wrong {
            node.wrong::<()>(&detail);
        }
    }
    lots.into_iter().map(|(security, lot)| Some((security, lot?))).collect()
}

fn securities(node: &Node<'_>) -> Option<BTreeSet<SecurityId>> {
    let mut securities = BTreeSet::new();
    node.list(|node| {
        let security = node.parse()?;
        if securities.insert(security) { Some(()) } else { node.wrong(&repeated(&security)) }
    })?;
    Some(securities)
}

fn repeated(security: &SecurityId) -> String {
    format!("security {security} appears more than once")
}

fn group_limit(fields: &Fields<'_>) -> Option<GroupLimit> {
    let name = fields.required("name").and_then(|node| node.parse());
    let securities = fields.required("securities").and_then(|node| securities(&node));
    let maximum = fields.required("maximum").and_then(|node| node.decimal());
    fields.refuse_others("is not a part of a group limit");
    Some(GroupLimit { name: name?, securities: securities?, maximum: maximum? })
}

/// Of trades or positions.
struct Count(u32);

impl TryFrom<Decimal> for Count {
    type Error = String;

    fn try_from(number: Decimal) -> Result<Self, String> {
        let whole = Some(number).filter(Decimal::is_integer).and_then(|whole| whole.to_u32());
        whole.map(Self).ok_or_else(|| format!("{number} is not a whole number of 0 to {}", u32::MAX))
    }
}
