//! What is kept at the end, read back whole and reckoned again.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::desk::{Desk, Expected, REBALANCES};

const PAGE: usize = 20;

/// What was found.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) rebalances: BTreeMap<String, u64>,
    pub(super) portfolios: u64,
    pub(super) positions: u64,
    pub(super) trades: u64,
    pub(super) outside_band: u64,
    pub(super) refused: u64,
    pub(super) untold: u64,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "rebalance_id")]
    id: String,
    status: String,
    portfolios_total: u64,
    number_of_portfolios: u64,
    portfolios_failed: u64,
    error: Option<Reason>,
    portfolios: Vec<Portfolio>,
    failures: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    detail: String,
}

#[derive(Deserialize)]
struct Portfolio {
    #[serde(rename = "portfolio_id")]
    id: String,
    market_value: Exact,
    cash_before_rebalance: Exact,
    cash_after_rebalance: Exact,
    trading_costs: Exact,
    positions: Vec<Position>,
}

#[derive(Deserialize)]
struct Position {
    #[serde(rename = "security_id")]
    security: String,
    price: Exact,
    original_quantity: Exact,
    adjusted_quantity: Exact,
    original_position_market_value: Exact,
    adjusted_position_market_value: Exact,
    target: Exact,
    high_drift: Exact,
    low_drift: Exact,
    outside_band: bool,
    shaped_by: Vec<String>,
    transaction_type: Option<String>,
    trade_quantity: Option<u64>,
}

/// A number, digit for digit.
#[derive(Deserialize)]
struct Exact(Box<RawValue>);

impl Exact {
    fn get(&self) -> Result<Decimal> {
        let text = self.0.get();
        let number = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
        number.with_context(|| format!("`{text}` is no exact number"))
    }
}

pub(super) async fn check_all(desk: &Desk<'_>) -> Result<Kept> {
    let mut kept = Kept::default();
    let mut expected = desk.kept.borrow().clone();
    for page in 0.. {
        let query = format!("?limit={PAGE}&offset={}&sort_by=rebalance_id", page * PAGE);
        let request = desk.request(Method::GET, REBALANCES, "", &query);
        let reply = desk.ask("read all back", REBALANCES, request).await?.context("no answer")?;
        let records: Vec<Record> = reply.json()?;
        for record in &records {
            kept.check(record, expected.remove(&record.id), desk);
        }
        if records.len() < PAGE {
            break;
        }
    }
    for (id, expected) in expected {
        if expected != Expected::Deleted {
            desk.trouble.note("an answered rebalance that is lost", format!("{id}, {expected:?}"));
        }
    }
    if desk.untold.get() < kept.untold {
        let (found, may_be) = (kept.untold, desk.untold.get());
        desk.trouble.note("kept, and nobody was told", format!("{found}, and at most {may_be} may be"));
    }
    Ok(kept)
}

impl Kept {
    fn check(&mut self, record: &Record, expected: Option<Expected>, desk: &Desk<'_>) {
        *self.rebalances.entry(record.status.clone()).or_default() += 1;
        let note = |sort| desk.trouble.note(sort, format!("{}, {}", record.id, record.status));
        match (expected, record.status.as_str()) {
            (Some(_) | None, "RUNNING") => note("a rebalance that is still under way"),
            (Some(Expected::Completed | Expected::Ended), "COMPLETED")
            | (Some(Expected::Ended), "FAILED")
            | (Some(Expected::Cancelled), "CANCELLED") => {}
            // When a service dies, nobody knows whether it has deleted, and what was waited for may be left.
            (Some(Expected::Deleted), _) | (None, "FAILED") if 0 < desk.deaths() => {}
            (None, "COMPLETED") => self.untold += 1,
            _ => note("a rebalance in another state than was told"),
        }
        if let Err(error) = self.sound(record) {
            let id = &record.id;
            desk.trouble.note("a record that is not sound", format!("{id}: {error:#}"));
        }
    }

    fn sound(&mut self, record: &Record) -> Result<()> {
        let has_reason = record.error.as_ref().is_some_and(Reason::says_something);
        ensure!(has_reason == (record.status == "FAILED"), "a reason only for a failure");
        if record.status != "COMPLETED" {
            ensure!(record.portfolios.is_empty(), "portfolios of what did not complete");
            return Ok(());
        }
        let (rebalanced, failed) = (record.portfolios.len() as u64, record.failures.len() as u64);
        ensure!(rebalanced == record.number_of_portfolios && failed == record.portfolios_failed, "counts");
        ensure!(0 < rebalanced && rebalanced + failed == record.portfolios_total, "totals");
        ensure!(record.failures.iter().all(Reason::says_something), "a failure without a reason");
        self.refused += failed;
        for portfolio in &record.portfolios {
            self.portfolios += 1;
            self.conserves(portfolio).with_context(|| format!("portfolio {}", portfolio.id))?;
        }
        Ok(())
    }

    /// Cash before, less the trades and what they cost, is cash after, to the last digit.
    fn conserves(&mut self, portfolio: &Portfolio) -> Result<()> {
        let market_value = portfolio.market_value.get()?;
        let mut cash = portfolio.cash_before_rebalance.get()?;
        let mut value = cash;
        for position in &portfolio.positions {
            self.positions += 1;
            let [spent, held] =
                self.adds_up(position, market_value).with_context(|| position.security.clone())?;
            cash -= spent;
            value += held;
        }
        cash -= portfolio.trading_costs.get()?;
        let after = portfolio.cash_after_rebalance.get()?;
        ensure!(cash == after, "cash after is {after}, and not {cash}");
        ensure!(!after.is_sign_negative() || after.is_zero(), "cash after is {after}");
        ensure!(value == market_value, "the market value is {market_value}, and not {value}");
        Ok(())
    }

    /// What was spent on it, and what it was worth before.
    fn adds_up(&mut self, position: &Position, market_value: Decimal) -> Result<[Decimal; 2]> {
        let price = position.price.get()?;
        let [before, after] = [position.original_quantity.get()?, position.adjusted_quantity.get()?];
        let [value_before, value_after] =
            [position.original_position_market_value.get()?, position.adjusted_position_market_value.get()?];
        ensure!(value_before == before * price && value_after == after * price, "values");
        let traded = Decimal::from(position.trade_quantity.unwrap_or_default());
        let traded = match position.transaction_type.as_deref() {
            Some("BUY") => traded,
            Some("SELL") => -traded,
            None => Decimal::ZERO,
            Some(other) => anyhow::bail!("`{other}` is no side"),
        };
        ensure!(before + traded == after, "{before} and a trade of {traded} are not {after}");
        self.trades += u64::from(!traded.is_zero());

        let target = position.target.get()?;
        let least = (target - position.low_drift.get()?) * market_value;
        let most = (target + position.high_drift.get()?) * market_value;
        let is_outside = value_after < least || most < value_after;
        ensure!(
            is_outside == position.outside_band,
            "outside its band or not: {value_after} in {least} to {most}"
        );
        if is_outside {
            self.outside_band += 1;
            // No fractions are held here, and no rule of any model keeps a position from its band.
            ensure!(!position.shaped_by.is_empty(), "outside its band for no reason");
        }
        Ok([traded * price, value_before])
    }
}

impl Reason {
    fn says_something(&self) -> bool {
        !self.code.is_empty() && !self.detail.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// 1000 in cash and 3 of a security at 100, of which 2 are bought.
    fn sound() -> Value {
        json!({
            "rebalance_id": "r", "status": "COMPLETED", "portfolios_total": 1, "number_of_portfolios": 1,
            "portfolios_failed": 0, "error": null, "failures": [],
            "portfolios": [{
                "portfolio_id": "p", "market_value": 1300, "cash_before_rebalance": 1000,
                "cash_after_rebalance": 799.5, "trading_costs": 0.5,
                "positions": [{
                    "security_id": "s", "price": 100.00, "original_quantity": 3, "adjusted_quantity": 5,
                    "original_position_market_value": 300, "adjusted_position_market_value": 500,
                    "target": 0.38, "high_drift": 0.01, "low_drift": 0.01, "outside_band": false,
                    "shaped_by": [], "transaction_type": "BUY", "trade_quantity": 2,
                }],
            }],
        })
    }

    fn judged(record: &Value) -> Result<()> {
        Kept::default().sound(&serde_json::from_str(&record.to_string())?)
    }

    #[test]
    fn a_record_that_adds_up_is_sound_and_whatever_does_not_is_not() {
        judged(&sound()).unwrap();

        let wrong = [
            ("/portfolios/0/cash_after_rebalance", json!(799.51)),
            ("/portfolios/0/trading_costs", json!(0.49)),
            ("/portfolios/0/market_value", json!(1300.01)),
            ("/portfolios/0/positions/0/price", json!(100.01)),
            ("/portfolios/0/positions/0/trade_quantity", json!(1)),
            ("/portfolios/0/positions/0/transaction_type", json!("SELL")),
            ("/portfolios/0/positions/0/adjusted_quantity", json!(6)),
            ("/portfolios/0/positions/0/adjusted_position_market_value", json!(501)),
            ("/portfolios/0/positions/0/high_drift", json!(0.004)),
            ("/portfolios/0/positions/0/outside_band", json!(true)),
            ("/number_of_portfolios", json!(2)),
            ("/portfolios_total", json!(2)),
            ("/error", json!({ "code": "c", "detail": "d" })),
            ("/status", json!("FAILED")),
        ];
        for (pointer, value) in wrong {
            let mut record = sound();
            *record.pointer_mut(pointer).unwrap() = value.clone();
            judged(&record).expect_err(&format!("{pointer} of {value}"));
        }
    }
}
