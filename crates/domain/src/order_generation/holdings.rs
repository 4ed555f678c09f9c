//! What a portfolio owns before a rebalance.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::identifier::SecurityId;

/// A portfolio's cash and the net quantities it holds.
///
/// Both may be negative (an overdraft, a short holding), quantities may be fractional, and a
/// security held at zero is not held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    cash: Decimal,
    quantities: BTreeMap<SecurityId, Decimal>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("security {0} is listed more than once")]
pub struct RepeatedHolding(SecurityId);

impl Holdings {
    pub fn new(
        cash: Decimal,
        rows: impl IntoIterator<Item = (SecurityId, Decimal)>,
    ) -> Result<Self, RepeatedHolding> {
        let mut quantities = BTreeMap::new();
        for (security, quantity) in rows {
            if quantities.insert(security, quantity.normalize()).is_some() {
                return Err(RepeatedHolding(security));
            }
        }
        quantities.retain(|_, quantity| !quantity.is_zero());
        Ok(Self { cash, quantities })
    }

    pub const fn cash(&self) -> Decimal {
        self.cash
    }

    pub fn quantity(&self, security: &SecurityId) -> Decimal {
        self.quantities.get(security).copied().unwrap_or_default()
    }

    /// The securities held, by id.
    pub fn securities(&self) -> impl Iterator<Item = SecurityId> + '_ {
        self.quantities.keys().copied()
    }

    /// What is held of each security, by id; never zero, without zeros at the end of a fraction.
    pub fn iter(&self) -> impl Iterator<Item = (SecurityId, Decimal)> + '_ {
        self.quantities.iter().map(|(security, quantity)| (*security, *quantity))
    }

    /// The number of securities held.
    pub fn len(&self) -> usize {
        self.quantities.len()
    }

    /// Neither cash nor a security: a portfolio that was never funded.
    pub fn is_empty(&self) -> bool {
        self.cash.is_zero() && self.quantities.is_empty()
    }
}
