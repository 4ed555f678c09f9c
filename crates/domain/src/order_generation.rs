//! Order generation: investment models, and the trades that bring a portfolio back to its model.

mod cover;
pub mod holdings;
pub mod model;
mod narrow;
pub mod optimum;
pub mod position;
pub mod price;
pub mod priced_model;
pub mod problem;
pub mod progress;
pub mod rebalance;
mod shaping;
pub mod trading_rules;
mod units;
