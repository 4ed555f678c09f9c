//! Investment models and the rules of changing them.

use std::fmt;

use crate::Timestamp;
use crate::identifier::{ModelId, PortfolioId, SecurityId};
use crate::version::Version;

use super::position::{InvalidPositions, Position, Positions};
use super::trading_rules::TradingRules;

/// A model's name: 1 to 255 characters after trimming.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModelName {
    #[error("must not be empty or blank")]
    Blank,
    #[error("must be at most 255 characters")]
    TooLong,
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl ModelName {
    pub const MAX_CHARS: usize = 255;

    pub fn new(name: &str) -> Result<Self, InvalidModelName> {
        let name = name.trim();
        if name.is_empty() {
            return Err(InvalidModelName::Blank);
        }
        if Self::MAX_CHARS < name.chars().count() {
            return Err(InvalidModelName::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidModelName::ControlCharacter);
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The portfolios that follow a model: at least one, each once, in the manager's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followers(Vec<PortfolioId>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFollowers {
    #[error("at least one portfolio must follow the model")]
    None,
    #[error("portfolio {portfolio} appears more than once")]
    Duplicate { portfolio: PortfolioId, index: usize },
}

impl Followers {
    /// Returns every broken rule.
    pub fn new(portfolios: Vec<PortfolioId>) -> Result<Self, Vec<InvalidFollowers>> {
        if portfolios.is_empty() {
            return Err(vec![InvalidFollowers::None]);
        }
        let mut seen = std::collections::HashSet::new();
        let repeated: Vec<InvalidFollowers> = portfolios
            .iter()
            .enumerate()
            .filter(|(_, portfolio)| !seen.insert(*portfolio))
            .map(|(index, portfolio)| InvalidFollowers::Duplicate { portfolio: portfolio.clone(), index })
            .collect();
        if repeated.is_empty() { Ok(Self(portfolios)) } else { Err(repeated) }
    }

    pub fn as_slice(&self) -> &[PortfolioId] {
        &self.0
    }
}

/// An investment model: which securities, how much of each, and which portfolios follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub id: ModelId,
    pub name: ModelName,
    pub positions: Positions,
    pub followers: Followers,
    pub rules: TradingRules,
    /// When portfolios were last rebalanced to this model. Only ever moves forward.
    pub last_rebalance_date: Option<Timestamp>,
    pub version: Version,
    pub created_at: Timestamp,
}

/// What a manager says of a model; the rest is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelContent {
    pub name: ModelName,
    pub positions: Positions,
    pub followers: Followers,
    pub rules: TradingRules,
}

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    #[error("security {0} is already in the model")]
    SecurityAlreadyInModel(SecurityId),
    #[error("security {0} is not in the model")]
    SecurityNotInModel(SecurityId),
    #[error("the model's position in security {0} has other values")]
    PositionDiffers(SecurityId),
    #[error("{0}")]
    Positions(InvalidPositions),
    #[error("{0}")]
    Followers(InvalidFollowers),
}

impl Model {
    pub fn create(id: ModelId, content: ModelContent, now: Timestamp) -> Self {
        let ModelContent { name, positions, followers, rules } = content;
        Self {
            id,
            name,
            positions,
            followers,
            rules,
            last_rebalance_date: None,
            version: Version::FIRST,
            created_at: now,
        }
    }

    pub fn content(&self) -> ModelContent {
        ModelContent {
            name: self.name.clone(),
            positions: self.positions.clone(),
            followers: self.followers.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl ModelContent {
    /// Adds a security. A target of zero adds nothing.
    pub fn add_position(&mut self, position: Position) -> Result<(), ChangeRefused> {
        if self.positions.find(&position.security).is_some() {
            return Err(ChangeRefused::SecurityAlreadyInModel(position.security));
        }
        let grown = self.positions.iter().copied().chain([position]).collect();
        self.set_positions(grown)
    }

    /// Gives a security of the model a new target and band. A target of zero removes it.
    pub fn replace_position(&mut self, position: Position) -> Result<(), ChangeRefused> {
        if self.positions.find(&position.security).is_none() {
            return Err(ChangeRefused::SecurityNotInModel(position.security));
        }
        let replaced = |old: &Position| {
            if old.security == position.security { position } else { *old }
        };
        self.set_positions(self.positions.iter().map(replaced).collect())
    }

    /// Removes a security, if all four values are those of the model.
    pub fn remove_position(&mut self, position: &Position) -> Result<(), ChangeRefused> {
        match self.positions.find(&position.security) {
            None => Err(ChangeRefused::SecurityNotInModel(position.security)),
            Some(found) if found != position => Err(ChangeRefused::PositionDiffers(position.security)),
            Some(_) => {
                let others = self.positions.iter().filter(|other| other.security != position.security);
                self.set_positions(others.copied().collect())
            }
        }
    }

    /// Appends portfolios; those that follow the model already are left where they are.
    pub fn add_followers(&mut self, portfolios: &Followers) {
        for portfolio in portfolios.as_slice() {
            if !self.followers.0.contains(portfolio) {
                self.followers.0.push(portfolio.clone());
            }
        }
    }

    /// Removes portfolios; those that do not follow the model are ignored. One must remain.
    pub fn remove_followers(&mut self, portfolios: &Followers) -> Result<(), ChangeRefused> {
        let left =
            self.followers.0.iter().filter(|follower| !portfolios.0.contains(follower)).cloned().collect();
        self.followers =
            Followers::new(left).map_err(|mut broken| ChangeRefused::Followers(broken.swap_remove(0)))?;
        Ok(())
    }

    fn set_positions(&mut self, positions: Vec<Position>) -> Result<(), ChangeRefused> {
        self.positions = Positions::new(positions)
            .map_err(|mut broken| ChangeRefused::Positions(broken.swap_remove(0)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use rust_decimal_macros::dec;

    use super::super::position::Band;
    use super::*;

    fn position(security: &str, target: Decimal) -> Position {
        let band = Band::new(dec!(0.01).try_into().unwrap(), dec!(0.02).try_into().unwrap()).unwrap();
        Position {
            security: format!("{security:0>24}").parse().unwrap(),
            target: target.try_into().unwrap(),
            band,
        }
    }

    fn followers(names: &[&str]) -> Followers {
        Followers::new(names.iter().map(|name| name.parse().unwrap()).collect()).unwrap()
    }

    fn content() -> ModelContent {
        ModelContent {
            name: ModelName::new("balanced").unwrap(),
            positions: Positions::new(vec![position("A", dec!(0.6)), position("B", dec!(0.3))]).unwrap(),
            followers: followers(&["p1", "p2"]),
            rules: TradingRules::default(),
        }
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(ModelName::new("  Growth ").unwrap().as_str(), "Growth");
        assert_eq!(ModelName::new(" \t "), Err(InvalidModelName::Blank));
        assert_eq!(ModelName::new(&"x".repeat(256)), Err(InvalidModelName::TooLong));
        assert_eq!(ModelName::new("a\0b"), Err(InvalidModelName::ControlCharacter));
        assert!(ModelName::new(&"é".repeat(255)).is_ok());
    }

    #[test]
    fn a_security_is_added_once_and_within_the_sum() {
        let a = position("A", dec!(0.05));
        assert_eq!(content().add_position(a), Err(ChangeRefused::SecurityAlreadyInModel(a.security)));
        assert_eq!(
            content().add_position(position("C", dec!(0.1))),
            Err(ChangeRefused::Positions(InvalidPositions::SumTooLarge(dec!(1))))
        );

        let mut grown = content();
        grown.add_position(position("C", dec!(0.05))).unwrap();
        assert_eq!(grown.positions.len(), 3);
    }

    #[test]
    fn a_target_of_zero_adds_nothing_and_removes_what_it_replaces() {
        let mut unchanged = content();
        unchanged.add_position(position("C", dec!(0))).unwrap();
        assert_eq!(unchanged, content());

        let mut shrunk = content();
        shrunk.replace_position(position("A", dec!(0))).unwrap();
        assert_eq!(shrunk.positions.len(), 1);
    }

    #[test]
    fn a_position_is_removed_only_as_it_stands() {
        let other = position("A", dec!(0.5));
        assert_eq!(content().remove_position(&other), Err(ChangeRefused::PositionDiffers(other.security)));

        let mut shrunk = content();
        shrunk.remove_position(&position("A", dec!(0.60))).unwrap();
        assert_eq!(shrunk.positions.len(), 1);
    }

    #[test]
    fn followers_come_and_go_but_one_stays() {
        let mut content = content();
        content.add_followers(&followers(&["p2", "p3"]));
        assert_eq!(content.followers, followers(&["p1", "p2", "p3"]));

        content.remove_followers(&followers(&["p1", "p9"])).unwrap();
        assert_eq!(content.followers, followers(&["p2", "p3"]));

        let last = content.remove_followers(&followers(&["p2", "p3"]));
        assert_eq!(last, Err(ChangeRefused::Followers(InvalidFollowers::None)));
    }
}
