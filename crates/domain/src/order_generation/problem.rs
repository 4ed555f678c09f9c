//! The rebalance of one portfolio, stated once in integers.
//!
//! All money is counted in units of 10^-scale, with a scale fine enough that every price, every
//! target value and the cash are whole numbers of units. What each position may become is a range of
//! whole shares. A `Problem` that exists has a solution: a band without a whole share, or minimums
//! that cost more than there is, are refusals of [`Problem::new`].

use ethnum::I256;
use rust_decimal::Decimal;

use crate::identifier::SecurityId;

use super::holdings::Holdings;
use super::position::{Band, Position, Positions};
use super::price::{Price, PriceSnapshot};

/// What to do with a band that holds no whole share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BandPolicy {
    /// Refuse: no feasible solution exists.
    #[default]
    Strict,
    /// Take one of the two whole-share quantities next to the target and mark the row.
    Nearest,
}

/// Why a portfolio cannot be rebalanced. Nobody's fault, and nothing is traded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the model has no positions")]
    EmptyModel,
    #[error("the market value {0} is not above zero")]
    MarketValueNotPositive(Decimal),
    #[error("security {0} has no price")]
    Unpriced(SecurityId),
    #[error("no feasible solution exists: no whole share of security {0} lies inside its band")]
    NoWholeShareInBand(SecurityId),
    #[error(
        "no feasible solution exists: the least that the bands ask for costs {needed}, the market value is {available}"
    )]
    MinimumsExceedCash { needed: Decimal, available: Decimal },
    #[error("the amounts of security {0} are too large or too finely divided to reckon with exactly")]
    SecurityOutOfRange(SecurityId),
    #[error("the amounts of the portfolio are too large or too finely divided to reckon with exactly")]
    OutOfRange,
}

impl Refusal {
    /// Short and stable; what programs match on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyModel => "empty-model",
            Self::MarketValueNotPositive(_) => "market-value-not-positive",
            Self::Unpriced(_) => "security-not-priced",
            Self::NoWholeShareInBand(_) | Self::MinimumsExceedCash { .. } => "no-feasible-solution",
            Self::SecurityOutOfRange(_) | Self::OutOfRange => "amounts-out-of-range",
        }
    }
}

/// One security of the combined list: those of the model in its order, then the others held, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub security: SecurityId,
    pub price: Price,
    /// The net quantity before the rebalance; may be fractional or negative.
    pub held: Decimal,
    /// Zero for a security that the model does not want.
    pub target: Decimal,
    pub band: Band,
}

/// A line in integers. Money is in units, quantities are whole shares.
///
/// A fractional holding is split into `held` whole shares and a residue between zero and one share,
/// which no whole-share trade can touch: it lowers the target and the budget instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub price: i128,
    /// Value wanted in whole shares; negative when the residue alone exceeds what the model wants.
    pub target: i128,
    pub held: i64,
    /// Value of the fraction of a share that stays held.
    pub residue: i128,
    /// The whole shares allowed, both ends included; never negative.
    pub lowest: i64,
    pub highest: i64,
}

/// The rebalance of one portfolio; it has at least one solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    lines: Vec<Line>,
    rows: Vec<Row>,
    value: i128,
    budget: i128,
    scale: u32,
    cash: Decimal,
}

impl Problem {
    /// States the rebalance of `holdings` to the `positions` of a model at the prices of `snapshot`.
    pub fn new(
        positions: &Positions,
        holdings: &Holdings,
        snapshot: &PriceSnapshot,
        policy: BandPolicy,
    ) -> Result<Self, Refusal> {
        if positions.is_empty() {
            return Err(Refusal::EmptyModel);
        }
        let lines = combined_list(positions, holdings, snapshot)?;
        let scale = scale_of(&lines, holdings.cash());
        let value = market_value(&lines, holdings.cash(), scale)?;
        let market_value =
            Decimal::try_from_i128_with_scale(value, scale).map_err(|_| Refusal::OutOfRange)?;
        if value <= 0 && !holdings.is_empty() {
            return Err(Refusal::MarketValueNotPositive(market_value.normalize()));
        }

        let rows: Vec<Row> =
            lines.iter().map(|line| Row::new(line, value, scale, policy)).collect::<Result<_, _>>()?;
        let residues: i128 = rows.iter().map(|row| row.residue).sum();
        let problem = Self { lines, rows, value, budget: value - residues, scale, cash: holdings.cash() };
        problem.ensure_minimums_fit()?;
        Ok(problem)
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the whole shares may cost together, so that no cash is owed afterwards.
    pub const fn budget(&self) -> i128 {
        self.budget
    }

    /// The value of the fractions of shares that stay held, in units.
    pub(super) const fn residues(&self) -> i128 {
        self.value - self.budget
    }

    /// In units, rounded down.
    pub(super) fn half_a_cent(&self) -> i128 {
        5 * power_of_ten(self.scale) / 1000
    }

    /// Cash plus the value of everything held, exact.
    pub fn market_value(&self) -> Decimal {
        self.money(self.value)
    }

    pub const fn cash(&self) -> Decimal {
        self.cash
    }

    /// An amount of units as money.
    pub fn money(&self, units: i128) -> Decimal {
        Decimal::try_from_i128_with_scale(units, self.scale)
            .expect("the bound on the market value leaves room for every amount of the problem")
            .normalize()
    }

    /// Σ |target − quantity · price| over all lines, in units.
    pub fn deviation(&self, quantities: &[i64]) -> i128 {
        let row_deviation =
            |(row, &quantity): (&Row, &i64)| (row.target - i128::from(quantity) * row.price).abs();
        self.rows.iter().zip(quantities).map(row_deviation).sum()
    }

    /// Σ quantity · price, in units.
    pub fn cost(&self, quantities: &[i64]) -> i128 {
        self.rows.iter().zip(quantities).map(|(row, &quantity)| i128::from(quantity) * row.price).sum()
    }

    /// Whether the whole shares of a line leave its position, residue included, outside the band.
    pub fn is_outside_band(&self, line: &Line, row: &Row, quantity: i64) -> bool {
        let (lowest, highest) = whole_shares(line, self.value, row.residue, row.price);
        I256::from(quantity) < lowest || highest < I256::from(quantity)
    }

    fn ensure_minimums_fit(&self) -> Result<(), Refusal> {
        let lowest: Vec<i64> = self.rows.iter().map(|row| row.lowest).collect();
        let needed = self.cost(&lowest);
        if self.budget < needed {
            return Err(Refusal::MinimumsExceedCash {
                needed: self.money(needed + self.residues()),
                available: self.market_value(),
            });
        }
        Ok(())
    }
}

fn combined_list(
    positions: &Positions,
    holdings: &Holdings,
    snapshot: &PriceSnapshot,
) -> Result<Vec<Line>, Refusal> {
    let wanted = positions.iter().map(|&Position { security, target, band }| (security, target.get(), band));
    let unwanted = holdings
        .securities()
        .filter(|security| positions.find(security).is_none())
        .map(|security| (security, Decimal::ZERO, Band::CLOSED));

    let line = |(security, target, band): (SecurityId, Decimal, Band)| {
        let price = snapshot.price(&security).ok_or(Refusal::Unpriced(security))?;
        Ok(Line { security, price, held: holdings.quantity(&security), target, band })
    };
    wanted.chain(unwanted).map(line).collect()
}

/// Decimals enough for cash, for every quantity times its price, and for their sum times any target.
fn scale_of(lines: &[Line], cash: Decimal) -> u32 {
    let value_decimals = |line: &Line| decimals(line.held) + decimals(line.price.get());
    let value_scale = lines.iter().map(value_decimals).chain([decimals(cash)]).max().unwrap_or(0);
    value_scale + lines.iter().map(|line| decimals(line.target)).max().unwrap_or(0)
}

fn decimals(number: Decimal) -> u32 {
    number.normalize().scale()
}

/// `number` in units of 10^-scale; `None` when it does not fit.
fn units(number: Decimal, scale: u32) -> Option<i128> {
    let number = number.normalize();
    let shift = scale.checked_sub(number.scale())?;
    number.mantissa().checked_mul(10_i128.checked_pow(shift)?)
}

/// Cash + Σ held · price in units, exact.
///
/// Every later amount is at most twice the sum of the magnitudes, so bounding that sum here is what
/// lets the rest of the reckoning go unchecked.
fn market_value(lines: &[Line], cash: Decimal, scale: u32) -> Result<i128, Refusal> {
    const LARGEST: i128 = 1 << 92;

    let mut value = units(cash, scale).ok_or(Refusal::OutOfRange)?;
    let mut magnitude = value.unsigned_abs();
    for line in lines {
        let out_of_range = || Refusal::SecurityOutOfRange(line.security);
        let held = line.held.normalize();
        let price = units(line.price.get(), scale - held.scale()).ok_or_else(out_of_range)?;
        let worth = price.checked_mul(held.mantissa()).ok_or_else(out_of_range)?;
        value = value.checked_add(worth).ok_or_else(out_of_range)?;
        magnitude = magnitude
            .checked_add(worth.unsigned_abs())
            .and_then(|sum| sum.checked_add(units(line.price.get(), scale)?.unsigned_abs()))
            .ok_or_else(out_of_range)?;
    }
    if LARGEST.unsigned_abs() < magnitude { Err(Refusal::OutOfRange) } else { Ok(value) }
}

impl Row {
    fn new(line: &Line, value: i128, scale: u32, policy: BandPolicy) -> Result<Self, Refusal> {
        let out_of_range = || Refusal::SecurityOutOfRange(line.security);
        let price = units(line.price.get(), scale).ok_or_else(out_of_range)?;
        let share = power_of_ten(decimals(line.held));
        let holding = line.held.normalize().mantissa();
        // Exact: the scale leaves room for the decimals of the holding below those of the price.
        let residue = price / share * holding.rem_euclid(share);
        // Exact: the scale leaves room for the decimals of the target below those of the value.
        let wanted = line.target.normalize();
        let target = value / power_of_ten(wanted.scale()) * wanted.mantissa() - residue;

        let (lowest, highest) = match whole_shares(line, value, residue, price) {
            // The residue alone lies above the band, so the closest a whole-share trade comes is zero.
            (_, highest) if highest < I256::ZERO => (I256::ZERO, I256::ZERO),
            (lowest, highest) if lowest <= highest => (lowest, highest),
            _ => match policy {
                BandPolicy::Strict => return Err(Refusal::NoWholeShareInBand(line.security)),
                BandPolicy::Nearest => {
                    let below = I256::from(target.div_euclid(price).max(0));
                    (below, below + 1)
                }
            },
        };
        // Half of what fits, so that the change from one quantity to another fits as well.
        let whole = |quantity: I256| match i64::try_from(quantity) {
            Ok(quantity) if quantity.unsigned_abs() <= i64::MAX.unsigned_abs() / 2 => Ok(quantity),
            Ok(_) | Err(_) => Err(out_of_range()),
        };
        Ok(Self {
            price,
            target,
            held: whole(holding.div_euclid(share).into())?,
            residue,
            lowest: whole(lowest)?,
            highest: whole(highest)?,
        })
    }
}

/// The least and the most whole shares that keep the position, its residue included, inside its band.
///
/// 256 bits, because a drift may have up to 28 decimals; the value has at most 92 bits.
fn whole_shares(line: &Line, value: i128, residue: i128, price: i128) -> (I256, I256) {
    let bound = |share: Decimal| {
        let share = share.normalize();
        let unit = I256::from(power_of_ten(share.scale()));
        let room = I256::from(value) * I256::from(share.mantissa()) - I256::from(residue) * unit;
        (room, I256::from(price) * unit)
    };
    let (room, share) = bound(line.target - line.band.low());
    let lowest = -(-room).div_euclid(share);
    let (room, share) = bound(line.target + line.band.high());
    let highest = room.div_euclid(share);
    (lowest.max(I256::ZERO), highest)
}

fn power_of_ten(exponent: u32) -> i128 {
    10_i128.pow(exponent)
}
