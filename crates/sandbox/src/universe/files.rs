//! A universe from two CSV files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use chrono::NaiveDate;
use csv::{Reader, StringRecord};
use rust_decimal::Decimal;

use super::{Quote, Security, Universe};

#[derive(Debug, thiserror::Error)]
pub enum UniverseError {
    #[error("cannot read `{}`", file.display())]
    Unreadable { file: PathBuf, source: csv::Error },
    #[error("`{}` has no column `{column}`", file.display())]
    MissingColumn { file: PathBuf, column: &'static str },
    #[error("`{}` line {line}: `{text}` is not a valid {column}", file.display())]
    InvalidValue { file: PathBuf, line: u64, column: &'static str, text: String },
    #[error("`{}` line {line}: {ticker} is listed twice", file.display())]
    Repeated { file: PathBuf, line: u64, ticker: String },
    #[error("`{}` holds no prices", file.display())]
    NoPrices { file: PathBuf },
}

pub(super) fn read(securities: &Path, prices: &Path, date: NaiveDate) -> Result<Universe, UniverseError> {
    let securities = read_securities(securities)?;
    let rows = read_prices(prices)?;
    let date = rows
        .iter()
        .map(|row| row.date)
        .min_by_key(|&found| (found.signed_duration_since(date).num_days().abs(), found))
        .ok_or_else(|| UniverseError::NoPrices { file: prices.to_owned() })?;

    let mut seen = BTreeSet::new();
    let mut quotes = Vec::new();
    for row in rows.into_iter().filter(|row| row.date == date) {
        if !seen.insert(row.quote.ticker.clone()) {
            return Err(UniverseError::Repeated {
                file: prices.to_owned(),
                line: row.line,
                ticker: row.quote.ticker,
            });
        }
        quotes.push(row.quote);
    }
    Ok(Universe { date, securities, quotes })
}

struct PriceRow {
    line: u64,
    date: NaiveDate,
    quote: Quote,
}

fn read_securities(file: &Path) -> Result<Vec<Security>, UniverseError> {
    let mut table = Table::open(file)?;
    let (ticker, description) = (table.column("ticker")?, table.column("description")?);

    let mut seen = BTreeSet::new();
    let mut securities = Vec::new();
    while let Some(row) = table.next()? {
        let security =
            Security { ticker: row.ticker(ticker)?, description: row.text(description).to_owned() };
        if !seen.insert(security.ticker.clone()) {
            return Err(UniverseError::Repeated {
                file: file.to_owned(),
                line: row.line,
                ticker: security.ticker,
            });
        }
        securities.push(security);
    }
    Ok(securities)
}

fn read_prices(file: &Path) -> Result<Vec<PriceRow>, UniverseError> {
    let mut table = Table::open(file)?;
    let date = table.column("price_date")?;
    let ticker = table.column("ticker")?;
    let price = table.column("price")?;
    let deviation = table.column("price_std")?;

    let mut rows = Vec::new();
    while let Some(row) = table.next()? {
        rows.push(PriceRow {
            line: row.line,
            date: row.value(date, |text| text.parse().ok())?,
            quote: Quote {
                ticker: row.ticker(ticker)?,
                mean: row.value(price, |text| decimal(text).filter(|mean| Decimal::ZERO < *mean))?,
                deviation: row
                    .value(deviation, |text| decimal(text).filter(|deviation| Decimal::ZERO <= *deviation))?,
            },
        });
    }
    Ok(rows)
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok()
}

#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    idx: usize,
}

struct Table<'a> {
    file: &'a Path,
    reader: Reader<std::fs::File>,
    headers: StringRecord,
}

impl<'a> Table<'a> {
    fn open(file: &'a Path) -> Result<Self, UniverseError> {
        let unreadable = |source| UniverseError::Unreadable { file: file.to_owned(), source };
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).map_err(unreadable)?;
        let headers = reader.headers().map_err(unreadable)?.clone();
        Ok(Self { file, reader, headers })
    }

    fn column(&self, name: &'static str) -> Result<Column, UniverseError> {
        let idx = self.headers.iter().position(|header| header == name);
        idx.map(|idx| Column { name, idx })
            .ok_or_else(|| UniverseError::MissingColumn { file: self.file.to_owned(), column: name })
    }

    fn next(&mut self) -> Result<Option<Row<'a>>, UniverseError> {
        let mut record = StringRecord::new();
        let more = self
            .reader
            .read_record(&mut record)
            .map_err(|source| UniverseError::Unreadable { file: self.file.to_owned(), source })?;
        Ok(more.then(|| Row {
            file: self.file,
            line: record.position().map_or(0, csv::Position::line),
            record,
        }))
    }
}

struct Row<'a> {
    file: &'a Path,
    line: u64,
    record: StringRecord,
}

impl Row<'_> {
    // The reader refuses rows that are not as wide as the header.
    fn text(&self, column: Column) -> &str {
        self.record.get(column.idx).unwrap_or_default()
    }

    fn ticker(&self, column: Column) -> Result<String, UniverseError> {
        self.value(column, |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    fn value<T>(&self, column: Column, parse: impl Fn(&str) -> Option<T>) -> Result<T, UniverseError> {
        let text = self.text(column);
        parse(text).ok_or_else(|| UniverseError::InvalidValue {
            file: self.file.to_owned(),
            line: self.line,
            column: column.name,
            text: text.to_owned(),
        })
    }
}
