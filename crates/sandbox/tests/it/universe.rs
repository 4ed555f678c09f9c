use std::{
    collections::BTreeSet,
    error::Error,
    path::{Path, PathBuf},
};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sandbox::{Config, Draws, Sandbox, Universe, UniverseError};
use tempfile::TempDir;

use crate::client::json as get;

const SECURITIES: &str = "ticker,description\nAAA,\"Alpha, Inc.\"\nBBB,Beta\n";
const PRICES: &str = "price_date,ticker,price,price_std\n\
    2017-01-01,AAA,10.00,0.10\n\
    2017-01-11,AAA,11.20,0.20\n\
    2017-01-11,CCC,33.30,3.70\n";

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn load(securities: &str, prices: &str, wanted: &str) -> Result<Universe, UniverseError> {
    let dir = TempDir::new().unwrap();
    let (names, quotes) = (dir.path().join("names.csv"), dir.path().join("prices.csv"));
    std::fs::write(&names, securities).unwrap();
    std::fs::write(&quotes, prices).unwrap();
    Universe::from_csv(&names, &quotes, date(wanted))
}

#[test]
fn the_builtin_universe_is_plausible() {
    let universe = Universe::builtin();

    let tickers: BTreeSet<_> = (universe.securities().iter()).map(|security| &security.ticker).collect();
    assert_eq!(tickers.len(), 100);
    for security in universe.securities() {
        let quote = universe.quote(&security.ticker).unwrap();
        let share = quote.deviation / quote.mean;
        assert!((dec!(0.0099)..=dec!(0.0201)).contains(&share), "{quote:?}");
    }
}

#[test]
fn the_nearest_date_is_chosen_and_of_two_the_earlier() {
    for (wanted, expect) in [
        ("2017-01-11", "2017-01-11"),
        ("2017-01-07", "2017-01-11"),
        ("2017-01-06", "2017-01-01"),
        ("1999-01-01", "2017-01-01"),
        ("2030-01-01", "2017-01-11"),
    ] {
        let universe = load(SECURITIES, PRICES, wanted).unwrap();
        assert_eq!(universe.date(), date(expect), "{wanted}");
    }
}

#[tokio::test]
async fn a_security_without_a_price_and_a_price_without_a_security_stay_so() {
    let config = Config {
        universe: load(SECURITIES, PRICES, "2017-01-11").unwrap(),
        draws: Draws::Fixed,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config).await.unwrap();

    assert!(sandbox.security.id_of("BBB").is_some());
    assert!(sandbox.security.id_of("CCC").is_none());
    let url = format!("{}/api/v1/price", sandbox.pricing.url());
    assert_eq!(get(format!("{url}/BBB")).await.0, 404);
    let (status, price) = get(format!("{url}/CCC")).await;
    assert_eq!(status, 200);
    assert_eq!(price["date"], "2017-01-11");
    assert_eq!(price["close"].to_string(), "33.30");
    assert_eq!(price["volume"], 3);
}

fn check_error(securities: &str, prices: &str, expect: &str) {
    let err = load(securities, prices, "2017-01-01").unwrap_err();
    let source = err.source().map_or(String::new(), ToString::to_string);
    let text = format!("{err}: {source}");
    assert!(text.contains(expect), "{text}");
}

#[test]
fn an_unusable_file_is_named_with_its_line() {
    let prices = |row: &str| format!("{PRICES}{row}\n");

    check_error("ticker\nA\n", PRICES, "names.csv` has no column `description`");
    check_error(&format!("{SECURITIES}AAA,Again\n"), PRICES, "names.csv` line 4: AAA is listed twice");
    check_error(
        SECURITIES,
        &prices("2017-01-01,BBB,ten,0.1"),
        "prices.csv` line 5: `ten` is not a valid price",
    );
    check_error(SECURITIES, &prices("2017-01-01,BBB,0,0.1"), "line 5: `0` is not a valid price");
    check_error(SECURITIES, &prices("2017-01-01,BBB,1,-0.1"), "line 5: `-0.1` is not a valid price_std");
    check_error(
        SECURITIES,
        &prices("2017-02-30,BBB,1,0.1"),
        "line 5: `2017-02-30` is not a valid price_date",
    );
    check_error(SECURITIES, &prices("2017-01-01,AAA,1,0.1"), "prices.csv` line 5: AAA is listed twice");
    check_error(SECURITIES, &prices("2017-01-01,BBB"), "line: 5");
    check_error(SECURITIES, "price_date,ticker,price,price_std\n", "prices.csv` holds no prices");
}

#[test]
fn an_absent_file_is_named() {
    let absent = Path::new("/nowhere/names.csv");
    let err = Universe::from_csv(absent, absent, date("2017-01-01")).unwrap_err();
    assert_eq!(err.to_string(), "cannot read `/nowhere/names.csv`");
}

#[test]
fn the_published_files_load_when_they_are_at_hand() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let (names, prices) = (data.join("securities.csv"), data.join("prices.csv"));
    if !names.exists() || !prices.exists() {
        eprintln!("skipped: no price files in {}", data.display());
        return;
    }

    let universe = Universe::from_csv(&names, &prices, date("2018-01-22")).unwrap();

    assert_eq!(universe.securities().len(), 505);
    assert!(400 < universe.quotes().len());
    let both = (universe.securities().iter()).filter(|security| universe.quote(&security.ticker).is_some());
    assert!(250 < both.count());
    assert!((universe.quotes().iter()).all(|quote| Decimal::ZERO < quote.mean));
}
