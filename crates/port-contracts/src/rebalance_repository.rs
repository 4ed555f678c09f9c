//! The clauses of `RebalanceRepository`, some of which show in the models of the same store.

use std::cmp::Reverse;

use application::order_generation::ports::{
    Direction, ModelRepository, OpenRebalance, RebalanceKey, RebalanceRepository,
};
use application::repository::Error;
use domain::identifier::RebalanceId;
use domain::order_generation::model::{Model, ModelName};
use domain::order_generation::optimum::Method;
use domain::order_generation::rebalance::{
    Optimality, OptimalityStatus, PortfolioRebalance, Rebalance, RebalancedPosition,
};
use domain::order_generation::trading_rules::Rule;
use domain::version::Version;
use futures_util::future::join_all;
use futures_util::stream::StreamExt;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;

use crate::fixtures::{
    assert_conflict, assert_same_to_the_digit, failed, give_up_after, minute, model, model_id, portfolio,
    portfolios, rebalance, rebalance_id, rebalanced, rebalanced_position, security, trading_rules, version,
};
use crate::ordering::{ALL, assert_pages, orders, sorted};

/// Tests an adapter of `RebalanceRepository` and `ModelRepository`; see `clauses` for the setup.
#[macro_export]
macro_rules! rebalance_repository {
    ($setup:expr) => {
        $crate::clauses! {
            rebalance_repository, $setup,
            a_rebalance_is_found_as_it_was_recorded(rebalances),
            decimals_keep_every_digit(rebalances),
            every_kind_of_outcome_is_kept(rebalances),
            the_rules_it_was_made_under_are_kept_to_the_digit(rebalances),
            costs_and_what_shaped_each_position_are_kept(rebalances),
            failed_portfolios_are_kept_in_order(rebalances),
            names_may_be_of_any_script(rebalances),
            three_hundred_portfolios_keep_their_order(rebalances),
            the_number_of_portfolios_is_known_before_they_are_read(rebalances),
            portfolios_are_read_in_order_one_after_another(rebalances),
            a_rebalance_closed_half_read_leaves_the_store_as_it_was(rebalances),
            an_unknown_rebalance_is_not_found(rebalances),
            a_taken_id_is_refused_and_nothing_stored(rebalances, models),
            a_record_moves_the_date_of_its_model_only_forward(rebalances, models),
            a_record_leaves_the_version_and_the_content_of_its_model(rebalances, models),
            racing_records_leave_the_latest_date(rebalances, models),
            records_that_race_with_replaces_leave_the_latest_date(rebalances, models),
            a_rebalance_of_a_deleted_model_is_kept(rebalances, models),
            a_rebalance_outlives_its_model(rebalances, models),
            a_reader_never_sees_half_a_rebalance(rebalances),
            one_portfolio_is_found_as_it_was_recorded(rebalances),
            a_portfolio_outside_the_rebalance_is_not_found(rebalances),
            a_deleted_rebalance_is_gone(rebalances),
            a_delete_leaves_the_model_as_it_is(rebalances, models),
            a_stale_delete_conflicts_and_changes_nothing(rebalances),
            a_delete_of_an_unknown_rebalance_is_missing(rebalances),
            of_sixteen_racing_deletes_one_wins(rebalances),
            without_an_order_the_newest_created_come_first_then_the_largest_ids(rebalances),
            a_list_obeys_every_order(rebalances),
            a_page_is_a_stretch_of_the_list(rebalances),
            whole_rebalances_containing_a_portfolio_are_found_newest_first(rebalances),
            a_rebalance_containing_several_of_the_portfolios_is_found_once(rebalances),
            a_portfolio_that_failed_is_not_contained(rebalances),
            a_page_of_those_containing_a_portfolio_is_a_stretch_of_them(rebalances),
            a_call_given_up_leaves_all_or_nothing_and_blocks_nobody(rebalances),
        }
    };
}

pub async fn a_rebalance_is_found_as_it_was_recorded(rebalances: &dyn RebalanceRepository) {
    let mut given = rebalance(0xabc_def0_1234, &["p3", "p1", "p2"]);
    given.header.date = minute(7);
    given.header.version = version(5);
    given.header.failed = vec![failed("p9", "infeasible", "no feasible solution exists")];
    rebalances.record(&given).await.unwrap();
    rebalances.record(&rebalance(2, &["p1"])).await.unwrap();

    assert_same_to_the_digit(&found(rebalances, given.header.id).await, &given);
    let listed = rebalances.list(&[], ALL).await.unwrap();
    assert_same_to_the_digit(&listed[0], &given);
    let containing = rebalances.containing(&portfolios(&["p2"]), ALL).await.unwrap();
    assert_same_to_the_digit(&containing, &vec![given]);
}

pub async fn decimals_keep_every_digit(rebalances: &dyn RebalanceRepository) {
    let nasty = [
        dec!(0),
        dec!(0.00),
        dec!(-0.01),
        dec!(100.000),
        Decimal::MAX,
        Decimal::MIN,
        dec!(0.0000000000000000000000000001),
        dec!(-7.9228162514264337593543950335),
        dec!(1234567890123456789012345678),
        dec!(-12345678901234.56789012345678),
    ];
    let turned = |n: usize| nasty[n % nasty.len()];
    let mut given = rebalance(1, &[]);
    given.portfolios = (0..nasty.len())
        .map(|n| PortfolioRebalance {
            portfolio: portfolio(&format!("p{n}")),
            market_value: turned(n),
            cash_before: turned(n + 1),
            cash_after: turned(n + 2),
            trading_costs: turned(n + 5),
            optimality: Optimality {
                status: OptimalityStatus::Bound,
                objective: turned(n + 3),
                lower_bound: turned(n + 4),
                method: Method::Search,
            },
            positions: vec![RebalancedPosition {
                security: security(n),
                price: turned(n),
                original_quantity: turned(n + 1),
                adjusted_quantity: turned(n + 2),
                original_value: turned(n + 3),
                adjusted_value: turned(n + 4),
                target: turned(n + 5),
                high_drift: turned(n + 6),
                low_drift: turned(n + 7),
                actual: turned(n + 8),
                actual_drift: turned(n + 9),
                outside_band: false,
                trade: None,
                shaped_by: Vec::new(),
            }],
        })
        .collect();
    rebalances.record(&given).await.unwrap();

    assert_same_to_the_digit(&found(rebalances, given.header.id).await, &given);
    for expected in given.portfolios {
        let one = rebalances.find_portfolio(&given.header.id, &expected.portfolio).await;
        assert_same_to_the_digit(&one.unwrap().unwrap(), &expected);
    }
}

pub async fn every_kind_of_outcome_is_kept(rebalances: &dyn RebalanceRepository) {
    use Method::{Cbc, OwnBest, Search, Table};
    use OptimalityStatus::{Bound, Optimal, WithinTolerance};

    let mut given = rebalance(1, &["p1", "p2", "p3", "p4", "p5"]);
    let kinds = [(Optimal, OwnBest), (WithinTolerance, Search), (Bound, Table), (Optimal, Cbc)];
    for (portfolio, (status, method)) in given.portfolios.iter_mut().zip(kinds) {
        portfolio.optimality.status = status;
        portfolio.optimality.method = method;
        portfolio.positions = [0, 1, -1, i64::MAX, -i64::MAX]
            .into_iter()
            .enumerate()
            .map(|(n, change)| rebalanced_position(n, change))
            .collect();
        portfolio.positions[1].outside_band = true;
    }
    given.portfolios[4].positions = Vec::new();
    rebalances.record(&given).await.unwrap();

    assert_eq!(found(rebalances, given.header.id).await, given);
}

pub async fn the_rules_it_was_made_under_are_kept_to_the_digit(rebalances: &dyn RebalanceRepository) {
    for (n, rules) in (1..).zip(trading_rules()) {
        let mut given = rebalance(n, &["p1"]);
        given.header.rules = rules;
        given.header.created_at = minute(i64::try_from(n).unwrap());
        rebalances.record(&given).await.unwrap();

        assert_same_to_the_digit(&found(rebalances, given.header.id).await, &given);
        assert_same_to_the_digit(&rebalances.list(&[], ALL).await.unwrap()[0], &given);
    }
}

pub async fn costs_and_what_shaped_each_position_are_kept(rebalances: &dyn RebalanceRepository) {
    let mut given = rebalance(1, &["p1", "p2", "p3", "p4"]);
    let costs = [dec!(0.00), dec!(1234.5678901), Decimal::MAX, dec!(0)];
    for (portfolio, costs) in given.portfolios.iter_mut().zip(costs) {
        portfolio.trading_costs = costs;
        portfolio.positions[0].shaped_by = Rule::ALL.to_vec();
        portfolio.positions[1].shaped_by = vec![Rule::GroupLimit, Rule::Cash];
    }
    rebalances.record(&given).await.unwrap();

    assert_same_to_the_digit(&found(rebalances, given.header.id).await, &given);
    let containing = rebalances.containing(&portfolios(&["p2"]), ALL).await.unwrap();
    assert_same_to_the_digit(&containing[0], &given);
    for expected in given.portfolios {
        let one = rebalances.find_portfolio(&given.header.id, &expected.portfolio).await;
        assert_same_to_the_digit(&one.unwrap().unwrap(), &expected);
    }
}

pub async fn failed_portfolios_are_kept_in_order(rebalances: &dyn RebalanceRepository) {
    let mut some = rebalance(1, &["p2"]);
    some.header.failed = vec![
        failed("p3", "infeasible", "no feasible solution exists"),
        failed("p1", "security-not-priced", "\"line 1\"\nline 2\0 \u{1f4c9}"),
        failed("p0", "", ""),
    ];
    let mut all = rebalance(2, &[]);
    all.header.failed.clone_from(&some.header.failed);
    for given in [some, all] {
        rebalances.record(&given).await.unwrap();

        assert_eq!(found(rebalances, given.header.id).await, given);
    }
}

pub async fn names_may_be_of_any_script(rebalances: &dyn RebalanceRepository) {
    let names = ["ποртфель-1".to_owned(), "'$.\"\\{}[]?".to_owned(), "1".to_owned(), "\u{1f4c8}".repeat(64)];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut given = rebalance(1, &names);
    given.header.model_name = ModelName::new(&"均".repeat(ModelName::MAX_CHARS)).unwrap();
    rebalances.record(&given).await.unwrap();

    assert_eq!(found(rebalances, given.header.id).await, given);
    for name in names {
        let one = rebalances.find_portfolio(&given.header.id, &portfolio(name)).await.unwrap();
        assert_eq!(one, Some(rebalanced(name)));
        let containing = rebalances.containing(&portfolios(&[name]), ALL).await.unwrap();
        assert_eq!(ids(&containing), [given.header.id]);
    }
}

pub async fn three_hundred_portfolios_keep_their_order(rebalances: &dyn RebalanceRepository) {
    let given = large(1, 300);
    rebalances.record(&given).await.unwrap();

    assert_eq!(found(rebalances, given.header.id).await, given);
}

pub async fn the_number_of_portfolios_is_known_before_they_are_read(rebalances: &dyn RebalanceRepository) {
    for (n, names) in (1..).zip([&[][..], &["p1"], &["p3", "p1", "p2"]]) {
        let mut given = rebalance(n, names);
        given.header.failed = vec![failed("p9", "infeasible", "no feasible solution exists")];
        rebalances.record(&given).await.unwrap();

        let open = rebalances.open(&given.header.id).await.unwrap().unwrap();

        assert_eq!(open.header, given.header);
        assert_eq!(open.number_of_portfolios(), names.len());
    }
}

pub async fn portfolios_are_read_in_order_one_after_another(rebalances: &dyn RebalanceRepository) {
    let given = large(1, 60);
    rebalances.record(&given).await.unwrap();
    rebalances.record(&large(2, 7)).await.unwrap();

    let mut portfolios = open(rebalances, given.header.id).await.into_portfolios();
    for expected in given.portfolios {
        assert_eq!(portfolios.next().await.unwrap().unwrap(), expected);
        // The reader may dawdle while others write.
        rebalances.record(&rebalance(3, &["p1"])).await.unwrap();
        rebalances.delete(&rebalance_id(3), Version::FIRST).await.unwrap();
    }
    assert!(portfolios.next().await.is_none());
}

pub async fn a_rebalance_closed_half_read_leaves_the_store_as_it_was(rebalances: &dyn RebalanceRepository) {
    const MORE_THAN_CONNECTIONS: usize = 120;

    let given = large(1, 60);
    rebalances.record(&given).await.unwrap();

    for n in 0..MORE_THAN_CONNECTIONS {
        let mut portfolios = open(rebalances, given.header.id).await.into_portfolios();
        for expected in &given.portfolios[..n % 60] {
            assert_eq!(portfolios.next().await.unwrap().unwrap(), *expected);
        }
        // Closed while the next is on its way.
        give_up_after(n % 3, portfolios.next()).await;
    }

    assert_eq!(found(rebalances, given.header.id).await, given);
    rebalances.delete(&given.header.id, given.header.version).await.unwrap();
    assert_eq!(find(rebalances, given.header.id).await, None);
}

pub async fn an_unknown_rebalance_is_not_found(rebalances: &dyn RebalanceRepository) {
    rebalances.record(&rebalance(1, &["p1"])).await.unwrap();

    assert_eq!(find(rebalances, rebalance_id(2)).await, None);
}

pub async fn a_taken_id_is_refused_and_nothing_stored(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let first = rebalance(1, &["p1"]);
    rebalances.record(&first).await.unwrap();
    let mut second = rebalance(1, &["p2", "p3"]);
    second.header.date = minute(5);

    assert!(rebalances.record(&second).await.is_err());

    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(rebalances.containing(&portfolios(&["p2"]), ALL).await.unwrap(), []);
    assert_eq!(stored(models).await.last_rebalance_date, Some(first.header.date));
}

pub async fn a_record_moves_the_date_of_its_model_only_forward(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    let bystander = model(2, "growth");
    models.insert(&model(1, "balanced")).await.unwrap();
    models.insert(&bystander).await.unwrap();

    for (n, (date, expected)) in (1..).zip([(5, 5), (4, 5), (5, 5), (6, 6)]) {
        rebalances.record(&dated(n, date)).await.unwrap();

        assert_eq!(stored(models).await.last_rebalance_date, Some(minute(expected)));
    }
    assert_eq!(models.find(&bystander.id).await.unwrap(), Some(bystander));
}

pub async fn a_record_leaves_the_version_and_the_content_of_its_model(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    let mut expected = model(1, "balanced");
    expected.version = version(3);
    models.insert(&expected).await.unwrap();

    rebalances.record(&dated(1, 5)).await.unwrap();

    expected.last_rebalance_date = Some(minute(5));
    assert_same_to_the_digit(&stored(models).await, &expected);

    // Whoever had the model open before the rebalance can still save.
    let content = expected.content();
    let saved = models.replace(&expected.id, &content, None, version(3)).await.unwrap();
    assert_eq!(saved.last_rebalance_date, Some(minute(5)));
}

pub async fn racing_records_leave_the_latest_date(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let racers: Vec<Rebalance> = (0..32).map(|n| dated(n, scattered(n, 32))).collect();

    let results = join_all(racers.iter().map(|racer| rebalances.record(racer))).await;

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let model = stored(models).await;
    assert_eq!(model.last_rebalance_date, Some(minute(31)));
    assert_eq!(model.version, Version::FIRST);
    assert_eq!(rebalances.list(&[], ALL).await.unwrap().len(), 32);
}

pub async fn records_that_race_with_replaces_leave_the_latest_date(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    let given = model(1, "balanced");
    models.insert(&given).await.unwrap();
    let content = given.content();
    let racers: Vec<Rebalance> = (0..16).map(|n| dated(n, scattered(n, 16))).collect();

    let replace_often = async {
        for (n, date) in (1..).zip([3, 20, 8]) {
            let date = Some(minute(date));
            models.replace(&given.id, &content, date, version(n)).await.unwrap();
        }
    };
    let records = join_all(racers.iter().map(|racer| rebalances.record(racer)));
    let ((), results) = tokio::join!(replace_often, records);

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let model = stored(models).await;
    assert_eq!(model.last_rebalance_date, Some(minute(20)));
    assert_eq!(model.version, version(4));
}

pub async fn a_rebalance_of_a_deleted_model_is_kept(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    let deleted = model(1, "balanced");
    models.insert(&deleted).await.unwrap();
    models.delete(&deleted.id, deleted.version).await.unwrap();
    let given = rebalance(1, &["p1"]);

    rebalances.record(&given).await.unwrap();

    assert_eq!(found(rebalances, given.header.id).await, given);
    assert_eq!(models.find(&deleted.id).await.unwrap(), None);
}

pub async fn a_rebalance_outlives_its_model(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    let deleted = model(1, "balanced");
    models.insert(&deleted).await.unwrap();
    let given = rebalance(1, &["p1"]);
    rebalances.record(&given).await.unwrap();

    models.delete(&deleted.id, deleted.version).await.unwrap();

    assert_eq!(found(rebalances, given.header.id).await, given);
}

pub async fn a_reader_never_sees_half_a_rebalance(rebalances: &dyn RebalanceRepository) {
    let given = large(1, 60);
    let last = portfolios(&["p59"]);

    let write = async {
        for _ in 0..15 {
            rebalances.record(&given).await.unwrap();
            rebalances.delete(&given.header.id, given.header.version).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..30 {
            if let Some(open) = rebalances.open(&given.header.id).await.unwrap() {
                let whole = open.whole().await;
                assert!(whole.as_ref().map_or_else(is_corrupt, |whole| *whole == given), "{whole:?}");
            }
            let listed = rebalances.list(&[], ALL).await.unwrap();
            assert!(listed.iter().all(|one| *one == given));
            let containing = rebalances.containing(&last, ALL).await.unwrap();
            assert!(containing.iter().all(|one| *one == given));
        }
    };
    tokio::join!(write, read);
}

pub async fn one_portfolio_is_found_as_it_was_recorded(rebalances: &dyn RebalanceRepository) {
    let mut given = rebalance(1, &["p1", "p2"]);
    given.portfolios[1].cash_before = dec!(-1.50);
    rebalances.record(&given).await.unwrap();
    rebalances.record(&rebalance(2, &["p2"])).await.unwrap();

    for expected in given.portfolios {
        let one = rebalances.find_portfolio(&given.header.id, &expected.portfolio).await;

        assert_same_to_the_digit(&one.unwrap().unwrap(), &expected);
    }
}

pub async fn a_portfolio_outside_the_rebalance_is_not_found(rebalances: &dyn RebalanceRepository) {
    let mut given = rebalance(1, &["p1"]);
    given.header.failed = vec![failed("p3", "infeasible", "no feasible solution exists")];
    rebalances.record(&given).await.unwrap();
    rebalances.record(&rebalance(2, &["p2"])).await.unwrap();

    for (n, name) in [(1, "p2"), (1, "p3"), (1, "P1"), (3, "p1")] {
        let one = rebalances.find_portfolio(&rebalance_id(n), &portfolio(name)).await;

        assert_eq!(one.unwrap(), None, "{name} in {n}");
    }
}

pub async fn a_deleted_rebalance_is_gone(rebalances: &dyn RebalanceRepository) {
    let given = rebalance(1, &["p1", "p2"]);
    let bystander = rebalance(2, &["p1"]);
    rebalances.record(&given).await.unwrap();
    rebalances.record(&bystander).await.unwrap();

    rebalances.delete(&given.header.id, given.header.version).await.unwrap();

    assert_eq!(find(rebalances, given.header.id).await, None);
    let one = rebalances.find_portfolio(&given.header.id, &portfolio("p1")).await.unwrap();
    assert_eq!(one, None);
    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), std::slice::from_ref(&bystander));
    let containing = rebalances.containing(&portfolios(&["p1", "p2"]), ALL).await.unwrap();
    assert_eq!(containing, [bystander]);
}

pub async fn a_delete_leaves_the_model_as_it_is(
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let given = dated(1, 5);
    rebalances.record(&given).await.unwrap();
    let before = stored(models).await;

    rebalances.delete(&given.header.id, given.header.version).await.unwrap();

    assert_eq!(stored(models).await, before);
}

pub async fn a_stale_delete_conflicts_and_changes_nothing(rebalances: &dyn RebalanceRepository) {
    let mut given = rebalance(1, &["p1"]);
    given.header.version = version(2);
    rebalances.record(&given).await.unwrap();

    for expected in [1, 3].map(version) {
        let refused = rebalances.delete(&given.header.id, expected).await.unwrap_err();

        assert_conflict(&refused, expected, given.header.version);
    }
    assert_eq!(found(rebalances, given.header.id).await, given);
}

pub async fn a_delete_of_an_unknown_rebalance_is_missing(rebalances: &dyn RebalanceRepository) {
    rebalances.record(&rebalance(1, &["p1"])).await.unwrap();

    let refused = rebalances.delete(&rebalance_id(2), Version::FIRST).await.unwrap_err();

    assert!(matches!(refused, Error::Missing), "{refused:?}");
}

pub async fn of_sixteen_racing_deletes_one_wins(rebalances: &dyn RebalanceRepository) {
    let given = rebalance(1, &["p1"]);
    rebalances.record(&given).await.unwrap();

    let racers = (0..16).map(|_| rebalances.delete(&given.header.id, given.header.version));
    let results = join_all(racers).await;

    let winners = results.iter().filter(|result| result.is_ok());
    assert_eq!(winners.count(), 1, "{results:?}");
    let late = results.iter().filter(|result| matches!(result, Err(Error::Missing)));
    assert_eq!(late.count(), 15, "{results:?}");
}

pub async fn without_an_order_the_newest_created_come_first_then_the_largest_ids(
    rebalances: &dyn RebalanceRepository,
) {
    for (n, created) in [(1, 5), (2, 9), (3, 5), (4, 1)] {
        let mut given = rebalance(n, &["p1"]);
        given.header.created_at = minute(created);
        given.header.date = minute(10 - created);
        rebalances.record(&given).await.unwrap();
    }

    let listed = rebalances.list(&[], ALL).await.unwrap();

    assert_eq!(ids(&listed), [2, 3, 1, 4].map(rebalance_id));
}

pub async fn a_list_obeys_every_order(rebalances: &dyn RebalanceRepository) {
    let given = a_dozen();
    for rebalance in &given {
        rebalances.record(rebalance).await.unwrap();
    }

    let keys =
        [RebalanceKey::Id, RebalanceKey::ModelName, RebalanceKey::Date, RebalanceKey::NumberOfPortfolios];
    for order in orders(&keys) {
        let listed = rebalances.list(&order, ALL).await.unwrap();

        assert_eq!(ids(&listed), ids(&in_order(&given, &order)), "{order:?}");
    }
}

pub async fn a_page_is_a_stretch_of_the_list(rebalances: &dyn RebalanceRepository) {
    let given = a_dozen();
    for rebalance in &given {
        rebalances.record(rebalance).await.unwrap();
    }

    for order in [vec![], vec![(RebalanceKey::Date, Direction::Descending)]] {
        let all = in_order(&given, &order);
        assert_pages(&all, async |page| rebalances.list(&order, page).await.unwrap()).await;
    }
}

pub async fn whole_rebalances_containing_a_portfolio_are_found_newest_first(
    rebalances: &dyn RebalanceRepository,
) {
    let mut given = [
        rebalance(1, &["p1", "p2"]),
        rebalance(2, &["p2", "p3"]),
        rebalance(3, &["p3", "p1"]),
        rebalance(4, &["P1", "p10"]),
    ];
    for (rebalance, created) in given.iter_mut().zip([5, 9, 5, 7]) {
        rebalance.header.created_at = minute(created);
        rebalances.record(rebalance).await.unwrap();
    }
    let [first, second, third, fourth] = given;

    for (names, expected) in [
        (&["p1"][..], vec![&third, &first]),
        (&["p2"], vec![&second, &first]),
        (&["p10", "p3"], vec![&second, &fourth, &third]),
        (&["p"], vec![]),
        (&[], vec![]),
    ] {
        let containing = rebalances.containing(&portfolios(names), ALL).await.unwrap();

        assert!(containing.iter().eq(expected), "{names:?}: {containing:?}");
    }
}

pub async fn a_rebalance_containing_several_of_the_portfolios_is_found_once(
    rebalances: &dyn RebalanceRepository,
) {
    let given = rebalance(1, &["p1", "p2", "p3"]);
    rebalances.record(&given).await.unwrap();

    let names = portfolios(&["p3", "p1", "p9", "p1"]);
    let containing = rebalances.containing(&names, ALL).await.unwrap();

    assert_eq!(containing, [given]);
}

pub async fn a_portfolio_that_failed_is_not_contained(rebalances: &dyn RebalanceRepository) {
    let mut given = rebalance(1, &["p1"]);
    given.header.failed = vec![failed("p2", "infeasible", "no feasible solution exists")];
    rebalances.record(&given).await.unwrap();

    let containing = rebalances.containing(&portfolios(&["p2"]), ALL).await.unwrap();

    assert_eq!(containing, []);
}

pub async fn a_page_of_those_containing_a_portfolio_is_a_stretch_of_them(
    rebalances: &dyn RebalanceRepository,
) {
    let given = a_dozen();
    for rebalance in &given {
        rebalances.record(rebalance).await.unwrap();
    }
    let names = portfolios(&["p1", "p2"]);
    let contained = |rebalance: &Rebalance| 1 < rebalance.portfolios.len();
    let all = in_order(&given, &[]).into_iter().filter(contained);
    let all: Vec<Rebalance> = all.collect();

    assert_pages(&all, async |page| rebalances.containing(&names, page).await.unwrap()).await;
}

pub async fn a_call_given_up_leaves_all_or_nothing_and_blocks_nobody(rebalances: &dyn RebalanceRepository) {
    for n in 0..60 {
        let given = large(n, if n < 30 { 20 } else { 60 });
        let polls = usize::try_from(n % 30).unwrap();
        let done = give_up_after(polls, rebalances.record(&given)).await;

        // Waits its turn behind whatever the call left.
        rebalances.record(&rebalance(1000 + n, &["q"])).await.unwrap();
        let stored = find(rebalances, given.header.id).await;
        assert!(stored.is_some() || done.is_none());
        assert!(stored.is_none_or(|stored| stored == given));
    }
}

async fn found(rebalances: &dyn RebalanceRepository, id: RebalanceId) -> Rebalance {
    find(rebalances, id).await.unwrap()
}

async fn open(rebalances: &dyn RebalanceRepository, id: RebalanceId) -> OpenRebalance<'static> {
    rebalances.open(&id).await.unwrap().unwrap()
}

async fn find(rebalances: &dyn RebalanceRepository, id: RebalanceId) -> Option<Rebalance> {
    match rebalances.open(&id).await.unwrap() {
        Some(open) => Some(open.whole().await.unwrap()),
        None => None,
    }
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. })
}

/// Model 1.
async fn stored(models: &dyn ModelRepository) -> Model {
    models.find(&model_id(1)).await.unwrap().unwrap()
}

fn ids(rebalances: &[Rebalance]) -> Vec<RebalanceId> {
    rebalances.iter().map(|rebalance| rebalance.header.id).collect()
}

/// A rebalance to model 1, in a minute of its own.
fn dated(n: u64, date: i64) -> Rebalance {
    let mut dated = rebalance(n, &["p1"]);
    dated.header.model = model_id(1);
    dated.header.date = minute(date);
    dated
}

/// Every number below the power of two `many` once, in no order.
fn scattered(n: u64, many: u64) -> i64 {
    i64::try_from(n * 7 % many).unwrap()
}

/// `many` portfolios, in no order of their names.
fn large(n: u64, many: usize) -> Rebalance {
    let names: Vec<String> = (0..many).map(|n| format!("p{}", n * 7 % many)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    rebalance(n, &names)
}

/// Twelve rebalances with ties in everything but ids, of `p0`, `p1` and so on.
fn a_dozen() -> Vec<Rebalance> {
    (0..12_u8)
        .map(|n| {
            let names = &["p0", "p1", "p2", "p3"][..=usize::from(n % 4)];
            let name = ["Zeta", "alpha", "Ωmega"][usize::from(n * 5 % 3)];
            let mut given = rebalance(u64::from(n) * 7 % 12, names);
            given.header.model_name = ModelName::new(name).unwrap();
            given.header.date = minute(i64::from(n * 5 % 7));
            given.header.created_at = minute(i64::from(n / 6));
            // They do not count as portfolios of the rebalance.
            given.header.failed = vec![failed("x", "infeasible", ""); 4 - names.len()];
            given
        })
        .collect()
}

fn in_order(rebalances: &[Rebalance], order: &[(RebalanceKey, Direction)]) -> Vec<Rebalance> {
    let compare = |key, a: &Rebalance, b: &Rebalance| match key {
        RebalanceKey::Id => a.header.id.cmp(&b.header.id),
        RebalanceKey::ModelName => a.header.model_name.cmp(&b.header.model_name),
        RebalanceKey::Date => a.header.date.cmp(&b.header.date),
        RebalanceKey::NumberOfPortfolios => a.portfolios.len().cmp(&b.portfolios.len()),
    };
    let newest = |rebalance: &Rebalance| Reverse((rebalance.header.created_at, rebalance.header.id));
    sorted(rebalances, order, compare, |a, b| newest(a).cmp(&newest(b)))
}
