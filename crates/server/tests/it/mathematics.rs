//! What a rebalance buys and sells, to the last share and the last digit.

use std::collections::BTreeMap;

use domain::order_generation::problem::BandPolicy;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use crate::harness::{TestServer, decimal, position, sandbox_of};

const PORTFOLIO: &str = "683b6d88a29ee10e8b499643";

#[tokio::test]
async fn the_reference_example_comes_out_to_the_last_digit() {
    let prices = [("A", dec!(62.85)), ("B", dec!(45.12)), ("C", dec!(10))];
    let server = TestServer::start_on(sandbox_of(&prices).await, |_| {}).await;
    let [a, b, c] = ["A", "B", "C"].map(|ticker| server.security(ticker));
    server.sandbox.accounting.fund(PORTFOLIO, dec!(35426.93), &[(&a, dec!(150)), (&c, dec!(12.75))]);
    let positions = [position(&a, "0.60", "0.05", "0.05"), position(&b, "0.35", "0.03", "0.03")];
    let model = server.create_model("Reference", &positions, &[PORTFOLIO]).await;

    let reply = server.rebalance_model(&model).await.expect(200);

    let rebalance = reply[0]["rebalance_id"].as_str().unwrap();
    let record = server.get(&format!("/api/v1/rebalance/{rebalance}")).await.expect(200);
    let (date, created) =
        (record["rebalance_date"].as_str().unwrap(), record["created_at"].as_str().unwrap());
    let today = &date[..10];
    let expected_reply = format!(
        r#"[{{
            "portfolio_id": "{PORTFOLIO}", "portfolio_name": null, "rebalance_id": "{rebalance}",
            "status": "REBALANCED", "error": null,
            "optimality": {{
                "status": "OPTIMAL", "objective": "37.2125", "lower_bound": "37.2125", "gap": "0",
                "method": "OWN_BEST"
            }},
            "trading_costs": "0",
            "transactions": [
                {{"transaction_type": "BUY", "security_id": "{a}", "quantity": 279, "trade_date": "{today}", "shaped_by": []}},
                {{"transaction_type": "BUY", "security_id": "{b}", "quantity": 349, "trade_date": "{today}", "shaped_by": []}},
                {{"transaction_type": "SELL", "security_id": "{c}", "quantity": 12, "trade_date": "{today}", "shaped_by": []}}
            ],
            "drifts": [
                {{
                    "security_id": "{a}", "original_quantity": "150", "adjusted_quantity": "429",
                    "target": "0.60", "high_drift": "0.05", "low_drift": "0.05",
                    "actual": "0.5994", "outside_band": false, "shaped_by": []
                }},
                {{
                    "security_id": "{b}", "original_quantity": "0", "adjusted_quantity": "349",
                    "target": "0.35", "high_drift": "0.03", "low_drift": "0.03",
                    "actual": "0.3501", "outside_band": false, "shaped_by": []
                }},
                {{
                    "security_id": "{c}", "original_quantity": "12.75", "adjusted_quantity": "0.75",
                    "target": "0", "high_drift": "0", "low_drift": "0",
                    "actual": "0.0002", "outside_band": true, "shaped_by": []
                }}
            ]
        }}]"#
    );
    assert_eq!(reply, parsed(&expected_reply), "{reply:#}");
    let expected_record = format!(
        r#"{{
            "rebalance_id": "{rebalance}", "model_id": "{model}", "rebalance_date": "{date}",
            "model_name": "Reference", "trading_rules": null, "status": "COMPLETED",
            "portfolios_total": 1, "number_of_portfolios": 1, "portfolios_failed": 0, "error": null,
            "portfolios": [{{
                "portfolio_id": "{PORTFOLIO}", "market_value": 44981.93,
                "cash_before_rebalance": 35426.93, "cash_after_rebalance": 2264.9,
                "trading_costs": 0,
                "optimality": {{
                    "status": "OPTIMAL", "objective": "37.2125", "lower_bound": "37.2125", "gap": "0",
                    "method": "OWN_BEST"
                }},
                "positions": [
                    {{
                        "security_id": "{a}", "price": 62.85,
                        "original_quantity": 150, "adjusted_quantity": 429,
                        "original_position_market_value": 9427.5, "adjusted_position_market_value": 26962.65,
                        "target": 0.60, "high_drift": 0.05, "low_drift": 0.05,
                        "actual": 0.599410696695317431, "actual_drift": -0.000982172174470948668,
                        "outside_band": false, "shaped_by": [],
                        "transaction_type": "BUY", "trade_quantity": 279, "trade_date": "{today}"
                    }},
                    {{
                        "security_id": "{b}", "price": 45.12,
                        "original_quantity": 0, "adjusted_quantity": 349,
                        "original_position_market_value": 0, "adjusted_position_market_value": 15746.88,
                        "target": 0.35, "high_drift": 0.03, "low_drift": 0.03,
                        "actual": 0.350071239717815576, "actual_drift": 0.000203542050901646188,
                        "outside_band": false, "shaped_by": [],
                        "transaction_type": "BUY", "trade_quantity": 349, "trade_date": "{today}"
                    }},
                    {{
                        "security_id": "{c}", "price": 10,
                        "original_quantity": 12.75, "adjusted_quantity": 0.75,
                        "original_position_market_value": 127.5, "adjusted_position_market_value": 7.5,
                        "target": 0, "high_drift": 0, "low_drift": 0,
                        "actual": 0.00016673361947786589, "actual_drift": 0,
                        "outside_band": true, "shaped_by": [],
                        "transaction_type": "SELL", "trade_quantity": 12, "trade_date": "{today}"
                    }}
                ]
            }}],
            "failures": [], "version": 1, "created_at": "{created}"
        }}"#
    );
    assert_eq!(record, parsed(&expected_record), "{record:#}");
}

/// What a model wants of a security, and what a portfolio has: target, low drift, high drift, price, held.
type Line = (&'static str, &'static str, &'static str, &'static str, i64);

struct Case<'a> {
    name: &'a str,
    cash: &'a str,
    lines: &'a [Line],
    best: Best<'a>,
}

enum Best<'a> {
    /// What is held afterwards, line by line, and the sum of the deviations to six decimals.
    Holds(&'a [i64], &'a str),
    /// The band of `line` holds no whole share. Where the nearest will do, what is then held line by line,
    /// and whether it is outside its band.
    NoneIn { line: usize, nearest: &'a [(i64, bool)] },
}
use Best::{Holds, NoneIn};

const KNOWN: &[Case<'_>] = &[
    Case {
        name: "simple",
        cash: "5000",
        lines: &[("0.60", "0.05", "0.05", "100", 500), ("0.30", "0.03", "0.03", "100", 400)],
        best: Holds(&[570, 285], "0"),
    },
    Case {
        name: "tiny",
        cash: "160",
        lines: &[("0.60", "0.05", "0.05", "50", 0), ("0.30", "0.03", "0.03", "100", 0)],
        best: NoneIn { line: 1, nearest: &[(2, false), (0, true)] },
    },
    Case {
        name: "expensive",
        cash: "1050",
        lines: &[("0.95", "0.001", "0.001", "1000", 0)],
        best: NoneIn { line: 0, nearest: &[(1, true)] },
    },
    Case {
        name: "pricey",
        cash: "1000",
        lines: &[("0.05", "0.005", "0.005", "1800.5", 0)],
        best: NoneIn { line: 0, nearest: &[(0, true)] },
    },
    // 52 and 53 deviate alike, and 52 is fewer to trade.
    Case {
        name: "ten ties",
        cash: "52500",
        lines: &[("0.05", "0.02", "0.02", "50", 0); 10],
        best: Holds(&[52; 10], "250"),
    },
    Case {
        name: "decimals",
        cash: "20000",
        lines: &[("0.60", "0.05", "0.05", "33.333333", 0), ("0.30", "0.03", "0.03", "59.876543", 0)],
        best: Holds(&[360, 100], "12.34582"),
    },
    Case {
        name: "only cash",
        cash: "90000",
        lines: &[("0.60", "0.05", "0.05", "100", 0), ("0.30", "0.03", "0.03", "100", 0)],
        best: Holds(&[540, 270], "0"),
    },
    Case {
        name: "boundary",
        cash: "100000",
        lines: &[("0.95", "0", "0.05", "100", 0)],
        best: Holds(&[950], "0"),
    },
    Case {
        name: "too many held",
        cash: "48000",
        lines: &[("0.50", "0.02", "0.02", "100", 520)],
        best: Holds(&[500], "0"),
    },
    Case {
        name: "far too many held",
        cash: "45000",
        lines: &[("0.50", "0.02", "0.02", "100", 550)],
        best: Holds(&[500], "0"),
    },
    Case {
        name: "zero target",
        cash: "10000",
        lines: &[
            ("0.60", "0.03", "0.03", "100", 500),
            ("0", "0", "0.05", "100", 100),
            ("0.30", "0.02", "0.02", "100", 250),
        ],
        best: Holds(&[570, 0, 285], "0"),
    },
    Case {
        name: "single",
        cash: "5000",
        lines: &[("0.90", "0.05", "0.05", "100", 950)],
        best: Holds(&[900], "0"),
    },
    Case {
        name: "minimum",
        cash: "100",
        lines: &[("0.50", "0.10", "0.20", "50", 0), ("0.40", "0.10", "0.20", "40", 0)],
        best: Holds(&[1, 1], "0"),
    },
    Case {
        name: "uneven prices",
        cash: "20000",
        lines: &[("0.60", "0.05", "0.05", "100", 0), ("0.35", "0.03", "0.03", "150", 0)],
        best: Holds(&[120, 47], "50"),
    },
    Case {
        name: "only upwards",
        cash: "100",
        lines: &[("0.50", "0", "0.20", "35", 0)],
        best: Holds(&[2], "20"),
    },
    Case {
        name: "mostly upwards",
        cash: "100",
        lines: &[("0.50", "0.05", "0.30", "40", 0)],
        best: Holds(&[2], "30"),
    },
    Case {
        name: "too little money for all",
        cash: "1000",
        lines: &[("0.05", "0.05", "0.05", "90", 0); 19],
        best: Holds(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], "840"),
    },
    Case {
        name: "a short holding",
        cash: "105000",
        lines: &[("0.50", "0.02", "0.02", "100", -50)],
        best: Holds(&[500], "0"),
    },
    Case {
        name: "an overdraft",
        cash: "-10000",
        lines: &[("0.50", "0.02", "0.02", "100", 1100)],
        best: Holds(&[500], "0"),
    },
];

#[tokio::test]
async fn known_problems_have_their_known_answers() {
    let server = server_of(KNOWN, BandPolicy::Strict).await;

    for (idx, case) in KNOWN.iter().enumerate() {
        check(&server, idx, case).await;
    }
}

#[tokio::test]
async fn nine_tenths_in_shares_become_half_a_percent_of_each() {
    for (n_lines, value, deviation) in [
        (10, dec!(54360), "108"),
        (25, dec!(135250), "261.944444"),
        (50, dec!(271800), "600"),
        (75, dec!(407050), "1175.833333"),
        (100, dec!(543600), "800"),
    ] {
        let line = |idx: i64| {
            let price = ["50", "51", "52", "53", "54"][usize::try_from(idx % 5).unwrap()];
            ("0.005", "0.01", "0.01", price, 100 + idx % 10)
        };
        let lines: Vec<Line> = (0..n_lines).map(line).collect();
        let balance = (value / dec!(9)).round_dp(8);
        let wanted = (value + balance) * dec!(0.005);
        let nearest = |(.., price, _): &Line| i64::try_from((wanted / number(price)).round()).unwrap();
        let quantities: Vec<i64> = lines.iter().map(nearest).collect();
        let case = Case {
            name: "equal parts",
            cash: &balance.to_string(),
            lines: &lines,
            best: Holds(&quantities, deviation),
        };
        let server = server_of(std::slice::from_ref(&case), BandPolicy::Strict).await;

        check(&server, 0, &case).await;
    }
}

#[tokio::test]
async fn a_band_without_a_whole_share_gets_the_nearest_one_where_that_will_do() {
    let server = server_of(KNOWN, BandPolicy::Nearest).await;

    for (idx, case) in KNOWN.iter().enumerate() {
        let NoneIn { nearest, .. } = case.best else {
            check(&server, idx, case).await;
            continue;
        };
        let body = server.rebalance_portfolio(&portfolio(idx)).await.expect(200);
        let held = held_after(&body);
        let found: Vec<(i64, bool)> = securities(&server, case).iter().map(|id| held[id]).collect();
        assert_eq!(found, nearest, "{}: {body:#}", case.name);
        let record = server.record_of(&body).await;
        let rows = record["portfolios"][0]["positions"].as_array().unwrap().iter();
        let marks: Vec<bool> = rows.map(|row| row["outside_band"].as_bool().unwrap()).collect();
        assert_eq!(marks, nearest.iter().map(|(_, mark)| *mark).collect::<Vec<_>>(), "{}", case.name);
    }
}

/// A server that knows the securities of all cases, with a portfolio and a model for each.
async fn server_of(cases: &[Case<'_>], policy: BandPolicy) -> TestServer {
    let tickers: Vec<(String, Decimal)> = cases
        .iter()
        .flat_map(|case| {
            let price = |(idx, line): (usize, &Line)| (ticker(case, idx), number(line.3));
            case.lines.iter().enumerate().map(price)
        })
        .collect();
    let prices: Vec<(&str, Decimal)> =
        tickers.iter().map(|(ticker, price)| (ticker.as_str(), *price)).collect();
    let server =
        TestServer::start_on(sandbox_of(&prices).await, |config| config.rebalance.band_policy = policy).await;
    for (idx, case) in cases.iter().enumerate() {
        let ids = securities(&server, case);
        let mut positions = Vec::new();
        let mut holdings = Vec::new();
        for (id, (target, low, high, _, held)) in ids.iter().zip(case.lines) {
            positions.push(position(id, target, low, high));
            holdings.push((id.as_str(), Decimal::from(*held)));
        }
        server.sandbox.accounting.fund(&portfolio(idx), number(case.cash), &holdings);
        server.create_model(case.name, &positions, &[&portfolio(idx)]).await;
    }
    server
}

async fn check(server: &TestServer, idx: usize, case: &Case<'_>) {
    let name = case.name;
    let ids = securities(server, case);

    let reply = server.rebalance_portfolio(&portfolio(idx)).await;

    match case.best {
        Holds(quantities, deviation) => {
            let body = reply.expect(200);
            let held = held_after(&body);
            let found: Vec<i64> = ids.iter().map(|id| held[id].0).collect();
            assert_eq!(found, quantities, "{name}: {body:#}");
            let objective = decimal(&body["optimality"]["objective"]);
            assert_eq!(objective.round_dp(6), number(deviation), "{name}: {body:#}");
            assert_eq!(body["optimality"]["status"], "OPTIMAL", "{name}");
            assert!(held.values().all(|(_, outside_band)| !outside_band), "{name}: {body:#}");
        }
        NoneIn { line, .. } => {
            let problem = reply.expect_problem(422, "no-feasible-solution");
            let security = &ids[line];
            let expected = format!(
                "no feasible solution exists: no whole share of security {security} lies inside its band"
            );
            assert_eq!(problem["detail"], expected, "{name}");
        }
    }
}

#[tokio::test]
async fn minimums_that_cost_more_than_there_is_have_no_solution() {
    let lines = &[("0.05", "0", "0.05", "90", 0); 19];
    let case = Case { name: "dear", cash: "1000", lines, best: Holds(&[], "0") };
    let server = server_of(&[case], BandPolicy::Strict).await;

    let problem = server.rebalance_portfolio(&portfolio(0)).await.expect_problem(422, "no-feasible-solution");

    assert_eq!(
        problem["detail"],
        "no feasible solution exists: the least that the bands ask for costs 1710, there is 1000 to spend"
    );
}

#[tokio::test]
async fn money_is_conserved_to_the_last_digit_and_booked_trades_leave_nothing_to_trade() {
    const N_PORTFOLIOS: usize = 50;
    let prices = [
        ("A", dec!(17.23)),
        ("B", dec!(101.2)),
        ("C", dec!(3.333333)),
        ("D", dec!(250.07)),
        ("E", dec!(9.99)),
    ];
    let server = TestServer::start_on(sandbox_of(&prices).await, |_| {}).await;
    let ids = prices.map(|(ticker, _)| server.security(ticker));
    let portfolios: Vec<String> = (0..N_PORTFOLIOS).map(portfolio).collect();
    for (idx, portfolio) in portfolios.iter().enumerate() {
        let (cash, quantities) = scattered_holdings(idx as u64);
        let holdings: Vec<(&str, Decimal)> = ids.iter().map(String::as_str).zip(quantities).collect();
        server.sandbox.accounting.fund(portfolio, cash, &holdings);
    }
    let positions = [
        position(&ids[0], "0.30", "0.05", "0.05"),
        position(&ids[1], "0.25", "0.05", "0.05"),
        position(&ids[2], "0.20", "0.05", "0.05"),
        position(&ids[3], "0.15", "0.05", "0.05"),
    ];
    let followers: Vec<&str> = portfolios.iter().map(String::as_str).collect();
    let model = server.create_model("Balanced", &positions, &followers).await;

    let replies = server.rebalance_model(&model).await.expect(200);

    let record = server.record_of(&replies[0]).await;
    let records = record["portfolios"].as_array().unwrap();
    assert_eq!(records.len(), N_PORTFOLIOS, "{record:#}");
    for (reply, record) in replies.as_array().unwrap().iter().zip(records) {
        assert_sums_up(record, &prices.map(|(_, price)| price));
        assert_eq!(reply["transactions"], trades_of(record), "{record:#}");
    }

    book(&server, &record).await;

    for record in records {
        let summary = server.sandbox.accounting.summary(record["portfolio_id"].as_str().unwrap()).unwrap();
        assert_eq!(summary.cash, decimal(&record["cash_after_rebalance"]));
        for row in record["positions"].as_array().unwrap() {
            let booked = summary.holdings.get(row["security_id"].as_str().unwrap());
            assert_eq!(booked.copied().unwrap_or_default(), decimal(&row["adjusted_quantity"]), "{record:#}");
        }
    }
    let replies = server.rebalance_model(&model).await.expect(200);
    for reply in replies.as_array().unwrap() {
        assert_eq!(reply["status"], "REBALANCED");
        assert_eq!(reply["transactions"], json!([]), "{reply:#}");
    }
}

#[tokio::test]
async fn the_smallest_and_the_largest_amounts_are_reckoned_with_exactly() {
    let prices = [("A", dec!(0.00000001)), ("B", dec!(9999999.99))];
    let server = TestServer::start_on(sandbox_of(&prices).await, |_| {}).await;
    let ids = prices.map(|(ticker, _)| server.security(ticker));
    for (idx, (id, cash, held)) in [
        (&ids[0], dec!(9999999999.99999999), dec!(0)),
        (&ids[0], dec!(0.00000001), dec!(0.99999999)),
        (&ids[0], dec!(-0.00000001), dec!(9999999999.99999999)),
        (&ids[1], dec!(9999999999.99999999), dec!(99999999.99999999)),
        (&ids[1], dec!(9999999999.99999999), dec!(-999.99999999)),
        (&ids[1], dec!(-0.00), dec!(1000000)),
    ]
    .into_iter()
    .enumerate()
    {
        server.sandbox.accounting.fund(&portfolio(idx), cash, &[(id, held)]);
        let positions = [position(id, "0.50", "0.499", "0.4999999999999999999999999999")];
        let model = server.create_model(&format!("Extreme {idx}"), &positions, &[&portfolio(idx)]).await;

        let reply = server.rebalance_model(&model).await.expect(200);

        let record = server.record_of(&reply[0]).await;
        assert_sums_up(&record["portfolios"][0], &prices.map(|(_, price)| price));
        assert_eq!(decimal(&record["portfolios"][0]["cash_before_rebalance"]), cash);
        assert_eq!(reply[0]["transactions"], trades_of(&record["portfolios"][0]));
    }
}

#[tokio::test]
async fn amounts_beyond_exact_reckoning_are_refused_rather_than_rounded() {
    for (price, cash) in [
        (dec!(0.0000000000000000000000000001), dec!(9999999999)),
        (dec!(0.0000000000000000000000000001), dec!(1)),
        (dec!(79228162514264337593543950335), dec!(1)),
        (dec!(1.234567890123456789012345678), dec!(9999999999)),
    ] {
        let server = TestServer::start_on(sandbox_of(&[("A", price)]).await, |_| {}).await;
        let security = server.security("A");
        server.sandbox.accounting.fund(PORTFOLIO, cash, &[(&security, dec!(12345678.12345678))]);
        let positions = [position(&security, "0.50", "0.05", "0.05")];
        server.create_model("Beyond", &positions, &[PORTFOLIO]).await;

        let reply = server.rebalance_portfolio(PORTFOLIO).await;

        reply.expect_problem(422, "amounts-out-of-range");
    }
}

#[tokio::test]
async fn no_whole_shares_inside_the_bands_deviate_less_nor_as_little_with_fewer_trades() {
    const N_PORTFOLIOS: usize = 60;
    // Round prices and amounts, so that many quantities are equally far from their targets.
    let prices = [("A", dec!(20)), ("B", dec!(40)), ("C", dec!(5))];
    let server = TestServer::start_on(sandbox_of(&prices).await, |_| {}).await;
    let ids = prices.map(|(ticker, _)| server.security(ticker));
    let portfolios: Vec<String> = (0..N_PORTFOLIOS).map(portfolio).collect();
    let mut problems = Vec::new();
    for (idx, portfolio) in portfolios.iter().enumerate() {
        let draw = |purpose, below| i64::try_from(scattered(idx as u64 * 8 + purpose, below)).unwrap();
        let (cash, outside) = (Decimal::from(draw(0, 60) * 10), Decimal::from(draw(3, 5)));
        let held = [Decimal::from(draw(1, 15)), Decimal::from(draw(2, 10))];
        let holdings = [(ids[0].as_str(), held[0]), (ids[1].as_str(), held[1]), (ids[2].as_str(), outside)];
        server.sandbox.accounting.fund(portfolio, cash, &holdings);
        let value = cash + held[0] * prices[0].1 + held[1] * prices[1].1 + outside * prices[2].1;
        problems.push((value, held));
    }
    let positions = [position(&ids[0], "0.55", "0.03", "0.03"), position(&ids[1], "0.40", "0.03", "0.03")];
    let followers: Vec<&str> = portfolios.iter().map(String::as_str).collect();
    let model = server.create_model("Tight", &positions, &followers).await;

    let replies = server.rebalance_model(&model).await.expect(200);

    let mut n_refused = 0;
    for (reply, (value, held)) in replies.as_array().unwrap().iter().zip(problems) {
        let best = best_by_trying_all(value, held, [prices[0].1, prices[1].1]);
        if best.is_none() {
            assert_eq!(reply["error"]["code"], "no-feasible-solution", "{reply:#}");
            n_refused += 1;
            continue;
        }
        let traded =
            |row: &Value| (decimal(&row["adjusted_quantity"]) - decimal(&row["original_quantity"])).abs();
        let wanted = &reply["drifts"].as_array().unwrap()[..2];
        let found = (decimal(&reply["optimality"]["objective"]), wanted.iter().map(traded).sum());
        assert_eq!(Some(found), best, "{reply:#}");
    }
    assert!((1..N_PORTFOLIOS / 2).contains(&n_refused), "{n_refused} refused");
}

/// The least deviation from 55 % and 40 %, three points either way, and the fewest units that reach it.
fn best_by_trying_all(
    value: Decimal,
    held: [Decimal; 2],
    prices: [Decimal; 2],
) -> Option<(Decimal, Decimal)> {
    let inside = |quantity: &Decimal, price: Decimal, target: Decimal| {
        let weight = *quantity * price;
        value * (target - dec!(0.03)) <= weight && weight <= value * (target + dec!(0.03))
    };
    let whole_shares = |price: Decimal, target: Decimal| {
        let most = i64::try_from((value / price).floor()).unwrap();
        (0..=most).map(Decimal::from).filter(move |quantity| inside(quantity, price, target))
    };
    let tried = whole_shares(prices[0], dec!(0.55)).flat_map(|first| {
        whole_shares(prices[1], dec!(0.40)).filter_map(move |second| {
            let worth = [first * prices[0], second * prices[1]];
            let deviation = (value * dec!(0.55) - worth[0]).abs() + (value * dec!(0.40) - worth[1]).abs();
            let traded = (first - held[0]).abs() + (second - held[1]).abs();
            (worth[0] + worth[1] <= value).then(|| (deviation.normalize(), traded))
        })
    });
    tried.min()
}

/// Cash, and quantities of A to E: some are fractions, some short, some cash is owed. B is always plenty.
fn scattered_holdings(idx: u64) -> (Decimal, [Decimal; 5]) {
    let draw = |purpose: u64, below: u64| i64::try_from(scattered(idx * 8 + purpose, below)).unwrap();
    let cash = if idx.is_multiple_of(5) { -2_345_678 } else { draw(0, 30_000_000) };
    let decimals = if idx.is_multiple_of(3) { 8 } else { 0 };
    let quantity = |purpose, whole: u64| {
        let fraction = Decimal::new(draw(purpose + 100_000, 100_000_000), 8).round_dp(decimals);
        Decimal::from(draw(purpose, whole)) + fraction.fract()
    };
    let sign = if idx.is_multiple_of(4) { dec!(-1) } else { dec!(1) };
    let quantities = [
        sign * quantity(1, 300),
        dec!(500) + quantity(2, 1000),
        quantity(3, 9000),
        quantity(4, 40),
        -sign * quantity(5, 200),
    ];
    (Decimal::new(cash, 2), quantities)
}

/// A number below `below` that looks random and is the same in every run (splitmix64).
fn scattered(seed: u64, below: u64) -> u64 {
    let mut bits = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits ^ (bits >> 31)) % below
}

/// Everything that must hold of a rebalanced portfolio, from its record alone.
#[track_caller]
fn assert_sums_up(record: &Value, prices: &[Decimal]) {
    let rows = record["positions"].as_array().unwrap();
    let money = |key: &str| decimal(&record[key]);
    let sum = |term: fn(&Value) -> Decimal| rows.iter().map(term).sum::<Decimal>();
    let before = sum(|row| decimal(&row["original_quantity"]) * decimal(&row["price"]));
    let after = sum(|row| decimal(&row["adjusted_quantity"]) * decimal(&row["price"]));
    let spent = sum(|row| signed_trade(row) * decimal(&row["price"]));

    assert_eq!(money("market_value"), money("cash_before_rebalance") + before, "{record:#}");
    assert_eq!(money("market_value"), money("cash_after_rebalance") + after, "{record:#}");
    assert_eq!(money("cash_after_rebalance"), money("cash_before_rebalance") - spent, "{record:#}");
    assert!(dec!(0) <= money("cash_after_rebalance"), "{record:#}");
    for row in rows {
        let number = |key: &str| decimal(&row[key]);
        assert!(prices.contains(&number("price")), "{row:#}");
        assert_eq!(number("adjusted_quantity"), number("original_quantity") + signed_trade(row), "{row:#}");
        assert!(dec!(0) <= number("adjusted_quantity"), "{row:#}");
        let value = number("adjusted_quantity") * number("price");
        assert_eq!(number("adjusted_position_market_value"), value, "{row:#}");
        assert_eq!(
            number("original_position_market_value"),
            number("original_quantity") * number("price"),
            "{row:#}"
        );
        let room = |drift: Decimal| money("market_value") * (number("target") + drift);
        let is_inside = (room(-number("low_drift"))..=room(number("high_drift"))).contains(&value);
        assert_eq!(row["outside_band"], !is_inside, "{row:#}");
        assert!(is_inside || number("target").is_zero(), "{row:#}");
    }
}

fn signed_trade(row: &Value) -> Decimal {
    match row["transaction_type"].as_str() {
        Some("BUY") => decimal(&row["trade_quantity"]),
        Some(_) => -decimal(&row["trade_quantity"]),
        None => dec!(0),
    }
}

/// A record's trades as the reply of the rebalance lists them.
fn trades_of(record: &Value) -> Value {
    let rows = record["positions"].as_array().unwrap().iter();
    let trade = |row: &Value| {
        json!({
            "transaction_type": row["transaction_type"], "security_id": row["security_id"],
            "quantity": row["trade_quantity"], "trade_date": row["trade_date"],
            "shaped_by": row["shaped_by"],
        })
    };
    rows.filter(|row| !row["transaction_type"].is_null()).map(trade).collect()
}

/// Makes the trades of a record at the accounting service, as the desk would once they are executed.
async fn book(server: &TestServer, record: &Value) {
    let rebalance = record["rebalance_id"].as_str().unwrap();
    let mut batch = Vec::new();
    for portfolio in record["portfolios"].as_array().unwrap() {
        for row in portfolio["positions"].as_array().unwrap() {
            if row["trade_date"].is_null() {
                continue;
            }
            batch.push(json!({
                "portfolioId": portfolio["portfolio_id"], "securityId": row["security_id"],
                "sourceId": format!("{rebalance}-{}", batch.len()),
                "transactionType": row["transaction_type"],
                "quantity": row["trade_quantity"].to_string(), "price": row["price"].to_string(),
                "transactionDate": row["trade_date"].as_str().unwrap().replace('-', ""),
            }));
        }
    }
    assert!(batch.len() <= 1000, "more than one batch");
    let url = format!("{}/api/v1/transactions", server.sandbox.accounting.url());
    let status = server.client.post(url).json(&batch).send().await.unwrap().status();
    assert_eq!(status, 201);
}

/// What is held of each security after a rebalance, and whether that is outside its band.
fn held_after(reply: &Value) -> BTreeMap<String, (i64, bool)> {
    let drifts = reply["drifts"].as_array().unwrap().iter();
    let entry = |drift: &Value| {
        let quantity = i64::try_from(decimal(&drift["adjusted_quantity"])).unwrap();
        let outside_band = drift["outside_band"].as_bool().unwrap();
        (drift["security_id"].as_str().unwrap().to_owned(), (quantity, outside_band))
    };
    drifts.map(entry).collect()
}

fn securities(server: &TestServer, case: &Case<'_>) -> Vec<String> {
    (0..case.lines.len()).map(|idx| server.security(&ticker(case, idx))).collect()
}

fn ticker(case: &Case<'_>, idx: usize) -> String {
    format!("{}-{idx}", case.name.replace(' ', "-"))
}

fn portfolio(idx: usize) -> String {
    format!("{idx:024}")
}

fn number(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}
