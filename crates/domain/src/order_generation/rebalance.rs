//! The outcome of a rebalance: what changes hands, what is left, and how good the answer is.

use rust_decimal::Decimal;

use crate::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use crate::rounding::{REPLY_DECIMALS, quotient_for_the_record, quotient_to_decimals};
use crate::version::Version;
use crate::{Date, Timestamp};

use super::model::ModelName;
use super::optimum::{Answer, Method};
use super::problem::{Line, Problem, Row};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Buy,
    Sell,
}

/// A number of whole units to buy or sell; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    pub side: Side,
    pub quantity: u64,
}

impl Trade {
    /// `None` when nothing changes.
    pub fn of_change(change: i64) -> Option<Self> {
        let side = if change < 0 { Side::Sell } else { Side::Buy };
        (change != 0).then_some(Self { side, quantity: change.unsigned_abs() })
    }

    pub fn signed_quantity(self) -> Decimal {
        let quantity = Decimal::from(self.quantity);
        match self.side {
            Side::Buy => quantity,
            Side::Sell => -quantity,
        }
    }
}

/// How far an objective is known to be from the best possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimalityStatus {
    /// No better answer exists.
    Optimal,
    /// No answer is better by more than half a cent.
    WithinTolerance,
    /// A better answer may exist, but none below the lower bound.
    Bound,
}

/// The proof that an answer carries. Money of the portfolio's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optimality {
    pub status: OptimalityStatus,
    /// Σ |market value · target − value after| over the combined list.
    pub objective: Decimal,
    /// No whole-share answer inside the bands and the cash has a smaller objective.
    pub lower_bound: Decimal,
    pub method: Method,
}

/// One security of a rebalanced portfolio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebalancedPosition {
    pub security: SecurityId,
    pub price: Decimal,
    pub original_quantity: Decimal,
    pub adjusted_quantity: Decimal,
    pub original_value: Decimal,
    pub adjusted_value: Decimal,
    pub target: Decimal,
    pub high_drift: Decimal,
    pub low_drift: Decimal,
    /// Adjusted value over market value, to 18 significant digits.
    pub actual: Decimal,
    /// Actual over target, less one, to 18 significant digits; zero when the target is.
    pub actual_drift: Decimal,
    /// No whole-share trade could bring the position inside its band.
    pub outside_band: bool,
    pub trade: Option<Trade>,
}

impl RebalancedPosition {
    /// The share of market value after the rebalance, as replies show it.
    pub fn shown_actual(&self, market_value: Decimal) -> Decimal {
        quotient_to_decimals(self.adjusted_value, market_value, REPLY_DECIMALS)
    }
}

/// A portfolio after its rebalance. Exact: cash before − Σ trade · price = cash after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioRebalance {
    pub portfolio: PortfolioId,
    pub market_value: Decimal,
    pub cash_before: Decimal,
    pub cash_after: Decimal,
    pub optimality: Optimality,
    pub positions: Vec<RebalancedPosition>,
}

/// A portfolio of a model that could not be rebalanced, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPortfolio {
    pub portfolio: PortfolioId,
    /// Short and stable; what programs match on.
    pub code: String,
    pub detail: String,
}

/// A kept rebalance of one or more portfolios to a model, all at the same prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    pub header: RebalanceHeader,
    /// In the model's order, without the failed ones.
    pub portfolios: Vec<PortfolioRebalance>,
}

/// What is known of a rebalance before its portfolios are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebalanceHeader {
    pub id: RebalanceId,
    pub model: ModelId,
    /// The model's name at that time.
    pub model_name: ModelName,
    pub date: Timestamp,
    pub failed: Vec<FailedPortfolio>,
    pub version: Version,
    pub created_at: Timestamp,
}

impl RebalanceHeader {
    pub fn trade_date(&self) -> Date {
        self.date.date_naive()
    }
}

/// An answer that must not become orders; a fault of the optimiser, never of the portfolio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error("the answer has {found} quantities, the problem {expected}")]
    WrongLength { expected: usize, found: usize },
    #[error("the answer has {quantity} of security {security}, outside {lowest} to {highest}")]
    OutsideBand { security: SecurityId, quantity: i64, lowest: i64, highest: i64 },
    #[error("the answer costs {cost} units of money, there are {budget}")]
    Overspent { cost: i128, budget: i128 },
    #[error(
        "the answer claims that none deviates by less than {claimed} units of money, but deviates by {found} itself"
    )]
    BoundAboveObjective { claimed: i128, found: i128 },
}

impl Problem {
    /// Turns an answer into trades, once it has been checked against every band and the cash.
    ///
    /// The objective is reckoned anew from the quantities; the optimiser's own is not believed.
    pub fn accept(&self, answer: &Answer, portfolio: PortfolioId) -> Result<PortfolioRebalance, Unsound> {
        self.verify(answer)?;
        let quantities = &answer.quantities;
        let spent = self.cost(quantities) + self.residues();
        let rows = self.lines().iter().zip(self.rows()).zip(quantities);
        Ok(PortfolioRebalance {
            portfolio,
            market_value: self.market_value(),
            cash_before: self.cash().normalize(),
            cash_after: (self.market_value() - self.money(spent)).normalize(),
            optimality: self.optimality(answer),
            positions: rows.map(|((line, row), &quantity)| self.position(line, row, quantity)).collect(),
        })
    }

    fn verify(&self, answer: &Answer) -> Result<(), Unsound> {
        let quantities = &answer.quantities;
        if quantities.len() != self.rows().len() {
            return Err(Unsound::WrongLength { expected: self.rows().len(), found: quantities.len() });
        }
        for ((line, row), &quantity) in self.lines().iter().zip(self.rows()).zip(quantities) {
            if quantity < row.lowest || row.highest < quantity {
                let Row { lowest, highest, .. } = *row;
                return Err(Unsound::OutsideBand { security: line.security, quantity, lowest, highest });
            }
        }
        let cost = self.cost(quantities);
        if self.budget() < cost {
            let budget = self.budget();
            return Err(Unsound::Overspent { cost, budget });
        }
        let found = self.deviation(quantities);
        if found < answer.lower_bound {
            let claimed = answer.lower_bound;
            return Err(Unsound::BoundAboveObjective { claimed, found });
        }
        Ok(())
    }

    fn optimality(&self, answer: &Answer) -> Optimality {
        const HALF_A_CENT: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

        let objective = self.money(self.deviation(&answer.quantities));
        let lower_bound = self.money(answer.lower_bound.max(0));
        let status = match objective - lower_bound {
            gap if gap.is_zero() => OptimalityStatus::Optimal,
            gap if gap <= HALF_A_CENT => OptimalityStatus::WithinTolerance,
            _ => OptimalityStatus::Bound,
        };
        Optimality { status, objective, lower_bound, method: answer.method }
    }

    fn position(&self, line: &Line, row: &Row, quantity: i64) -> RebalancedPosition {
        let market_value = self.market_value();
        let adjusted_value = self.money(i128::from(quantity) * row.price + row.residue);
        let wanted = self.money(row.target + row.residue);
        let change = quantity - row.held;
        RebalancedPosition {
            security: line.security,
            price: line.price.get(),
            original_quantity: line.held.normalize(),
            adjusted_quantity: (line.held + Decimal::from(change)).normalize(),
            original_value: self.money(i128::from(row.held) * row.price + row.residue),
            adjusted_value,
            target: line.target,
            high_drift: line.band.high(),
            low_drift: line.band.low(),
            actual: quotient_for_the_record(adjusted_value, market_value),
            actual_drift: quotient_for_the_record(adjusted_value - wanted, wanted),
            outside_band: self.is_outside_band(line, row, quantity),
            trade: Trade::of_change(change),
        }
    }
}
