//! What the rebalances of all portfolios that follow a model have in common, scaled to integers once.

use std::sync::Arc;

use rust_decimal::Decimal;

use crate::identifier::SecurityId;

use super::holdings::Holdings;
use super::narrow::{NarrowPrice, NarrowRow, NarrowRows};
use super::position::{Band, Position, Positions};
use super::price::{Price, PriceSnapshot};
use super::problem::{
    BandPolicy, Group, JointRules, Line, MOST_UNITS, Problem, Refusal, Row, lots_around, lots_worth,
};
use super::trading_rules::{self, TradingRules};
use super::units::{Scaled, power_of_ten, product, quotient, times};

/// A model at the prices of one snapshot under trading rules, in integers: what the rebalances of all
/// its portfolios have in common.
#[derive(Debug)]
pub struct PricedModel<'a> {
    /// Of portfolios that hold nothing of them.
    lines: Vec<Line>,
    /// The same in integers.
    priced: Vec<PricedLine>,
    /// Where each security is among the lines, by security.
    places: Vec<(SecurityId, usize)>,
    snapshot: &'a PriceSnapshot,
    rules: Arc<TradingRules>,
    policy: BandPolicy,
    cost_rate: Scaled,
    decimals: Decimals,
    /// Unless a price is too high for it.
    usual: Option<Usual>,
}

/// What is ready for portfolios of whole shares and of cash in cents.
#[derive(Debug)]
struct Usual {
    scale: u32,
    lot_prices: Vec<LotPrice>,
    /// The same once more, unless one is too high.
    narrow_prices: Option<Arc<[NarrowPrice]>>,
}

/// The decimals in which numbers are given, the finest of each kind.
#[derive(Debug, Clone, Copy)]
struct Decimals {
    prices: u32,
    targets: u32,
    /// Of the rules.
    amounts: u32,
}

/// A line in integers, as far as it is the same in every portfolio.
#[derive(Debug)]
struct PricedLine {
    /// Of one unit of the security.
    price: Scaled,
    /// A share of market value, as are the ends of the band; in the decimals of all targets.
    target: Scaled,
    low: Scaled,
    high: Scaled,
    lot: i64,
    leave: Leave,
}

/// What may be done with a security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Trade,
    Buy,
    Sell,
    Nothing,
}

/// What may be done with a position inside its band under `trade_only_outside_band`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InsideBand {
    Stays,
    /// The others need its cash.
    MayBeSold,
}

impl<'a> PricedModel<'a> {
    /// `EmptyModel`, or `Unpriced` for the first security of the model that has no price.
    pub fn new(
        positions: &Positions,
        snapshot: &'a PriceSnapshot,
        rules: &TradingRules,
        policy: BandPolicy,
    ) -> Result<Self, Refusal> {
        if positions.is_empty() {
            return Err(Refusal::EmptyModel);
        }
        let line = |position: &Position| {
            let security = position.security;
            let price = snapshot.price(&security).ok_or(Refusal::Unpriced(security))?;
            let target = position.target.get();
            Ok(Line { security, price, held: Decimal::ZERO, target, band: position.band })
        };
        let lines: Vec<Line> = positions.iter().map(line).collect::<Result<_, _>>()?;

        let finest = |numbers: fn(&Line) -> u32| lines.iter().map(numbers).max().unwrap_or(0);
        let decimals = Decimals {
            prices: finest(|line| decimals(line.price.get())),
            targets: finest(|line| decimals(line.target)),
            amounts: [rules.minimum_cash, rules.minimum_trade_value, rules.ticket_fee]
                .into_iter()
                .map(|amount| decimals(amount.get()))
                .fold(0, u32::max),
        };
        let mut places: Vec<(SecurityId, usize)> =
            lines.iter().enumerate().map(|(idx, line)| (line.security, idx)).collect();
        places.sort_unstable();
        let priced: Vec<PricedLine> =
            lines.iter().map(|line| PricedLine::wanted(line, decimals, rules)).collect();
        let cost_rate = Scaled::of(rules.proportional_cost.get());
        let scale = decimals.scale(decimals.prices.max(2), cost_rate);
        let usual = Usual::new(&priced, scale);
        Ok(Self {
            lines,
            priced,
            places,
            snapshot,
            rules: Arc::new(rules.clone()),
            policy,
            cost_rate,
            decimals,
            usual,
        })
    }

    /// States the rebalance of `holdings`.
    pub fn problem(&self, holdings: &Holdings) -> Result<Problem, Refusal> {
        let mut lines = Vec::with_capacity(self.lines.len() + holdings.len());
        lines.extend_from_slice(&self.lines);
        let mut unwanted = Vec::new();
        let mut places = self.places.iter().peekable();
        for (security, held) in holdings.iter() {
            while places.next_if(|(place, _)| *place < security).is_some() {}
            if let Some(&(_, idx)) = places.next_if(|(place, _)| *place == security) {
                lines[idx].held = held;
            } else {
                let price = self.snapshot.price(&security).ok_or(Refusal::Unpriced(security))?;
                lines.push(Line { security, price, held, target: Decimal::ZERO, band: Band::CLOSED });
                unwanted.push(PricedLine::unwanted(security, price, &self.rules));
            }
        }
        let priced = self.priced.iter().chain(&unwanted).collect();
        Frame::new(self, priced, lines, holdings)?.problem()
    }

    /// Of the lines of a combined list.
    fn lot_prices_at(
        &self,
        scale: u32,
        priced: &[&PricedLine],
        lines: &[Line],
    ) -> Result<Vec<LotPrice>, Refusal> {
        let mut lot_prices = Vec::with_capacity(lines.len());
        if let Some(usual) = self.usual_at(scale) {
            lot_prices.extend_from_slice(&usual.lot_prices);
        }
        for (priced, line) in priced.iter().zip(lines).skip(lot_prices.len()) {
            let price = priced.lot_price_at(scale);
            lot_prices.push(price.ok_or(Refusal::SecurityOutOfRange(line.security))?);
        }
        Ok(lot_prices)
    }

    /// The same where no amount is too large.
    fn narrow_prices_at(&self, scale: u32, lot_prices: &[LotPrice]) -> Arc<[NarrowPrice]> {
        match self.usual_at(scale).and_then(|usual| usual.narrow_prices.as_ref()) {
            Some(usual) if usual.len() == lot_prices.len() => Arc::clone(usual),
            Some(_) | None => lot_prices.iter().map(|price| NarrowPrice::new(narrow(price.lot))).collect(),
        }
    }

    fn usual_at(&self, scale: u32) -> Option<&Usual> {
        self.usual.as_ref().filter(|usual| usual.scale == scale)
    }
}

impl Usual {
    /// `None` if a price is too high.
    fn new(priced: &[PricedLine], scale: u32) -> Option<Self> {
        let lot_prices: Vec<LotPrice> =
            priced.iter().map(|line| line.lot_price_at(scale)).collect::<Option<_>>()?;
        let narrow = |price: &LotPrice| {
            let lot = i64::try_from(price.lot).ok()?;
            (lot <= NARROW).then(|| NarrowPrice::new(lot))
        };
        let narrow_prices = lot_prices.iter().map(narrow).collect();
        Some(Self { scale, lot_prices, narrow_prices })
    }
}

impl Decimals {
    /// Enough for values of so many decimals, for their sum times any target, and for every cost.
    fn scale(self, value: u32, cost_rate: Scaled) -> u32 {
        (value + self.targets.max(cost_rate.decimals)).max(self.amounts)
    }
}

impl PricedLine {
    fn wanted(line: &Line, decimals: Decimals, rules: &TradingRules) -> Self {
        let share = |share: Decimal| Scaled::of(share).with_decimals(decimals.targets);
        Self {
            price: Scaled::of(line.price.get()),
            target: share(line.target),
            low: share(line.low()),
            high: share(line.high()),
            lot: rules.lot_sizes.of(&line.security).get().into(),
            leave: Leave::under(rules, &line.security),
        }
    }

    fn unwanted(security: SecurityId, price: Price, rules: &TradingRules) -> Self {
        let none = Scaled::of(Decimal::ZERO);
        let leave = Leave::under(rules, &security);
        Self { price: Scaled::of(price.get()), target: none, low: none, high: none, lot: 1, leave }
    }

    /// `None` beyond 128 bits.
    fn lot_price_at(&self, scale: u32) -> Option<LotPrice> {
        let unit = self.price.units(scale)?;
        Some(LotPrice { unit, lot: product(unit, self.lot.into())? })
    }
}

impl Leave {
    fn under(rules: &TradingRules, security: &SecurityId) -> Self {
        let may_not_buy = rules.do_not_buy.contains(security);
        let may_not_sell = rules.do_not_sell.contains(security);
        match (may_not_buy, may_not_sell) {
            _ if rules.restricted.contains(security) => Self::Nothing,
            (true, true) => Self::Nothing,
            (true, false) => Self::Sell,
            (false, true) => Self::Buy,
            (false, false) => Self::Trade,
        }
    }

    /// What is left of a range of lots that holds at least one. A position kept outside stays as it is.
    fn restrict(self, (lowest, highest): (i128, i128), held: i128) -> (i128, i128) {
        match self {
            Self::Trade => (lowest, highest),
            Self::Buy if held <= highest => (lowest.max(held), highest),
            Self::Sell if lowest <= held => (lowest, highest.min(held)),
            Self::Buy | Self::Sell | Self::Nothing => (held, held),
        }
    }
}

/// No amount of a problem is larger, nor is the sum of what is held and of all lots' prices; every
/// other sum is at most a few times that, which is what lets the rest of the reckoning go unchecked.
const LARGEST: i128 = 1 << 92;

/// The same of what fits 64 bits.
const NARROW: i64 = 1 << 58;

/// What one unit of a security costs, and a lot.
#[derive(Debug, Clone, Copy)]
struct LotPrice {
    unit: i128,
    lot: i128,
}

/// A portfolio's amounts in units, before its positions have their ranges.
struct Frame<'a> {
    model: &'a PricedModel<'a>,
    /// The lines of the combined list, in two forms.
    priced: Vec<&'a PricedLine>,
    lines: Vec<Line>,
    lot_prices: Vec<LotPrice>,
    /// The same once more, unless an amount is too large.
    narrow_prices: Option<Arc<[NarrowPrice]>>,
    scale: u32,
    value: i128,
    /// The market value of a target's last decimal.
    target_step: i128,
    least_trade: i128,
    cash: Decimal,
    /// Cash that must be left.
    reserve: i128,
}

impl<'a> Frame<'a> {
    fn new(
        model: &'a PricedModel<'a>,
        priced: Vec<&'a PricedLine>,
        lines: Vec<Line>,
        holdings: &Holdings,
    ) -> Result<Self, Refusal> {
        let scale = scale_of(model, &priced, &lines, holdings.cash());
        let lot_prices = model.lot_prices_at(scale, &priced, &lines)?;
        let mut value = Scaled::of(holdings.cash()).units(scale).ok_or(Refusal::OutOfRange)?;
        let mut magnitude = value.unsigned_abs();
        for (line, price) in lines.iter().zip(&lot_prices) {
            let out_of_range = || Refusal::SecurityOutOfRange(line.security);
            let step = match line.held.scale() {
                0 => price.unit,
                // Exact: the scale leaves room for the decimals of the holding below those of the price.
                decimals => quotient(price.unit, power_of_ten(decimals)),
            };
            let worth = product(step, line.held.mantissa()).ok_or_else(out_of_range)?;
            value = value.checked_add(worth).ok_or_else(out_of_range)?;
            magnitude = magnitude
                .checked_add(worth.unsigned_abs())
                .and_then(|sum| sum.checked_add(price.lot.unsigned_abs()))
                .ok_or_else(out_of_range)?;
        }
        if LARGEST.unsigned_abs() < magnitude {
            return Err(Refusal::OutOfRange);
        }
        let market_value =
            Decimal::try_from_i128_with_scale(value, scale).map_err(|_| Refusal::OutOfRange)?;
        if value <= 0 && !holdings.is_empty() {
            return Err(Refusal::MarketValueNotPositive(market_value.normalize()));
        }
        let is_narrow = magnitude <= u128::from(NARROW.unsigned_abs());
        let narrow_prices = is_narrow.then(|| model.narrow_prices_at(scale, &lot_prices));
        let rules = &model.rules;
        let reserve = if holdings.is_empty() {
            0
        } else {
            // Up, so that no less than the share is left.
            let share = value - Scaled::of(Decimal::ONE - rules.minimum_cash_share.get()).share_of(value);
            amount(rules.minimum_cash.get(), scale)?.max(share)
        };
        Ok(Self {
            model,
            priced,
            lines,
            lot_prices,
            narrow_prices,
            scale,
            value,
            target_step: value / power_of_ten(model.decimals.targets),
            least_trade: amount(rules.minimum_trade_value.get(), scale)?,
            cash: holdings.cash(),
            reserve,
        })
    }

    fn problem(self) -> Result<Problem, Refusal> {
        let (rows, joint) = match self.affordable_rows(InsideBand::Stays) {
            Err(Refusal::MinimumsExceedCash { .. }) if self.model.rules.trade_only_outside_band => {
                self.affordable_rows(InsideBand::MayBeSold)?
            }
            kept => kept?,
        };
        let narrow = self.narrow_rows(&rows, &joint);
        Ok(Problem {
            lines: self.lines,
            narrow,
            joint,
            value: self.value,
            residues: rows.iter().map(|row| row.residue).sum(),
            reserve: self.reserve,
            scale: self.scale,
            cash: self.cash,
            rules: Arc::clone(&self.model.rules),
            rows,
        })
    }

    fn narrow_rows(&self, rows: &[Row], joint: &JointRules) -> Option<NarrowRows> {
        let rules = &self.model.rules;
        let is_plain =
            self.least_trade == 0 && joint.ticket_fee == 0 && rules.proportional_cost.get().is_zero();
        let prices = self.narrow_prices.as_ref().filter(|_| is_plain)?;
        let row = |(row, price): (&Row, &NarrowPrice)| {
            NarrowRow::new(*price, narrow(row.target), row.held, row.lowest, row.highest)
        };
        Some(NarrowRows { prices: Arc::clone(prices), rows: rows.iter().zip(&**prices).map(row).collect() })
    }

    fn affordable_rows(&self, inside: InsideBand) -> Result<(Vec<Row>, JointRules), Refusal> {
        let mut rows = Vec::with_capacity(self.lines.len());
        for idx in 0..self.lines.len() {
            rows.push(self.row(idx, inside)?);
        }
        let joint = self.joint_rules(&rows)?;

        let needed: i128 = rows.iter().map(|row| least_spent(row, joint.ticket_fee) + row.residue).sum();
        let available = self.value - self.reserve;
        if available < needed {
            let money = |units: i128| {
                let money = Decimal::try_from_i128_with_scale(units, self.scale);
                money.map(|money| money.normalize()).map_err(|_| Refusal::OutOfRange)
            };
            return Err(Refusal::MinimumsExceedCash { needed: money(needed)?, available: money(available)? });
        }
        Ok((rows, joint))
    }

    fn row(&self, idx: usize, inside: InsideBand) -> Result<Row, Refusal> {
        let rules = &self.model.rules;
        let (priced, line) = (self.priced[idx], &self.lines[idx]);
        let LotPrice { unit, lot: price } = self.lot_prices[idx];
        let (held, residue) = whole_lots(line.held, unit, priced.lot);
        let target = self.share_of_value(priced.target) - residue;

        let (lowest, highest) = if priced.leave == Leave::Nothing {
            (held, held)
        } else {
            let band = self.lots_in_band(idx, target, residue)?;
            let is_inside = band.0 <= held && held <= band.1;
            match (rules.trade_only_outside_band && is_inside, inside) {
                (true, InsideBand::Stays) => (held, held),
                (true, InsideBand::MayBeSold) => priced.leave.restrict((band.0, held), held),
                (false, _) => priced.leave.restrict(band, held),
            }
        };
        let (fewest, (lowest, highest)) = match self.least_trade {
            0 => (1, (lowest, highest)),
            least => {
                let fewest = quotient(least + price - 1, price);
                (fewest, skip_small_trades((lowest, highest), held, fewest))
            }
        };

        let most = if priced.lot == 1 { MOST_UNITS } else { MOST_UNITS / priced.lot };
        let whole = |lots: i128| match i64::try_from(lots) {
            Ok(lots) if -most <= lots && lots <= most => Ok(lots),
            Ok(_) | Err(_) => Err(Refusal::SecurityOutOfRange(line.security)),
        };
        Ok(Row {
            price,
            target,
            held: whole(held)?,
            residue,
            lowest: whole(lowest)?,
            highest: whole(highest)?,
            lot: priced.lot,
            cost: self.cost_of(price),
            // More than can be traded is as good as what it was.
            fewest: i64::try_from(fewest).unwrap_or(i64::MAX),
        })
    }

    /// The whole lots that keep the position, its residue included, inside its band.
    fn lots_in_band(&self, idx: usize, target: i128, residue: i128) -> Result<(i128, i128), Refusal> {
        let least = -self.share_of_value(-self.priced[idx].low) - residue;
        let most = self.share_of_value(self.priced[idx].high) - residue;
        match (lots_worth(least, most, |amount| self.lots_in(amount, idx)), self.model.policy) {
            (Some(lots), _) => Ok(lots),
            (None, BandPolicy::Strict) => Err(Refusal::NoWholeShareInBand(self.lines[idx].security)),
            (None, BandPolicy::Nearest) => Ok(lots_around(target, self.lot_prices[idx].lot)),
        }
    }

    /// So large a share of the market value, rounded down; exact for targets.
    fn share_of_value(&self, share: Scaled) -> i128 {
        if share.decimals == self.model.decimals.targets {
            // The scale leaves room for the decimals of the target below those of the value.
            times(self.target_step, share.mantissa)
        } else {
            share.share_of(self.value)
        }
    }

    /// The lots that an amount not below zero suffices for.
    fn lots_in(&self, amount: i128, idx: usize) -> i128 {
        match &self.narrow_prices {
            Some(prices) => prices[idx].lots_in(narrow(amount)).into(),
            None => quotient(amount, self.lot_prices[idx].lot),
        }
    }

    /// The proportional cost of trading a lot.
    fn cost_of(&self, price: i128) -> i128 {
        let rate = &self.model.cost_rate;
        // Exact: the scale leaves room for the decimals of the rate below those of the price.
        if rate.mantissa == 0 { 0 } else { price / power_of_ten(rate.decimals) * rate.mantissa }
    }

    fn joint_rules(&self, rows: &[Row]) -> Result<JointRules, Refusal> {
        let rules = &self.model.rules;
        let ticket_fee = amount(rules.ticket_fee.get(), self.scale)?;
        amount(rules.ticket_fee.get() * Decimal::from(rows.len()), self.scale)?;
        let group = |limit: &trading_rules::GroupLimit| {
            let is_member = |(_, line): &(usize, &Line)| limit.securities.contains(&line.security);
            let members: Vec<usize> =
                self.lines.iter().enumerate().filter(is_member).map(|(idx, _)| idx).collect();
            let residues: i128 = members.iter().map(|idx| rows[*idx].residue).sum();
            Group { most: Scaled::of(limit.maximum.get()).share_of(self.value) - residues, rows: members }
        };
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(JointRules {
            ticket_fee,
            maximum_trades: rules.maximum_trades.map(count),
            maximum_turnover: rules.maximum_turnover.map(|most| Scaled::of(most.get()).share_of(self.value)),
            maximum_positions: rules.maximum_positions.map(count),
            groups: rules.group_limits.iter().map(group).collect(),
        })
    }
}

/// An amount of a portfolio whose amounts are all within `NARROW`, or a few times it.
fn narrow<N: TryFrom<i128, Error: std::fmt::Debug>>(units: i128) -> N {
    N::try_from(units).expect("the bound on narrow amounts leaves room for their sums")
}

/// An amount of the rules, in units.
fn amount(amount: Decimal, scale: u32) -> Result<i128, Refusal> {
    Scaled::of(amount).units(scale).filter(|units| *units <= LARGEST).ok_or(Refusal::OutOfRange)
}

/// What is spent on a row at least, in units.
fn least_spent(row: &Row, ticket_fee: i128) -> i128 {
    let lowest = row.spent(row.lowest);
    if ticket_fee == 0 || row.lowest == row.held {
        return lowest;
    }
    // To sell so little may cost more than it brings.
    let with_ticket = lowest + ticket_fee;
    if row.allows(row.held) { with_ticket.min(row.spent(row.held)) } else { with_ticket }
}

/// Decimals enough for every amount of the portfolio.
fn scale_of(model: &PricedModel<'_>, priced: &[&PricedLine], lines: &[Line], cash: Decimal) -> u32 {
    let unwanted = &priced[model.lines.len()..];
    let finest_price = unwanted.iter().map(|it| it.price.decimals).fold(model.decimals.prices, u32::max);
    let quantities = lines.iter().map(|line| line.held.scale()).max().unwrap_or(0);
    model.decimals.scale((finest_price + quantities).max(decimals(cash)), model.cost_rate)
}

/// A holding in whole lots, and the value of what is beyond them.
fn whole_lots(held: Decimal, unit_price: i128, lot: i64) -> (i128, i128) {
    if held.scale() == 0 && lot == 1 {
        return (held.mantissa(), 0);
    }
    let unit = power_of_ten(held.scale());
    let of_lot = i128::from(lot) * unit;
    // Exact: the scale leaves room for the decimals of the holding below those of the price.
    let residue = unit_price / unit * held.mantissa().rem_euclid(of_lot);
    (held.mantissa().div_euclid(of_lot), residue)
}

/// A range whose ends can both be reached by no trade, or by one of at least the `fewest` lots. Where no
/// such trade ends in the range, what is held stays.
fn skip_small_trades((lowest, highest): (i128, i128), held: i128, fewest: i128) -> (i128, i128) {
    let is_small = |lots: i128| lots != held && (lots - held).abs() < fewest;
    let from = match lowest {
        lowest if !is_small(lowest) => lowest,
        lowest if lowest < held => held,
        _ => held + fewest,
    };
    let to = match highest {
        highest if !is_small(highest) => highest,
        highest if held < highest => held,
        _ => held - fewest,
    };
    if from <= to { (from, to) } else { (held, held) }
}

fn decimals(number: Decimal) -> u32 {
    number.normalize().scale()
}
