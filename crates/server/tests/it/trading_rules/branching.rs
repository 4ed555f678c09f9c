//! Rules that need branching: who answers, and what becomes of those who do.

use std::time::Duration;

use rust_decimal_macros::dec;
use serde_json::{Value, json};
use server::config::Choice;
use tempfile::TempDir;

use super::{OTHER, PORTFOLIO, desk, desk_with};
use crate::harness::TestServer;
use crate::process::{Process, run, serve, signal};

/// One portfolio that needs branching to trade once only, and one that does not.
async fn branching_desk(choice: Choice) -> (TestServer, String) {
    let server = desk_with(|config| config.rebalance.optimizer = choice).await;
    server.hold(PORTFOLIO, dec!(5300), &[("A", 47)]);
    server.hold(OTHER, dec!(1000), &[("A", 50), ("B", 80)]);
    let model = server.create_ruled(&json!({ "maximum_trades": 1 }), &[PORTFOLIO, OTHER]).await;
    (server, model)
}

#[tokio::test]
async fn cbc_answers_what_needs_branching_and_the_exact_optimiser_the_rest() {
    for (choice, methods) in [(Choice::Auto, ["CBC", "OWN_BEST"]), (Choice::Cbc, ["CBC", "CBC"])] {
        let (server, model) = branching_desk(choice).await;

        let body = server.rebalance_model(&model).await.expect(200);

        for (idx, method) in methods.into_iter().enumerate() {
            assert_eq!(body[idx]["optimality"]["method"], method);
            assert_eq!(body[idx]["optimality"]["status"], "OPTIMAL");
        }
        assert_eq!(body[0]["drifts"][0]["shaped_by"], json!(["MAXIMUM_TRADES"]));
        assert_eq!(body[0]["transactions"].as_array().unwrap().len(), 1);
        assert_eq!(body[1]["transactions"], json!([]));
        let health = server.get("/health/live").await.expect(200);
        assert_eq!(health["checks"]["optimization_engine"]["status"], "healthy");
    }
}

#[tokio::test]
async fn the_exact_optimiser_alone_refuses_what_needs_branching() {
    let (server, model) = branching_desk(Choice::Exact).await;

    let single = server.rebalance_under(PORTFOLIO, &Value::Null).await;
    let whole = server.rebalance_model(&model).await.expect(200);

    let detail = "the rule maximum_trades cannot be kept by the optimiser in use";
    let problem = single.expect_problem(422, "trading-rule-not-supported");
    assert_eq!(problem["detail"], detail);
    assert_eq!(whole[0]["status"], "FAILED");
    assert_eq!(whole[0]["error"], json!({ "code": "trading-rule-not-supported", "detail": detail }));
    assert_eq!(whole[0]["trading_costs"], Value::Null);
    assert_eq!(whole[1]["status"], "REBALANCED");
    assert_eq!(whole[1]["trading_costs"], "0");
}

#[tokio::test]
async fn rules_that_leave_no_solution_are_refused() {
    let (server, model) = branching_desk(Choice::Auto).await;
    let none = json!({ "maximum_trades": 0 });

    let single = server.rebalance_under(PORTFOLIO, &none).await;
    let whole = server.post(&format!("/api/v1/model/{model}/rebalance"), &none).await.expect(200);

    let detail = "no feasible solution exists under the trading rules";
    assert_eq!(single.expect_problem(422, "no-feasible-solution")["detail"], detail);
    assert_eq!(whole[0]["error"], json!({ "code": "no-feasible-solution", "detail": detail }));
    assert_eq!(whole[1]["status"], "REBALANCED");
    let record = server.record_of(&whole[0]).await;
    assert_eq!(
        record["failures"],
        json!([{ "portfolio_id": PORTFOLIO, "code": "no-feasible-solution", "detail": detail }])
    );
    assert_eq!(record["trading_rules"], none);
}

#[tokio::test]
async fn what_must_cost_more_than_there_is_is_refused() {
    let server = desk().await;
    server.hold(PORTFOLIO, dec!(10000), &[]);
    server.create_ruled(&json!({ "minimum_cash": 2001 }), &[PORTFOLIO]).await;

    let problem = server.rebalance_portfolio(PORTFOLIO).await.expect_problem(422, "no-feasible-solution");

    assert_eq!(
        problem["detail"],
        "no feasible solution exists: the least that the bands ask for costs 8000, there is 7999 to spend"
    );
}

/// The optimiser's workers that this process has started, by their ids.
fn workers_of(process: &Process) -> Vec<u32> {
    let children = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap().flat_map(|task| {
        let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.split_whitespace().map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>()
    });
    let is_worker = |id: &u32| {
        let arguments = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        arguments.ends_with("globeco\0optimizer-worker\0")
    };
    children.filter(is_worker).collect()
}

/// Neither running, nor dead with something left to say.
async fn until_gone(id: u32) {
    for _ in 0..3000 {
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        if status.is_empty() || status.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {id} goes on");
}

/// A service with one worker, and a portfolio that needs it.
async fn busy_service() -> (TestServer, TempDir, Process) {
    let mut server = desk().await;
    server.hold(PORTFOLIO, dec!(5300), &[("A", 47)]);
    server.create_ruled(&json!({ "maximum_trades": 1 }), &[PORTFOLIO]).await;
    server.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let sandbox = &server.sandbox;
    let variables = [
        ("PORTFOLIO_ACCOUNTING_SERVICE_URL", sandbox.accounting.url()),
        ("SECURITY_SERVICE_URL", sandbox.security.url()),
        ("PRICING_SERVICE_URL", sandbox.pricing.url()),
        ("PORTFOLIO_SERVICE_URL", sandbox.portfolio.url()),
        ("DATABASE_URL", format!("sqlite:{}", server.store().display())),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("OPTIMIZATION_WORKERS", "1".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let process = Process::start(serve(folder.path(), &[], &variables));
    server.url.clone_from(&process.url);
    (server, folder, process)
}

#[tokio::test]
async fn a_worker_that_is_killed_costs_no_later_request() {
    let (server, _folder, process) = busy_service().await;
    assert_eq!(workers_of(&process), [0; 0]);
    server.rebalance_portfolio(PORTFOLIO).await.expect(200);
    let mut killed = Vec::new();

    for _ in 0..3 {
        let workers = workers_of(&process);
        let [worker] = workers[..] else { panic!("{workers:?}") };
        assert!(!killed.contains(&worker));
        signal("KILL", worker);
        until_gone(worker).await;
        killed.push(worker);

        let body = server.rebalance_portfolio(PORTFOLIO).await.expect(200);

        assert_eq!(body["optimality"]["method"], "CBC");
        assert_eq!(body["optimality"]["status"], "OPTIMAL");
    }
    assert_eq!(server.get("/health/live").await.expect(200)["status"], "healthy");
}

#[tokio::test]
async fn workers_end_with_their_service_however_it_ends() {
    for name in ["TERM", "KILL"] {
        let (server, _folder, mut process) = busy_service().await;
        server.rebalance_portfolio(PORTFOLIO).await.expect(200);
        let workers = workers_of(&process);
        assert_eq!(workers.len(), 1);

        process.signal(name);
        process.ended().await;

        until_gone(workers[0]).await;
    }
}

#[tokio::test]
async fn a_worker_is_silent_and_asks_for_no_settings() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("PORT", "nonsense"), ("LOG_LEVEL", "trace"), ("OPTIMIZER", "nonsense")];

    let worker = run(&["optimizer-worker"], folder.path(), &variables).output().unwrap();
    let help = run(&["--help"], folder.path(), &[]).output().unwrap();

    assert!(worker.status.success(), "{worker:?}");
    assert_eq!((worker.stdout, worker.stderr), (vec![], vec![]));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(!String::from_utf8(help.stdout).unwrap().contains("worker"));
}
