//! Many portfolios at once, for whoever measures with more than a story needs.

use rand::{RngExt, rngs::StdRng};
use rust_decimal::Decimal;

use crate::{Sandbox, seeded};

/// What the poorest and the richest are worth. Of the poorest, one part in a hundred buys a share of any
/// built-in company, so that a model with drifts of 0.005 has a whole share in each of its bands.
const POOREST: u32 = 500_000;
const RICHEST: u32 = 4_000_000;

impl Sandbox {
    /// Opens so many portfolios, each with a name, some cash, and `positions` of the priced securities; without
    /// any it is all cash. What each has depends on the seed and its number alone.
    pub fn open(&self, portfolios: usize, positions: usize) {
        let priced: Vec<(String, Decimal)> = (self.universe.securities().iter())
            .filter_map(|security| {
                let quote = self.universe.quote(&security.ticker)?;
                Some((self.security.id_of(&security.ticker)?, quote.mean))
            })
            .collect();
        for number in 1..=portfolios {
            let mut rng = seeded::rng(self.seed, &format!("opened portfolio {number}"));
            let id = seeded::object_id(&mut rng);
            self.portfolio.add(&id, &format!("Portfolio {number}"));
            let (cash, holdings) = assets(&mut rng, &priced, number, positions);
            self.accounting.fund(&id, cash, &holdings);
        }
    }
}

/// A tenth in cash, the rest in about equal parts, each up to half more or less.
fn assets<'a>(
    rng: &mut StdRng,
    priced: &'a [(String, Decimal)],
    number: usize,
    positions: usize,
) -> (Decimal, Vec<(&'a str, Decimal)>) {
    let value = Decimal::from(rng.random_range(POOREST..=RICHEST));
    let positions = positions.min(priced.len());
    if positions == 0 {
        return (value, Vec::new());
    }
    let part = value * Decimal::new(9, 1) / Decimal::from(positions);
    let mut holding = |(id, price): &'a (String, Decimal)| {
        let share = Decimal::new(rng.random_range(50..=150), 2);
        (id.as_str(), (part * share / price).floor())
    };
    let chosen = priced.iter().cycle().skip(number % priced.len()).take(positions);
    let holdings = chosen.map(&mut holding).filter(|(_, quantity)| !quantity.is_zero()).collect();
    (value / Decimal::TEN, holdings)
}
