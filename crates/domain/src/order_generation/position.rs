//! What a model wants of one security, and the set of such wants that makes a model.

use rust_decimal::Decimal;

use crate::identifier::SecurityId;

/// The share of market value a model wants in one security: zero to 95 %, in steps of half a percent.
///
/// Keeps the decimals it was given, so that 0.350 is shown as 0.350.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(Decimal);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("target {0} is outside 0 to 0.95")]
    OutOfRange(Decimal),
    #[error("target {0} is not a multiple of 0.005")]
    NotAStep(Decimal),
}

impl Target {
    pub const MAX: Decimal = Decimal::from_parts(95, 0, 0, false, 2);
    pub const STEP: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<Decimal> for Target {
    type Error = InvalidTarget;

    fn try_from(share: Decimal) -> Result<Self, InvalidTarget> {
        if share < Decimal::ZERO || Self::MAX < share {
            return Err(InvalidTarget::OutOfRange(share));
        }
        if !(share % Self::STEP).is_zero() {
            return Err(InvalidTarget::NotAStep(share));
        }
        Ok(Self(share))
    }
}

/// How far below and above its target a position may lie, as shares of market value; both ends are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    low: Drift,
    high: Drift,
}

/// An allowed drift: zero to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift(Decimal);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("drift {0} is outside 0 to 1")]
pub struct InvalidDrift(Decimal);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("low drift {low} exceeds high drift {high}")]
pub struct InvalidBand {
    low: Decimal,
    high: Decimal,
}

impl Drift {
    pub const fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<Decimal> for Drift {
    type Error = InvalidDrift;

    fn try_from(share: Decimal) -> Result<Self, InvalidDrift> {
        if share < Decimal::ZERO || Decimal::ONE < share { Err(InvalidDrift(share)) } else { Ok(Self(share)) }
    }
}

impl Band {
    /// The band of a security that the model does not want: nothing but zero.
    pub const CLOSED: Self = Self { low: Drift(Decimal::ZERO), high: Drift(Decimal::ZERO) };

    pub fn new(low: Drift, high: Drift) -> Result<Self, InvalidBand> {
        if high < low { Err(InvalidBand { low: low.0, high: high.0 }) } else { Ok(Self { low, high }) }
    }

    pub const fn low(self) -> Decimal {
        self.low.0
    }

    pub const fn high(self) -> Decimal {
        self.high.0
    }
}

/// One security of a model. Two are equal when all four values are, whatever their written decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub security: SecurityId,
    pub target: Target,
    pub band: Band,
}

/// The securities of a model, in the manager's order.
///
/// * each security once;
/// * targets above zero, and at most 95 % together, so that at least 5 % stays in cash;
/// * at most 100 of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(Vec<Position>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPositions {
    #[error("security {security} appears more than once")]
    Duplicate { security: SecurityId, index: usize },
    #[error("the targets add up to {0}, more than 0.95")]
    SumTooLarge(Decimal),
    #[error("{0} positions with a target above zero, more than 100")]
    TooMany(usize),
}

impl Positions {
    pub const MAX: usize = 100;

    /// Checks the rules, then drops the positions whose target is zero. Returns every broken rule.
    pub fn new(mut positions: Vec<Position>) -> Result<Self, Vec<InvalidPositions>> {
        let mut broken: Vec<InvalidPositions> = repeated(&positions).collect();
        positions.retain(|position| !position.target.get().is_zero());

        let sum: Decimal = positions.iter().map(|position| position.target.get()).sum();
        if Target::MAX < sum {
            broken.push(InvalidPositions::SumTooLarge(sum.normalize()));
        }
        if Self::MAX < positions.len() {
            broken.push(InvalidPositions::TooMany(positions.len()));
        }
        if broken.is_empty() { Ok(Self(positions)) } else { Err(broken) }
    }

    pub fn find(&self, security: &SecurityId) -> Option<&Position> {
        self.0.iter().find(|position| position.security == *security)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Position> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Positions {
    type Item = &'a Position;
    type IntoIter = std::slice::Iter<'a, Position>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn repeated(positions: &[Position]) -> impl Iterator<Item = InvalidPositions> {
    let mut seen = std::collections::HashSet::new();
    positions.iter().enumerate().filter_map(move |(index, position)| {
        let security = position.security;
        (!seen.insert(security)).then_some(InvalidPositions::Duplicate { security, index })
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    fn position(security: &str, target: Decimal) -> Position {
        let band = Band::new(dec!(0.01).try_into().unwrap(), dec!(0.02).try_into().unwrap()).unwrap();
        Position {
            security: format!("{security:0>24}").parse().unwrap(),
            target: target.try_into().unwrap(),
            band,
        }
    }

    #[test]
    fn targets_lie_on_the_grid_between_zero_and_95_percent() {
        for legal in [dec!(0), dec!(0.005), dec!(0.350), dec!(0.95)] {
            assert_eq!(Target::try_from(legal).unwrap().get().to_string(), legal.to_string());
        }
        for off_grid in [dec!(0.001), dec!(0.123), dec!(0.127), dec!(0.333), dec!(0.30000000000000004)] {
            assert_eq!(Target::try_from(off_grid), Err(InvalidTarget::NotAStep(off_grid)));
        }
        for outside in [dec!(-0.005), dec!(0.955), dec!(0.96)] {
            assert_eq!(Target::try_from(outside), Err(InvalidTarget::OutOfRange(outside)));
        }
    }

    #[test]
    fn a_band_is_no_wider_below_than_above() {
        let drift = |share| Drift::try_from(share).unwrap();
        assert!(Band::new(drift(dec!(0.02)), drift(dec!(0.02))).is_ok());
        assert!(Band::new(drift(dec!(0.05)), drift(dec!(0.02))).is_err());
        assert!(Drift::try_from(dec!(1.5)).is_err());
        assert!(Drift::try_from(dec!(-0.01)).is_err());
    }

    #[test]
    fn every_broken_rule_of_a_set_is_reported() {
        let broken =
            Positions::new(vec![position("A", dec!(0.5)), position("B", dec!(0.5)), position("A", dec!(0))]);
        let a = position("A", dec!(0)).security;
        assert_eq!(
            broken,
            Err(vec![
                InvalidPositions::Duplicate { security: a, index: 2 },
                InvalidPositions::SumTooLarge(dec!(1)),
            ])
        );
    }

    #[test]
    fn zero_targets_are_dropped_and_do_not_count_towards_the_hundred() {
        let mut positions: Vec<Position> =
            (0..100).map(|idx| position(&format!("P{idx}"), dec!(0.005))).collect();
        positions.push(position("Z", dec!(0)));
        assert_eq!(Positions::new(positions.clone()).unwrap().len(), 100);

        positions.push(position("Y", dec!(0.005)));
        assert_eq!(Positions::new(positions), Err(vec![InvalidPositions::TooMany(101)]));
    }
}
