//! Who the demo's portfolios are, and what they follow.

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use rust_decimal::Decimal;
use sandbox::Sandbox;
use serde_json::{Value, json};

use super::client::Client;

/// Twelve companies of the built-in universe. Other universes may lack some; then their first take the place.
const FAVOURITES: [&str; 12] =
    ["AAPL", "MSFT", "JNJ", "JPM", "XOM", "PG", "HD", "VZ", "KO", "MMM", "UNP", "MCD"];

/// Targets in thousandths, 940 together; each with the drift allowed above and below.
const TARGETS: [i64; 12] = [120, 110, 100, 90, 85, 80, 75, 70, 65, 55, 50, 40];
const HIGH_DRIFT: &str = "0.02";
const LOW_DRIFT: &str = "0.02";

/// Most transactions that accounting takes at once.
const BATCH: usize = 1000;

pub(super) struct Story {
    pub(super) portfolios: Vec<Portfolio>,
    /// Ticker by security id, of everything a portfolio holds or the model wants.
    wanted: Vec<Asset>,
    unwanted: Vec<Asset>,
}

pub(super) struct Portfolio {
    pub(super) id: String,
    pub(super) name: String,
    /// What to expect, for the reader.
    pub(super) situation: &'static str,
    transactions: Vec<Value>,
}

#[derive(Clone)]
pub(super) struct Asset {
    pub(super) security_id: String,
    pub(super) ticker: String,
    price: Decimal,
}

impl Story {
    pub(super) fn new(sandbox: &Sandbox, n_portfolios: usize) -> anyhow::Result<Self> {
        let assets = priced_assets(sandbox);
        ensure!(
            TARGETS.len() + 3 <= assets.len(),
            "the universe has only {} priced securities",
            assets.len()
        );
        let is_favourite = |asset: &&Asset| FAVOURITES.contains(&asset.ticker.as_str());
        let favourites = assets.iter().filter(is_favourite);
        let others = assets.iter().filter(|asset| !is_favourite(asset));
        let mut chosen: Vec<Asset> = favourites.chain(others).take(TARGETS.len() + 3).cloned().collect();
        let unwanted = chosen.split_off(TARGETS.len());

        let portfolios = (0..n_portfolios).map(|idx| portfolio(idx, &chosen, &unwanted)).collect();
        Ok(Self { portfolios, wanted: chosen, unwanted })
    }

    pub(super) fn ticker<'a>(&'a self, security_id: &'a str) -> &'a str {
        let assets = self.wanted.iter().chain(&self.unwanted);
        assets
            .into_iter()
            .find(|asset| asset.security_id == security_id)
            .map_or(security_id, |asset| &asset.ticker)
    }

    /// The body that creates the model.
    pub(super) fn model(&self) -> Value {
        let position = |(asset, thousandths): (&Asset, i64)| {
            json!({
                "security_id": asset.security_id, "target": Decimal::new(thousandths, 3).normalize().to_string(),
                "high_drift": HIGH_DRIFT, "low_drift": LOW_DRIFT,
            })
        };
        json!({
            "name": "Blue-chip income",
            "positions": self.wanted.iter().zip(TARGETS).map(position).collect::<Vec<_>>(),
            "portfolios": self.portfolios.iter().map(|portfolio| &portfolio.id).collect::<Vec<_>>(),
        })
    }

    /// Opens the portfolios and books what they own, through the neighbours' own interfaces.
    pub(super) async fn fund(
        &self,
        client: &Client,
        sandbox: &Sandbox,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/transactions", sandbox.accounting.url());
        for portfolio in &self.portfolios {
            sandbox.portfolio.add(&portfolio.id, &portfolio.name);
        }
        for portfolios in self.portfolios.chunks(BATCH / 8) {
            let batch: Vec<&Value> =
                portfolios.iter().flat_map(|portfolio| &portfolio.transactions).collect();
            let booked = client.post(&url, &json!(batch)).await?;
            let failed = booked["summary"]["failed"].as_u64().context("accounting gave no summary")?;
            ensure!(failed == 0, "accounting refused {failed} transactions: {}", booked["failed"]);
            progress.inc(portfolios.len() as u64);
        }
        Ok(())
    }
}

fn priced_assets(sandbox: &Sandbox) -> Vec<Asset> {
    let universe = sandbox.universe();
    let asset = |security: &sandbox::Security| {
        Some(Asset {
            security_id: sandbox.security.id_of(&security.ticker)?,
            ticker: security.ticker.clone(),
            price: universe.quote(&security.ticker)?.mean,
        })
    };
    universe.securities().iter().filter_map(asset).collect()
}

/// Four situations, over and over, the later ones with other amounts.
fn portfolio(idx: usize, wanted: &[Asset], unwanted: &[Asset]) -> Portfolio {
    const NAMES: [&str; 4] =
        ["Harbour Pension Fund", "Lindqvist Family Trust", "Meadow Endowment", "Tanaka Retirement"];

    let size = Decimal::from(1_000_000 + 137_411 * (idx / 4));
    let mut books = Books { portfolio: format!("{:024x}", 0x00ab_0000 + idx), transactions: Vec::new() };
    let situation = match idx % 4 {
        0 => {
            books.deposit(size);
            books.buy(&wanted[0], size * Decimal::new(55, 2));
            books.buy(&wanted[1], size * Decimal::new(35, 2));
            "far from its targets: two large positions"
        }
        1 => {
            books.deposit(size);
            for asset in unwanted {
                books.buy(asset, size * Decimal::new(20, 2));
            }
            books.buy(&wanted[2], size * Decimal::new(10, 2));
            "holds securities that are not in the model"
        }
        2 => {
            books.deposit(size);
            "all cash"
        }
        _ => {
            books.deposit(size);
            for asset in &wanted[3..6] {
                books.buy(asset, size * Decimal::new(35, 2));
            }
            "overdrawn"
        }
    };
    let name = match idx / 4 {
        0 => NAMES[idx % 4].to_owned(),
        round => format!("{} {}", NAMES[idx % 4], round + 1),
    };
    Portfolio { id: books.portfolio, name, situation, transactions: books.transactions }
}

struct Books {
    portfolio: String,
    transactions: Vec<Value>,
}

impl Books {
    fn deposit(&mut self, amount: Decimal) {
        self.book("DEP", None, amount, Decimal::ONE);
    }

    /// Buys whole shares for about `amount`.
    fn buy(&mut self, asset: &Asset, amount: Decimal) {
        self.book("BUY", Some(&asset.security_id), (amount / asset.price).floor(), asset.price);
    }

    fn book(&mut self, kind: &str, security: Option<&str>, quantity: Decimal, price: Decimal) {
        let mut transaction = json!({
            "portfolioId": self.portfolio, "sourceId": format!("{}-{}", self.portfolio, self.transactions.len()),
            "transactionType": kind, "quantity": quantity.to_string(), "price": price.to_string(),
            "transactionDate": "20240102",
        });
        if let Some(security) = security {
            transaction["securityId"] = json!(security);
        }
        self.transactions.push(transaction);
    }
}
