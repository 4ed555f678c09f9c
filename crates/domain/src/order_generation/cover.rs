//! Which positions step down, and how far, when all of them at their best cost more than there is.
//!
//! Stepping down by a lot frees its price and adds to the deviation: undoing a round-up adds less
//! than the price, every further lot exactly the price. Buying less saves the cost of trading, selling
//! more adds it. So a row offers at most three runs of equal steps, each worse than the one before, and
//! equal runs of different rows are one class.
//! Wanted is the least harmful choice that frees at least the overspend: a covering knapsack, small
//! because few shares must go.
//!
//! Three ways to the least harm, each for what the one before cannot finish: branch and bound
//! (`search`), pairs of part-choices (`halves`), a table over the amount still to free (`table`).
//! Once the least harm is proven, a second search looks for the preferred choice among equals.

mod halves;
mod search;
mod table;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ethnum::I256;

use super::optimum::{Limits, Method};
use super::problem::Row;

/// How far each row steps down from its best.
pub(super) struct Cover {
    pub(super) steps: Vec<i128>,
    /// No choice of steps that frees enough adds less to the deviation.
    pub(super) lower_bound: i128,
    pub(super) method: Method,
}

/// The least harmful steps down from `best` that free at least `overspend`, which must be above zero.
///
/// Among equals: the fewest units traded, then the most freed, then the fewest steps of earlier rows,
/// as far as the limits allow to tell. Once the search has given up, a choice within `tolerance` of the
/// least harm will do. The rows' lowest quantities must free enough.
pub(super) fn cover(rows: &[Row], best: &[i64], overspend: i128, tolerance: i128, limits: Limits) -> Cover {
    let runs: Vec<Run> =
        rows.iter().zip(best).enumerate().flat_map(|(idx, (row, &best))| runs(idx, row, best)).collect();
    let unit = runs.iter().fold(0, |unit, run| gcd(run.size, unit));
    let need = (overspend + unit - 1) / unit * unit;

    let classes = Classes::by_harm(&runs, rows.len());
    let mut found = search::least_harm(&classes, need, limits.nodes);
    if !found.is_proven() {
        found = halves::improve(&classes, need, found, tolerance, limits.parts);
    }
    if tolerance < found.sum.harm - found.lower_bound
        && let Some(choice) = table::preferred(&runs, rows.len(), need, unit, limits.table_cells)
    {
        return Cover { lower_bound: choice.sum.harm, steps: choice.steps, method: Method::Table };
    }
    let mut choice = Choice::of(classes.steps(&found.taken), &runs);
    if found.is_proven() {
        let classes = Classes::by_harm_then_trades(&runs, rows.len());
        choice = search::preferred(&classes, need, choice, limits.tie_nodes);
    }
    Cover { steps: choice.steps, lower_bound: found.lower_bound, method: Method::Search }
}

/// Equal steps down of one row, to be taken after the row's earlier runs.
#[derive(Debug, Clone, Copy)]
struct Run {
    row: usize,
    /// What a step frees: the price, and the cost saved or less the cost added.
    size: i128,
    /// What a step adds to deviation and cost; never below zero.
    harm: i128,
    /// What a step adds to the units traded: a lot, or minus a lot while it buys less.
    trades: i128,
    count: i128,
}

fn runs(idx: usize, row: &Row, best: i64) -> impl Iterator<Item = Run> {
    let objective = |lots: i64| row.deviation(lots) + row.trading_cost(lots);
    let run = |from: i64, to: i64| {
        (to < from).then(|| Run {
            row: idx,
            size: row.spent(from) - row.spent(from - 1),
            harm: objective(from - 1) - objective(from),
            trades: if row.held < from { -i128::from(row.lot) } else { row.lot.into() },
            count: i128::from(from - to),
        })
    };
    let below_target = if best > row.lowest { best - 1 } else { best };
    let down_to_held = row.held.clamp(row.lowest, below_target);
    [run(best, below_target), run(below_target, down_to_held), run(down_to_held, row.lowest)]
        .into_iter()
        .flatten()
}

impl Run {
    /// Least harm per unit freed first.
    fn compare_harm(&self, other: &Self) -> Ordering {
        compare_products((self.harm, other.size), (other.harm, self.size))
    }

    /// Fewest trades per unit freed first.
    fn compare_trades(&self, other: &Self) -> Ordering {
        compare_products((self.trades, other.size), (other.trades, self.size))
    }
}

/// What a choice of steps frees and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    freed: i128,
    harm: i128,
    trades: i128,
}

impl Sum {
    const ZERO: Self = Self { freed: 0, harm: 0, trades: 0 };

    fn plus(self, run: &Run, count: i128) -> Self {
        Self {
            freed: self.freed + run.size * count,
            harm: self.harm + run.harm * count,
            trades: self.trades + run.trades * count,
        }
    }
}

#[derive(Debug, Clone)]
struct Choice {
    sum: Sum,
    /// By row.
    steps: Vec<i128>,
}

impl Choice {
    /// Takes each row's runs in turn.
    fn of(steps: Vec<i128>, runs: &[Run]) -> Self {
        let mut left = steps.clone();
        let sum = runs.iter().fold(Sum::ZERO, |sum, run| {
            let count = run.count.min(left[run.row]);
            left[run.row] -= count;
            sum.plus(run, count)
        });
        Self { sum, steps }
    }
}

/// The least harmful choice so far, and what is known of the least harm.
struct Found {
    sum: Sum,
    /// Steps of each class.
    taken: Vec<i128>,
    lower_bound: i128,
}

impl Found {
    const fn is_proven(&self) -> bool {
        self.lower_bound == self.sum.harm
    }
}

/// Equal runs, whatever their rows.
struct Class {
    run: Run,
    count: i128,
    /// Rows and their steps, in the order of the rows.
    members: Vec<(usize, i128)>,
}

struct Classes {
    n_rows: usize,
    /// The best first.
    ranked: Vec<Class>,
    /// Everything the classes before an index can free.
    before: Vec<Sum>,
}

/// The least that freeing an amount adds, were shares divisible.
struct Relaxed {
    harm: i128,
    /// Units traded; only known when the least harm is a whole number of units.
    trades: Option<i128>,
}

impl Classes {
    /// Least harm per unit freed first, then the largest steps, with which a search comes close
    /// soonest. Leaves the units traded out of account.
    fn by_harm(runs: &[Run], n_rows: usize) -> Self {
        let untraded = runs.iter().map(|run| Run { trades: 0, ..*run });
        Self::new(untraded, n_rows, |a, b| a.compare_harm(b).then(b.size.cmp(&a.size)))
    }

    /// Least harm per unit freed first, then the fewest trades per unit freed.
    fn by_harm_then_trades(runs: &[Run], n_rows: usize) -> Self {
        Self::new(runs.iter().copied(), n_rows, |a, b| a.compare_harm(b).then_with(|| a.compare_trades(b)))
    }

    fn new(runs: impl Iterator<Item = Run>, n_rows: usize, order: impl Fn(&Run, &Run) -> Ordering) -> Self {
        let mut alike: BTreeMap<(i128, i128, i128), Class> = BTreeMap::new();
        for run in runs {
            let class = alike.entry((run.size, run.harm, run.trades)).or_insert_with(|| Class {
                run,
                count: 0,
                members: Vec::new(),
            });
            class.count += run.count;
            class.members.push((run.row, run.count));
        }
        let mut ranked: Vec<Class> = alike.into_values().collect();
        ranked.sort_by(|a, b| order(&a.run, &b.run));

        let mut before = vec![Sum::ZERO];
        for class in &ranked {
            before.push(before[before.len() - 1].plus(&class.run, class.count));
        }
        Self { n_rows, ranked, before }
    }

    /// The class that is not wholly needed to free `need` with the classes from `from` on.
    fn split(&self, from: usize, need: i128) -> usize {
        let freed = |sum: &Sum| sum.freed - self.before[from].freed;
        from + self.before[from + 1..].partition_point(|sum| freed(sum) < need)
    }

    /// Bounds every choice that frees `need` with the classes from `from` on; `None` if they cannot.
    fn relaxation(&self, from: usize, need: i128) -> Option<Relaxed> {
        let split = self.split(from, need);
        let run = &self.ranked.get(split)?.run;
        let (start, whole) = (self.before[from], self.before[split]);
        let rest = need - (whole.freed - start.freed);
        let (harm, is_whole) = divide_up(rest, run.harm, run.size);
        let (trades, _) = divide_up(rest, run.trades, run.size);
        Some(Relaxed {
            harm: whole.harm - start.harm + harm,
            trades: is_whole.then_some(whole.trades - start.trades + trades),
        })
    }

    /// No steps of any class.
    fn none(&self) -> Vec<i128> {
        vec![0; self.ranked.len()]
    }

    /// Steps of each class that free `need`: in order, as many as it takes.
    fn greedy(&self, need: i128) -> Vec<i128> {
        let mut left = need;
        let take = |class: &Class| {
            let count = class.at_most(left);
            left -= class.run.size * count;
            count
        };
        self.ranked.iter().map(take).collect()
    }

    fn sum(&self, taken: &[i128]) -> Sum {
        let plus = |sum: Sum, (class, &taken): (&Class, &i128)| sum.plus(&class.run, taken);
        self.ranked.iter().zip(taken).fold(Sum::ZERO, plus)
    }

    /// Steps by row; within a class the later rows step down first.
    fn steps(&self, taken: &[i128]) -> Vec<i128> {
        let mut steps = vec![0; self.n_rows];
        for (class, &taken) in self.ranked.iter().zip(taken) {
            let mut left = taken;
            for &(row, count) in class.members.iter().rev() {
                let count = count.min(left);
                steps[row] += count;
                left -= count;
            }
        }
        steps
    }
}

impl Class {
    /// The most steps worth taking to free `need`.
    fn at_most(&self, need: i128) -> i128 {
        let enough = (need.max(0) + self.run.size - 1) / self.run.size;
        enough.min(self.count)
    }
}

fn compare_products(a: (i128, i128), b: (i128, i128)) -> Ordering {
    match (a.0.checked_mul(a.1), b.0.checked_mul(b.1)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => (I256::from(a.0) * I256::from(a.1)).cmp(&(I256::from(b.0) * I256::from(b.1))),
    }
}

/// `amount · numerator / denominator`, rounded up, and whether it was whole before.
fn divide_up(amount: i128, numerator: i128, denominator: i128) -> (i128, bool) {
    if let Some(product) = amount.checked_mul(numerator) {
        return (-(-product).div_euclid(denominator), product % denominator == 0);
    }
    let product = I256::from(amount) * I256::from(numerator);
    let denominator = I256::from(denominator);
    let quotient = i128::try_from(-(-product).div_euclid(denominator));
    (
        quotient.expect("harm is little more than the amount freed at most"),
        product % denominator == I256::ZERO,
    )
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
