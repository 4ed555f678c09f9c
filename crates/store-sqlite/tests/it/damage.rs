//! Rows that nobody here can have written.

use application::order_generation::ports::{ModelRepository, Page, RebalanceRepository};
use application::repository::Error;
use port_contracts::fixtures::{model, portfolio, rebalance};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use store_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::{fresh, read};

/// A store of one model and one rebalance, changed behind its back.
async fn damaged(sql: &str) -> (SqliteStore, TempDir) {
    let (store, directory) = fresh().await;
    store.insert(&model(1, "balanced")).await.unwrap();
    store.record(&rebalance(1, &["p1"])).await.unwrap();

    let path = directory.path().join("store.sqlite");
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let changed = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await;
    assert_eq!(changed.unwrap().rows_affected(), 1, "{sql}");
    connection.close().await.unwrap();
    (store, directory)
}

#[track_caller]
fn assert_corrupt<T>(result: Result<T, Error>, what: &str, damage: &str) {
    match result {
        Err(Error::Corrupt { entity, .. }) => assert_eq!(entity, what, "{damage}"),
        Err(error) => panic!("{damage}: {error:?}"),
        Ok(_) => panic!("{damage}: read"),
    }
}

#[tokio::test]
async fn an_unreadable_model_is_corrupt() {
    for damage in [
        "UPDATE models SET positions = 'nonsense'",
        "UPDATE models SET positions = '[{}]'",
        "UPDATE models SET positions = replace(positions, '0.60', '0.601')",
        "UPDATE models SET positions = replace(positions, '0.60', '0.95')",
        "UPDATE models SET positions = replace(positions, '\"0.60\"', '0.6')",
        "UPDATE models SET positions = replace(positions, 'Stock', 'stock ')",
        "UPDATE models SET name = ' '",
        "UPDATE models SET version = 0",
        "UPDATE models SET created_at = 9223372036854775807",
        "UPDATE models SET last_rebalance_date = -9223372036854775807",
        "UPDATE model_portfolios SET portfolio_id = 'a b'",
        "DELETE FROM model_portfolios",
        "UPDATE models SET rules = 'strict'",
        "UPDATE models SET rules = '{\"minimum_cash\":500}'",
        "UPDATE models SET rules = '{\"minimum_cash\":\"-1\"}'",
        "UPDATE models SET rules = '{\"minimum_cash_share\":\"1.1\"}'",
        "UPDATE models SET rules = '{\"lot_size\":0}'",
        "UPDATE models SET rules = '{\"lot_sizes\":{\"stock\":10}}'",
        "UPDATE models SET rules = '{\"do_not_buy\":[\"stock\"]}'",
        "UPDATE models SET rules = '{\"maximum_trades\":-1}'",
        "UPDATE models SET rules = '{\"maximum_turnover\":\"0.000000001\"}'",
        "UPDATE models SET rules = '{\"group_limits\":[{\"name\":\" \",\"securities\":[],\"maximum\":\"1\"}]}'",
        "UPDATE models SET rules = '{\"group_limits\":[{\"name\":\"Tech\",\"securities\":[]}]}'",
        "UPDATE models SET rules = '{\"rule_of_a_later_release\":true}'",
    ] {
        let (store, _directory) = damaged(damage).await;

        let id = model(1, "balanced").id;
        assert_corrupt(ModelRepository::find(&store, &id).await, "model", damage);
        let all = ModelRepository::list(&store, &[], Page::default()).await;
        assert_corrupt(all, "model", damage);
    }
}

#[tokio::test]
async fn an_unreadable_rebalance_is_corrupt() {
    for damage in [
        "UPDATE rebalances SET model_id = 'm1'",
        "UPDATE rebalances SET status = 'PAUSED'",
        "UPDATE rebalances SET status = 'RUNNING'",
        "UPDATE rebalances SET status = 'FAILED', portfolios_total = 1, portfolios_failed = 1",
        "UPDATE rebalances SET model_name = ''",
        "UPDATE rebalances SET failed = '{}'",
        "UPDATE rebalances SET version = -1",
        "UPDATE rebalances SET rules = '{\"ticket_fee\":\"1e3\"}'",
        "UPDATE rebalances SET rules = '{\"rule_of_a_later_release\":true}'",
        "UPDATE rebalances SET rebalance_date = 9223372036854775807",
        "UPDATE rebalances SET number_of_portfolios = 0",
        "UPDATE rebalances SET number_of_portfolios = 2",
        "UPDATE rebalances SET number_of_portfolios = -1",
        "DELETE FROM rebalance_portfolios",
        "UPDATE rebalance_portfolios SET ordinal = 1",
        "UPDATE rebalance_portfolios SET portfolio_id = ''",
        "UPDATE rebalance_portfolios SET market_value = 'much'",
        "UPDATE rebalance_portfolios SET cash_after = '0.00000000000000000000000000001'",
        "UPDATE rebalance_portfolios SET trading_costs = 'some'",
        "UPDATE rebalance_portfolios SET optimality = replace(optimality, 'OPTIMAL', 'FINE')",
        "UPDATE rebalance_portfolios SET positions = '['",
        "UPDATE rebalance_portfolios SET positions = replace(positions, 'BUY', 'HOLD')",
        "UPDATE rebalance_portfolios SET positions = replace(positions, '\"99.9993\"', 'null')",
        "UPDATE rebalance_portfolios SET positions = replace(positions, '}]', ',\"shaped_by\":[\"HABIT\"]}]')",
    ] {
        let (store, _directory) = damaged(damage).await;

        let id = rebalance(1, &[]).header.id;
        assert_corrupt(read(&store, &id).await, "rebalance", damage);
        let all = RebalanceRepository::list(&store, &[], Page::default()).await;
        assert_corrupt(all, "rebalance", damage);
        if damage.contains("SET positions") {
            let one = store.find_portfolio(&id, &portfolio("p1")).await;
            assert_corrupt(one, "rebalance", damage);
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = crate::open(&path).await;
    for n in 0..200 {
        store.insert(&model(n, &format!("model {n}"))).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let tables = bytes.len() / 2;
    bytes[tables..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let store = crate::open(&path).await;

    let all = ModelRepository::list(&store, &[], Page::default()).await;
    assert_corrupt(all, "model", "half of the pages overwritten");
}
