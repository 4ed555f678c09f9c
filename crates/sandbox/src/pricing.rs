//! The pricing service: a fresh price for every answer.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{self, Bytes, Data, Path, ServiceConfig},
};
use chrono::NaiveDate;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};
use serde::{Serialize, Serializer, ser};
use serde_json::{Number, Value, json};

use crate::{
    Draws, clock,
    neighbour::{Neighbour, Service},
    seeded,
    state::State,
    universe::{Quote, Universe},
};

pub type Prices = Neighbour<Market>;

/// What a ticker answers in place of its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriceOverride {
    /// 404, as for a ticker that never had a price.
    Missing,
    /// Exactly this number, whatever its sign.
    Exactly(Decimal),
    /// A JSON string where a number belongs, such as `NaN`.
    Text(String),
}

impl Prices {
    pub fn set(&self, ticker: &str, price: PriceOverride) {
        self.service.set(ticker, price);
    }
}

/// The prices of the universe's date, and what the tests made of them.
pub struct Market {
    date: NaiveDate,
    draws: Draws,
    seed: u64,
    quotes: Vec<Quote>,
    floor: State<Floor>,
}

#[derive(Default)]
struct Floor {
    generators: BTreeMap<String, StdRng>,
    overrides: BTreeMap<String, PriceOverride>,
}

impl Market {
    pub(crate) fn new(universe: &Universe, draws: Draws, seed: u64) -> Self {
        Self {
            date: universe.date(),
            draws,
            seed,
            quotes: universe.quotes().to_vec(),
            floor: State::default(),
        }
    }

    fn set(&self, ticker: &str, price: PriceOverride) {
        self.floor.lock().overrides.insert(ticker.to_owned(), price);
    }

    fn price(&self, ticker: &str) -> Option<PriceBody> {
        let idx = self.quotes.iter().position(|quote| quote.ticker == ticker);
        let figure = match self.floor.lock().overrides.get(ticker) {
            Some(PriceOverride::Missing) => return None,
            Some(PriceOverride::Exactly(price)) => Some(Figure::Number(*price)),
            Some(PriceOverride::Text(text)) => Some(Figure::Text(text.clone())),
            None => None,
        };
        let figure = match figure {
            Some(figure) => figure,
            None => Figure::Number(self.sample(&self.quotes[idx?])),
        };
        let deviation = idx.map_or(Decimal::ZERO, |idx| self.quotes[idx].deviation);
        Some(PriceBody {
            id: idx.unwrap_or(self.quotes.len()) + 1,
            ticker: ticker.to_owned(),
            date: self.date.to_string(),
            open: figure.clone(),
            close: figure.clone(),
            high: figure.clone(),
            low: figure,
            volume: deviation.to_u64().unwrap_or_default(),
        })
    }

    fn sample(&self, quote: &Quote) -> Decimal {
        let offset = match self.draws {
            Draws::Fixed => Decimal::ZERO,
            Draws::Random => {
                let mut floor = self.floor.lock();
                let rng = floor
                    .generators
                    .entry(quote.ticker.clone())
                    .or_insert_with(|| seeded::rng(self.seed, &format!("price {}", quote.ticker)));
                let deviations: f64 = StandardNormal.sample(rng);
                Decimal::try_from(deviations).unwrap_or_default() * quote.deviation
            }
        };
        cents(quote.mean + offset).max(Decimal::new(1, 2))
    }
}

impl Service for Market {
    fn routes(config: &mut ServiceConfig) {
        config
            .route("/api/v1/price/{ticker}", web::get().to(price))
            .route("/api/v1/prices", web::get().to(prices))
            .service(web::resource("/sandbox/prices/{ticker}").put(override_price).delete(restore_price));
        for path in ["", "/liveness", "/readiness"] {
            config.route(&format!("/actuator/health{path}"), web::get().to(health));
        }
    }

    fn refusal(status: StatusCode, path: &str) -> HttpResponse {
        HttpResponse::build(status).json(RefusalBody {
            timestamp: clock::now().format("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string(),
            status: status.as_u16(),
            error: status.canonical_reason().unwrap_or_default(),
            path,
        })
    }

    fn reset(&self) {
        *self.floor.lock() = Floor::default();
    }
}

#[derive(Serialize)]
struct PriceBody {
    id: usize,
    ticker: String,
    date: String,
    open: Figure,
    close: Figure,
    high: Figure,
    low: Figure,
    volume: u64,
}

#[derive(Clone)]
enum Figure {
    Number(Decimal),
    Text(String),
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // Through its text, which keeps the cents of 101.20.
            Self::Number(price) => {
                price.to_string().parse::<Number>().map_err(ser::Error::custom)?.serialize(serializer)
            }
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    timestamp: String,
    status: u16,
    error: &'a str,
    path: &'a str,
}

async fn price(market: Data<Market>, ticker: Path<String>) -> HttpResponse {
    match market.price(&ticker) {
        Some(price) => HttpResponse::Ok().json(price),
        None => HttpResponse::NotFound().finish(),
    }
}

async fn prices(market: Data<Market>) -> HttpResponse {
    let prices: Vec<PriceBody> =
        market.quotes.iter().filter_map(|quote| market.price(&quote.ticker)).collect();
    HttpResponse::Ok().json(prices)
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "UP" }))
}

/// `null` takes the price away, a number replaces it, a string is sent as a string.
async fn override_price(market: Data<Market>, ticker: Path<String>, body: Bytes) -> HttpResponse {
    let price = match serde_json::from_slice(&body) {
        Ok(Value::Null) => PriceOverride::Missing,
        Ok(Value::String(text)) => PriceOverride::Text(text),
        Ok(Value::Number(number)) => match Decimal::from_str_exact(&number.to_string()) {
            Ok(price) => PriceOverride::Exactly(price),
            Err(err) => return HttpResponse::BadRequest().body(err.to_string()),
        },
        Ok(Value::Bool(_) | Value::Array(_) | Value::Object(_)) | Err(_) => {
            return HttpResponse::BadRequest().body("a price is null, a number or a string");
        }
    };
    market.set(&ticker, price);
    HttpResponse::NoContent().finish()
}

async fn restore_price(market: Data<Market>, ticker: Path<String>) -> HttpResponse {
    market.floor.lock().overrides.remove(ticker.as_str());
    HttpResponse::NoContent().finish()
}

fn cents(price: Decimal) -> Decimal {
    let mut price = price.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    price.rescale(2);
    price
}
