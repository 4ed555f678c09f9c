//! The clauses of `RebalanceRuns`, which show in the rebalances and the models of the same store.

use std::time::Duration;

use application::order_generation::ports::{
    Direction, Ending, Holder, Lease, ModelRepository, RebalanceKey, RebalanceRepository, RebalanceRuns,
};
use application::repository::Error;
use domain::Timestamp;
use domain::identifier::RebalanceId;
use domain::order_generation::model::{Model, ModelName};
use domain::order_generation::progress::{Progress, Reason, RebalanceStatus};
use domain::order_generation::rebalance::{PortfolioRebalance, Rebalance, RebalanceHeader};
use domain::version::Version;
use futures_util::future::{join, join_all};
use rust_decimal_macros::dec;

use crate::fixtures::{
    assert_conflict, assert_same_to_the_digit, failed, minute, model, model_id, portfolio, portfolios,
    rebalance, rebalance_id, rebalanced, version,
};
use crate::ordering::ALL;

/// Tests an adapter of `RebalanceRuns`, `RebalanceRepository` and `ModelRepository`; see `clauses` for the
/// setup.
#[macro_export]
macro_rules! rebalance_runs {
    ($setup:expr) => {
        $crate::clauses! {
            rebalance_runs, $setup,
            a_run_is_found_as_it_was_started(runs, rebalances),
            a_run_of_a_taken_id_is_refused(runs, rebalances),
            nobody_sees_a_portfolio_of_a_run(runs, rebalances),
            how_far_a_run_has_come_is_seen(runs, rebalances),
            a_completed_run_is_the_rebalance_to_the_digit(runs, rebalances),
            a_completed_run_of_no_portfolio_is_a_rebalance_too(runs, rebalances),
            a_run_moves_the_date_of_its_model_only_when_it_completes(runs, models),
            a_date_that_is_later_stays(runs, models),
            a_failed_run_keeps_its_reason_and_its_failures_and_no_portfolio(runs, rebalances, models),
            a_cancelled_run_keeps_how_far_it_came_and_no_portfolio(runs, rebalances, models),
            a_stale_cancel_conflicts_and_changes_nothing(runs, rebalances),
            what_does_not_run_cannot_be_cancelled(runs, rebalances),
            whoever_does_not_hold_a_run_changes_nothing(runs, rebalances),
            a_run_that_has_ended_is_nobodys(runs, rebalances),
            a_run_whose_lease_ended_fails(runs, rebalances, models),
            a_run_whose_lease_lasts_does_not_expire(runs, rebalances),
            a_lease_begins_anew_when_it_is_renewed(runs, rebalances),
            an_overdue_run_is_its_holders_until_it_expires(runs, rebalances),
            of_sixteen_who_let_runs_expire_one_does_each(runs, rebalances),
            of_cancel_and_finish_exactly_one_wins(runs, rebalances, models),
            of_sixteen_cancels_one_wins(runs, rebalances),
            what_is_appended_while_the_run_is_cancelled_is_never_seen(runs, rebalances),
            a_delete_meant_for_a_run_leaves_the_rebalance(runs, rebalances),
            a_running_rebalance_can_be_deleted_and_its_id_taken_again(runs, rebalances),
            a_rebalance_that_did_not_complete_can_be_deleted(runs, rebalances),
            lists_are_sorted_by_how_many_were_rebalanced_so_far(runs, rebalances),
        }
    };
}

const HOLDER: Holder = Holder::new(0xfeed_0000_0000_0001);
const OTHER: Holder = Holder::new(2);
/// Longer than any test.
const LONG: Lease = Lease { holder: HOLDER, length: Duration::from_mins(10) };
const ENDED: Lease = Lease { holder: HOLDER, length: Duration::ZERO };

/// The header of run `n`, of so many portfolios.
fn run(n: u64, total: usize) -> RebalanceHeader {
    let status = RebalanceStatus::Running(Progress { total, ..Progress::default() });
    RebalanceHeader { status, ..rebalance(n, &[]).header }
}

fn completed(rebalanced: usize) -> Ending {
    Ending { failure: None, rebalanced, failed: Vec::new() }
}

fn outage() -> Reason {
    Reason { code: "outage".to_owned(), detail: "$nobody \"answered\"".to_owned() }
}

fn interrupted() -> Reason {
    Reason { code: "interrupted".to_owned(), detail: "nobody went on with it".to_owned() }
}

fn some(names: &[&str]) -> Vec<PortfolioRebalance> {
    names.iter().map(|name| rebalanced(name)).collect()
}

async fn header(rebalances: &dyn RebalanceRepository, id: RebalanceId) -> RebalanceHeader {
    let open = rebalances.open(&id).await.unwrap().unwrap();
    assert_eq!(open.number_of_portfolios(), 0, "of none that is not completed can portfolios be read");
    let header = open.header.clone();
    assert_eq!(open.whole().await.unwrap().portfolios, []);
    header
}

async fn date(models: &dyn ModelRepository) -> Option<Timestamp> {
    models.find(&model(1, "balanced").id).await.unwrap().unwrap().last_rebalance_date
}

/// A lease ends by the store's clock, which may be coarse.
async fn until_expired(runs: &dyn RebalanceRuns) -> Vec<RebalanceId> {
    loop {
        let expired = runs.expire(&interrupted()).await.unwrap();
        if !expired.is_empty() {
            return expired;
        }
        tokio::task::yield_now().await;
    }
}

pub async fn a_run_is_found_as_it_was_started(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let mut given = run(0xabc_def0_1234, 7);
    given.model_name = ModelName::new("$rich.$$NOW \"ü\"").unwrap();
    given.rules.minimum_cash = dec!(12.50).try_into().unwrap();
    runs.start(&given, LONG).await.unwrap();

    assert_same_to_the_digit(&header(rebalances, given.id).await, &given);
    let listed = rebalances.list(&[], ALL).await.unwrap();
    assert_same_to_the_digit(&listed, &vec![Rebalance { header: given, portfolios: Vec::new() }]);
}

pub async fn a_run_of_a_taken_id_is_refused(runs: &dyn RebalanceRuns, rebalances: &dyn RebalanceRepository) {
    let whole = rebalance(1, &["p1"]);
    rebalances.record(&whole).await.unwrap();
    let running = run(2, 3);
    runs.start(&running, LONG).await.unwrap();

    for n in [1, 2] {
        let other = Lease { holder: OTHER, ..LONG };
        let refused = runs.start(&run(n, 9), other).await.unwrap_err();
        assert!(matches!(refused, Error::Duplicate { .. }), "{refused:?}");
    }
    assert!(matches!(rebalances.record(&rebalance(2, &["p"])).await, Err(Error::Duplicate { .. })));

    let running = Rebalance { header: running, portfolios: Vec::new() };
    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), [running, whole]);
}

pub async fn nobody_sees_a_portfolio_of_a_run(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let id = run(1, 2).id;
    runs.start(&run(1, 2), LONG).await.unwrap();
    assert!(runs.append(&id, HOLDER, 0, &some(&["p1", "p2"])).await.unwrap());

    header(rebalances, id).await;
    assert_eq!(rebalances.list(&[], ALL).await.unwrap()[0].portfolios, []);
    assert_eq!(rebalances.containing(&portfolios(&["p1"]), ALL).await.unwrap(), []);
    assert_eq!(rebalances.find_portfolio(&id, &portfolio("p1")).await.unwrap(), None);
}

pub async fn how_far_a_run_has_come_is_seen(runs: &dyn RebalanceRuns, rebalances: &dyn RebalanceRepository) {
    let given = run(1, 5);
    runs.start(&given, LONG).await.unwrap();

    for (rebalanced, failed) in [(1, 0), (3, 1)] {
        let progress = Progress { total: 5, rebalanced, failed };
        assert!(runs.renew(&given.id, LONG, progress).await.unwrap());

        let found = header(rebalances, given.id).await;
        let status = RebalanceStatus::Running(progress);
        assert_eq!(found, RebalanceHeader { status, ..given.clone() });
    }
}

pub async fn a_completed_run_is_the_rebalance_to_the_digit(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let names: Vec<String> = (0..300).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut expected = rebalance(1, &names);
    expected.header.failed = vec![failed("f1", "infeasible", "$none"), failed("f2", "unpriced", "")];
    let id = expected.header.id;
    runs.start(&run(1, 302), LONG).await.unwrap();
    for (n, part) in expected.portfolios.chunks(70).enumerate() {
        assert!(runs.append(&id, HOLDER, 70 * n, part).await.unwrap());
    }

    let ending = Ending { failed: expected.header.failed.clone(), ..completed(300) };
    assert!(runs.finish(&id, HOLDER, &ending).await.unwrap());

    expected.header.version = version(2);
    let open = rebalances.open(&id).await.unwrap().unwrap();
    assert_eq!(open.number_of_portfolios(), 300);
    assert_same_to_the_digit(&open.whole().await.unwrap(), &expected);
    assert_eq!(
        rebalances.find_portfolio(&id, &portfolio("p299")).await.unwrap().as_ref(),
        expected.portfolios.last()
    );
    assert_eq!(rebalances.containing(&portfolios(&["p7"]), ALL).await.unwrap(), [expected.clone()]);
    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), [expected]);
}

pub async fn a_completed_run_of_no_portfolio_is_a_rebalance_too(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let mut expected = rebalance(1, &[]);
    runs.start(&run(1, 0), LONG).await.unwrap();

    assert!(runs.finish(&expected.header.id, HOLDER, &completed(0)).await.unwrap());

    expected.header.version = version(2);
    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), [expected]);
}

pub async fn a_run_moves_the_date_of_its_model_only_when_it_completes(
    runs: &dyn RebalanceRuns,
    models: &dyn ModelRepository,
) {
    let given = RebalanceHeader { date: minute(5), ..run(1, 1) };
    let stored = model(1, "balanced");
    models.insert(&stored).await.unwrap();
    models.insert(&model(2, "growth")).await.unwrap();
    runs.start(&given, LONG).await.unwrap();
    runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap();
    assert_eq!(date(models).await, None);

    runs.finish(&given.id, HOLDER, &completed(1)).await.unwrap();

    let found = models.find(&stored.id).await.unwrap().unwrap();
    assert_eq!(found, Model { last_rebalance_date: Some(minute(5)), ..stored });
    let bystander = models.find(&model(2, "growth").id).await.unwrap().unwrap();
    assert_eq!(bystander.last_rebalance_date, None);
}

pub async fn a_date_that_is_later_stays(runs: &dyn RebalanceRuns, models: &dyn ModelRepository) {
    models.insert(&model(1, "balanced")).await.unwrap();
    for (n, when) in [(1, 9), (2, 4)] {
        let given = RebalanceHeader { date: minute(when), model: model_id(1), ..run(n, 0) };
        runs.start(&given, LONG).await.unwrap();
        assert!(runs.finish(&given.id, HOLDER, &completed(0)).await.unwrap());
    }

    assert_eq!(date(models).await, Some(minute(9)));
}

pub async fn a_failed_run_keeps_its_reason_and_its_failures_and_no_portfolio(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let given = run(1, 9);
    runs.start(&given, LONG).await.unwrap();
    runs.append(&given.id, HOLDER, 0, &some(&["p1", "p2"])).await.unwrap();

    let failures = vec![failed("p3", "infeasible", "no feasible solution exists")];
    let ending = Ending { failure: Some(outage()), rebalanced: 2, failed: failures.clone() };
    assert!(runs.finish(&given.id, HOLDER, &ending).await.unwrap());

    let progress = Progress { total: 9, rebalanced: 2, failed: 1 };
    let status = RebalanceStatus::Failed { reason: outage(), progress };
    let expected = RebalanceHeader { status, failed: failures, version: version(2), ..given };
    assert_same_to_the_digit(&header(rebalances, expected.id).await, &expected);
    assert_eq!(rebalances.containing(&portfolios(&["p1"]), ALL).await.unwrap(), []);
    assert_eq!(rebalances.find_portfolio(&expected.id, &portfolio("p1")).await.unwrap(), None);
    assert_eq!(date(models).await, None);
}

pub async fn a_cancelled_run_keeps_how_far_it_came_and_no_portfolio(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let given = run(1, 9);
    runs.start(&given, LONG).await.unwrap();
    runs.append(&given.id, HOLDER, 0, &some(&["p1", "p2"])).await.unwrap();
    let progress = Progress { total: 9, rebalanced: 2, failed: 1 };
    runs.renew(&given.id, LONG, progress).await.unwrap();

    runs.cancel(&given.id, Version::FIRST).await.unwrap();

    let status = RebalanceStatus::Cancelled(progress);
    let expected = RebalanceHeader { status, version: version(2), ..given };
    assert_eq!(header(rebalances, expected.id).await, expected);
    assert_eq!(rebalances.containing(&portfolios(&["p1"]), ALL).await.unwrap(), []);
    assert_eq!(date(models).await, None);
}

pub async fn a_stale_cancel_conflicts_and_changes_nothing(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 9);
    runs.start(&given, LONG).await.unwrap();

    let refused = runs.cancel(&given.id, version(2)).await.unwrap_err();

    assert_conflict(&refused, version(2), version(1));
    assert_eq!(header(rebalances, given.id).await, given);
}

pub async fn what_does_not_run_cannot_be_cancelled(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let whole = rebalance(1, &["p1"]);
    rebalances.record(&whole).await.unwrap();

    for n in [1, 2] {
        let refused = runs.cancel(&rebalance_id(n), Version::FIRST).await.unwrap_err();
        assert!(matches!(refused, Error::Missing), "{refused:?}");
    }
    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), [whole]);
}

pub async fn whoever_does_not_hold_a_run_changes_nothing(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 9);
    let other = Lease { holder: OTHER, ..LONG };
    runs.start(&given, LONG).await.unwrap();
    let progress = Progress { total: 9, rebalanced: 1, failed: 0 };

    assert!(!runs.append(&given.id, OTHER, 0, &some(&["stranger"])).await.unwrap());
    assert!(!runs.renew(&given.id, other, progress).await.unwrap());
    assert!(!runs.finish(&given.id, OTHER, &completed(0)).await.unwrap());
    let failing = Ending { failure: Some(outage()), ..completed(0) };
    assert!(!runs.finish(&given.id, OTHER, &failing).await.unwrap());

    assert_eq!(header(rebalances, given.id).await, given);
    assert!(runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap());
    assert!(runs.finish(&given.id, HOLDER, &completed(1)).await.unwrap());
    let whole = rebalances.open(&given.id).await.unwrap().unwrap().whole().await.unwrap();
    assert_eq!(whole.portfolios, some(&["p1"]));
}

pub async fn a_run_that_has_ended_is_nobodys(runs: &dyn RebalanceRuns, rebalances: &dyn RebalanceRepository) {
    for n in 1..=3 {
        runs.start(&run(n, 1), LONG).await.unwrap();
    }
    let [done, broken, cancelled] = [1, 2, 3].map(rebalance_id);
    assert!(runs.finish(&done, HOLDER, &completed(0)).await.unwrap());
    let failing = Ending { failure: Some(outage()), ..completed(0) };
    assert!(runs.finish(&broken, HOLDER, &failing).await.unwrap());
    runs.cancel(&cancelled, Version::FIRST).await.unwrap();
    let before = rebalances.list(&[], ALL).await.unwrap();

    for id in [done, broken, cancelled, rebalance_id(4)] {
        assert!(!runs.append(&id, HOLDER, 0, &some(&["late"])).await.unwrap());
        assert!(!runs.renew(&id, LONG, Progress::default()).await.unwrap());
        assert!(!runs.finish(&id, HOLDER, &completed(0)).await.unwrap());
        assert!(!runs.finish(&id, HOLDER, &failing).await.unwrap());
        assert!(matches!(runs.cancel(&id, version(2)).await, Err(Error::Missing)));
    }

    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), before);
    assert_eq!(rebalances.containing(&portfolios(&["late"]), ALL).await.unwrap(), []);
}

pub async fn a_run_whose_lease_ended_fails(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let given = run(1, 9);
    runs.start(&given, LONG).await.unwrap();
    runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap();
    let progress = Progress { total: 9, rebalanced: 1, failed: 2 };
    runs.renew(&given.id, ENDED, progress).await.unwrap();

    assert_eq!(until_expired(runs).await, [given.id]);

    let status = RebalanceStatus::Failed { reason: interrupted(), progress };
    let expected = RebalanceHeader { status, version: version(2), ..given };
    assert_eq!(header(rebalances, expected.id).await, expected);
    assert_eq!(rebalances.containing(&portfolios(&["p1"]), ALL).await.unwrap(), []);
    assert_eq!(date(models).await, None);
    assert!(!runs.finish(&expected.id, HOLDER, &completed(1)).await.unwrap());
    assert_eq!(runs.expire(&interrupted()).await.unwrap(), []);
}

pub async fn a_run_whose_lease_lasts_does_not_expire(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 1);
    runs.start(&given, LONG).await.unwrap();
    runs.start(&run(2, 1), ENDED).await.unwrap();
    runs.start(&run(3, 1), ENDED).await.unwrap();
    assert!(runs.finish(&rebalance_id(3), HOLDER, &completed(0)).await.unwrap());
    rebalances.record(&rebalance(4, &["p1"])).await.unwrap();

    assert_eq!(until_expired(runs).await, [rebalance_id(2)]);

    assert_eq!(header(rebalances, given.id).await, given);
    assert!(runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap());
    assert!(runs.finish(&given.id, HOLDER, &completed(1)).await.unwrap());
}

pub async fn a_lease_begins_anew_when_it_is_renewed(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 1);
    runs.start(&given, ENDED).await.unwrap();
    assert!(runs.renew(&given.id, LONG, Progress { total: 1, ..Progress::default() }).await.unwrap());
    runs.start(&run(2, 1), ENDED).await.unwrap();

    assert_eq!(until_expired(runs).await, [rebalance_id(2)]);

    assert_eq!(header(rebalances, given.id).await, given);
}

pub async fn an_overdue_run_is_its_holders_until_it_expires(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 1);
    runs.start(&given, ENDED).await.unwrap();

    assert!(runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap());
    assert!(runs.finish(&given.id, HOLDER, &completed(1)).await.unwrap());

    assert_eq!(runs.expire(&interrupted()).await.unwrap(), []);
    let whole = rebalances.open(&given.id).await.unwrap().unwrap().whole().await.unwrap();
    assert_eq!(whole.portfolios, some(&["p1"]));
}

pub async fn of_sixteen_who_let_runs_expire_one_does_each(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    for n in 1..=5 {
        runs.start(&run(n, 1), ENDED).await.unwrap();
    }

    let mut expired = Vec::new();
    while expired.len() < 5 {
        let found = join_all((0..16).map(|_| async { runs.expire(&interrupted()).await.unwrap() })).await;
        expired.extend(found.into_iter().flatten());
    }

    expired.sort_unstable();
    assert_eq!(expired, (1..=5).map(rebalance_id).collect::<Vec<_>>());
    for found in rebalances.list(&[], ALL).await.unwrap() {
        assert_eq!(found.header.version, version(2));
    }
}

pub async fn of_cancel_and_finish_exactly_one_wins(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
    models: &dyn ModelRepository,
) {
    models.insert(&model(1, "balanced")).await.unwrap();
    let mut last_completed = None;
    for n in 1..=16 {
        let when = minute(i64::try_from(n).unwrap());
        let given = RebalanceHeader { date: when, model: model_id(1), ..run(n, 1) };
        runs.start(&given, LONG).await.unwrap();
        runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap();
        let ending = completed(1);

        let cancel = runs.cancel(&given.id, Version::FIRST);
        let finish = runs.finish(&given.id, HOLDER, &ending);
        // Each has the first word in turn.
        let (cancelled, finished) = if n % 2 == 0 {
            join(cancel, finish).await
        } else {
            let (finished, cancelled) = join(finish, cancel).await;
            (cancelled, finished)
        };

        let finished = finished.unwrap();
        assert_eq!(cancelled.is_err(), finished, "{cancelled:?}");
        let found = rebalances.open(&given.id).await.unwrap().unwrap().whole().await.unwrap();
        assert_eq!(found.header.version, version(2));
        if finished {
            assert_conflict(&cancelled.unwrap_err(), version(1), version(2));
            assert_eq!(found.header.status, RebalanceStatus::Completed);
            assert_eq!(found.portfolios, some(&["p1"]));
            last_completed = Some(when);
        } else {
            assert!(matches!(found.header.status, RebalanceStatus::Cancelled(_)), "{found:?}");
            assert_eq!(found.portfolios, []);
        }
        assert_eq!(date(models).await, last_completed);
    }
}

pub async fn of_sixteen_cancels_one_wins(runs: &dyn RebalanceRuns, rebalances: &dyn RebalanceRepository) {
    let given = run(1, 1);
    runs.start(&given, LONG).await.unwrap();

    let cancelled = join_all((0..16).map(|_| runs.cancel(&given.id, Version::FIRST))).await;

    assert_eq!(cancelled.iter().filter(|cancelled| cancelled.is_ok()).count(), 1, "{cancelled:?}");
    assert_eq!(header(rebalances, given.id).await.version, version(2));
}

pub async fn what_is_appended_while_the_run_is_cancelled_is_never_seen(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    for n in 1..=8 {
        let given = run(n, 9);
        runs.start(&given, LONG).await.unwrap();
        let late = some(&["late"; 9]);

        let (cancelled, _) =
            join(runs.cancel(&given.id, Version::FIRST), runs.append(&given.id, HOLDER, 0, &late)).await;

        cancelled.unwrap();
        header(rebalances, given.id).await;
        assert_eq!(rebalances.find_portfolio(&given.id, &portfolio("late")).await.unwrap(), None);
    }
    assert_eq!(rebalances.containing(&portfolios(&["late"]), ALL).await.unwrap(), []);
}

pub async fn a_delete_meant_for_a_run_leaves_the_rebalance(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 1);
    runs.start(&given, LONG).await.unwrap();
    runs.append(&given.id, HOLDER, 0, &some(&["p1"])).await.unwrap();
    runs.finish(&given.id, HOLDER, &completed(1)).await.unwrap();

    let refused = rebalances.delete(&given.id, Version::FIRST).await.unwrap_err();

    assert_conflict(&refused, version(1), version(2));
    let whole = rebalances.open(&given.id).await.unwrap().unwrap().whole().await.unwrap();
    assert_eq!(whole.portfolios, some(&["p1"]));
}

pub async fn a_running_rebalance_can_be_deleted_and_its_id_taken_again(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    let given = run(1, 2);
    runs.start(&given, LONG).await.unwrap();
    runs.append(&given.id, HOLDER, 0, &some(&["p1", "p2"])).await.unwrap();

    rebalances.delete(&given.id, Version::FIRST).await.unwrap();

    assert!(rebalances.open(&given.id).await.unwrap().is_none());
    assert!(!runs.append(&given.id, HOLDER, 2, &some(&["p3"])).await.unwrap());
    assert!(!runs.finish(&given.id, HOLDER, &completed(2)).await.unwrap());
    runs.start(&given, LONG).await.unwrap();
    assert!(runs.append(&given.id, HOLDER, 0, &some(&["p4"])).await.unwrap());
    assert!(runs.finish(&given.id, HOLDER, &completed(1)).await.unwrap());
    let whole = rebalances.open(&given.id).await.unwrap().unwrap().whole().await.unwrap();
    assert_eq!(whole.portfolios, some(&["p4"]));
}

pub async fn a_rebalance_that_did_not_complete_can_be_deleted(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    runs.start(&run(1, 1), LONG).await.unwrap();
    runs.start(&run(2, 1), LONG).await.unwrap();
    runs.cancel(&rebalance_id(1), Version::FIRST).await.unwrap();
    let failing = Ending { failure: Some(outage()), ..completed(0) };
    runs.finish(&rebalance_id(2), HOLDER, &failing).await.unwrap();

    for id in [1, 2].map(rebalance_id) {
        let stale = rebalances.delete(&id, Version::FIRST).await.unwrap_err();
        assert_conflict(&stale, version(1), version(2));
        rebalances.delete(&id, version(2)).await.unwrap();
    }

    assert_eq!(rebalances.list(&[], ALL).await.unwrap(), []);
}

pub async fn lists_are_sorted_by_how_many_were_rebalanced_so_far(
    runs: &dyn RebalanceRuns,
    rebalances: &dyn RebalanceRepository,
) {
    for (n, so_far) in [(1, 3), (2, 0), (3, 7)] {
        runs.start(&run(n, 9), LONG).await.unwrap();
        let progress = Progress { total: 9, rebalanced: so_far, failed: 0 };
        runs.renew(&rebalance_id(n), LONG, progress).await.unwrap();
    }
    rebalances.record(&rebalance(4, &["p"; 5])).await.unwrap();

    let order = [(RebalanceKey::NumberOfPortfolios, Direction::Ascending)];
    let sorted = rebalances.list(&order, ALL).await.unwrap();

    let ids: Vec<RebalanceId> = sorted.iter().map(|found| found.header.id).collect();
    assert_eq!(ids, [2, 1, 4, 3].map(rebalance_id));
}
