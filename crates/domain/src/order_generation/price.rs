//! Prices, and the one set of them that a rebalance is reckoned with.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::identifier::SecurityId;

/// What one unit of a security costs, in the portfolio's currency; above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(Decimal);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price {0} is not above zero")]
pub struct InvalidPrice(Decimal);

impl Price {
    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<Decimal> for Price {
    type Error = InvalidPrice;

    fn try_from(amount: Decimal) -> Result<Self, InvalidPrice> {
        if amount <= Decimal::ZERO { Err(InvalidPrice(amount)) } else { Ok(Self(amount)) }
    }
}

/// The prices of one rebalance: a security is worth the same in every portfolio of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceSnapshot(HashMap<SecurityId, Price>);

impl PriceSnapshot {
    pub fn price(&self, security: &SecurityId) -> Option<Price> {
        self.0.get(security).copied()
    }

    /// Adds the prices of securities that were met later. What has a price keeps it.
    pub fn extend(&mut self, later: Self) {
        for (security, price) in later.0 {
            self.0.entry(security).or_insert(price);
        }
    }
}

impl FromIterator<(SecurityId, Price)> for PriceSnapshot {
    fn from_iter<I: IntoIterator<Item = (SecurityId, Price)>>(prices: I) -> Self {
        Self(prices.into_iter().collect())
    }
}
