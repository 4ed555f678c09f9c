//! Transactions, balances, and what the one does to the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::{Summary, amount::stored};

/// The eight transaction types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Buy,
    Sell,
    Short,
    Cover,
    Deposit,
    Withdrawal,
    In,
    Out,
}

impl Type {
    const ALL: [(&'static str, Self); 8] = [
        ("BUY", Self::Buy),
        ("SELL", Self::Sell),
        ("SHORT", Self::Short),
        ("COVER", Self::Cover),
        ("DEP", Self::Deposit),
        ("WD", Self::Withdrawal),
        ("IN", Self::In),
        ("OUT", Self::Out),
    ];

    pub(super) fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(code, _)| *code == text);
        found.map(|(_, kind)| *kind)
    }

    pub(super) fn is_cash(self) -> bool {
        matches!(self, Self::Deposit | Self::Withdrawal)
    }

    /// `None` if the amount is too large to compute.
    fn effects(self, quantity: Decimal, price: Decimal) -> Option<Effects> {
        let amount = quantity.checked_mul(price)?;
        let (long, short, cash) = match self {
            Self::Buy => (Some(quantity), None, Some(-amount)),
            Self::Sell => (Some(-quantity), None, Some(amount)),
            Self::Short => (None, Some(quantity), Some(amount)),
            Self::Cover => (None, Some(-quantity), Some(-amount)),
            Self::Deposit => (None, None, Some(quantity)),
            Self::Withdrawal => (None, None, Some(-quantity)),
            Self::In => (Some(quantity), None, None),
            Self::Out => (Some(-quantity), None, None),
        };
        Some(Effects { long, short, cash })
    }
}

struct Effects {
    long: Option<Decimal>,
    short: Option<Decimal>,
    cash: Option<Decimal>,
}

/// A transaction that has passed every check of its own.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) portfolio: String,
    pub(super) security: Option<String>,
    pub(super) source_id: String,
    pub(super) kind: Type,
    pub(super) code: String,
    pub(super) quantity: Decimal,
    pub(super) price: Decimal,
    pub(super) date: NaiveDate,
}

#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) id: usize,
    pub(super) entry: Entry,
    pub(super) status: Status,
    pub(super) version: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Processed,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    DuplicateSource,
    /// A column cannot hold the numbers; nothing was stored.
    Unstorable,
    /// A balance would overflow. The transaction stays, and with it its source id.
    Unprocessable,
}

/// One row per portfolio and security; cash sorts last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leg {
    Security(String),
    Cash,
}

#[derive(Debug, Clone)]
pub(super) struct Balance {
    pub(super) id: usize,
    pub(super) long: Decimal,
    pub(super) short: Decimal,
    pub(super) created: DateTime<Utc>,
    pub(super) version: u32,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    transactions: Vec<Transaction>,
    sources: BTreeSet<String>,
    balances: BTreeMap<(String, Leg), Balance>,
    last_balance_id: usize,
}

impl Ledger {
    /// Books the transaction with all its effects, or with none.
    pub(super) fn post(&mut self, entry: Entry, now: DateTime<Utc>) -> Result<&Transaction, Rejection> {
        if self.sources.contains(&entry.source_id) {
            return Err(Rejection::DuplicateSource);
        }
        let (Some(quantity), Some(price)) = (stored(entry.quantity), stored(entry.price)) else {
            return Err(Rejection::Unstorable);
        };
        let entry = Entry { quantity, price, ..entry };
        self.sources.insert(entry.source_id.clone());

        let applied = self.apply(&entry, now).is_some();
        self.transactions.push(Transaction {
            id: self.transactions.len() + 1,
            entry,
            status: if applied { Status::Processed } else { Status::Error },
            version: 2,
        });
        self.transactions.last().filter(|_| applied).ok_or(Rejection::Unprocessable)
    }

    fn apply(&mut self, entry: &Entry, now: DateTime<Utc>) -> Option<()> {
        let effects = entry.kind.effects(entry.quantity, entry.price)?;
        let mut rows = Vec::new();
        if let Some(security) = &entry.security {
            let leg = Leg::Security(security.clone());
            rows.push(self.moved(&entry.portfolio, leg, effects.long, effects.short)?);
        }
        if effects.cash.is_some() {
            rows.push(self.moved(&entry.portfolio, Leg::Cash, effects.cash, None)?);
        }
        for (key, long, short) in rows {
            self.set(key, long, short, now);
        }
        Some(())
    }

    fn moved(
        &self,
        portfolio: &str,
        leg: Leg,
        long: Option<Decimal>,
        short: Option<Decimal>,
    ) -> Option<((String, Leg), Decimal, Decimal)> {
        let key = (portfolio.to_owned(), leg);
        let (old_long, old_short) = self
            .balances
            .get(&key)
            .map_or_else(|| (Decimal::ZERO, Decimal::ZERO), |balance| (balance.long, balance.short));
        let long = stored(old_long.checked_add(long.unwrap_or_default())?)?;
        let short = stored(old_short.checked_add(short.unwrap_or_default())?)?;
        Some((key, long, short))
    }

    fn set(&mut self, key: (String, Leg), long: Decimal, short: Decimal, now: DateTime<Utc>) {
        if let Some(balance) = self.balances.get_mut(&key) {
            (balance.long, balance.short) = (long, short);
            balance.version += 1;
            return;
        }
        self.last_balance_id += 1;
        let balance = Balance { id: self.last_balance_id, long, short, created: now, version: 1 };
        self.balances.insert(key, balance);
    }

    pub(super) fn fund(
        &mut self,
        portfolio: &str,
        cash: Decimal,
        holdings: &[(&str, Decimal)],
        now: DateTime<Utc>,
    ) {
        self.balances.extract_if(legs_of(portfolio), |_, _| true).for_each(drop);
        for (security, quantity) in holdings {
            let key = (portfolio.to_owned(), Leg::Security((*security).to_owned()));
            self.set(key, *quantity, Decimal::ZERO, now);
        }
        self.set((portfolio.to_owned(), Leg::Cash), cash, Decimal::ZERO, now);
    }

    pub(super) fn summary(&self, portfolio: &str) -> Option<Summary> {
        let mut touched = false;
        let mut summary = Summary { cash: Decimal::ZERO, holdings: BTreeMap::new() };
        for (leg, balance) in self.balances_of(portfolio) {
            touched = true;
            match leg {
                Leg::Cash => summary.cash = balance.long,
                Leg::Security(security) => {
                    let net = balance.long - balance.short;
                    summary.holdings.insert(security.clone(), net);
                }
            }
        }
        touched.then_some(summary)
    }

    /// By security, cash last.
    pub(super) fn balances_of(&self, portfolio: &str) -> impl Iterator<Item = (&Leg, &Balance)> {
        self.balances.range(legs_of(portfolio)).map(|((_, leg), balance)| (leg, balance))
    }

    /// By portfolio, then by security, cash last.
    pub(super) fn balances(&self) -> impl Iterator<Item = (&str, &Leg, &Balance)> {
        self.balances.iter().map(|((portfolio, leg), balance)| (portfolio.as_str(), leg, balance))
    }

    /// In the order they were posted.
    pub(super) fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }
}

/// The keys of a portfolio's balances, of which cash is the last.
fn legs_of(portfolio: &str) -> RangeInclusive<(String, Leg)> {
    (portfolio.to_owned(), Leg::Security(String::new()))..=(portfolio.to_owned(), Leg::Cash)
}
