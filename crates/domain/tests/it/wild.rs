//! Amounts and rules that make no sense.

use port_contracts::optimizer::portfolio::Dice;
use port_contracts::optimizer::wild::{Fate, rebalance};

#[test]
fn no_amounts_and_no_rules_whatever_make_it_panic() {
    let fates: Vec<Fate> = (0..60_000).map(|seed| rebalance(Dice::new(seed))).collect();

    for fate in [Fate::Answered, Fate::NeedsBranching, Fate::OutOfRange, Fate::Refused] {
        let count = fates.iter().filter(|it| **it == fate).count();
        assert!(300 < count, "{fate:?}: {count}");
    }
}

#[test]
fn whoever_chooses_the_bytes_chooses_the_portfolio() {
    let mut dice = Dice::new(0);
    let mut fates = std::collections::HashSet::new();
    for length in (0..400).cycle().take(20_000) {
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        fates.insert(format!("{:?}", rebalance(Dice::loaded(bytes))));
    }
    assert!(3 <= fates.len(), "{fates:?}");
}
