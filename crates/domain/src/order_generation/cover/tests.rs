//! Against a table of the best way to free each amount, for more rows than could be enumerated.

use std::cmp::Reverse;
use std::iter;

use super::super::optimum::nearest;
use super::*;

const SEEDS: u64 = 3_000;
const TIE_NODES: usize = 1_000_000;

/// Rows at their best, and an overspend that their lowest quantities free.
#[derive(Debug)]
struct Case {
    rows: Vec<Row>,
    best: Vec<i64>,
    overspend: i128,
}

#[derive(Debug, PartialEq, Eq)]
struct Solved {
    quantities: Vec<i64>,
    lower_bound: i128,
}

#[test]
fn with_much_room_the_choice_is_the_preferred_one() {
    for (seed, case) in cases() {
        let preferred = case.preferred();
        let limits = Limits { parts: 65_536, tie_nodes: TIE_NODES };
        assert_eq!(case.solved::<i64>(limits), preferred, "seed {seed}: {case:?}");
        assert_eq!(case.solved::<i128>(limits), preferred, "seed {seed}: {case:?}");
    }
}

#[test]
fn with_little_room_nothing_false_is_claimed() {
    let (mut proven, mut open) = (0, 0);
    for (seed, case) in cases() {
        let preferred = case.preferred();
        for parts in [0, FIRST_WORK] {
            let solved = case.solved::<i64>(Limits { parts, tie_nodes: TIE_NODES });
            let is_proven = solved.lower_bound == case.harm(&solved.quantities);
            assert!(case.overspend <= case.freed(&solved.quantities), "seed {seed}: {case:?} {solved:?}");
            assert!(solved.lower_bound <= preferred.lower_bound, "seed {seed}: {case:?} {solved:?}");
            assert!(!is_proven || solved == preferred, "seed {seed}: {case:?} {solved:?}");
            if is_proven { proven += 1 } else { open += 1 }
        }
    }
    assert!(SEEDS / 4 < proven && SEEDS / 4 < open, "{proven} {open}");
}

#[test]
fn halves_alone_find_the_least_harm_where_all_parts_are_listed_and_no_less_where_some_are() {
    let (mut all, mut some) = (0, 0);
    for (seed, case) in cases() {
        let least = case.preferred().lower_bound;
        for n_parts in [1, 4, 16, 64, 256] {
            let mut knapsack = case.stated::<i64>();
            let lower_bound = knapsack.all.lower_bound();
            knapsack.core.start(&knapsack.all, knapsack.runs.len());
            if knapsack.core.reduce(&knapsack.runs, knapsack.found.harm - 1).is_none() {
                continue;
            }
            let most_harm = knapsack.found.harm - 1 - knapsack.core.harm;
            knapsack.halves.open(&knapsack.core.covering, most_harm);
            let are_all = knapsack.halves.list_all(n_parts);
            if !are_all {
                knapsack.halves.list_some(knapsack.core.covering.need, n_parts);
            }
            knapsack.pair(lower_bound);

            let mut quantities = case.best.clone();
            let steps = knapsack.runs.iter().zip(&knapsack.found.steps);
            steps.for_each(|(run, steps)| quantities[run.row] -= steps);
            let harm = i128::from(knapsack.found.harm);
            assert!(case.overspend <= case.freed(&quantities), "seed {seed}: {case:?} {quantities:?}");
            assert!(case.harm(&quantities) <= harm, "seed {seed}: {case:?} {quantities:?}");
            assert!(if are_all { least == harm } else { least <= harm }, "seed {seed}: {case:?} {harm}");
            if are_all { all += 1 } else { some += 1 }
        }
    }
    assert!(SEEDS / 2 < all && SEEDS / 2 < some, "{all} {some}");
}

fn cases() -> impl Iterator<Item = (u64, Case)> {
    (0..SEEDS).filter_map(|seed| Some((seed, Case::new(&mut Dice(seed))?)))
}

impl Case {
    fn new(dice: &mut Dice) -> Option<Self> {
        let (tick, kind, most_rows) = (1 + dice.roll(5), dice.roll(5), 2 + 20 * dice.roll(2));
        let n_rows = 2 + dice.roll(most_rows);
        let rows: Vec<Row> = (0..n_rows).map(|_| row(dice, tick, kind)).collect();
        let best: Vec<i64> = rows.iter().map(nearest).collect();
        let lowest: Vec<i64> = rows.iter().map(|row| row.lowest).collect();
        let case = Self { rows, best, overspend: 0 };
        let about = if dice.roll(2) == 0 { 1_000 } else { 150 };
        let most = case.freed(&lowest);
        (0 < most).then(|| Self { overspend: 1 + dice.roll(most.min(about)), ..case })
    }

    fn freed(&self, quantities: &[i64]) -> i128 {
        let spent =
            |lots: &[i64]| iter::zip(&self.rows, lots).map(|(row, &lots)| row.spent(lots)).sum::<i128>();
        spent(&self.best) - spent(quantities)
    }

    fn harm(&self, quantities: &[i64]) -> i128 {
        let sum =
            |lots: &[i64]| iter::zip(&self.rows, lots).map(|(row, &lots)| objective(row, lots)).sum::<i128>();
        sum(quantities) - sum(&self.best)
    }

    fn stated<N: Number>(&self) -> Knapsack<N> {
        let mut knapsack = Knapsack::default();
        knapsack.state(&self.rows, &self.best, self.overspend).unwrap();
        knapsack
    }

    fn solved<N: Number>(&self, limits: Limits) -> Solved {
        let mut quantities = self.best.clone();
        let lower_bound = self.stated::<N>().solve(&mut quantities, 0, limits);
        Solved { quantities, lower_bound }
    }

    fn preferred(&self) -> Solved {
        let amounts = usize::try_from(self.overspend).unwrap();
        // For each amount what the rows so far, the last ones, come to at best, and their quantities.
        let mut table = vec![None; amounts + 1];
        table[0] = Some(((0, 0, Reverse(0)), Vec::new()));
        for (row, &best) in iter::zip(&self.rows, &self.best).rev() {
            let traded = |lots: i64| i128::from((lots - row.held).abs() * row.lot);
            let with_row = |amount: usize| {
                let with_lots = |lots: i64| {
                    let freed = row.spent(best) - row.spent(lots);
                    let rest = amount.saturating_sub(usize::try_from(freed).unwrap());
                    let ((harm, units, Reverse(freed_later)), later) = table[rest].as_ref()?;
                    let rank = (
                        harm + objective(row, lots) - objective(row, best),
                        units + traded(lots) - traded(best),
                        Reverse(freed + freed_later),
                    );
                    Some((rank, Reverse(lots), later))
                };
                let (rank, Reverse(lots), later) = (row.lowest..=best).filter_map(with_lots).min()?;
                Some((rank, iter::once(lots).chain(later.iter().copied()).collect()))
            };
            table = (0..=amounts).map(with_row).collect();
        }
        let ((lower_bound, ..), quantities) = table[amounts].clone().unwrap();
        Solved { quantities, lower_bound }
    }
}

fn objective(row: &Row, lots: i64) -> i128 {
    row.deviation(lots) + row.trading_cost(lots)
}

/// Of any kind, or all rounded up by about as much, or half of them forced up, or with costs, or with many
/// ties.
fn row(dice: &mut Dice, tick: i128, kind: i128) -> Row {
    let price = tick * (4 + dice.roll(60));
    let below = dice.roll(6);
    let (price, rest) = match kind {
        1 => (price, price * 3 / 4 + dice.roll(2)),
        4 => (price / 16 * 16 + 16, (price / 16 + 1) * dice.roll(16)),
        _ => (price, dice.roll(price)),
    };
    let is_forced = kind == 2 && dice.roll(2) == 0;
    let lowest = if is_forced { below + 1 } else { (below - dice.roll(5)).max(0) };
    let highest = lowest.max(below + dice.roll(3));
    let cost = if kind == 3 { dice.roll(price / 3) } else { 0 };
    let lots = |number: i128| i64::try_from(number).unwrap();
    Row {
        price,
        target: price * below + rest,
        held: lots(dice.roll(8)),
        residue: 0,
        lowest: lots(lowest),
        highest: lots(highest),
        lot: lots(1 + dice.roll(2)),
        cost,
        fewest: 1,
    }
}

struct Dice(u64);

impl Dice {
    /// From zero to one less than `sides`.
    fn roll(&mut self, sides: i128) -> i128 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i128::from(bits ^ (bits >> 31)) % sides
    }
}
