//! Portfolios as large as they come, of every kind that has troubled a solver.

use domain::order_generation::optimum::{Limits, Method, optimum};
use domain::order_generation::position::Band;
use domain::order_generation::problem::{BandPolicy, Line, Refusal, Row};
use domain::order_generation::rebalance::OptimalityStatus;
use port_contracts::optimizer::portfolio::{Dice, Portfolio, line};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

const SEEDS: u64 = 30;

const HAIR: Decimal = dec!(0.0000001);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Many shares to a position, wide bands: cash for everything.
    Easy,
    /// Targets rounded up cost a few per cent more than there is.
    Tight,
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
}

impl Class {
    const ALL: [Self; 13] = [
        Self::Easy,
        Self::Tight,
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
    ];

    /// Prices of eight decimals.
    fn is_fine(self) -> bool {
        matches!(self, Self::Forced8 | Self::Ratio8 | Self::Penny8)
    }

    fn portfolio(self, n_lines: usize, seed: u64) -> Portfolio {
        let mut dice = Dice::new(seed);
        let millions = if self == Self::Expensive { 10_000 } else { 1 };
        let value = dice.decimal(10_000_000, 1_000_000_000, 2) * Decimal::from(millions);
        let clone_price = (value * dec!(0.95) / dec!(2.6) / Decimal::from(n_lines)).round_dp(2);
        let mut lines: Vec<Line> = (0..n_lines)
            .map(|number| {
                let steps = 190 / n_lines + usize::from(number < 190 % n_lines);
                let target = Decimal::from(steps) * dec!(0.005);
                self.line(&mut dice, number, value, target, clone_price)
            })
            .collect();
        if self == Self::Outside {
            lines.extend((n_lines..n_lines + n_lines / 2).map(|number| {
                let price = dice.decimal(500, 50_000, 2);
                let mut line = line(number, price, dec!(0), dec!(0), dec!(0));
                line.held = dice.decimal(1, 10_000, 2);
                line
            }));
        }
        let mut portfolio = Portfolio { cash: dec!(0), lines, policy: BandPolicy::Strict };
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
            Self::Easy | Self::Outside | Self::Edge => dice.decimal(2_000, 50_000, 2),
            Self::Tight => Decimal::from(1 + dice.roll(4)) + dice.decimal(70, 99, 2),
            Self::Small => Decimal::from(dice.roll(3)) + dice.decimal(60, 99, 2),
            Self::Forced | Self::Forced8 if is_forced => dice.decimal(102, 130, 2),
            Self::Forced | Self::Forced8 => dice.decimal(300, 4_000, 2),
            Self::Ratio | Self::Ratio8 => Decimal::from(dice.roll(4)) + dec!(0.75),
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
            ((target - below).max(dec!(0)), share * dec!(2))
        } else if is_forced && matches!(self, Self::Forced | Self::Forced8) {
            (dec!(0), share)
        } else {
            (target, target.max(share * dec!(2)))
        };
        let mut line = line(number, price, target, low, high.max(low).min(dec!(1)));
        line.held = match dice.roll(3) {
            0 => dec!(0),
            1 => shares.floor(),
            _ => dice.decimal(0, 10, 0),
        };
        line
    }
}

#[test]
fn large_portfolios_are_answered_optimally_or_to_half_a_cent() {
    let mut searched = 0;
    for (class, n_lines, seed) in instances() {
        let problem = class.portfolio(n_lines, seed).problem().unwrap();

        let answer = optimum(&problem, Limits::default());

        let optimality = problem.accept(&answer, "portfolio".parse().unwrap()).unwrap().optimality;
        let status = optimality.status;
        let is_near = class.is_fine() && status == OptimalityStatus::WithinTolerance;
        let is_good = is_near || status == OptimalityStatus::Optimal;
        assert!(is_good, "{class:?} of {n_lines} lines, seed {seed}: {optimality:?}");
        searched += u64::from(answer.method != Method::OwnBest);
    }
    assert!(15 * SEEDS < searched, "{searched}");
}

#[test]
fn a_share_that_misses_its_band_by_a_hair_is_not_taken() {
    for seed in 0..SEEDS {
        let mut portfolio = Class::Edge.portfolio(100, seed);
        let problem = portfolio.problem().unwrap();
        let is_above_target = |row: &Row| row.target <= i128::from(row.lowest) * row.price;
        assert!(problem.rows().iter().all(is_above_target), "seed {seed}");

        let next_share = i128::from(problem.rows()[7].lowest) * problem.rows()[7].price;
        let hair_below = (problem.money(next_share) - HAIR) / problem.market_value();
        let edge = &mut portfolio.lines[7];
        let high = hair_below - edge.target;
        edge.band =
            Band::new(high.min(edge.band.low()).try_into().unwrap(), high.try_into().unwrap()).unwrap();
        let refused = Err(Refusal::NoWholeShareInBand(edge.security));
        assert_eq!(portfolio.problem(), refused, "seed {seed}");
    }
}

fn instances() -> impl Iterator<Item = (Class, usize, u64)> {
    Class::ALL
        .into_iter()
        .flat_map(|class| [10, 50, 100].map(|n_lines| (class, n_lines)))
        .flat_map(|(class, n_lines)| (0..SEEDS).map(move |seed| (class, n_lines, seed)))
}
