//! What a portfolio manager sees.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table, TableComponent};
use domain::decimal;
use rust_decimal::Decimal;
use rust_decimal::RoundingStrategy::MidpointAwayFromZero;
use serde_json::Value;

use super::story::{Portfolio, Story};

/// Trading rules to try.
const RULES: &str = r#"{ "minimum_cash_share": 0.06, "lot_size": { "default": 10 }, "ticket_fee": 9.50 }"#;

/// Portfolios shown position by position; of more, only the sums.
const SHOWN: usize = 4;

pub(super) fn write(
    out: &mut impl Write,
    story: &Story,
    replies: &Value,
    record: &Value,
    took: Duration,
) -> anyhow::Result<()> {
    let records = record["portfolios"].as_array().context("the record has no portfolios")?;
    let find =
        |portfolio: &Portfolio| records.iter().find(|record| record["portfolio_id"] == portfolio.id.as_str());

    writeln!(
        out,
        "Model {}: {} portfolios rebalanced in {} ms\n",
        record["model_name"].as_str().unwrap_or_default(),
        records.len(),
        took.as_millis()
    )?;
    for portfolio in story.portfolios.iter().take(SHOWN) {
        if let Some(record) = find(portfolio) {
            write_portfolio(out, story, portfolio, record)?;
        }
    }
    for reply in
        replies.as_array().context("the reply is no list")?.iter().filter(|reply| reply["status"] == "FAILED")
    {
        let name = reply["portfolio_name"].as_str().unwrap_or_default();
        writeln!(
            out,
            "{name} was not rebalanced: {}",
            reply["error"]["detail"].as_str().unwrap_or_default()
        )?;
    }
    write_sums(out, records)
}

fn write_portfolio(
    out: &mut impl Write,
    story: &Story,
    portfolio: &Portfolio,
    record: &Value,
) -> anyhow::Result<()> {
    let market_value = amount(&record["market_value"])?;
    let mut table = Table::new();
    table.load_preset(NOTHING);
    for line in [TableComponent::HeaderLines, TableComponent::MiddleHeaderIntersections] {
        table.set_style(line, '─');
    }
    table.set_header(["Security", "Price", "Target", "Before", "After", "Drift", "Held", "Trade", "Then"]);
    for position in positions(record)? {
        table.add_row(position_row(story, position, market_value)?);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }

    writeln!(out, "{} — {}", portfolio.name, portfolio.situation)?;
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "Market value {}   cash {} -> {}   deviation from the model {} -> {}   {}\n",
        money(market_value),
        money(amount(&record["cash_before_rebalance"])?),
        money(amount(&record["cash_after_rebalance"])?),
        money(deviation(record, "original_position_market_value")?),
        money(deviation(record, "adjusted_position_market_value")?),
        proof(record),
    )?;
    Ok(())
}

fn position_row(story: &Story, position: &Value, market_value: Decimal) -> anyhow::Result<[String; 9]> {
    let target = amount(&position["target"])?;
    let after = amount(&position["actual"])?;
    let before = amount(&position["original_position_market_value"])? / market_value;
    let trade = match (position["transaction_type"].as_str(), position["trade_quantity"].as_u64()) {
        (Some(side), Some(quantity)) => format!("{side} {quantity}"),
        _ => "-".to_owned(),
    };
    Ok([
        story.ticker(position["security_id"].as_str().unwrap_or_default()).to_owned(),
        amount(&position["price"])?.to_string(),
        percent(target),
        percent(before),
        percent(after),
        format!("{:+.2}", rounded((after - target) * Decimal::ONE_HUNDRED)),
        position["original_quantity"].to_string(),
        trade,
        position["adjusted_quantity"].to_string(),
    ])
}

fn write_sums(out: &mut impl Write, records: &[Value]) -> anyhow::Result<()> {
    let sum = |of: &dyn Fn(&Value) -> anyhow::Result<Decimal>| {
        records.iter().map(of).sum::<anyhow::Result<Decimal>>()
    };
    let is_proven = |record: &&Value| record["optimality"]["status"] == "OPTIMAL";
    let n_trades = records
        .iter()
        .map(|record| Ok(positions(record)?.iter().filter(|row| !row["trade_quantity"].is_null()).count()));
    let mut n_conserved = 0;
    for record in records {
        n_conserved += usize::from(is_cash_conserved(record)?);
    }

    writeln!(out, "Portfolios             {}", records.len())?;
    writeln!(out, "Trades                 {}", n_trades.sum::<anyhow::Result<usize>>()?)?;
    writeln!(out, "Market value           {}", money(sum(&|record| amount(&record["market_value"]))?))?;
    writeln!(
        out,
        "Deviation from model   {} -> {}",
        money(sum(&|record| deviation(record, "original_position_market_value"))?),
        money(sum(&|record| deviation(record, "adjusted_position_market_value"))?),
    )?;
    writeln!(
        out,
        "Proven optimal         {} of {}",
        records.iter().filter(is_proven).count(),
        records.len()
    )?;
    writeln!(out, "Cash conserved exactly {n_conserved} of {}", records.len())?;
    Ok(())
}

pub(super) fn write_addresses(
    out: &mut impl Write,
    address: &str,
    model_id: &str,
    rebalance_id: &str,
    portfolio_id: &str,
) -> io::Result<()> {
    writeln!(out, "\nStill serving; Ctrl-C ends it. To try:")?;
    writeln!(out, "  {address}/docs/")?;
    writeln!(out, "  curl {address}/api/v1/models")?;
    writeln!(out, "  curl {address}/api/v1/rebalance/{rebalance_id}")?;
    writeln!(out, "  curl -X POST {address}/api/v1/model/{model_id}/rebalance")?;
    writeln!(
        out,
        "  curl -X POST {address}/api/v1/model/{model_id}/rebalance -H 'Content-Type: application/json' -d '{RULES}'"
    )?;
    writeln!(out, "  curl -X POST {address}/api/v1/portfolio/{portfolio_id}/rebalance")?;
    writeln!(out, "  curl {address}/health/detailed")
}

/// Cash before − Σ trade · price − trading costs = cash after, to the last digit.
fn is_cash_conserved(record: &Value) -> anyhow::Result<bool> {
    let mut cash = amount(&record["cash_before_rebalance"])? - amount(&record["trading_costs"])?;
    for position in positions(record)? {
        let change = amount(&position["adjusted_quantity"])? - amount(&position["original_quantity"])?;
        cash -= change * amount(&position["price"])?;
    }
    Ok(cash == amount(&record["cash_after_rebalance"])?)
}

/// Σ |market value · target − value|.
fn deviation(record: &Value, value: &str) -> anyhow::Result<Decimal> {
    let market_value = amount(&record["market_value"])?;
    let of = |position: &Value| {
        Ok((market_value * amount(&position["target"])? - amount(&position[value])?).abs())
    };
    positions(record)?.iter().map(of).sum()
}

fn positions(record: &Value) -> anyhow::Result<&Vec<Value>> {
    record["positions"].as_array().context("a portfolio has no positions")
}

fn amount(number: &Value) -> anyhow::Result<Decimal> {
    let number = number.as_number().with_context(|| format!("{number} is no number"))?;
    decimal::parse(number.as_str()).with_context(|| format!("{number} cannot be kept exactly"))
}

fn proof(record: &Value) -> String {
    match record["optimality"]["status"].as_str() {
        Some("OPTIMAL") => "proven optimal".to_owned(),
        _ => format!("no answer deviates by less than {}", record["optimality"]["lower_bound"]),
    }
}

fn percent(share: Decimal) -> String {
    format!("{:.2} %", rounded(share * Decimal::ONE_HUNDRED))
}

/// With thousands separated and two decimals.
fn money(amount: Decimal) -> String {
    let text = format!("{:.2}", rounded(amount.abs()));
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let groups: Vec<&str> =
        whole.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or_default()).collect();
    let sign = if amount.is_sign_negative() && !amount.is_zero() { "-" } else { "" };
    format!("{sign}{}.{cents}", groups.join(","))
}

fn rounded(number: Decimal) -> Decimal {
    number.round_dp_with_strategy(2, MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_grouped_by_thousands() {
        for (amount, text) in [("0", "0.00"), ("999.995", "1,000.00"), ("-1234567.5", "-1,234,567.50")] {
            assert_eq!(money(decimal::parse(amount).unwrap()), text);
        }
    }
}
