//! Portfolios as large as they come, of every kind that has troubled a solver.

use domain::order_generation::position::Positions;
use domain::order_generation::problem::Line;
use domain::order_generation::trading_rules::Share;
use rust_decimal::Decimal;

use super::portfolio::{Dice, Portfolio, line};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Many shares to a position, wide bands: cash for everything.
    Easy,
    /// The same, and 5 % must stay in cash: about half of the portfolios overspend by rounding up.
    Tight,
    /// Bands of a tenth of a per cent.
    Narrow,
    /// The same, and 5 % must stay in cash.
    NarrowTight,
    /// Targets rounded up cost a few per cent more than there is.
    Overspent,
    /// One or two shares to a position.
    Small,
    /// Half of the bands force up, the other half must step down far below their targets.
    Forced,
    /// The same at eight decimals.
    Forced8,
    /// All prices equal.
    Clones,
    /// Every round-up is about as harmful for the money it takes.
    Ratio,
    /// The same at eight decimals.
    Ratio8,
    /// Half a million for a share.
    Expensive,
    /// Hundreds of millions of shares.
    Penny,
    /// The same at eight decimals.
    Penny8,
    /// Half as many securities again are held that the model does not want.
    Outside,
    /// A band that a whole share misses by less than a millionth.
    Edge,
    /// One band holds no whole share.
    Infeasible,
}

/// By so little a whole share misses the bands of [`Class::Edge`].
pub const HAIR: Decimal = Decimal::from_parts(1, 0, 0, false, 7);

impl Class {
    pub const ALL: [Self; 17] = [
        Self::Easy,
        Self::Tight,
        Self::Narrow,
        Self::NarrowTight,
        Self::Overspent,
        Self::Small,
        Self::Forced,
        Self::Forced8,
        Self::Clones,
        Self::Ratio,
        Self::Ratio8,
        Self::Expensive,
        Self::Penny,
        Self::Penny8,
        Self::Outside,
        Self::Edge,
        Self::Infeasible,
    ];

    /// Prices of eight decimals.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Forced8 | Self::Ratio8 | Self::Penny8)
    }

    /// Whether `name` names it, as `narrow-tight` does.
    pub fn name(self) -> String {
        let spelt = format!("{self:?}");
        let (first, rest) = spelt.split_at(1);
        let hyphened =
            |letter: char| if letter.is_uppercase() { format!("-{letter}") } else { letter.into() };
        (first.to_owned() + &rest.chars().map(hyphened).collect::<String>()).to_lowercase()
    }

    /// Of so many lines; those beyond a hundred are held and not wanted.
    pub fn portfolio(self, n_lines: usize, seed: u64) -> Portfolio {
        let n_wanted = n_lines.min(Positions::MAX);
        let mut dice = Dice::new(seed);
        let millions = if self == Self::Expensive { 10_000 } else { 1 };
        let value = dice.decimal(10_000_000, 1_000_000_000, 2) * Decimal::from(millions);
        let clone_price =
            (value * Decimal::new(95, 2) / Decimal::new(26, 1) / Decimal::from(n_wanted)).round_dp(2);
        let mut lines: Vec<Line> = (0..n_wanted)
            .map(|number| {
                let steps = 190 / n_wanted + usize::from(number < 190 % n_wanted);
                let target = Decimal::from(steps) * Decimal::new(5, 3);
                self.line(&mut dice, number, value, target, clone_price)
            })
            .collect();
        let n_others = if self == Self::Outside { n_lines / 2 } else { n_lines - n_wanted };
        lines.extend((n_wanted..n_wanted + n_others).map(|number| {
            let price = dice.decimal(500, 50_000, 2);
            let mut line = line(number, price, Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
            line.held = dice.decimal(1, 100, 0);
            line
        }));
        let mut portfolio = Portfolio::of(lines);
        if matches!(self, Self::Tight | Self::NarrowTight) {
            let share = Share::try_from(Decimal::new(5, 2));
            portfolio.rules.minimum_cash_share = share.expect("a share");
        }
        portfolio.fund(value);
        portfolio
    }

    fn line(
        self,
        dice: &mut Dice,
        number: usize,
        value: Decimal,
        target: Decimal,
        clone_price: Decimal,
    ) -> Line {
        let wanted = value * target;
        let is_forced = number.is_multiple_of(2);
        let shares = match self {
            Self::Easy
            | Self::Tight
            | Self::Narrow
            | Self::NarrowTight
            | Self::Outside
            | Self::Edge
            | Self::Infeasible => dice.decimal(2_000, 50_000, 2),
            Self::Overspent => Decimal::from(1 + dice.roll(4)) + dice.decimal(70, 99, 2),
            Self::Small => Decimal::from(dice.roll(3)) + dice.decimal(60, 99, 2),
            Self::Forced | Self::Forced8 if is_forced => dice.decimal(102, 130, 2),
            Self::Forced | Self::Forced8 => dice.decimal(300, 4_000, 2),
            Self::Ratio | Self::Ratio8 => Decimal::from(dice.roll(4)) + Decimal::new(75, 2),
            Self::Expensive => wanted / dice.decimal(50_000_000, 70_000_000, 2),
            Self::Penny | Self::Penny8 => wanted / dice.decimal(1, 500, 4),
            Self::Clones => wanted / clone_price,
        };
        let decimals = if self.is_fine() {
            8
        } else if self == Self::Penny {
            4
        } else {
            2
        };
        let price = (wanted / shares).round_dp(decimals);

        let share = price / value;
        let (low, high) = if self == Self::Edge {
            let below = ((wanted / price).floor() * price + HAIR) / value;
            ((target - below).max(Decimal::ZERO), share * Decimal::TWO)
        } else if is_forced && matches!(self, Self::Forced | Self::Forced8) {
            (Decimal::ZERO, share)
        } else if matches!(self, Self::Narrow | Self::NarrowTight) {
            // A share at least, so that there is one in the band.
            (share.max(Decimal::new(1, 3)), share.max(Decimal::new(1, 3)))
        } else if self == Self::Infeasible && number == 0 {
            (Decimal::ZERO, Decimal::ZERO)
        } else {
            (target, target.max(share * Decimal::TWO))
        };
        let mut line = line(number, price, target, low, high.max(low).min(Decimal::ONE));
        line.held = match dice.roll(3) {
            0 => Decimal::ZERO,
            1 => shares.floor(),
            _ => dice.decimal(0, 10, 0),
        };
        line
    }
}
