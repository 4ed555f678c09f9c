//! Portfolios as large as they come, of every kind that has troubled a solver.

use domain::order_generation::optimum::{Limits, optimum};
use domain::order_generation::problem::{BandPolicy, Line, Refusal};
use domain::order_generation::rebalance::OptimalityStatus;
use port_contracts::optimizer::portfolio::{Dice, Portfolio, line};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
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
    pub(crate) const ALL: [Self; 13] = [
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

    pub(crate) fn portfolio(self, n_lines: usize, seed: u64) -> Portfolio {
        let mut dice = Dice::new(seed);
        let value = match self {
            Self::Expensive => dice.decimal(1_000_000_000_00, 5_000_000_000_00, 2),
            Self::Penny | Self::Penny8 => dice.decimal(10_000_00, 1_000_000_00, 2),
            _ => dice.decimal(100_000_00, 10_000_000_00, 2),
        };
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
                let price = dice.decimal(5_00, 500_00, 2);
                let mut line = line(number, price, dec!(0), dec!(0), dec!(0));
                line.held = dice.decimal(1, 100_00, 2);
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
            Self::Easy | Self::Outside | Self::Edge => dice.decimal(20_00, 500_00, 2),
            Self::Tight => Decimal::from(1 + dice.roll(4)) + dice.decimal(70, 99, 2),
            Self::Small => Decimal::from(dice.roll(3)) + dice.decimal(60, 99, 2),
            Self::Forced | Self::Forced8 if is_forced => dice.decimal(1_02, 1_30, 2),
            Self::Forced | Self::Forced8 => dice.decimal(3_00, 40_00, 2),
            Self::Ratio | Self::Ratio8 => Decimal::from(dice.roll(4)) + dec!(0.75),
            Self::Expensive => wanted / dice.decimal(500_000_00, 700_000_00, 2),
            Self::Penny | Self::Penny8 => wanted / dice.decimal(1, 500, 4),
            Self::Clones => wanted / clone_price,
        };
        let decimals = match self {
            Self::Penny => 4,
            Self::Forced8 | Self::Ratio8 | Self::Penny8 => 8,
            _ => 2,
        };
        let price = (wanted / shares).round_dp(decimals);

        let share = price / value;
        let (low, high) = match self {
            Self::Forced | Self::Forced8 if is_forced => (dec!(0), share),
            Self::Edge => {
                let below = (shares.floor() * price - dec!(0.0000001)) / value;
                ((target - below).max(dec!(0)), share * dec!(2))
            }
            _ => (target, target.max(share * dec!(2))),
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
fn large_portfolios_are_answered_soundly_and_almost_always_optimally() {
    for class in Class::ALL {
        for n_lines in [10, 50, 100] {
            let seeds = 0..40;
            let n_seeds = seeds.end;
            let proven = seeds.filter(|&seed| {
                let problem = match class.portfolio(n_lines, seed).problem() {
                    Ok(problem) => problem,
                    Err(refusal) => panic!("{class:?} {n_lines} seed {seed}: {refusal}"),
                };
                let answer = optimum(&problem, Limits::default());
                let rebalance = problem.accept(&answer, "portfolio".parse().unwrap());

                let optimality = match rebalance {
                    Ok(rebalance) => rebalance.optimality,
                    Err(unsound) => panic!("{class:?} {n_lines} seed {seed}: {unsound}"),
                };
                assert!(optimality.lower_bound <= optimality.objective);
                optimality.status == OptimalityStatus::Optimal
            });
            println!("{class:?} {n_lines}: {}/{n_seeds}", proven.count());
        }
    }
}
