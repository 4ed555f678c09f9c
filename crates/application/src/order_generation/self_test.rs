//! A rebalance with a known answer, to see whether the optimiser still thinks.

use std::sync::Arc;

use domain::identifier::SecurityId;
use domain::order_generation::holdings::Holdings;
use domain::order_generation::position::{Band, Drift, Position, Positions, Target};
use domain::order_generation::price::{Price, PriceSnapshot};
use domain::order_generation::priced_model::PricedModel;
use domain::order_generation::problem::{BandPolicy, Problem};
use domain::order_generation::trading_rules::TradingRules;
use rust_decimal::Decimal;

use super::OrderGeneration;
use super::ports::OptimizerError;

/// What the whole-share optimum of the fixed problem is.
const EXPECTED: [i64; 3] = [6, 3, 2];

tokio::task_local! {
    static TESTING: ();
}

/// Whether this task tests the optimiser, and rebalances no portfolio.
pub fn is_self_test() -> bool {
    TESTING.try_with(|()| ()).is_ok()
}

impl OrderGeneration {
    /// Solves a fixed three-position problem; fails if the optimiser does, or errs.
    pub async fn self_test(&self) -> Result<(), OptimizerError> {
        let answer = TESTING.scope((), self.optimizer.solve(Arc::new(fixed_problem()))).await?;
        if answer.quantities == EXPECTED {
            Ok(())
        } else {
            Err(OptimizerError::Broken {
                source: format!("{:?} instead of {EXPECTED:?}", answer.quantities).into(),
            })
        }
    }
}

/// 1,000 in cash; 60 % at 100, 25 % at 80, 10 % at 45, so that two targets fall between whole shares.
fn fixed_problem() -> Problem {
    let securities =
        ["A", "B", "C"].map(|letter| letter.repeat(24).parse::<SecurityId>().expect("24 letters"));
    let shares = [600, 250, 100].map(|share| Target::try_from(Decimal::new(share, 3)).expect("on the grid"));
    let drift = Drift::try_from(Decimal::new(5, 2)).expect("between zero and one");
    let band = Band::new(drift, drift).expect("low equals high");

    let positions = securities.iter().zip(shares);
    let positions = positions.map(|(&security, target)| Position { security, target, band }).collect();
    let prices = [100, 80, 45].map(|amount| Price::try_from(Decimal::from(amount)).expect("above zero"));
    let positions = Positions::new(positions).expect("95 % of three securities");
    let snapshot: PriceSnapshot = securities.into_iter().zip(prices).collect();
    let holdings = Holdings::new(Decimal::from(1000), []).expect("only cash");
    PricedModel::new(&positions, &snapshot, &TradingRules::default(), BandPolicy::Strict)
        .and_then(|model| model.problem(&holdings))
        .expect("every band holds a whole share")
}
