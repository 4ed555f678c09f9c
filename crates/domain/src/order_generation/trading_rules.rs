//! What a manager asks of a rebalance beyond the bands: how much cash stays, what may be traded, in
//! which sizes, and at what cost.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use rust_decimal::Decimal;

use crate::identifier::SecurityId;

/// The rules of a model, or of one rebalance. Without any, only bands and cash count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TradingRules {
    /// Money that must be left. A portfolio that was never funded need not have it.
    pub minimum_cash: Amount,
    /// Share of market value that must be left as cash; the larger of the two minimums counts.
    pub minimum_cash_share: Share,
    pub lot_sizes: LotSizes,
    /// A trade is worth at least this or is not made. What would be needed to reach a band but is worth
    /// less is not traded either.
    pub minimum_trade_value: Amount,
    /// A position inside its band is left alone; or sold, never bought, where the others need its cash.
    pub trade_only_outside_band: bool,
    /// These three stand above the bands: a position they keep outside its band stays as it is.
    pub do_not_buy: BTreeSet<SecurityId>,
    pub do_not_sell: BTreeSet<SecurityId>,
    /// Neither bought nor sold.
    pub restricted: BTreeSet<SecurityId>,
    /// What trading costs for each unit of money traded. Counts in the objective and is paid in cash.
    pub proportional_cost: CostRate,
    /// What every trade costs, whatever its size. Counts in the objective and is paid in cash.
    pub ticket_fee: Amount,
    /// Securities traded.
    pub maximum_trades: Option<u32>,
    /// Value bought and sold together, as a share of market value.
    pub maximum_turnover: Option<Turnover>,
    /// Securities held afterwards, those of which only a fraction is left included.
    pub maximum_positions: Option<u32>,
    pub group_limits: Vec<GroupLimit>,
    /// How far from the best an answer may be, as a share of the objective. It spares an optimiser that
    /// must branch the last of its work; where none need branch, the answer is the best all the same.
    pub gap: Share,
}

impl TradingRules {
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Securities whose value together may be at most a share of market value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimit {
    pub name: GroupName,
    pub securities: BTreeSet<SecurityId>,
    pub maximum: Share,
}

/// Whole units come in lots of this size: a security of the model is traded in whole lots, and what is
/// held beyond whole lots stays held. What the model does not want is sold whatever its lot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LotSizes {
    pub default: Lot,
    pub per_security: BTreeMap<SecurityId, Lot>,
}

impl LotSizes {
    pub fn of(&self, security: &SecurityId) -> Lot {
        self.per_security.get(security).copied().unwrap_or(self.default)
    }
}

/// Units to a lot: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lot(NonZeroU32);

impl Lot {
    pub const MAX: u32 = 1_000_000;

    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for Lot {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a whole number of 1 to 1000000")]
pub struct InvalidLot(Decimal);

impl TryFrom<Decimal> for Lot {
    type Error = InvalidLot;

    fn try_from(units: Decimal) -> Result<Self, InvalidLot> {
        let whole = Some(units.normalize()).filter(|units| units.scale() == 0);
        whole
            .and_then(|units| u32::try_from(units.mantissa()).ok())
            .filter(|units| *units <= Self::MAX)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(InvalidLot(units))
    }
}

/// What a group of securities is called: 1 to 100 characters after trimming.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 100 characters, none of them a control character")]
pub struct InvalidGroupName;

impl GroupName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for GroupName {
    type Err = InvalidGroupName;

    fn from_str(name: &str) -> Result<Self, InvalidGroupName> {
        let name = name.trim();
        let is_valid = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if is_valid { Ok(Self(name.to_owned())) } else { Err(InvalidGroupName) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    #[error("{number} is outside 0 to {most}")]
    OutOfRange { number: Decimal, most: Decimal },
    #[error("{number} has more than {decimals} decimals")]
    TooFine { number: Decimal, decimals: u32 },
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $most:expr, $decimals:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Decimal);

        impl $name {
            pub const MAX: Decimal = $most;
            pub const DECIMALS: u32 = $decimals;

            pub const fn get(self) -> Decimal {
                self.0
            }
        }

        impl TryFrom<Decimal> for $name {
            type Error = InvalidRule;

            fn try_from(number: Decimal) -> Result<Self, InvalidRule> {
                if number < Decimal::ZERO || Self::MAX < number {
                    return Err(InvalidRule::OutOfRange { number, most: Self::MAX });
                }
                if Self::DECIMALS < number.normalize().scale() {
                    return Err(InvalidRule::TooFine { number, decimals: Self::DECIMALS });
                }
                Ok(Self(number))
            }
        }
    };
}

bounded!(
    /// Money: up to 10^15, with at most 4 decimals.
    Amount, Decimal::from_parts(0xA4C6_8000, 0x0003_8D7E, 0, false, 0), 4
);
bounded!(
    /// A share of something: 0 to 1, with at most 8 decimals.
    Share, Decimal::ONE, 8
);
bounded!(
    /// Buying and selling all there is makes 2; at most 8 decimals.
    Turnover, Decimal::TWO, 8
);
bounded!(
    /// A share of the value traded: at most 10 %, with at most 6 decimals.
    CostRate, Decimal::from_parts(1, 0, 0, false, 1), 6
);

/// What can keep a position from the quantity nearest its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Not a trading rule: there is no more cash than there is.
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

impl Rule {
    pub const ALL: [Self; 14] = [
        Self::Cash,
        Self::MinimumCash,
        Self::LotSize,
        Self::MinimumTradeValue,
        Self::TradeOnlyOutsideBand,
        Self::DoNotBuy,
        Self::DoNotSell,
        Self::Restricted,
        Self::ProportionalCost,
        Self::TicketFee,
        Self::MaximumTrades,
        Self::MaximumTurnover,
        Self::MaximumPositions,
        Self::GroupLimit,
    ];

    /// As managers write it: the field of the rules that holds it, or `cash`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::MinimumCash => "minimum_cash",
            Self::LotSize => "lot_size",
            Self::MinimumTradeValue => "minimum_trade_value",
            Self::TradeOnlyOutsideBand => "trade_only_outside_band",
            Self::DoNotBuy => "do_not_buy",
            Self::DoNotSell => "do_not_sell",
            Self::Restricted => "restricted",
            Self::ProportionalCost => "proportional_cost",
            Self::TicketFee => "ticket_fee",
            Self::MaximumTrades => "maximum_trades",
            Self::MaximumTurnover => "maximum_turnover",
            Self::MaximumPositions => "maximum_positions",
            Self::GroupLimit => "group_limits",
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn amounts_and_shares_have_their_bounds() {
        assert_eq!(Amount::MAX, dec!(1000000000000000));
        assert!(Amount::try_from(Amount::MAX).is_ok());
        let more = Amount::MAX + dec!(0.01);
        assert_eq!(Amount::try_from(more), Err(InvalidRule::OutOfRange { number: more, most: Amount::MAX }));
        let fine = dec!(0.00001);
        assert_eq!(Amount::try_from(fine), Err(InvalidRule::TooFine { number: fine, decimals: 4 }));
        assert!(Amount::try_from(dec!(1.50000000)).is_ok());
        assert!(Amount::try_from(dec!(-1)).is_err());
        assert!(Share::try_from(dec!(1)).is_ok());
        assert!(Share::try_from(dec!(1.1)).is_err());
        assert!(Turnover::try_from(dec!(1.1)).is_ok());
        assert!(CostRate::try_from(dec!(0.11)).is_err());
    }

    #[test]
    fn lots_are_whole() {
        assert_eq!(Lot::try_from(dec!(100.0)).unwrap().get(), 100);
        for no_lot in [dec!(0), dec!(-1), dec!(0.5), dec!(1000001), Decimal::MAX] {
            assert_eq!(Lot::try_from(no_lot), Err(InvalidLot(no_lot)));
        }
    }

    #[test]
    fn every_rule_is_found_by_its_name() {
        let named = |name: &str| Rule::ALL.into_iter().find(|rule| rule.name() == name);
        for rule in Rule::ALL {
            assert_eq!(named(rule.name()), Some(rule));
        }
        assert_eq!(named("sector"), None);
    }
}
