//! Portfolios made up from a seed, small enough to try everything or as large as they come.

use std::collections::BTreeSet;

use domain::identifier::SecurityId;
use domain::order_generation::holdings::Holdings;
use domain::order_generation::position::{Band, Position, Positions, Target};
use domain::order_generation::price::{Price, PriceSnapshot};
use domain::order_generation::priced_model::PricedModel;
use domain::order_generation::problem::{BandPolicy, Line, Problem, Refusal};
use domain::order_generation::trading_rules::{Amount, GroupLimit, TradingRules};
use rust_decimal::Decimal;

/// All that a rebalance is stated from: the model's securities first, then the others held.
#[derive(Debug, Clone)]
pub struct Portfolio {
    pub cash: Decimal,
    pub lines: Vec<Line>,
    pub rules: TradingRules,
    pub policy: BandPolicy,
}

impl Portfolio {
    /// Without cash, without rules, with strict bands.
    pub fn of(lines: Vec<Line>) -> Self {
        Self { cash: Decimal::ZERO, lines, rules: TradingRules::default(), policy: BandPolicy::Strict }
    }

    pub fn problem(&self) -> Result<Problem, Refusal> {
        PricedModel::new(&self.positions(), &self.prices(), &self.rules, self.policy)?
            .problem(&self.holdings())
    }

    /// Of the model. Panics where no model could have them.
    pub fn positions(&self) -> Positions {
        let wanted = self.lines.iter().filter(|line| !line.target.is_zero());
        let position = |line: &Line| Position {
            security: line.security,
            target: line.target.try_into().expect("targets lie on the grid"),
            band: line.band,
        };
        Positions::new(wanted.map(position).collect()).expect("targets add up to 95 % at most")
    }

    pub fn holdings(&self) -> Holdings {
        let held = self.lines.iter().map(|line| (line.security, line.held));
        Holdings::new(self.cash, held).expect("each security has one line")
    }

    pub fn prices(&self) -> PriceSnapshot {
        self.lines.iter().map(|line| (line.security, line.price)).collect()
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

        let policy = if dice.one_in(4) { BandPolicy::Nearest } else { BandPolicy::Strict };
        let mut portfolio = Self { policy, ..Self::of(lines) };
        portfolio.fund(value);
        portfolio
    }

    /// [`tiny`](Self::tiny), under one to three random trading rules.
    pub fn tiny_with_rules(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x0072_756C_6573);
        let mut portfolio = Self::tiny(seed);
        let value: Decimal =
            portfolio.cash + portfolio.lines.iter().map(|line| line.held * line.price.get()).sum::<Decimal>();
        for _ in 0..=dice.roll(3) {
            portfolio.add_rule(&mut dice, value);
        }
        portfolio
    }

    fn add_rule(&mut self, dice: &mut Dice, value: Decimal) {
        let rules = &mut self.rules;
        let amount = |money: Decimal| Amount::try_from(money.max(Decimal::ZERO).round_dp(2)).expect("small");
        let mut some_securities = || -> BTreeSet<SecurityId> {
            self.lines.iter().filter(|_| dice.one_in(3)).map(|line| line.security).collect()
        };
        let some = some_securities();
        let number = u32::try_from(dice.roll(5)).expect("a small number");
        let percent = dice.decimal(0, 100, 2);
        match dice.roll(14) {
            0 => rules.minimum_cash = amount(value * percent / Decimal::TEN),
            1 => rules.minimum_cash_share = (percent / Decimal::TEN).try_into().expect("a share"),
            2 => rules.lot_sizes.default = Decimal::from(1 + number).try_into().expect("a lot"),
            3 => {
                let lot = Decimal::from(2 + number).try_into().expect("a lot");
                rules.lot_sizes.per_security = some.into_iter().map(|security| (security, lot)).collect();
            }
            4 => rules.minimum_trade_value = amount(value * percent / Decimal::TEN),
            5 => rules.trade_only_outside_band = true,
            6 => rules.do_not_buy = some,
            7 => rules.do_not_sell = some,
            8 => rules.restricted = some,
            9 => rules.proportional_cost = (percent / Decimal::TEN).try_into().expect("a rate"),
            10 => rules.ticket_fee = amount(value * percent / Decimal::ONE_HUNDRED),
            11 => rules.maximum_trades = Some(number),
            12 => rules.maximum_turnover = Some(percent.try_into().expect("a share")),
            _ if dice.one_in(2) => rules.maximum_positions = Some(number),
            _ => rules.group_limits.push(GroupLimit {
                name: "group".parse().expect("a name"),
                securities: some,
                maximum: percent.try_into().expect("a share"),
            }),
        }
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
        Self { cash: value, ..Self::of(lines.collect()) }
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
pub struct Dice(Choices);

#[derive(Debug, Clone)]
enum Choices {
    Seeded(u64),
    /// Zero once they are used up.
    Given(std::vec::IntoIter<u8>),
}

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(Choices::Seeded(seed))
    }

    /// Rolls what the bytes say, so that whoever chooses the bytes chooses everything.
    pub fn loaded(bytes: Vec<u8>) -> Self {
        Self(Choices::Given(bytes.into_iter()))
    }

    /// From zero to one less than `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        let bits = match &mut self.0 {
            Choices::Seeded(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let bits = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                bits ^ (bits >> 31)
            }
            Choices::Given(bytes) => {
                let enough = if sides <= 1 << 8 { 1 } else { 8 };
                bytes.take(enough).fold(0, |bits, byte| (bits << 8) | u64::from(byte))
            }
        };
        bits % sides
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
