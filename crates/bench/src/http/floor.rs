//! The least that a service could do for the same answers: the same calls to the neighbours, with the same
//! caches, by a plain client, and the same statements by the bare driver of the store. It checks nothing,
//! solves nothing, and answers with the bytes of the service, with other ids.

mod sqlite;
mod store;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes, Data, Path};
use actix_web::{App, HttpResponse, HttpServer};
use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use mongodb::bson::oid::ObjectId;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::store::Store;
use crate::neighbours::{Neighbours, asked, client};

/// What the process that serves it is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) port: u16,
    pub(super) neighbours: Neighbours,
    pub(super) store: StoreSettings,
    pub(super) model_id: String,
    pub(super) rebalance_id: String,
    /// What the service answered: the new model, the model, the rebalance, the record.
    pub(super) answers: [String; 4],
}

/// Where it keeps what, and where the service has kept one model and one rebalance.
#[derive(Serialize, Deserialize)]
pub(super) enum StoreSettings {
    Sqlite { path: PathBuf, like: PathBuf },
    Mongodb { url: String, database: String, like: String },
}

pub(super) fn serve(settings: &str) -> Result<()> {
    let settings: Settings = serde_json::from_str(settings)?;
    let port = settings.port;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let floor = Data::new(Floor::new(settings).await?);
        let build = move || {
            App::new()
                .app_data(floor.clone())
                .route("/health/ready", web::get().to(HttpResponse::Ok))
                .route("/api/v1/models", web::post().to(create))
                .route("/api/v1/model/{id}", web::get().to(model))
                .route("/api/v1/model/{id}/rebalance", web::post().to(rebalance))
                .route("/api/v1/rebalance/{id}", web::get().to(record))
        };
        let cores = std::thread::available_parallelism()?.get();
        Ok(HttpServer::new(build).workers(cores).bind(("127.0.0.1", port))?.run().await?)
    })
}

struct Floor {
    client: Client,
    neighbours: Neighbours,
    store: Store,
    answers: [Answer; 4],
    names: Kept,
    tickers: Kept,
    prices: Kept,
}

impl Floor {
    async fn new(settings: Settings) -> Result<Self> {
        let Settings { neighbours, store, model_id, rebalance_id, answers, .. } = settings;
        let answer = |body: String| Answer::new(&body, &model_id, &rebalance_id);
        Ok(Self {
            client: client()?,
            neighbours,
            store: Store::open(store).await?,
            answers: answers.map(answer),
            names: Kept::new(Duration::from_mins(10)),
            tickers: Kept::new(Duration::from_mins(10)),
            prices: Kept::new(Duration::from_mins(1)),
        })
    }

    /// As the service asks: what portfolios hold every time, the rest when it is not known already.
    async fn ask(&self, model: Content) -> Result<()> {
        let Neighbours { accounting, security, pricing, portfolio } = &self.neighbours;
        let portfolios = model.portfolios.into_iter().map(async |id| -> Result<()> {
            let url = format!("{accounting}/api/v1/portfolios/{id}/summary");
            let _: Summary = asked(&self.client, &url).await?;
            if self.names.get(&id).is_none() {
                let named: Named = asked(&self.client, &format!("{portfolio}/api/v1/portfolio/{id}")).await?;
                self.names.put(id, named.name);
            }
            Ok(())
        });
        try_join_all(portfolios).await?;
        let securities = model.positions.into_iter().map(async |position| -> Result<()> {
            let id = position.security_id;
            let ticker = if let Some(ticker) = self.tickers.get(&id) {
                ticker
            } else {
                let url = format!("{security}/api/v1/security/{id}");
                let listed: Listed = asked(&self.client, &url).await?;
                self.tickers.put(id, listed.ticker.clone());
                listed.ticker
            };
            if self.prices.get(&ticker).is_none() {
                let priced: Priced = asked(&self.client, &format!("{pricing}/api/v1/price/{ticker}")).await?;
                self.prices.put(ticker, priced.close.get().to_owned());
            }
            Ok(())
        });
        try_join_all(securities).await?;
        Ok(())
    }
}

/// What is needed of a model.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Content {
    pub(super) name: String,
    pub(super) positions: Vec<Position>,
    pub(super) portfolios: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Position {
    pub(super) security_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "to read them is the work")]
struct Summary {
    cash_balance: Box<RawValue>,
    securities: Vec<Holding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "to read them is the work")]
struct Holding {
    security_id: String,
    net_quantity: Box<RawValue>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Listed {
    ticker: String,
}

#[derive(Deserialize)]
struct Priced {
    close: Box<RawValue>,
}

/// Answers that are good for a while.
struct Kept {
    ttl: Duration,
    values: Mutex<HashMap<String, (Instant, String)>>,
}

impl Kept {
    fn new(ttl: Duration) -> Self {
        Self { ttl, values: Mutex::default() }
    }

    fn get(&self, key: &str) -> Option<String> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(key).filter(|(since, _)| since.elapsed() < self.ttl).map(|(_, value)| value.clone())
    }

    fn put(&self, key: String, value: String) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (Instant::now(), value));
    }
}

/// A body of the service, with places for ids.
struct Answer(Vec<Part>);

enum Part {
    Text(String),
    ModelId,
    RebalanceId,
}

impl Answer {
    fn new(body: &str, model_id: &str, rebalance_id: &str) -> Self {
        let mut parts = Vec::new();
        for (nth, of_model) in body.split(model_id).enumerate() {
            if 0 < nth {
                parts.push(Part::ModelId);
            }
            for (nth, text) in of_model.split(rebalance_id).enumerate() {
                if 0 < nth {
                    parts.push(Part::RebalanceId);
                }
                parts.push(Part::Text(text.to_owned()));
            }
        }
        Self(parts)
    }

    fn with(&self, model_id: &str, rebalance_id: &str) -> HttpResponse {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::ModelId => model_id.to_owned(),
            Part::RebalanceId => rebalance_id.to_owned(),
        };
        HttpResponse::Ok().content_type("application/json").body(self.0.iter().map(part).collect::<String>())
    }
}

type Answered = Result<HttpResponse, Failed>;

#[derive(Debug)]
struct Failed(anyhow::Error);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl actix_web::ResponseError for Failed {}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

async fn create(floor: Data<Floor>, body: Bytes) -> Answered {
    let id = ObjectId::new();
    let model: Content = serde_json::from_slice(&body).context("no model")?;
    floor.store.insert_model(id, &model).await?;
    let mut answer = floor.answers[0].with(&id.to_hex(), "");
    *answer.status_mut() = actix_web::http::StatusCode::CREATED;
    Ok(answer)
}

async fn model(floor: Data<Floor>, id: Path<String>) -> Answered {
    floor.store.model(&id).await?;
    Ok(floor.answers[1].with(&id, ""))
}

async fn rebalance(floor: Data<Floor>, model_id: Path<String>) -> Answered {
    let model = floor.store.model(&model_id).await?;
    floor.ask(model).await?;
    let id = ObjectId::new();
    floor.store.record(id, &model_id).await?;
    Ok(floor.answers[2].with(&model_id, &id.to_hex()))
}

async fn record(floor: Data<Floor>, id: Path<String>) -> Answered {
    let model_id = floor.store.read_record(&id).await?;
    Ok(floor.answers[3].with(&model_id, &id))
}
