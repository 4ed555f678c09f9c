//! What a portfolio owns before a rebalance.

use rust_decimal::Decimal;

use crate::identifier::SecurityId;

/// A portfolio's cash and the net quantities it holds.
///
/// Both may be negative (an overdraft, a short holding), quantities may be fractional, and a
/// security held at zero is not held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    cash: Decimal,
    /// By security.
    quantities: Vec<(SecurityId, Decimal)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("security {0} is listed more than once")]
pub struct RepeatedHolding(SecurityId);

impl Holdings {
    pub fn new(
        cash: Decimal,
        rows: impl IntoIterator<Item = (SecurityId, Decimal)>,
    ) -> Result<Self, RepeatedHolding> {
        let normalised = |(security, quantity): (SecurityId, Decimal)| (security, quantity.normalize());
        let mut quantities: Vec<_> = rows.into_iter().map(normalised).collect();
        quantities.sort_unstable_by_key(|(security, _)| *security);
        if let Some(alike) = quantities.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(RepeatedHolding(alike[0].0));
        }
        quantities.retain(|(_, quantity)| !quantity.is_zero());
        Ok(Self { cash, quantities })
    }

    pub const fn cash(&self) -> Decimal {
        self.cash
    }

    pub fn quantity(&self, security: &SecurityId) -> Decimal {
        let place = self.quantities.binary_search_by_key(security, |(security, _)| *security);
        place.map_or(Decimal::ZERO, |idx| self.quantities[idx].1)
    }

    /// The securities held, by id.
    pub fn securities(&self) -> impl Iterator<Item = SecurityId> + '_ {
        self.quantities.iter().map(|(security, _)| *security)
    }

    /// What is held of each security, by id; never zero, without zeros at the end of a fraction.
    pub fn iter(&self) -> impl Iterator<Item = (SecurityId, Decimal)> + '_ {
        self.quantities.iter().copied()
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
