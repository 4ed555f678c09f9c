//! The outcome of a rebalance: what changes hands, what is left, and how good the answer is.

use rust_decimal::Decimal;

use crate::identifier::{ModelId, PortfolioId, RebalanceId, SecurityId};
use crate::rounding::{REPLY_DECIMALS, quotient_for_the_record, quotient_to_decimals};
use crate::version::Version;
use crate::{Date, Timestamp};

use super::model::ModelName;
use super::optimum::{Answer, Method};
use super::problem::{Line, Problem, Row};
use super::progress::{Progress, RebalanceStatus};
use super::shaping::Shaping;
use super::trading_rules::{Rule, TradingRules};

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
    /// No answer is better by more than half a cent, or by more than the gap that the rules allow.
    WithinTolerance,
    /// A better answer may exist, but none below the lower bound.
    Bound,
}

/// The proof that an answer carries. Money of the portfolio's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optimality {
    pub status: OptimalityStatus,
    /// Σ |market value · target − value after| over the combined list, and the costs of trading.
    pub objective: Decimal,
    /// No whole-share answer inside the bands, the cash and the trading rules has a smaller objective.
    pub lower_bound: Decimal,
    pub method: Method,
}

impl Optimality {
    /// What is not proven, as a share of the objective, to 18 significant digits; zero if it is.
    pub fn gap(&self) -> Decimal {
        quotient_for_the_record(self.objective - self.lower_bound, self.objective)
    }
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
    /// No trade that the rules allow could bring the position inside its band.
    pub outside_band: bool,
    pub trade: Option<Trade>,
    /// The rules that, each alone, keep the position from the whole shares nearest its target.
    pub shaped_by: Vec<Rule>,
}

impl RebalancedPosition {
    /// The share of market value after the rebalance, as replies show it.
    pub fn shown_actual(&self, market_value: Decimal) -> Decimal {
        quotient_to_decimals(self.adjusted_value, market_value, REPLY_DECIMALS)
    }
}

/// A portfolio after its rebalance. Exact: cash before − Σ trade · price − trading costs = cash after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioRebalance {
    pub portfolio: PortfolioId,
    pub market_value: Decimal,
    pub cash_before: Decimal,
    pub cash_after: Decimal,
    pub trading_costs: Decimal,
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
    /// Those that were kept to: the model's, or others for this time.
    pub rules: TradingRules,
    pub status: RebalanceStatus,
    pub failed: Vec<FailedPortfolio>,
    pub version: Version,
    pub created_at: Timestamp,
}

impl RebalanceHeader {
    pub fn trade_date(&self) -> Date {
        self.date.date_naive()
    }

    /// What has become of the portfolios; of a completed rebalance there are `rebalanced` to read.
    pub fn progress(&self, rebalanced: usize) -> Progress {
        match self.status {
            RebalanceStatus::Completed => {
                let failed = self.failed.len();
                Progress { total: rebalanced + failed, rebalanced, failed }
            }
            RebalanceStatus::Running(progress)
            | RebalanceStatus::Failed { progress, .. }
            | RebalanceStatus::Cancelled(progress) => progress,
        }
    }
}

/// An answer that must not become orders; a fault of the optimiser, never of the portfolio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error("the answer has {found} quantities, the problem {expected}")]
    WrongLength { expected: usize, found: usize },
    #[error("the answer has {quantity} of security {security}, outside {lowest} to {highest}")]
    OutsideBand { security: SecurityId, quantity: i64, lowest: i64, highest: i64 },
    #[error("the answer spends {spent} units of money, there are {budget}")]
    Overspent { spent: i128, budget: i128 },
    #[error("the answer trades too little of security {0} for the trade to be made")]
    TradeTooSmall(SecurityId),
    #[error("the answer breaks the rule {}", .0.name())]
    BreaksRule(Rule),
    #[error(
        "the answer claims that none deviates by less than {claimed} units of money, but deviates by {found} itself"
    )]
    BoundAboveObjective { claimed: i128, found: i128 },
}

/// An answer that was checked against every band, the cash and every trading rule: the only thing that
/// trades are made of.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'a> {
    problem: &'a Problem,
    answer: &'a Answer,
}

impl Problem {
    /// Checks an answer in exact integers. The optimiser's own sums are not believed.
    pub fn verify<'a>(&'a self, answer: &'a Answer) -> Result<Verified<'a>, Unsound> {
        let quantities = &answer.quantities;
        if quantities.len() != self.rows().len() {
            return Err(Unsound::WrongLength { expected: self.rows().len(), found: quantities.len() });
        }
        for ((line, row), &quantity) in self.lines().iter().zip(self.rows()).zip(quantities) {
            if quantity < row.lowest || row.highest < quantity {
                let Row { lowest, highest, .. } = *row;
                return Err(Unsound::OutsideBand { security: line.security, quantity, lowest, highest });
            }
            if !row.allows(quantity) {
                return Err(Unsound::TradeTooSmall(line.security));
            }
        }
        let (spent, budget) = (self.spent(quantities), self.budget());
        if budget < spent {
            return Err(Unsound::Overspent { spent, budget });
        }
        if let Some(rule) = self.broken_joint_rule(quantities) {
            return Err(Unsound::BreaksRule(rule));
        }
        let found = self.objective(quantities);
        if found < answer.lower_bound {
            let claimed = answer.lower_bound;
            return Err(Unsound::BoundAboveObjective { claimed, found });
        }
        Ok(Verified { problem: self, answer })
    }

    /// [`verify`](Self::verify), then [`Verified::rebalance`].
    pub fn accept(&self, answer: &Answer, portfolio: PortfolioId) -> Result<PortfolioRebalance, Unsound> {
        Ok(self.verify(answer)?.rebalance(portfolio))
    }
}

impl Verified<'_> {
    /// The trades, and where they leave the portfolio.
    pub fn rebalance(&self, portfolio: PortfolioId) -> PortfolioRebalance {
        let Self { problem, answer: Answer { quantities, .. } } = self;
        let shaping = Shaping::new(problem, quantities);
        let position = |(idx, (line, row)): (usize, (&Line, &Row))| {
            position(problem, line, row, quantities[idx], shaping.of(idx))
        };
        let rows = problem.lines().iter().zip(problem.rows());
        PortfolioRebalance {
            portfolio,
            market_value: problem.market_value(),
            cash_before: problem.cash().normalize(),
            cash_after: problem.cash_after(quantities),
            trading_costs: problem.money(problem.trading_costs(quantities)),
            optimality: self.optimality(),
            positions: rows.enumerate().map(position).collect(),
        }
    }

    fn optimality(&self) -> Optimality {
        const HALF_A_CENT: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

        let Self { problem, answer } = self;
        let objective = problem.money(problem.objective(&answer.quantities));
        let lower_bound = problem.money(answer.lower_bound.max(0));
        let proven =
            Optimality { status: OptimalityStatus::Bound, objective, lower_bound, method: answer.method };
        let status = match objective - lower_bound {
            gap if gap.is_zero() => OptimalityStatus::Optimal,
            gap if gap <= HALF_A_CENT => OptimalityStatus::WithinTolerance,
            _ if proven.gap() <= problem.rules().gap.get() => OptimalityStatus::WithinTolerance,
            _ => OptimalityStatus::Bound,
        };
        Optimality { status, ..proven }
    }
}

fn position(
    problem: &Problem,
    line: &Line,
    row: &Row,
    lots: i64,
    shaped_by: Vec<Rule>,
) -> RebalancedPosition {
    let market_value = problem.market_value();
    let adjusted_value = problem.money(i128::from(lots) * row.price + row.residue);
    let wanted = problem.money(row.target + row.residue);
    let change = (lots - row.held) * row.lot;
    RebalancedPosition {
        security: line.security,
        price: line.price.get(),
        original_quantity: line.held.normalize(),
        adjusted_quantity: (line.held + Decimal::from(change)).normalize(),
        original_value: problem.money(i128::from(row.held) * row.price + row.residue),
        adjusted_value,
        target: line.target,
        high_drift: line.band.high(),
        low_drift: line.band.low(),
        actual: quotient_for_the_record(adjusted_value, market_value),
        actual_drift: quotient_for_the_record(adjusted_value - wanted, wanted),
        outside_band: problem.is_outside_band(line, row, lots),
        trade: Trade::of_change(change),
        shaped_by,
    }
}
