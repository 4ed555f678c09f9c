//! The clauses of `IdempotencyKeys`.
//!
//! A lease, or a time to be kept, of nothing has ended at once: no clause waits for a clock.

use std::time::Duration;

use application::idempotency::{Answer, Claim, Claimed, Fingerprint, IdempotencyKeys, Key, OperationId};
use futures_util::future::join_all;

use crate::fixtures::give_up_after;

/// Tests an adapter of `IdempotencyKeys`; see `clauses` for the setup.
#[macro_export]
macro_rules! idempotency_keys {
    ($setup:expr) => {
        $crate::clauses! {
            idempotency_keys, $setup,
            a_new_key_is_fresh(keys),
            a_key_that_somebody_holds_is_in_flight(keys),
            of_thirty_two_racing_claims_one_is_fresh(keys),
            an_answer_is_given_again_as_it_was_kept(keys),
            an_answer_may_have_a_large_body_or_none(keys),
            another_request_with_the_same_key_is_refused_at_every_stage(keys),
            keys_of_two_scopes_have_nothing_to_do_with_each_other(keys),
            keys_may_be_of_any_visible_characters(keys),
            a_lease_that_ended_is_resumed_under_the_first_id(keys),
            of_sixteen_racers_for_a_lease_that_ended_one_resumes(keys),
            a_renewed_lease_is_not_resumed(keys),
            who_lost_the_lease_neither_renews_nor_answers_nor_releases(keys),
            an_answer_is_kept_once(keys),
            who_lets_its_lease_end_may_still_answer_until_another_resumes(keys),
            a_released_key_is_fresh_for_any_request(keys),
            a_resumed_key_is_not_released(keys),
            a_suspended_key_is_resumed_at_once(keys),
            an_answered_key_is_neither_released_nor_suspended(keys),
            a_key_that_was_kept_long_enough_is_fresh_for_any_request(keys),
            of_thirty_two_racing_claims_of_an_expired_key_one_is_fresh(keys),
            who_holds_an_expired_key_that_another_took_does_not_answer(keys),
            a_call_given_up_leaves_all_or_nothing_and_blocks_nobody(keys),
        }
    };
}

const LONG: Duration = Duration::from_hours(1);
const OVER: Duration = Duration::ZERO;

fn key(text: &str) -> Key {
    Key::new("POST /api/v1/models", text).unwrap()
}

fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint([n; 32])
}

fn operation(n: u8) -> OperationId {
    OperationId([n; 12])
}

/// By the `n`th caller, of the first request, for a long time.
fn claim(n: u8) -> Claim {
    Claim { fingerprint: fingerprint(1), proposed: operation(n), lease: LONG, kept_for: LONG }
}

fn of_another(claim: Claim) -> Claim {
    Claim { fingerprint: fingerprint(2), ..claim }
}

fn lapsing(claim: Claim) -> Claim {
    Claim { lease: OVER, ..claim }
}

fn expiring(claim: Claim) -> Claim {
    Claim { kept_for: OVER, ..claim }
}

fn answer() -> Answer {
    Answer {
        status: 201,
        headers: vec![("location".to_owned(), "/api/v1/model/1".to_owned())],
        body: Some(b"\x00compressed\xff".to_vec()),
    }
}

async fn claimed(keys: &dyn IdempotencyKeys, text: &str, claim: Claim) -> Claimed {
    keys.claim(&key(text), &claim).await.unwrap()
}

pub async fn a_new_key_is_fresh(keys: &dyn IdempotencyKeys) {
    assert_eq!(claimed(keys, "a", claim(1)).await, Claimed::Fresh);
    assert_eq!(claimed(keys, "b", claim(2)).await, Claimed::Fresh);
}

pub async fn a_key_that_somebody_holds_is_in_flight(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;

    assert_eq!(claimed(keys, "a", claim(2)).await, Claimed::InFlight);
    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::InFlight);
}

pub async fn of_thirty_two_racing_claims_one_is_fresh(keys: &dyn IdempotencyKeys) {
    for round in ["a", "b", "c"] {
        let racers = join_all((0..32).map(|n| claimed(keys, round, claim(n)))).await;

        let fresh = racers.iter().filter(|found| **found == Claimed::Fresh).count();
        let in_flight = racers.iter().filter(|found| **found == Claimed::InFlight).count();
        assert_eq!((fresh, in_flight), (1, 31), "{racers:?}");
    }
}

pub async fn an_answer_is_given_again_as_it_was_kept(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;
    claimed(keys, "b", claim(2)).await;

    assert!(keys.answer(&key("a"), operation(1), &answer()).await.unwrap());

    for n in [3, 4] {
        assert_eq!(claimed(keys, "a", claim(n)).await, Claimed::Answered(operation(1), answer()));
    }
    assert_eq!(claimed(keys, "b", claim(5)).await, Claimed::InFlight);
}

pub async fn an_answer_may_have_a_large_body_or_none(keys: &dyn IdempotencyKeys) {
    let large = (0..Answer::MAX_BODY_BYTES).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    for (n, body) in (1..).zip([None, Some(Vec::new()), Some(large)]) {
        let text = n.to_string();
        let given = Answer { status: 200, headers: Vec::new(), body };
        claimed(keys, &text, claim(n)).await;
        assert!(keys.answer(&key(&text), operation(n), &given).await.unwrap());

        assert_eq!(claimed(keys, &text, claim(9)).await, Claimed::Answered(operation(n), given));
    }
}

pub async fn another_request_with_the_same_key_is_refused_at_every_stage(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;
    assert_eq!(claimed(keys, "a", of_another(claim(2))).await, Claimed::Reused);
    keys.suspend(&key("a"), operation(1)).await.unwrap();
    assert_eq!(claimed(keys, "a", of_another(claim(3))).await, Claimed::Reused);
    claimed(keys, "a", claim(4)).await;
    keys.answer(&key("a"), operation(4), &answer()).await.unwrap();
    assert_eq!(claimed(keys, "a", of_another(claim(5))).await, Claimed::Reused);

    assert_eq!(claimed(keys, "a", claim(6)).await, Claimed::Answered(operation(1), answer()));
}

pub async fn keys_of_two_scopes_have_nothing_to_do_with_each_other(keys: &dyn IdempotencyKeys) {
    let scopes = ["POST /a", "POST /b", "caller POST /a"];
    for (n, scope) in (1..).zip(scopes) {
        let key = Key::new(scope, "same").unwrap();
        assert_eq!(keys.claim(&key, &claim(n)).await.unwrap(), Claimed::Fresh, "{scope}");
    }
}

pub async fn keys_may_be_of_any_visible_characters(keys: &dyn IdempotencyKeys) {
    let texts =
        ["$operation", "'; DROP TABLE models; --", "%_\\?{$ne:null}", "\"", &"x".repeat(255), "A", "a"];
    for (n, text) in (1..).zip(texts.map(|text| text.replace(' ', "+"))) {
        assert_eq!(claimed(keys, &text, claim(n)).await, Claimed::Fresh, "{text}");
        assert_eq!(claimed(keys, &text, claim(n + 100)).await, Claimed::InFlight, "{text}");
    }
}

pub async fn a_lease_that_ended_is_resumed_under_the_first_id(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", lapsing(claim(1))).await;

    assert_eq!(claimed(keys, "a", lapsing(claim(2))).await, Claimed::Resumed(operation(1)));
    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::Resumed(operation(1)));
    assert_eq!(claimed(keys, "a", claim(4)).await, Claimed::InFlight);
    assert!(keys.answer(&key("a"), operation(3), &answer()).await.unwrap());
    assert_eq!(claimed(keys, "a", claim(5)).await, Claimed::Answered(operation(1), answer()));
}

pub async fn of_sixteen_racers_for_a_lease_that_ended_one_resumes(keys: &dyn IdempotencyKeys) {
    for round in ["a", "b", "c"] {
        claimed(keys, round, lapsing(claim(100))).await;

        let racers = join_all((0..16).map(|n| claimed(keys, round, claim(n)))).await;

        let resumed = racers.iter().filter(|found| **found == Claimed::Resumed(operation(100))).count();
        let in_flight = racers.iter().filter(|found| **found == Claimed::InFlight).count();
        assert_eq!((resumed, in_flight), (1, 15), "{racers:?}");
    }
}

pub async fn a_renewed_lease_is_not_resumed(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", lapsing(claim(1))).await;

    assert!(keys.renew(&key("a"), operation(1), LONG).await.unwrap());
    assert_eq!(claimed(keys, "a", claim(2)).await, Claimed::InFlight);

    assert!(keys.renew(&key("a"), operation(1), OVER).await.unwrap());
    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::Resumed(operation(1)));
}

pub async fn who_lost_the_lease_neither_renews_nor_answers_nor_releases(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", lapsing(claim(1))).await;
    claimed(keys, "a", claim(2)).await;

    assert!(!keys.renew(&key("a"), operation(1), LONG).await.unwrap());
    assert!(!keys.answer(&key("a"), operation(1), &answer()).await.unwrap());
    keys.release(&key("a"), operation(1)).await.unwrap();
    keys.suspend(&key("a"), operation(1)).await.unwrap();

    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::InFlight);
    assert!(!keys.renew(&key("b"), operation(1), LONG).await.unwrap());
    assert!(!keys.answer(&key("b"), operation(1), &answer()).await.unwrap());
    assert_eq!(claimed(keys, "b", claim(4)).await, Claimed::Fresh);
}

pub async fn an_answer_is_kept_once(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;
    assert!(keys.answer(&key("a"), operation(1), &answer()).await.unwrap());

    let other = Answer { status: 202, ..answer() };
    assert!(!keys.answer(&key("a"), operation(1), &other).await.unwrap());

    assert_eq!(claimed(keys, "a", claim(2)).await, Claimed::Answered(operation(1), answer()));
}

pub async fn who_lets_its_lease_end_may_still_answer_until_another_resumes(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", lapsing(claim(1))).await;

    assert!(keys.answer(&key("a"), operation(1), &answer()).await.unwrap());

    assert_eq!(claimed(keys, "a", claim(2)).await, Claimed::Answered(operation(1), answer()));
}

pub async fn a_released_key_is_fresh_for_any_request(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;
    keys.release(&key("a"), operation(1)).await.unwrap();
    assert_eq!(claimed(keys, "a", of_another(claim(2))).await, Claimed::Fresh);

    keys.release(&key("a"), operation(2)).await.unwrap();
    keys.release(&key("a"), operation(2)).await.unwrap();
    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::Fresh);
}

pub async fn a_resumed_key_is_not_released(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", lapsing(claim(1))).await;
    claimed(keys, "a", claim(2)).await;

    keys.release(&key("a"), operation(2)).await.unwrap();

    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::InFlight);
}

pub async fn a_suspended_key_is_resumed_at_once(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;
    for n in 2..5 {
        keys.suspend(&key("a"), operation(n - 1)).await.unwrap();
        assert_eq!(claimed(keys, "a", claim(n)).await, Claimed::Resumed(operation(1)));
    }
}

pub async fn an_answered_key_is_neither_released_nor_suspended(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", claim(1)).await;
    keys.answer(&key("a"), operation(1), &answer()).await.unwrap();

    keys.release(&key("a"), operation(1)).await.unwrap();
    keys.suspend(&key("a"), operation(1)).await.unwrap();

    assert!(!keys.renew(&key("a"), operation(1), LONG).await.unwrap());
    assert_eq!(claimed(keys, "a", claim(2)).await, Claimed::Answered(operation(1), answer()));
}

pub async fn a_key_that_was_kept_long_enough_is_fresh_for_any_request(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", expiring(claim(1))).await;
    assert_eq!(claimed(keys, "a", of_another(expiring(claim(2)))).await, Claimed::Fresh);

    keys.answer(&key("a"), operation(2), &answer()).await.unwrap();

    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::Fresh);
    assert_eq!(claimed(keys, "a", claim(4)).await, Claimed::InFlight);
    assert!(keys.answer(&key("a"), operation(3), &answer()).await.unwrap());
    assert_eq!(claimed(keys, "a", claim(5)).await, Claimed::Answered(operation(3), answer()));
}

pub async fn of_thirty_two_racing_claims_of_an_expired_key_one_is_fresh(keys: &dyn IdempotencyKeys) {
    for round in ["a", "b", "c"] {
        claimed(keys, round, expiring(claim(100))).await;

        let racers = join_all((0..32).map(|n| claimed(keys, round, claim(n)))).await;

        let fresh = racers.iter().filter(|found| **found == Claimed::Fresh).count();
        let in_flight = racers.iter().filter(|found| **found == Claimed::InFlight).count();
        assert_eq!((fresh, in_flight), (1, 31), "{racers:?}");
    }
}

pub async fn who_holds_an_expired_key_that_another_took_does_not_answer(keys: &dyn IdempotencyKeys) {
    claimed(keys, "a", expiring(claim(1))).await;
    claimed(keys, "a", claim(2)).await;

    assert!(!keys.answer(&key("a"), operation(1), &answer()).await.unwrap());
    keys.release(&key("a"), operation(1)).await.unwrap();

    assert_eq!(claimed(keys, "a", claim(3)).await, Claimed::InFlight);
}

pub async fn a_call_given_up_leaves_all_or_nothing_and_blocks_nobody(keys: &dyn IdempotencyKeys) {
    for polls in 0..20 {
        let text = polls.to_string();
        let (key, claim) = (key(&text), claim(1));
        give_up_after(polls, keys.claim(&key, &claim)).await;
        let given = answer();
        give_up_after(polls, keys.answer(&key, operation(1), &given)).await;

        match claimed(keys, &text, self::claim(2)).await {
            Claimed::Fresh => assert!(keys.answer(&key, operation(2), &given).await.unwrap()),
            Claimed::InFlight => {
                keys.suspend(&key, operation(1)).await.unwrap();
                let found = claimed(keys, &text, self::claim(3)).await;
                assert!(matches!(found, Claimed::Resumed(_) | Claimed::Answered(..)), "{found:?}");
            }
            found @ (Claimed::Resumed(_) | Claimed::Answered(..) | Claimed::Reused) => {
                assert_eq!(found, Claimed::Answered(operation(1), given));
            }
        }
    }
}
