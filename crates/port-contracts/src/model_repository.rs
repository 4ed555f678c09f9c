//! The clauses of `ModelRepository`.

use std::cmp::Reverse;

use application::order_generation::ports::{Direction, ModelKey, ModelRepository};
use application::repository::Error;
use domain::identifier::ModelId;
use domain::order_generation::model::{Followers, Model, ModelContent, ModelName};
use domain::order_generation::position::{Band, Position, Positions};
use domain::order_generation::trading_rules::TradingRules;
use domain::version::Version;
use futures_util::future::join_all;
use rust_decimal_macros::dec;

use crate::fixtures::{
    assert_conflict, assert_same_to_the_digit, followers, give_up_after, minute, model, model_id, portfolio,
    position, positions, security, trading_rules, version,
};
use crate::ordering::{ALL, assert_pages, orders, sorted};

/// Tests an adapter of `ModelRepository`; see `clauses` for the setup.
#[macro_export]
macro_rules! model_repository {
    ($setup:expr) => {
        $crate::clauses! {
            model_repository, $setup,
            a_model_is_found_as_it_was_inserted(models),
            decimals_keep_every_digit(models),
            trading_rules_are_kept_to_the_digit(models),
            a_replace_sets_changes_and_removes_trading_rules(models),
            a_model_may_be_empty(models),
            a_hundred_positions_and_three_hundred_followers_keep_their_order(models),
            names_may_be_of_any_script(models),
            an_unknown_model_is_not_found(models),
            a_taken_name_is_refused_and_nothing_stored(models),
            a_taken_id_is_refused_and_nothing_stored(models),
            names_that_differ_in_case_or_accent_are_two(models),
            of_sixteen_racing_inserts_of_one_name_one_wins(models),
            a_name_is_free_again_once_its_model_is_deleted_or_renamed(models),
            a_replace_gives_new_content_and_the_next_version(models),
            a_stale_replace_conflicts_and_changes_nothing(models),
            a_replace_of_an_unknown_model_is_missing(models),
            a_replace_by_a_taken_name_is_refused_and_changes_nothing(models),
            a_stale_replace_by_a_taken_name_conflicts(models),
            of_thirty_two_racing_replaces_at_one_version_one_wins(models),
            a_replace_moves_the_last_rebalance_date_only_forward(models),
            a_reader_never_sees_half_a_replace(models),
            a_deleted_model_is_gone(models),
            a_stale_delete_conflicts_and_changes_nothing(models),
            a_delete_of_an_unknown_model_is_missing(models),
            of_sixteen_racing_deletes_one_wins(models),
            without_an_order_the_newest_created_come_first_then_the_largest_ids(models),
            names_are_sorted_by_their_bytes(models),
            models_never_rebalanced_come_first_in_ascending_order(models),
            a_list_obeys_every_order(models),
            a_page_is_a_stretch_of_the_list(models),
            the_newest_model_a_portfolio_follows_is_found(models),
            a_call_given_up_leaves_all_or_nothing_and_blocks_nobody(models),
        }
    };
}

pub async fn a_model_is_found_as_it_was_inserted(models: &dyn ModelRepository) {
    let mut given = model(0xabc_def0_1234, "balanced");
    given.followers = followers(&["p3", "p1", "p2"]);
    given.last_rebalance_date = Some(minute(7));
    given.version = version(5);
    models.insert(&given).await.unwrap();
    models.insert(&model(2, "another")).await.unwrap();

    assert_same_to_the_digit(&found(models, given.id).await, &given);
    assert_same_to_the_digit(&models.list(&[], ALL).await.unwrap()[0], &given);
}

pub async fn decimals_keep_every_digit(models: &dyn ModelRepository) {
    let drifts = [
        dec!(0),
        dec!(0.0000),
        dec!(0.1234567890123456789012345678),
        dec!(0.9999999999999999999999999999),
        dec!(1.0000000000000000000000000000),
        dec!(1),
    ];
    let targets = [dec!(0.005), dec!(0.0050), dec!(0.10), dec!(0.1000000000000000000000000000), dec!(0.350)];
    let positions = drifts.windows(2).zip(targets).enumerate();
    let positions = positions.map(|(n, (drifts, target))| Position {
        security: security(n),
        target: target.try_into().unwrap(),
        band: Band::new(drifts[0].try_into().unwrap(), drifts[1].try_into().unwrap()).unwrap(),
    });
    let mut given = model(1, "balanced");
    given.positions = Positions::new(positions.collect()).unwrap();
    models.insert(&given).await.unwrap();

    assert_same_to_the_digit(&found(models, given.id).await, &given);

    let replaced = replace(models, &given, &given.content()).await.unwrap();
    assert_same_to_the_digit(&replaced.positions, &given.positions);
    assert_same_to_the_digit(&found(models, given.id).await, &replaced);
}

pub async fn trading_rules_are_kept_to_the_digit(models: &dyn ModelRepository) {
    for (n, rules) in (1..).zip(trading_rules()) {
        let mut given = model(n, &format!("model {n}"));
        given.rules = rules;
        models.insert(&given).await.unwrap();

        assert_same_to_the_digit(&found(models, given.id).await, &given);
    }
}

pub async fn a_replace_sets_changes_and_removes_trading_rules(models: &dyn ModelRepository) {
    let mut current = model(1, "balanced");
    models.insert(&current).await.unwrap();

    let sets = trading_rules();
    for rules in sets.iter().chain([&TradingRules::default()]) {
        let mut content = current.content();
        content.rules = rules.clone();
        current = replace(models, &current, &content).await.unwrap();

        assert_same_to_the_digit(&current.rules, rules);
        assert_same_to_the_digit(&found(models, current.id).await, &current);
    }
}

pub async fn a_model_may_be_empty(models: &dyn ModelRepository) {
    let mut given = model(1, "empty");
    given.positions = Positions::default();
    models.insert(&given).await.unwrap();

    assert_eq!(found(models, given.id).await, given);
}

pub async fn a_hundred_positions_and_three_hundred_followers_keep_their_order(models: &dyn ModelRepository) {
    let scattered = |n: usize, many: usize| n * 7 % many;
    let positions = (0..100).map(|n| position(scattered(n, 100), dec!(0.005)));
    let portfolios = (0..300).map(|n| portfolio(&format!("p{}", scattered(n, 300))));
    let mut given = model(1, "large");
    given.positions = Positions::new(positions.collect()).unwrap();
    given.followers = Followers::new(portfolios.collect()).unwrap();
    models.insert(&given).await.unwrap();

    assert_eq!(found(models, given.id).await, given);

    let mut content = given.content();
    content.followers = Followers::new(content.followers.as_slice().iter().rev().cloned().collect()).unwrap();
    let replaced = replace(models, &given, &content).await.unwrap();
    assert_eq!(replaced.content(), content);
    assert_eq!(found(models, given.id).await, replaced);
}

pub async fn names_may_be_of_any_script(models: &dyn ModelRepository) {
    let names = [
        "Größe & Wert",
        "均衡型投资组合",
        "نموذج متوازن",
        "👩🏽‍💼📈",
        "O'Neill \"core\"; DROP TABLE models; --",
        "%_\\?$1{$ne: null}",
        &"é".repeat(ModelName::MAX_CHARS),
    ];
    for (n, name) in (1..).zip(names) {
        let mut given = model(n, name);
        given.followers = followers(&["ποртфель-1", "'$.\"\\{}[]?", "1"]);
        models.insert(&given).await.unwrap();

        assert_eq!(found(models, given.id).await, given);
    }
}

pub async fn an_unknown_model_is_not_found(models: &dyn ModelRepository) {
    models.insert(&model(1, "balanced")).await.unwrap();

    assert_eq!(models.find(&model_id(2)).await.unwrap(), None);
}

pub async fn a_taken_name_is_refused_and_nothing_stored(models: &dyn ModelRepository) {
    let first = model(1, "balanced");
    let mut second = model(2, "balanced");
    second.followers = followers(&["p2"]);
    models.insert(&first).await.unwrap();

    let refused = models.insert(&second).await.unwrap_err();

    assert!(matches!(&refused, Error::Duplicate { key } if key == "balanced"), "{refused:?}");
    assert_eq!(models.list(&[], ALL).await.unwrap(), [first]);
    assert_eq!(models.newest_followed_by(&portfolio("p2")).await.unwrap(), None);
}

pub async fn a_taken_id_is_refused_and_nothing_stored(models: &dyn ModelRepository) {
    let first = model(1, "balanced");
    models.insert(&first).await.unwrap();

    let refused = models.insert(&model(1, "growth")).await.unwrap_err();

    assert!(matches!(refused, Error::Duplicate { .. }), "{refused:?}");
    assert_eq!(models.list(&[], ALL).await.unwrap(), [first]);
}

pub async fn names_that_differ_in_case_or_accent_are_two(models: &dyn ModelRepository) {
    let composed = "caf\u{e9}";
    let decomposed = "cafe\u{301}";
    for (n, name) in (1..).zip(["cafe", "Cafe", composed, decomposed]) {
        models.insert(&model(n, name)).await.unwrap();
    }

    assert_eq!(models.list(&[], ALL).await.unwrap().len(), 4);
}

pub async fn of_sixteen_racing_inserts_of_one_name_one_wins(models: &dyn ModelRepository) {
    let racers: Vec<Model> = (1..=16).map(|n| model(n, "balanced")).collect();

    let results = join_all(racers.iter().map(|racer| models.insert(racer))).await;

    let refused = results.iter().filter(|result| matches!(result, Err(Error::Duplicate { .. })));
    assert_eq!(refused.count(), 15, "{results:?}");
    let winner = results.iter().position(Result::is_ok).unwrap();
    assert_eq!(models.list(&[], ALL).await.unwrap(), [racers[winner].clone()]);
}

pub async fn a_name_is_free_again_once_its_model_is_deleted_or_renamed(models: &dyn ModelRepository) {
    let first = model(1, "balanced");
    models.insert(&first).await.unwrap();

    models.delete(&first.id, first.version).await.unwrap();
    let second = model(2, "balanced");
    models.insert(&second).await.unwrap();

    replace(models, &second, &named("growth")).await.unwrap();
    models.insert(&model(3, "balanced")).await.unwrap();
}

pub async fn a_replace_gives_new_content_and_the_next_version(models: &dyn ModelRepository) {
    let given = model(1, "balanced");
    let bystander = model(2, "growth");
    models.insert(&given).await.unwrap();
    models.insert(&bystander).await.unwrap();
    let content = ModelContent {
        name: ModelName::new("balanced, revised").unwrap(),
        positions: positions(&[dec!(0.5)]),
        followers: followers(&["p2", "p9"]),
        rules: TradingRules::default(),
    };

    let replaced = replace(models, &given, &content).await.unwrap();

    let expected = Model {
        id: given.id,
        name: content.name,
        positions: content.positions,
        followers: content.followers,
        rules: content.rules,
        last_rebalance_date: None,
        version: version(2),
        created_at: given.created_at,
    };
    assert_same_to_the_digit(&replaced, &expected);
    assert_same_to_the_digit(&found(models, given.id).await, &expected);
    assert_eq!(found(models, bystander.id).await, bystander);

    let again = replace(models, &replaced, &replaced.content()).await.unwrap();
    assert_eq!(again.version, version(3));
    assert_eq!(again.content(), replaced.content());
}

pub async fn a_stale_replace_conflicts_and_changes_nothing(models: &dyn ModelRepository) {
    let stale = model(1, "balanced");
    models.insert(&stale).await.unwrap();
    let current = replace(models, &stale, &named("growth")).await.unwrap();

    for expected in [stale.version, version(7)] {
        let refused =
            models.replace(&stale.id, &named("income"), Some(minute(9)), expected).await.unwrap_err();

        assert_conflict(&refused, expected, current.version);
    }
    assert_eq!(found(models, stale.id).await, current);
}

pub async fn a_replace_of_an_unknown_model_is_missing(models: &dyn ModelRepository) {
    let deleted = model(1, "balanced");
    models.insert(&deleted).await.unwrap();
    models.delete(&deleted.id, deleted.version).await.unwrap();

    for unknown in [deleted, model(2, "growth")] {
        let refused = replace(models, &unknown, &unknown.content()).await.unwrap_err();

        assert!(matches!(refused, Error::Missing), "{refused:?}");
    }
    assert_eq!(models.list(&[], ALL).await.unwrap(), []);
}

pub async fn a_replace_by_a_taken_name_is_refused_and_changes_nothing(models: &dyn ModelRepository) {
    let given = model(1, "balanced");
    models.insert(&given).await.unwrap();
    models.insert(&model(2, "growth")).await.unwrap();

    let refused =
        models.replace(&given.id, &named("growth"), Some(minute(9)), given.version).await.unwrap_err();

    assert!(matches!(&refused, Error::Duplicate { key } if key == "growth"), "{refused:?}");
    assert_eq!(found(models, given.id).await, given);
}

/// To read the model again is the only way on, and then the name shows.
pub async fn a_stale_replace_by_a_taken_name_conflicts(models: &dyn ModelRepository) {
    let stale = model(1, "balanced");
    models.insert(&stale).await.unwrap();
    models.insert(&model(2, "growth")).await.unwrap();
    replace(models, &stale, &named("income")).await.unwrap();

    let refused = replace(models, &stale, &named("growth")).await.unwrap_err();

    assert_conflict(&refused, stale.version, version(2));
}

pub async fn of_thirty_two_racing_replaces_at_one_version_one_wins(models: &dyn ModelRepository) {
    let given = model(1, "balanced");
    models.insert(&given).await.unwrap();
    let contents: Vec<ModelContent> = (0..32).map(|n| named(&format!("racer {n}"))).collect();

    let racers = contents.iter().map(|content| replace(models, &given, content));
    let results = join_all(racers).await;

    let (winners, losers): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(winners.len(), 1);
    for loser in losers {
        assert_conflict(&loser.unwrap_err(), given.version, version(2));
    }
    let winner = winners.into_iter().next().unwrap().unwrap();
    assert_eq!(winner.version, version(2));
    assert_eq!(found(models, given.id).await, winner);
}

pub async fn a_replace_moves_the_last_rebalance_date_only_forward(models: &dyn ModelRepository) {
    let mut current = model(1, "balanced");
    models.insert(&current).await.unwrap();

    for (given, expected) in [
        (None, None),
        (Some(5), Some(5)),
        (None, Some(5)),
        (Some(4), Some(5)),
        (Some(5), Some(5)),
        (Some(6), Some(6)),
    ] {
        let content = current.content();
        current = models.replace(&current.id, &content, given.map(minute), current.version).await.unwrap();

        assert_eq!(current.last_rebalance_date, expected.map(minute), "after {given:?}");
        assert_eq!(found(models, current.id).await, current);
    }
}

pub async fn a_reader_never_sees_half_a_replace(models: &dyn ModelRepository) {
    let shapes = [1, 3].map(|many| ModelContent {
        name: ModelName::new(&format!("model of {many}")).unwrap(),
        positions: positions(&vec![dec!(0.005); many]),
        followers: followers(&["p1", "p2", "p3"][..many]),
        rules: TradingRules::default(),
    });
    let mut written = Model::create(model_id(1), shapes[0].clone(), minute(0));
    models.insert(&written).await.unwrap();

    let write = async {
        for shape in shapes.iter().cycle().skip(1).take(30) {
            written = replace(models, &written, shape).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..60 {
            let one = found(models, model_id(1)).await;
            assert!(shapes.contains(&one.content()), "{one:?}");
            let listed = models.list(&[], ALL).await.unwrap();
            assert!(shapes.contains(&listed[0].content()), "{listed:?}");
        }
    };
    tokio::join!(write, read);
}

pub async fn a_deleted_model_is_gone(models: &dyn ModelRepository) {
    let given = model(1, "balanced");
    let bystander = model(2, "growth");
    models.insert(&given).await.unwrap();
    models.insert(&bystander).await.unwrap();

    models.delete(&given.id, given.version).await.unwrap();

    assert_eq!(models.find(&given.id).await.unwrap(), None);
    assert_eq!(models.list(&[], ALL).await.unwrap(), std::slice::from_ref(&bystander));
    let followed = models.newest_followed_by(&portfolio("p1")).await.unwrap();
    assert_eq!(followed, Some(bystander));
}

pub async fn a_stale_delete_conflicts_and_changes_nothing(models: &dyn ModelRepository) {
    let stale = model(1, "balanced");
    models.insert(&stale).await.unwrap();
    let current = replace(models, &stale, &named("growth")).await.unwrap();

    for expected in [stale.version, version(7)] {
        let refused = models.delete(&stale.id, expected).await.unwrap_err();

        assert_conflict(&refused, expected, current.version);
    }
    assert_eq!(found(models, stale.id).await, current);
}

pub async fn a_delete_of_an_unknown_model_is_missing(models: &dyn ModelRepository) {
    models.insert(&model(1, "balanced")).await.unwrap();

    let refused = models.delete(&model_id(2), Version::FIRST).await.unwrap_err();

    assert!(matches!(refused, Error::Missing), "{refused:?}");
}

pub async fn of_sixteen_racing_deletes_one_wins(models: &dyn ModelRepository) {
    let given = model(1, "balanced");
    models.insert(&given).await.unwrap();

    let racers = (0..16).map(|_| models.delete(&given.id, given.version));
    let results = join_all(racers).await;

    let winners = results.iter().filter(|result| result.is_ok());
    assert_eq!(winners.count(), 1, "{results:?}");
    let late = results.iter().filter(|result| matches!(result, Err(Error::Missing)));
    assert_eq!(late.count(), 15, "{results:?}");
}

pub async fn without_an_order_the_newest_created_come_first_then_the_largest_ids(
    models: &dyn ModelRepository,
) {
    for (n, created) in [(1, 5), (2, 9), (3, 5), (4, 1)] {
        let mut given = model(n, &format!("model {n}"));
        given.created_at = minute(created);
        models.insert(&given).await.unwrap();
    }

    let listed = models.list(&[], ALL).await.unwrap();

    assert_eq!(ids(&listed), [2, 3, 1, 4].map(model_id));
}

pub async fn names_are_sorted_by_their_bytes(models: &dyn ModelRepository) {
    let sorted = ["10", "9", "A", "Z", "a", "ab", "b", "é", "￥", "𝛼"];
    for (n, name) in (1..).zip(sorted) {
        models.insert(&model(n * 7 % 11, name)).await.unwrap();
    }

    let order = [(ModelKey::Name, Direction::Ascending)];
    let listed = models.list(&order, ALL).await.unwrap();

    let names: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, sorted);
}

pub async fn models_never_rebalanced_come_first_in_ascending_order(models: &dyn ModelRepository) {
    for (n, rebalanced) in [(1, Some(2)), (2, None), (3, Some(1)), (4, None)] {
        let mut given = model(n, &format!("model {n}"));
        given.last_rebalance_date = rebalanced.map(minute);
        models.insert(&given).await.unwrap();
    }

    let key = ModelKey::LastRebalanceDate;
    let ascending = models.list(&[(key, Direction::Ascending)], ALL).await.unwrap();
    let descending = models.list(&[(key, Direction::Descending)], ALL).await.unwrap();

    assert_eq!(ids(&ascending), [4, 2, 3, 1].map(model_id));
    assert_eq!(ids(&descending), [1, 3, 4, 2].map(model_id));
}

pub async fn a_list_obeys_every_order(models: &dyn ModelRepository) {
    let given = a_dozen();
    for model in &given {
        models.insert(model).await.unwrap();
    }

    let keys = [ModelKey::Id, ModelKey::Name, ModelKey::LastRebalanceDate];
    for order in orders(&keys) {
        let listed = models.list(&order, ALL).await.unwrap();

        assert_eq!(ids(&listed), ids(&in_order(&given, &order)), "{order:?}");
    }
}

pub async fn a_page_is_a_stretch_of_the_list(models: &dyn ModelRepository) {
    let given = a_dozen();
    for model in &given {
        models.insert(model).await.unwrap();
    }

    for order in [vec![], vec![(ModelKey::LastRebalanceDate, Direction::Descending)]] {
        let all = in_order(&given, &order);
        assert_pages(&all, async |page| models.list(&order, page).await.unwrap()).await;
    }
}

pub async fn the_newest_model_a_portfolio_follows_is_found(models: &dyn ModelRepository) {
    for (n, created, names) in
        [(1, 9, ["p1", "p4"]), (2, 5, ["p1", "p2"]), (3, 5, ["p3", "p2"]), (4, 7, ["P1", "p10"])]
    {
        let mut given = model(n, &format!("model {n}"));
        given.created_at = minute(created);
        given.followers = followers(&names);
        models.insert(&given).await.unwrap();
    }

    for (name, newest) in [("p1", Some(1)), ("p2", Some(3)), ("P1", Some(4)), ("p", None)] {
        let found = models.newest_followed_by(&portfolio(name)).await.unwrap();

        assert_eq!(found.map(|model| model.id), newest.map(model_id), "{name}");
    }

    let first = models.find(&model_id(1)).await.unwrap().unwrap();
    let mut content = first.content();
    content.followers = followers(&["p4"]);
    let replaced = replace(models, &first, &content).await.unwrap();
    let found = models.newest_followed_by(&portfolio("p1")).await.unwrap();
    assert_eq!(found.map(|model| model.id), Some(model_id(2)));
    let found = models.newest_followed_by(&portfolio("p4")).await.unwrap();
    assert_eq!(found, Some(replaced));
}

pub async fn a_call_given_up_leaves_all_or_nothing_and_blocks_nobody(models: &dyn ModelRepository) {
    let mut current = model(1, "balanced");
    models.insert(&current).await.unwrap();

    for n in 0..40 {
        let mut content = current.content();
        content.followers = followers(&[&format!("p{n}"), &format!("q{n}")]);
        let call = replace(models, &current, &content);
        let done = give_up_after(n % 20, call).await;

        // Waits its turn behind whatever the call left.
        let n = u64::try_from(n).unwrap();
        let after = model(1000 + n, &format!("after {n}"));
        models.insert(&after).await.unwrap();
        let stored = found(models, current.id).await;
        if let Some(replaced) = done {
            assert_eq!(stored, replaced.unwrap());
        }
        if stored.version == current.version {
            assert_eq!(stored, current);
        } else {
            assert_eq!(stored.content(), content);
            assert_eq!(stored.version, current.version.next());
        }
        current = stored;
    }
}

async fn found(models: &dyn ModelRepository, id: ModelId) -> Model {
    models.find(&id).await.unwrap().unwrap()
}

async fn replace(
    models: &dyn ModelRepository,
    model: &Model,
    content: &ModelContent,
) -> Result<Model, Error> {
    models.replace(&model.id, content, None, model.version).await
}

fn named(name: &str) -> ModelContent {
    model(0, name).content()
}

fn ids(models: &[Model]) -> Vec<ModelId> {
    models.iter().map(|model| model.id).collect()
}

/// Twelve models with ties in everything but ids and names.
fn a_dozen() -> Vec<Model> {
    (0..12_u8)
        .map(|n| {
            let letter = char::from(b'A' + n * 5 % 12 + 26 * (n % 2));
            let mut model = model(u64::from(n) * 7 % 12, &format!("{letter} model"));
            model.created_at = minute(i64::from(n / 6));
            model.last_rebalance_date = (n % 3 != 0).then(|| minute(i64::from(n % 4)));
            model
        })
        .collect()
}

fn in_order(models: &[Model], order: &[(ModelKey, Direction)]) -> Vec<Model> {
    let compare = |key, a: &Model, b: &Model| match key {
        ModelKey::Id => a.id.cmp(&b.id),
        ModelKey::Name => a.name.cmp(&b.name),
        ModelKey::LastRebalanceDate => a.last_rebalance_date.cmp(&b.last_rebalance_date),
    };
    let newest = |model: &Model| Reverse((model.created_at, model.id));
    sorted(models, order, compare, |a, b| newest(a).cmp(&newest(b)))
}
