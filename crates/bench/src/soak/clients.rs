//! Managers, who do what managers do.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::ORPHANED;
use super::desk::{
    Desk, EVENTS, Expected, FOLLOWERS, MODEL, MODELS, REBALANCE, REBALANCE_MODEL, REBALANCE_PORTFOLIO,
    REBALANCES, Reply, World,
};

/// Of an own model at a time.
const MODELS_AT_MOST: usize = 5;
/// More than are rebalanced in memory.
const LARGE: usize = 300;
/// What was begun has come to an end by then, whatever the neighbours do, and after a death, too.
const END: Duration = Duration::from_secs(30).saturating_add(ORPHANED);

/// What a service that died had sent to its store may still be under way.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

const IN_FLIGHT: &str = "request-in-flight";
const TOO_MANY: &str = "too-many-rebalances";

/// Wide enough for a whole share of the dearest security in the poorest portfolio.
const DRIFT: f64 = 0.005;

pub(super) struct Manager<'a> {
    number: u64,
    desk: &'a Desk<'a>,
    world: &'a World,
    rng: StdRng,
    models: Vec<Model>,
    made: u64,
    keys: u64,
    /// Rebalances to come back to.
    rebalances: Vec<String>,
}

/// As its manager knows it: nobody else changes it.
struct Model {
    id: String,
    version: i64,
    positions: usize,
    followers: Vec<String>,
}

/// A rebalance, and how it is asked for.
struct Ask<'a> {
    what: &'static str,
    path: &'static str,
    id: &'a str,
    query: String,
    is_async: bool,
    portfolios: usize,
    positions: usize,
}

impl<'a> Manager<'a> {
    pub(super) fn new(number: u64, desk: &'a Desk<'a>, world: &'a World, rng: StdRng) -> Self {
        Self { number, desk, world, rng, models: Vec::new(), made: 0, keys: 0, rebalances: Vec::new() }
    }

    pub(super) async fn work(mut self, until: Instant) {
        while Instant::now() < until {
            if let Err(error) = self.act().await {
                self.desk.trouble.note("an answer that makes no sense", format!("{error:#}"));
            }
        }
    }

    async fn act(&mut self) -> Result<()> {
        if self.models.is_empty() {
            return self.create().await;
        }
        match self.rng.random_range(0..100) {
            0..10 => self.create().await,
            10..20 => self.change_followers().await,
            20..25 => self.replace().await,
            25..45 => self.rebalance_portfolio("").await,
            45..60 => self.rebalance_model("").await,
            60..78 => self.rebalance_unwaited().await,
            78..84 => self.rebalance_model("?dry_run=true").await,
            84..88 => self.rebalance_portfolio("&dry_run=true").await,
            88..91 => self.give_up().await,
            91..95 => self.read().await,
            95..98 => self.delete_model().await,
            _ => self.delete_rebalance().await,
        }
    }

    /// One in ten so narrow that most of its bands hold no whole share.
    fn content(&mut self) -> (Value, usize) {
        let count = self.rng.random_range(2..=10);
        let drift = if self.rng.random_range(0..10) == 0 { 0.0 } else { DRIFT };
        let step = 190 / count;
        let chosen = self.world.securities.sample(&mut self.rng, count);
        let positions: Vec<Value> = chosen
            .map(|id| {
                let target = f64::from(u32::try_from(step).unwrap_or(1)) / 200.0;
                json!({ "security_id": id, "target": target, "high_drift": drift, "low_drift": drift })
            })
            .collect();
        self.made += 1;
        let name = format!("Model {} of manager {}", self.made, self.number);
        (json!({ "name": name, "positions": positions }), count)
    }

    fn some_portfolios(&mut self, count: usize) -> Vec<String> {
        self.world.portfolios.sample(&mut self.rng, count).cloned().collect()
    }

    async fn create(&mut self) -> Result<()> {
        if MODELS_AT_MOST <= self.models.len() {
            return self.delete_model().await;
        }
        // The first of every second manager is large.
        let count = match self.made {
            0 if self.number.is_multiple_of(2) => LARGE,
            _ => self.rng.random_range(1..=8),
        };
        let followers = self.some_portfolios(count);
        let (mut content, positions) = self.content();
        content["portfolios"] = json!(followers);
        let key = self.key();
        let request = || {
            let request = self.desk.request(Method::POST, MODELS, "", "").json(&content);
            keyed(request, key.as_deref())
        };
        let Some(reply) = self.until_known("create a model", MODELS, &request, key.is_some()).await? else {
            return Ok(());
        };
        if reply.status != 201 {
            self.desk.surprise("create a model", &reply);
            return Ok(());
        }
        let (id, version) = named(&reply)?;
        self.models.push(Model { id, version, positions, followers });
        Ok(())
    }

    /// What has a key is asked again until somebody knows: when the service died, or is still at it.
    async fn until_known(
        &self,
        what: &'static str,
        path: &'static str,
        request: &impl Fn() -> RequestBuilder,
        has_key: bool,
    ) -> Result<Option<Reply>> {
        let late = Instant::now() + END;
        loop {
            let reply = self.desk.ask(what, path, request()).await?;
            if !has_key {
                return Ok(reply);
            }
            match reply {
                Some(reply) if reply.status == 409 && reply.code() == IN_FLIGHT => {
                    if late < Instant::now() {
                        self.desk.surprise("in flight for ever", &reply);
                        return Ok(None);
                    }
                    sleep(reply.retry_after()).await;
                }
                Some(reply) => return Ok(Some(reply)),
                None => {}
            }
        }
    }

    fn own(&mut self) -> Option<usize> {
        (!self.models.is_empty()).then(|| self.rng.random_range(..self.models.len()))
    }

    async fn change_followers(&mut self) -> Result<()> {
        let Some(own) = self.own() else { return Ok(()) };
        let (method, portfolios) = if self.rng.random_bool(0.5) {
            (Method::POST, self.some_portfolios(2))
        } else {
            // At least one stays.
            let followers = &self.models[own].followers;
            (Method::DELETE, followers.iter().skip(1).take(2).cloned().collect())
        };
        if portfolios.is_empty() {
            return Ok(());
        }
        let id = self.models[own].id.clone();
        let request =
            self.desk.request(method, FOLLOWERS, &id, "").json(&json!({ "portfolios": portfolios }));
        let changed = self.desk.ask("change followers", FOLLOWERS, request).await?;
        self.changed(own, "change followers", changed).await
    }

    async fn replace(&mut self) -> Result<()> {
        let Some(own) = self.own() else { return Ok(()) };
        let (mut content, positions) = self.content();
        let model = &self.models[own];
        content["portfolios"] = json!(model.followers);
        content["version"] = json!(model.version);
        let request = self.desk.request(Method::PUT, MODEL, &model.id, "").json(&content);
        let changed = self.desk.ask("replace a model", MODEL, request).await?;
        self.models[own].positions = positions;
        self.changed(own, "replace a model", changed).await
    }

    /// Takes over what the model has become; if nobody said so, by reading it.
    async fn changed(&mut self, own: usize, what: &'static str, changed: Option<Reply>) -> Result<()> {
        let read = match changed {
            Some(reply) if reply.status == 200 => reply,
            Some(reply) => {
                self.desk.surprise(what, &reply);
                return Ok(());
            }
            None => {
                sleep(ON_ITS_WAY).await;
                let request = self.desk.request(Method::GET, MODEL, &self.models[own].id, "");
                match self.desk.ask("read a model", MODEL, request).await? {
                    Some(reply) if reply.status == 200 => reply,
                    _ => {
                        self.models.swap_remove(own);
                        return Ok(());
                    }
                }
            }
        };
        let body: Value = read.json()?;
        let model = &mut self.models[own];
        model.version = body["version"].as_i64().context("no version")?;
        model.followers = serde_json::from_value(body["portfolios"].clone())?;
        model.positions = body["positions"].as_array().context("no positions")?.len();
        Ok(())
    }

    async fn rebalance_portfolio(&mut self, query: &str) -> Result<()> {
        let Some(own) = self.own() else { return Ok(()) };
        let model = &self.models[own];
        let portfolio = model.followers.choose(&mut self.rng).context("no followers")?.clone();
        let (query, positions) = (format!("?model_id={}{query}", model.id), model.positions);
        let is_dry = query.ends_with("dry_run=true");
        let what = if is_dry { "rebalance a portfolio, dry" } else { "rebalance a portfolio" };
        let (id, path) = (&portfolio, REBALANCE_PORTFOLIO);
        self.rebalance(&Ask { what, path, id, query, is_async: false, portfolios: 1, positions }).await
    }

    async fn rebalance_model(&mut self, query: &str) -> Result<()> {
        let Some(own) = self.own() else { return Ok(()) };
        let what = if query.is_empty() { "rebalance a model" } else { "rebalance a model, dry" };
        self.rebalance_own(own, what, query, false).await
    }

    async fn rebalance_unwaited(&mut self) -> Result<()> {
        let Some(own) = self.own() else { return Ok(()) };
        self.rebalance_own(own, "rebalance a model, unwaited", "", true).await
    }

    async fn rebalance_own(
        &mut self,
        own: usize,
        what: &'static str,
        query: &str,
        is_async: bool,
    ) -> Result<()> {
        let Model { id, positions, followers, .. } = &self.models[own];
        let (id, portfolios, positions) = (id.clone(), followers.len(), *positions);
        let (path, query) = (REBALANCE_MODEL, query.to_owned());
        self.rebalance(&Ask { what, path, id: &id, query, is_async, portfolios, positions }).await
    }

    async fn rebalance(&mut self, ask: &Ask<'_>) -> Result<()> {
        let is_dry = ask.query.ends_with("dry_run=true");
        let key = self.key().filter(|_| !is_dry);
        let (desk, world) = (self.desk, self.world);
        let request = || {
            desk.asks_for(ask.portfolios, ask.positions, world);
            let request = desk.request(Method::POST, ask.path, ask.id, &ask.query);
            let request = if ask.is_async { request.header("Prefer", "respond-async") } else { request };
            keyed(request, key.as_deref())
        };
        let reply = if key.is_some() && self.rng.random_bool(0.3) {
            self.twice_at_once(ask, &request).await?
        } else {
            self.until_known(ask.what, ask.path, &request, key.is_some()).await?
        };
        let Some(reply) = reply else {
            if !is_dry {
                desk.nobody_knows();
            }
            return Ok(());
        };
        let id = match (reply.status, reply.code().as_str()) {
            (200, _) if !ask.is_async => {
                let id = rebalanced(&reply, ask)?;
                match id {
                    None => {
                        ensure!(is_dry, "no record of what was to be kept");
                        return Ok(());
                    }
                    Some(id) => {
                        desk.keep(&id, Expected::Completed);
                        id
                    }
                }
            }
            (202, _) if ask.is_async => {
                let location = reply.headers.get("location").context("no location")?.to_str()?;
                let (_, id) = location.rsplit_once('/').context("no location")?;
                desk.keep(id, Expected::Ended);
                id.to_owned()
            }
            (503, "external-service-unavailable" | "interrupted") | (422, "no-feasible-solution") => {
                return Ok(());
            }
            // Locked by a transaction that a killed process left open.
            (503, "store-unavailable") if 0 < desk.deaths() => return Ok(()),
            (503, TOO_MANY) if ask.is_async => {
                sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
            _ => {
                desk.surprise(ask.what, &reply);
                return Ok(());
            }
        };
        if key.is_some() && self.rng.random_bool(0.5) {
            self.again(ask, &request, &reply).await?;
        }
        if ask.is_async {
            self.see_to_its_end(&id).await?;
        }
        self.rebalances.push(id);
        Ok(())
    }

    /// The same key gives the same answer.
    async fn again(&self, ask: &Ask<'_>, request: &impl Fn() -> RequestBuilder, first: &Reply) -> Result<()> {
        let Some(second) = self.until_known(ask.what, ask.path, request, true).await? else {
            return Ok(());
        };
        let is_same = if ask.is_async {
            // What it has come to meanwhile differs.
            second.headers.get("location") == first.headers.get("location")
        } else {
            without_names(&second)? == without_names(first)?
        };
        // Nobody else deletes it.
        if second.status != first.status || !is_same || !second.headers.contains_key("idempotent-replayed") {
            self.desk.surprise("the same key again", &second);
        }
        Ok(())
    }

    /// Two of one key: one of them does it, and both tell of it.
    async fn twice_at_once(
        &self,
        ask: &Ask<'_>,
        request: &impl Fn() -> RequestBuilder,
    ) -> Result<Option<Reply>> {
        let one = || self.until_known(ask.what, ask.path, request, true);
        let (first, second) = join(one(), one()).await;
        let (Some(first), Some(second)) = (first?, second?) else {
            return Ok(None);
        };
        let id = |reply: &Reply| {
            if ask.is_async {
                let location = reply.headers.get("location").map(|it| String::from_utf8_lossy(it.as_bytes()));
                Ok(location.map(Cow::into_owned))
            } else {
                rebalanced(reply, ask)
            }
        };
        if first.status < 300 && second.status < 300 && id(&first)? != id(&second)? {
            self.desk
                .trouble
                .note("one key did it twice", format!("{:?} and {:?}", id(&first)?, id(&second)?));
        }
        // If one failed for an outage, the other may have done it.
        Ok(Some(if first.status < 300 { first } else { second }))
    }

    async fn see_to_its_end(&mut self, id: &str) -> Result<()> {
        match self.rng.random_range(0..4) {
            0 => Ok(()),
            1 => self.cancel(id).await,
            2 => self.follow(id).await,
            _ => self.poll(id).await,
        }
    }

    async fn cancel(&mut self, id: &str) -> Result<()> {
        sleep(Duration::from_millis(self.rng.random_range(0..100))).await;
        let request = self.desk.request(Method::DELETE, REBALANCE, id, "?version=1");
        match self.desk.ask("cancel a rebalance", REBALANCE, request).await? {
            Some(reply) if reply.status == 200 => self.desk.keep(id, Expected::Cancelled),
            // It was over already, and its version is the next.
            Some(reply) if reply.status == 409 => {}
            Some(reply) => self.desk.surprise("cancel a rebalance", &reply),
            // It may be cancelled, or have ended.
            None => {
                let request = self.desk.request(Method::GET, REBALANCE, id, "");
                if let Some(reply) = self.desk.ask("read a record", REBALANCE, request).await?
                    && reply.json::<Value>()?["status"] == "CANCELLED"
                {
                    self.desk.keep(id, Expected::Cancelled);
                }
            }
        }
        Ok(())
    }

    async fn follow(&self, id: &str) -> Result<()> {
        let request = self.desk.request(Method::GET, EVENTS, id, "");
        let Ok(reply) = timeout(END, self.desk.follow("follow a rebalance", EVENTS, request)).await else {
            self.desk.trouble.note("a rebalance that does not end", id);
            return Ok(());
        };
        let Some(reply) = reply? else { return Ok(()) };
        let text = String::from_utf8_lossy(&reply.body);
        let last = text.lines().rev().find_map(|line| line.strip_prefix("event: "));
        if !matches!(last, Some("completed" | "failed" | "cancelled")) {
            self.desk.surprise("the last event", &reply);
        }
        Ok(())
    }

    async fn poll(&self, id: &str) -> Result<()> {
        let late = Instant::now() + END;
        while Instant::now() < late {
            let request = self.desk.request(Method::GET, REBALANCE, id, "");
            if let Some(reply) = self.desk.ask("read a record", REBALANCE, request).await? {
                ensure!(reply.status == 200, "a record that is gone: {}", reply.status);
                if reply.json::<Value>()?["status"] != "RUNNING" {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.desk.trouble.note("a rebalance that does not end", id);
        Ok(())
    }

    /// The client goes away, at any point of its rebalance.
    async fn give_up(&mut self) -> Result<()> {
        let Some(own) = self.own() else { return Ok(()) };
        let patience = Duration::from_millis(self.rng.random_range(1..150));
        let Model { id, positions, followers, .. } = &self.models[own];
        self.desk.asks_for(followers.len(), *positions, self.world);
        let request = self.desk.request(Method::POST, REBALANCE_MODEL, id, "");
        let what = "rebalance a model, then leave";
        match timeout(patience, self.desk.ask(what, REBALANCE_MODEL, request)).await {
            Ok(Ok(Some(reply))) if reply.status == 200 => {
                let replies: Vec<Rebalanced> = reply.json()?;
                if let Some(Some(id)) = replies.into_iter().next().map(|first| first.rebalance_id) {
                    self.desk.keep(&id, Expected::Completed);
                }
            }
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) | Err(_) => self.desk.nobody_knows(),
            Ok(Err(error)) => return Err(error),
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        let offset = self.rng.random_range(0..50);
        let request = self.desk.request(Method::GET, REBALANCES, "", &format!("?limit=3&offset={offset}"));
        if let Some(reply) = self.desk.ask("list rebalances", REBALANCES, request).await? {
            ensure!(reply.status == 200, "no list: {}", reply.status);
        }
        if let Some(id) = self.rebalances.choose(&mut self.rng) {
            let request = self.desk.request(Method::GET, REBALANCE, id, "");
            if let Some(reply) = self.desk.ask("read a record", REBALANCE, request).await? {
                ensure!(reply.status == 200, "a record that is gone: {}", reply.status);
            }
        }
        Ok(())
    }

    async fn delete_model(&mut self) -> Result<()> {
        // The large ones stay.
        let small = self.models.iter().position(|model| model.followers.len() < LARGE / 2);
        let Some(own) = small else { return Ok(()) };
        let Model { id, version, .. } = self.models.swap_remove(own);
        let request = self.desk.request(Method::DELETE, MODEL, &id, &format!("?version={version}"));
        match self.desk.ask("delete a model", MODEL, request).await? {
            Some(reply) if reply.status != 204 => self.desk.surprise("delete a model", &reply),
            Some(_) | None => {}
        }
        Ok(())
    }

    async fn delete_rebalance(&mut self) -> Result<()> {
        let Some(id) = self.rebalances.pop() else { return Ok(()) };
        let request = self.desk.request(Method::GET, REBALANCE, &id, "");
        let Some(reply) = self.desk.ask("read a record", REBALANCE, request).await? else {
            return Ok(());
        };
        ensure!(reply.status == 200, "a record that is gone: {}", reply.status);
        let record: Value = reply.json()?;
        if record["status"] == "RUNNING" {
            return Ok(());
        }
        let query = format!("?version={}", record["version"]);
        // Whether the service dies of it or not: it may be gone.
        self.desk.keep(&id, Expected::Deleted);
        let request = self.desk.request(Method::DELETE, REBALANCE, &id, &query);
        match self.desk.ask("delete a record", REBALANCE, request).await? {
            Some(reply) if reply.status != 200 => self.desk.surprise("delete a record", &reply),
            Some(_) => {}
            // Of one that is still there, nobody is surprised.
            None => self.desk.nobody_knows(),
        }
        Ok(())
    }

    fn key(&mut self) -> Option<String> {
        if self.rng.random_bool(0.6) {
            return None;
        }
        self.keys += 1;
        Some(format!("key-{}-{}", self.number, self.keys))
    }
}

/// Until everything works again; `None` if it does not in time.
pub(super) async fn recovered(
    desk: &Desk<'_>,
    world: &World,
    rng: StdRng,
    within: Duration,
) -> Option<Duration> {
    let begun = Instant::now();
    let mut manager = Manager::new(u64::MAX, desk, world, rng);
    while begun.elapsed() < within {
        match manager.tries_everything().await {
            Ok(true) => return Some(begun.elapsed()),
            Ok(false) => sleep(Duration::from_millis(100)).await,
            Err(error) => desk.trouble.note("an answer that makes no sense", format!("{error:#}")),
        }
    }
    desk.trouble.note("not well again in time", format!("{within:?}"));
    None
}

impl Manager<'_> {
    async fn tries_everything(&mut self) -> Result<bool> {
        self.made += 1;
        let portfolios = self.some_portfolios(3);
        let positions: Vec<Value> = self.world.securities[..2]
            .iter()
            .map(|id| json!({ "security_id": id, "target": 0.4, "high_drift": 0.05, "low_drift": 0.05 }))
            .collect();
        let name = format!("After the faults {}", self.made);
        let model = json!({ "name": name, "positions": positions, "portfolios": portfolios });
        let request = self.desk.request(Method::POST, MODELS, "", "").json(&model);
        let Some(created) = self.desk.ask("create, afterwards", MODELS, request).await? else {
            return Ok(false);
        };
        ensure!(created.status == 201, "no model: {}", created.status);
        let (id, _) = named(&created)?;

        self.desk.asks_for(9, 6, self.world);
        let alone =
            self.desk.request(Method::POST, REBALANCE_PORTFOLIO, &portfolios[0], &format!("?model_id={id}"));
        let together = self.desk.request(Method::POST, REBALANCE_MODEL, &id, "");
        let unwaited =
            self.desk.request(Method::POST, REBALANCE_MODEL, &id, "").header("Prefer", "respond-async");
        for (what, path, request) in [
            ("rebalance a portfolio, afterwards", REBALANCE_PORTFOLIO, alone),
            ("rebalance a model, afterwards", REBALANCE_MODEL, together),
        ] {
            let Some(reply) = self.desk.ask(what, path, request).await? else { return Ok(false) };
            if reply.status != 200 {
                return Ok(false);
            }
            let id = rebalanced_ids(&reply)?.pop().context("nothing was rebalanced")?;
            self.desk.keep(&id, Expected::Completed);
        }
        let what = "rebalance a model unwaited, afterwards";
        let Some(reply) = self.desk.ask(what, REBALANCE_MODEL, unwaited).await? else { return Ok(false) };
        if reply.status != 202 {
            return Ok(false);
        }
        let body: Value = reply.json()?;
        let id = body["rebalance_id"].as_str().context("no record")?;
        self.desk.keep(id, Expected::Completed);
        self.poll(id).await?;
        Ok(true)
    }
}

fn keyed(request: RequestBuilder, key: Option<&str>) -> RequestBuilder {
    match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    }
}

/// A name is asked for anew where the answer is made of the record.
fn without_names(reply: &Reply) -> Result<Value> {
    let mut body: Value = reply.json()?;
    for one in body.as_array_mut().into_iter().flatten() {
        one["portfolio_name"].take();
    }
    if let Some(name) = body.get_mut("portfolio_name") {
        name.take();
    }
    Ok(body)
}

/// Id and version of a model.
fn named(reply: &Reply) -> Result<(String, i64)> {
    let body: Value = reply.json()?;
    let id = body["model_id"].as_str().context("no id")?.to_owned();
    Ok((id, body["version"].as_i64().context("no version")?))
}

#[derive(Deserialize)]
struct Rebalanced {
    rebalance_id: Option<String>,
    status: String,
    error: Option<Value>,
}

/// The record of a reply that was waited for, and whether it tells of every portfolio.
fn rebalanced(reply: &Reply, ask: &Ask<'_>) -> Result<Option<String>> {
    let replies: Vec<Rebalanced> = match ask.path {
        REBALANCE_PORTFOLIO => vec![reply.json()?],
        _ => reply.json()?,
    };
    ensure!(replies.len() == ask.portfolios, "{} of {} portfolios", replies.len(), ask.portfolios);
    let told = |one: &Rebalanced| match one.status.as_str() {
        "REBALANCED" => one.error.is_none(),
        "FAILED" => one.error.is_some(),
        _ => false,
    };
    ensure!(replies.iter().all(told), "neither rebalanced nor failed with a reason");
    let first = replies.first().context("of no portfolio")?.rebalance_id.clone();
    ensure!(replies.iter().all(|one| one.rebalance_id == first), "of several records");
    Ok(first)
}

fn rebalanced_ids(reply: &Reply) -> Result<Vec<String>> {
    let body: Value = reply.json()?;
    let all = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let id = |one: Value| one["rebalance_id"].as_str().map(ToOwned::to_owned).context("no record");
    all.into_iter().map(id).collect()
}
