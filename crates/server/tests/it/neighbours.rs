//! What neighbours are asked for, and what is made of answers that know nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sandbox::{Config as SandboxConfig, Draws, Failure, Faults, PriceOverride, Sandbox};
use serde_json::{Value, json};

use crate::faults::{API, Desk, FIRST, INDISPENSABLE, Neighbour, Way, remember_nothing};
use crate::harness::{Reply, TestServer, decimal, position, reply, sandbox_of};

const UNKNOWN_SECURITY: &str = "00000000000000000000000a";
const NAMELESS: [Value; 2] = [Value::Null, Value::Null];

#[track_caller]
fn assert_unavailable(reply: Reply) {
    let wait: u32 = reply.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!(0 < wait);
    let problem = reply.expect_problem(503, "external-service-unavailable");
    assert_eq!(problem["detail"], "External service unavailable");
}

/// Rebalanced and traded, with or without the names of portfolios.
#[track_caller]
fn assert_rebalanced(body: &Value, names: &[Value]) {
    let elements = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
    for (element, name) in elements.iter().zip(names) {
        assert_eq!(element["status"], "REBALANCED");
        assert_eq!(element["transactions"].as_array().unwrap().len(), 2);
        assert_eq!(element["portfolio_name"], *name);
    }
}

#[tokio::test]
async fn a_slow_portfolio_service_is_not_waited_for() {
    let desk = Desk::open(|config| config.neighbours.name_timeout = Duration::from_millis(150)).await;
    desk.server.sandbox.portfolio.inject(Faults::latency(Duration::from_mins(1)));

    for reply in desk.rebalance_both_ways().await {
        assert_rebalanced(&reply.expect(200), &NAMELESS);
    }
}

#[tokio::test]
async fn calls_that_sometimes_fail_make_whole_rebalances_or_none() {
    const N_ROUNDS: usize = 30;
    let desk = Desk::open(|config| config.neighbours.first_backoff = Duration::from_millis(1)).await;
    for neighbour in INDISPENSABLE {
        neighbour.inject(&desk.server.sandbox, Faults::sometimes(0.5, Failure::status(503)));
    }

    let mut n_rebalanced = 0;
    for _ in 0..N_ROUNDS {
        let reply = desk.server.rebalance_model(&desk.model).await;
        if reply.status == 200 {
            assert_rebalanced(&reply.body, &[json!("First"), json!("Second")]);
            n_rebalanced += 1;
        } else {
            assert_unavailable(reply);
        }
    }

    assert!((1..N_ROUNDS).contains(&n_rebalanced), "{n_rebalanced} of {N_ROUNDS} went well");
    let list = desk.server.get("/api/v1/rebalances?limit=100").await.expect(200);
    let kept = list.as_array().unwrap();
    assert_eq!(kept.len(), n_rebalanced);
    for record in kept {
        assert_eq!(record["number_of_portfolios"], 2);
        assert_eq!(record["failures"], json!([]));
        for portfolio in record["portfolios"].as_array().unwrap() {
            assert_eq!(portfolio["positions"].as_array().unwrap().len(), 2);
        }
    }
}

/// What the Pricing Service may say when it has no price that anything can be bought at.
fn no_prices() -> [PriceOverride; 5] {
    [
        PriceOverride::Missing,
        PriceOverride::Exactly(dec!(0)),
        PriceOverride::Exactly(dec!(-12.5)),
        PriceOverride::Text("NaN".to_owned()),
        PriceOverride::Text("Infinity".to_owned()),
    ]
}

#[tokio::test]
async fn a_security_of_the_model_without_a_price_is_named_and_nothing_is_kept() {
    let desk = Desk::open(|_| {}).await;
    let expected = format!("security {} has no price", desk.server.security("B"));

    for price in no_prices() {
        desk.server.sandbox.pricing.set("B", price.clone());
        for reply in desk.rebalance_both_ways().await {
            let problem = reply.expect_problem(422, "security-not-priced");
            assert_eq!(problem["detail"], expected, "{price:?}");
        }
    }

    desk.assert_nothing_kept().await;
    desk.server.sandbox.pricing.set("B", PriceOverride::Exactly(dec!(50)));
    for reply in desk.rebalance_both_ways().await {
        reply.expect(200);
    }
}

#[tokio::test]
async fn a_security_of_the_model_without_a_ticker_is_named() {
    // The Security Service answers for the second as if it had broken down: no id of its own looks so.
    for security in [UNKNOWN_SECURITY, "STOCK1234567890123456789"] {
        let desk = Desk::open(|_| {}).await;
        let positions = [position(security, "0.50", "0.05", "0.05")];
        let model = desk.server.create_model("Unlisted", &positions, &[FIRST]).await;

        let single = desk.server.rebalance_portfolio(FIRST).await;
        let whole = desk.server.rebalance_model(&model).await;

        for reply in [single, whole] {
            let problem = reply.expect_problem(422, "security-not-priced");
            assert_eq!(problem["detail"], format!("security {security} has no price"));
        }
        desk.assert_nothing_kept().await;
    }
}

#[tokio::test]
async fn one_security_in_two_spellings_is_one_security() {
    let desk = Desk::open(|_| {}).await;
    let a = desk.server.security("A");
    let model = desk
        .server
        .create_model("Shouting", &[position(&a.to_uppercase(), "0.50", "0.05", "0.05")], &[FIRST])
        .await;
    desk.server.sandbox.accounting.fund(FIRST, dec!(0), &[(&a, dec!(100))]);

    let body = desk.server.rebalance_model(&model).await.expect(200);

    assert_eq!(body[0]["transactions"].as_array().unwrap().len(), 1);
    assert_eq!(body[0]["transactions"][0]["transaction_type"], "SELL");
    assert_eq!(body[0]["transactions"][0]["quantity"], 50);
}

#[tokio::test]
async fn a_holding_without_a_price_fails_its_portfolio_alone() {
    let desk = Desk::open(|_| {}).await;
    let c = desk.server.security("C");
    let unlisted = (UNKNOWN_SECURITY, PriceOverride::Missing);

    for (security, price) in no_prices().map(|price| (c.as_str(), price)).into_iter().chain([unlisted]) {
        desk.server.sandbox.accounting.fund(FIRST, dec!(10000), &[(security, dec!(3))]);
        desk.server.sandbox.pricing.set("C", price);

        let [single, whole] = desk.rebalance_both_ways().await;

        let expected = format!("security {security} has no price");
        let problem = single.expect_problem(422, "security-not-priced");
        assert_eq!(problem["detail"], expected);
        let body = whole.expect(200);
        assert_eq!(body[0]["status"], "FAILED");
        assert_eq!(body[0]["error"], json!({ "code": "security-not-priced", "detail": expected }));
        assert_eq!((&body[0]["transactions"], &body[0]["drifts"]), (&json!([]), &json!([])));
        assert_rebalanced(&body[1], &[json!("Second")]);
        let record = desk.server.record_of(&body[0]).await;
        assert_eq!(record["number_of_portfolios"], 1);
        assert_eq!(record["failures"][0]["portfolio_id"], FIRST);

        let later = desk.rebalance(Way::Async).await;
        assert_eq!(later.status, (202, Some("COMPLETED".to_owned())));
        let newest = desk.server.get("/api/v1/rebalances?limit=1").await.expect(200)[0].clone();
        assert_eq!(
            (&newest["failures"], &newest["portfolios"]),
            (&record["failures"], &json!(later.portfolios))
        );
    }
}

#[tokio::test]
async fn all_portfolios_of_a_rebalance_see_the_same_prices_each_asked_for_once() {
    const N_SECURITIES: usize = 20;
    let sandbox = SandboxConfig { draws: Draws::Random, ..SandboxConfig::default() };
    let server = TestServer::start_on(Sandbox::start(sandbox).await.unwrap(), remember_nothing).await;
    let universe = server.sandbox.universe().securities();
    let tickers: Vec<String> =
        universe[..N_SECURITIES + 2].iter().map(|security| security.ticker.clone()).collect();
    let securities: Vec<String> = tickers.iter().map(|ticker| server.security(ticker)).collect();
    let (wanted, others) = securities.split_at(N_SECURITIES);
    let portfolios: Vec<String> = (0..10).map(|idx| format!("{idx:024}")).collect();
    for (idx, portfolio) in portfolios.iter().enumerate() {
        let held = [&wanted[idx], &wanted[idx + 5], &others[idx % 2]];
        let holdings = held.map(|security| (security.as_str(), Decimal::from(10 + idx)));
        server.sandbox.accounting.fund(portfolio, dec!(1000000), &holdings);
    }
    let positions: Vec<Value> =
        wanted.iter().map(|security| position(security, "0.045", "0.02", "0.02")).collect();
    let followers: Vec<&str> = portfolios.iter().map(String::as_str).collect();
    let model = server.create_model("Broad", &positions, &followers).await;

    let mut snapshots = Vec::new();
    for n_rebalances in 1..=2 {
        let body = server.rebalance_model(&model).await.expect(200);

        for (ticker, security) in tickers.iter().zip(&securities) {
            assert_eq!(server.sandbox.pricing.calls_to(&format!("/api/v1/price/{ticker}")), n_rebalances);
            assert_eq!(
                server.sandbox.security.calls_to(&format!("/api/v1/security/{security}")),
                n_rebalances
            );
        }
        for portfolio in &portfolios {
            let summary = format!("/api/v1/portfolios/{portfolio}/summary");
            assert_eq!(server.sandbox.accounting.calls_to(&summary), n_rebalances);
            let name = format!("/api/v1/portfolio/{portfolio}");
            assert_eq!(server.sandbox.portfolio.calls_to(&name), n_rebalances);
        }
        let record = server.record_of(&body[0]).await;
        assert_eq!(record["number_of_portfolios"], 10);
        snapshots.push(prices_of(&record));
    }
    assert_eq!(snapshots[0].len(), N_SECURITIES + 2);
    assert_ne!(snapshots[0], snapshots[1]);
}

/// The price of every security in a record; panics where two portfolios were given different ones.
fn prices_of(record: &Value) -> BTreeMap<String, Decimal> {
    let mut prices = BTreeMap::new();
    for portfolio in record["portfolios"].as_array().unwrap() {
        for row in portfolio["positions"].as_array().unwrap() {
            let security = row["security_id"].as_str().unwrap().to_owned();
            let price = decimal(&row["price"]);
            let first = *prices.entry(security).or_insert(price);
            assert_eq!(first, price, "{row:#}");
        }
    }
    prices
}

#[tokio::test]
async fn tickers_prices_and_names_are_remembered_as_long_as_configured() {
    let desk = Desk::open(|config| {
        let minute = Duration::from_mins(1);
        config.neighbours.ticker_ttl = minute;
        config.neighbours.price_ttl = minute;
        config.neighbours.name_ttl = minute;
    })
    .await;

    for n_rebalances in 1..=3 {
        desk.server.rebalance_model(&desk.model).await.expect(200);

        let sandbox = &desk.server.sandbox;
        let security = format!("/api/v1/security/{}", desk.server.security("A"));
        assert_eq!(sandbox.security.calls_to(&security), 1);
        assert_eq!(sandbox.pricing.calls_to("/api/v1/price/A"), 1);
        assert_eq!(sandbox.portfolio.calls_to(&format!("/api/v1/portfolio/{FIRST}")), 1);
        let summary = format!("/api/v1/portfolios/{FIRST}/summary");
        assert_eq!(sandbox.accounting.calls_to(&summary), n_rebalances);
    }
}

#[tokio::test]
async fn the_correlation_id_of_a_request_reaches_every_neighbour() {
    let desk = Desk::open(|_| {}).await;
    let rebalance = async |id: &str| {
        let url = format!("{}/api/v1/model/{}/rebalance", desk.server.url, desk.model);
        let answer = reply(desk.server.client.post(url).header("X-Correlation-ID", id)).await;
        assert_eq!(answer.headers["x-correlation-id"], id);
        answer.expect(200);
    };

    tokio::join!(rebalance("desk-7:first"), rebalance("desk-7:second"));

    let sandbox = &desk.server.sandbox;
    for ids in [
        sandbox.accounting.correlation_ids(),
        sandbox.security.correlation_ids(),
        sandbox.pricing.correlation_ids(),
        sandbox.portfolio.correlation_ids(),
    ] {
        let mut ids = ids;
        ids.sort();
        assert_eq!(ids, ["desk-7:first", "desk-7:first", "desk-7:second", "desk-7:second"]);
    }
}

/// There is no collector here, and so no trace of the service's own.
#[tokio::test]
async fn the_trace_of_a_caller_reaches_every_neighbour_as_it_is() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let desk = Desk::open(|_| {}).await;
    let sandbox = &desk.server.sandbox;
    let ask = async |path: &str, trace: &str, prefer: &str| {
        let request = desk.server.client.post(format!("{}{path}", desk.server.url));
        reply(request.header("traceparent", trace).header("prefer", prefer)).await
    };
    let [single, model] =
        [format!("/api/v1/portfolio/{FIRST}/rebalance"), format!("/api/v1/model/{}/rebalance", desk.model)];
    // What makes no sense is nobody's trace.
    for nonsense in ["", "no trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
        ask(&model, nonsense, "").await.expect(200);
    }
    let told = [
        sandbox.accounting.traceparents(),
        sandbox.security.traceparents(),
        sandbox.portfolio.traceparents(),
    ];
    assert_eq!(told.concat(), Vec::<String>::new());

    ask(&single, TRACE, "").await.expect(200);
    ask(&model, TRACE, "").await.expect(200);
    let names = sandbox.portfolio.traceparents();
    ask(&model, TRACE, "respond-async").await.expect(202);
    while sandbox.pricing.traceparents().len() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    assert_eq!(names, [TRACE; 3]);
    assert_eq!(sandbox.accounting.traceparents(), [TRACE; 1 + 2 + 2]);
    assert_eq!(sandbox.security.traceparents(), [TRACE; 2 + 2 + 2]);
    assert_eq!(sandbox.pricing.traceparents(), [TRACE; 2 + 2 + 2]);
}

#[tokio::test]
async fn a_cold_rebalance_of_a_hundred_securities_asks_for_each_once_however_many_rebalance() {
    const N_SECURITIES: usize = 100;
    let tickers: Vec<String> = (0..N_SECURITIES).map(|idx| format!("T{idx}")).collect();
    let prices: Vec<(&str, Decimal)> = tickers.iter().map(|ticker| (ticker.as_str(), dec!(10))).collect();
    for (n_rebalances, bulk_threshold) in [(1, 0), (20, 0), (1, 20), (20, 20)] {
        let server = TestServer::start_on(sandbox_of(&prices).await, |config| {
            config.neighbours.price_ttl = Duration::from_mins(1);
            config.neighbours.prices_bulk_threshold = bulk_threshold;
            config.neighbours.max_concurrent = 8.try_into().unwrap();
            config.http.request_deadline = Duration::from_mins(1);
        })
        .await;
        let securities: Vec<String> = tickers.iter().map(|ticker| server.security(ticker)).collect();
        let positions: Vec<Value> =
            securities.iter().map(|security| position(security, "0.005", "0.005", "0.005")).collect();
        server.sandbox.accounting.fund(FIRST, dec!(1000000), &[]);
        let model = server.create_model("Hundred", &positions, &[FIRST]).await;
        let sandbox = &server.sandbox;
        for neighbour in [Neighbour::Security, Neighbour::Pricing] {
            neighbour.inject(sandbox, Faults::latency(Duration::from_millis(20)));
        }

        let rebalances = (0..n_rebalances).map(|_| server.rebalance_model(&model));
        for reply in futures_util::future::join_all(rebalances).await {
            assert_eq!(reply.expect(200)[0]["transactions"].as_array().unwrap().len(), N_SECURITIES);
        }

        for security in &securities {
            assert_eq!(sandbox.security.calls_to(&format!("/api/v1/security/{security}")), 1);
        }
        let singly = u64::from(bulk_threshold == 0);
        for ticker in &tickers {
            assert_eq!(sandbox.pricing.calls_to(&format!("/api/v1/price/{ticker}")), singly);
        }
        assert_eq!(sandbox.pricing.calls_to("/api/v1/prices"), 1 - singly);
        assert!((2..=8).contains(&sandbox.security.most_calls_at_once()));
        let most_prices_at_once = sandbox.pricing.most_calls_at_once();
        assert!((1..=8).contains(&most_prices_at_once), "{most_prices_at_once}");
    }
}

fn retry_after(reply: &Reply) -> u64 {
    reply.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_pause_that_a_neighbour_asks_for_is_passed_on_where_it_is_too_long_to_wait() {
    let desk = Desk::open(|config| config.http.request_deadline = Duration::from_secs(9)).await;
    let busy = Failure::Status { code: 503, retry_after_seconds: Some(40) };
    desk.server.sandbox.accounting.inject(Faults::always(busy));

    let reply = desk.server.rebalance_portfolio(FIRST).await;

    assert_eq!(retry_after(&reply), 40);
    assert_unavailable(reply);
    assert_eq!(desk.server.sandbox.accounting.calls_under(API), 1);
}

#[tokio::test]
async fn a_request_fails_by_its_deadline_however_long_its_neighbours_may_take() {
    let desk = Desk::open(|config| {
        config.http.request_deadline = Duration::from_millis(500);
        config.neighbours.timeout = Duration::from_mins(1);
    })
    .await;

    for neighbour in INDISPENSABLE {
        neighbour.inject(&desk.server.sandbox, Faults::latency(Duration::from_mins(1)));
        for reply in desk.rebalance_both_ways().await {
            assert_unavailable(reply);
        }
        neighbour.recover(&desk.server.sandbox);
    }

    desk.assert_nothing_kept().await;
}
