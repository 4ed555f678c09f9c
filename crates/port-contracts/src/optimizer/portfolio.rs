//! Portfolios made up from a seed, small enough to try everything or as large as they come.

use domain::identifier::SecurityId;
use domain::order_generation::holdings::Holdings;
use domain::order_generation::position::{Band, Position, Positions, Target};
use domain::order_generation::price::{Price, PriceSnapshot};
use domain::order_generation::problem::{BandPolicy, Line, Problem, Refusal};
use rust_decimal::Decimal;

/// All that a rebalance is stated from: the model's securities first, then the others held.
#[derive(Debug, Clone)]
pub struct Portfolio {
    pub cash: Decimal,
    pub lines: Vec<Line>,
    pub policy: BandPolicy,
}

impl Portfolio {
    pub fn problem(&self) -> Result<Problem, Refusal> {
        let wanted = self.lines.iter().filter(|line| !line.target.is_zero());
        let position = |line: &Line| Position {
            security: line.security,
            target: line.target.try_into().expect("targets lie on the grid"),
            band: line.band,
        };
        let positions =
            Positions::new(wanted.map(position).collect()).expect("targets add up to 95 % at most");
        let held = self.lines.iter().map(|line| (line.security, line.held));
        let holdings = Holdings::new(self.cash, held).expect("each security has one line");
        let prices: PriceSnapshot = self.lines.iter().map(|line| (line.security, line.price)).collect();
        Problem::new(&positions, &holdings, &prices, self.policy)
    }

    /// Up to eight securities of the model and two others, with few whole shares to choose from.
    ///
    /// Meant to be awkward: little cash, bands that push up, prices of any fineness, ties, fractions,
    /// short holdings. Many have no solution.
    pub fn tiny(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let value = match dice.roll(3) {
            0 => Decimal::from(20 * (1 + dice.roll(500))),
            1 => dice.decimal(100, 500_000, 2),
            _ => dice.decimal(1, 10_000, 4),
        };
        let decimals = [0, 2, 2, 4, 8][dice.face(5)];
        let is_coarse = dice.one_in(3);
        let tick = if is_coarse { value / Decimal::ONE_HUNDRED } else { Decimal::new(1, decimals) };
        let market = TinyMarket { value, tick, is_tight: !dice.one_in(4) };
        let n_wanted = 1 + dice.face(8);
        let most_steps = 190 / n_wanted as u64;
        let mut lines: Vec<Line> = (0..n_wanted)
            .map(|number| {
                let steps = if market.is_tight { most_steps } else { 1 + dice.roll(most_steps) };
                market.wanted(&mut dice, number, Decimal::from(steps) * Target::STEP)
            })
            .collect();
        if dice.one_in(5) {
            let (price, target) = (lines[0].price, lines[0].target);
            for line in &mut lines {
                (line.price, line.target) = (price, target);
            }
        }
        let n_lines = n_wanted + dice.face(3);
        lines.extend((n_wanted..n_lines).map(|number| market.unwanted(&mut dice, number)));

        let mut portfolio = Self {
            cash: Decimal::ZERO,
            lines,
            policy: if dice.one_in(4) { BandPolicy::Nearest } else { BandPolicy::Strict },
        };
        portfolio.fund(value);
        portfolio
    }

    /// A hundred securities in cents, bought from cash that does not quite suffice.
    pub fn large(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let value = dice.decimal(5_000_000, 50_000_000, 2);
        let lines = (0..Positions::MAX).map(|number| {
            let target = Decimal::new(if number < 90 { 10 } else { 5 }, 3);
            let shares = dice.decimal(150, 199, 2);
            let price = (value * target / shares).round_dp(2);
            let low = target * dice.decimal(4, 10, 1);
            line(number, price, target, low, Decimal::ONE)
        });
        Self { cash: value, lines: lines.collect(), policy: BandPolicy::Strict }
    }

    /// Cash that makes the market value `value`.
    pub fn fund(&mut self, value: Decimal) {
        let worth = |line: &Line| line.held * line.price.get();
        self.cash = value - self.lines.iter().map(worth).sum::<Decimal>();
    }
}

struct TinyMarket {
    value: Decimal,
    /// Prices are multiples of it; a coarse one makes for many ties.
    tick: Decimal,
    /// The targets rounded up cost more than there is.
    is_tight: bool,
}

impl TinyMarket {
    fn price(&self, about: Decimal) -> Decimal {
        (about / self.tick).round().max(Decimal::ONE) * self.tick
    }

    fn wanted(&self, dice: &mut Dice, number: usize, target: Decimal) -> Line {
        let remainder = match dice.roll(if self.is_tight { 3 } else { 5 }) {
            0 => Decimal::new(5, 1),
            1 | 2 => dice.decimal(50, 99, 2),
            3 => dice.decimal(1, 49, 2),
            _ => Decimal::ZERO,
        };
        let shares = (Decimal::from(dice.roll(4)) + remainder).max(Decimal::new(3, 1));
        let price = self.price(self.value * target / shares);

        // In tenths of a share.
        let (low, high) = match dice.roll(8) {
            0 => (0, 0),
            1 => (0, dice.roll(20)),
            2 => (dice.roll(5), dice.roll(10)),
            _ => (dice.roll(25), 5 + dice.roll(15)),
        };
        let drift = |tenths: u64| {
            let value = price * Decimal::new(1, 1) * Decimal::from(tenths);
            (value / self.value).round_dp(6).min(Decimal::ONE)
        };
        let mut line = line(number, price, target, drift(low), drift(high.max(low)));
        line.held = match dice.roll(6) {
            0 => Decimal::from(dice.roll(7)),
            1 => Decimal::from(dice.roll(7)) + dice.decimal(1, 99, 2),
            2 => dice.decimal(-300, -1, 2),
            3 => Decimal::ZERO,
            _ => shares.round(),
        };
        line
    }

    fn unwanted(&self, dice: &mut Dice, number: usize) -> Line {
        let price = self.price(self.value / Decimal::from(3 + dice.roll(100)));
        let mut line = line(number, price, Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
        line.held = match dice.roll(3) {
            0 => Decimal::from(1 + dice.roll(5)),
            1 => dice.decimal(1, 300, 2),
            _ => dice.decimal(-300, -1, 2),
        };
        line
    }
}

/// The security of a line by its number, sorted as the numbers are.
pub fn security(number: usize) -> SecurityId {
    format!("SECURITY{number:016}").parse().expect("24 letters and digits")
}

/// Panics unless the amounts make a line.
pub fn line(number: usize, price: Decimal, target: Decimal, low: Decimal, high: Decimal) -> Line {
    Line {
        security: security(number),
        price: Price::try_from(price).expect("prices are above zero"),
        held: Decimal::ZERO,
        target,
        band: Band::new(low.try_into().expect("a drift"), high.try_into().expect("a drift"))
            .expect("no wider below than above"),
    }
}

/// A reproducible stream of choices.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From zero to one less than `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % sides
    }

    /// An index into so many.
    pub fn face(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll(sides as u64)).expect("less than a usize")
    }

    /// `least` to `most` units of 10^-scale.
    pub fn decimal(&mut self, least: i64, most: i64, scale: u32) -> Decimal {
        let above = i64::try_from(self.roll(least.abs_diff(most) + 1)).expect("a range of i64");
        Decimal::new(least + above, scale)
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}
