//! Which positions step down, and how far, when all of them at their best cost more than there is.
//!
//! Stepping down by a share frees its price and adds to the deviation: undoing a round-up adds less
//! than the price, every further share exactly the price. So a row offers at most three runs of
//! equal steps, each worse than the one before, and equal runs of different rows are one class.
//! Wanted is the least harmful choice that frees at least the overspend: a covering knapsack, small
//! because few shares must go.
//!
//! Branch and bound over the classes in order of harm per unit freed, bounded by the linear
//! relaxation: once for the least harm, once more for the preferred one among equals. Where that
//! runs out of nodes, a table over the amount still to free, if it is small enough.

use std::cmp::{Ordering, Reverse};
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
/// Among equals: the fewest units traded, then the most freed, then the fewest steps of earlier rows.
/// The rows' lowest quantities must free enough.
pub(super) fn cover(rows: &[Row], best: &[i64], overspend: i128, limits: Limits) -> Cover {
    let runs: Vec<Run> =
        rows.iter().zip(best).enumerate().flat_map(|(idx, (row, &best))| runs(idx, row, best)).collect();
    let unit = runs.iter().fold(0, |unit, run| gcd(run.size, unit));
    let need = (overspend + unit - 1) / unit * unit;

    let classes = Classes::new(&runs, rows.len(), Run::by_harm);
    let mut search = Search::new(&classes, Goal::LeastHarm, classes.greedy(need), limits.nodes);
    search.descend(0, need, Sum::ZERO);
    let (least_harm, is_least) = (search.found, 0 < search.nodes_left);

    if is_least {
        let classes = Classes::new(&runs, rows.len(), Run::by_harm_then_trades);
        let goal = Goal::Preferred { harm: least_harm.sum.harm };
        let mut search = Search::new(&classes, goal, least_harm.clone(), limits.tie_nodes);
        search.descend(0, need, Sum::ZERO);
        if 0 < search.nodes_left {
            let Choice { sum, steps } = search.found;
            return Cover { steps, lower_bound: sum.harm, method: Method::Search };
        }
    }
    if let Some(Choice { sum, steps }) = table(&runs, rows.len(), need, unit, limits.table_cells) {
        return Cover { steps, lower_bound: sum.harm, method: Method::Table };
    }
    let relaxed = classes.relaxation(0, need).map_or(0, |relaxed| relaxed.harm);
    let lower_bound = if is_least { least_harm.sum.harm } else { relaxed };
    Cover { steps: least_harm.steps, lower_bound, method: Method::Search }
}

/// Equal steps down of one row, to be taken after the row's earlier runs.
#[derive(Debug, Clone, Copy)]
struct Run {
    row: usize,
    /// What a step frees: the price.
    size: i128,
    /// What a step adds to the deviation; at most the price.
    harm: i128,
    /// What a step adds to the units traded: one, or minus one while it buys less.
    trades: i128,
    count: i128,
}

fn runs(idx: usize, row: &Row, best: i64) -> Vec<Run> {
    let deviation = |shares: i64| (row.target - i128::from(shares) * row.price).abs();
    let run = |from: i64, to: i64| {
        (to < from).then(|| Run {
            row: idx,
            size: row.price,
            harm: deviation(from - 1) - deviation(from),
            trades: if row.held < from { -1 } else { 1 },
            count: i128::from(from - to),
        })
    };
    let below_target = if best > row.lowest { best - 1 } else { best };
    let down_to_held = row.held.clamp(row.lowest, below_target);
    [run(best, below_target), run(below_target, down_to_held), run(down_to_held, row.lowest)]
        .into_iter()
        .flatten()
        .collect()
}

impl Run {
    /// Least harm per unit freed first, then the largest steps, with which a search comes close soonest.
    fn by_harm(&self, other: &Self) -> Ordering {
        compare_products((self.harm, other.size), (other.harm, self.size)).then(other.size.cmp(&self.size))
    }

    /// Least harm per unit freed first, then the fewest trades per unit freed.
    fn by_harm_then_trades(&self, other: &Self) -> Ordering {
        compare_products((self.harm, other.size), (other.harm, self.size))
            .then_with(|| compare_products((self.trades, other.size), (other.trades, self.size)))
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

/// Runs of equal size, harm and trades, whatever their rows.
struct Class {
    run: Run,
    count: i128,
    /// Rows and their steps, in the order of the rows.
    members: Vec<(usize, i128)>,
}

struct Classes {
    n_rows: usize,
    classes: Vec<Class>,
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
    fn new(runs: &[Run], n_rows: usize, order: fn(&Run, &Run) -> Ordering) -> Self {
        let mut alike: BTreeMap<(i128, i128, i128), Class> = BTreeMap::new();
        for run in runs {
            let class = alike.entry((run.size, run.harm, run.trades)).or_insert_with(|| Class {
                run: *run,
                count: 0,
                members: Vec::new(),
            });
            class.count += run.count;
            class.members.push((run.row, run.count));
        }
        let mut classes: Vec<Class> = alike.into_values().collect();
        classes.sort_by(|a, b| order(&a.run, &b.run));

        let mut before = vec![Sum::ZERO];
        for class in &classes {
            before.push(before[before.len() - 1].plus(&class.run, class.count));
        }
        Self { n_rows, classes, before }
    }

    /// Bounds every choice that frees `need` with the classes from `from` on; `None` if they cannot.
    fn relaxation(&self, from: usize, need: i128) -> Option<Relaxed> {
        let start = self.before[from];
        let last = from + self.before[from + 1..].partition_point(|sum| sum.freed - start.freed < need);
        let run = &self.classes.get(last)?.run;
        let whole = self.before[last];
        let rest = need - (whole.freed - start.freed);
        let (harm, is_whole) = divide_up(rest, run.harm, run.size);
        let (trades, _) = divide_up(rest, run.trades, run.size);
        Some(Relaxed {
            harm: whole.harm - start.harm + harm,
            trades: is_whole.then_some(whole.trades - start.trades + trades),
        })
    }

    /// A choice that frees `need`: classes in order, as many steps of each as it takes.
    fn greedy(&self, need: i128) -> Choice {
        let mut taken = vec![0; self.classes.len()];
        let mut sum = Sum::ZERO;
        for (taken, class) in taken.iter_mut().zip(&self.classes) {
            *taken = class.at_most(need - sum.freed);
            sum = sum.plus(&class.run, *taken);
        }
        Choice { sum, steps: self.steps(&taken) }
    }

    /// Steps by row; within a class the later rows step down first.
    fn steps(&self, taken: &[i128]) -> Vec<i128> {
        let mut steps = vec![0; self.n_rows];
        for (class, &taken) in self.classes.iter().zip(taken) {
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

#[derive(Clone, Copy)]
enum Goal {
    LeastHarm,
    /// The preferred choice among those of this, the least, harm.
    Preferred {
        harm: i128,
    },
}

struct Search<'a> {
    classes: &'a Classes,
    goal: Goal,
    found: Choice,
    /// Steps of each class on the way to the current node.
    taken: Vec<i128>,
    /// At zero the search has given up, and `found` is merely the best so far.
    nodes_left: u64,
}

impl<'a> Search<'a> {
    fn new(classes: &'a Classes, goal: Goal, found: Choice, nodes: u64) -> Self {
        Self { classes, goal, found, taken: vec![0; classes.classes.len()], nodes_left: nodes.max(1) }
    }

    /// Tries every class from `from` on as the next one to step down in.
    fn descend(&mut self, from: usize, need: i128, so_far: Sum) {
        if need <= 0 {
            self.keep(so_far);
            return;
        }
        for idx in from..self.classes.classes.len() {
            // Classes only get worse, so neither would a later one be promising.
            if !self.is_promising(idx, need, so_far) {
                return;
            }
            self.try_class(idx, need, so_far);
            if self.nodes_left == 0 {
                return;
            }
        }
    }

    fn try_class(&mut self, idx: usize, need: i128, so_far: Sum) {
        let class = &self.classes.classes[idx];
        let most = class.at_most(need);
        for count in (1..=most).rev() {
            self.nodes_left -= 1;
            if self.nodes_left == 0 {
                break;
            }
            let so_far = so_far.plus(&class.run, count);
            let need = need - class.run.size * count;
            if need <= 0 || self.is_promising(idx + 1, need, so_far) {
                self.taken[idx] = count;
                self.descend(idx + 1, need, so_far);
                if self.nodes_left == 0 {
                    break;
                }
            } else {
                // Fewer steps here mean more of worse ones.
                break;
            }
        }
        self.taken[idx] = 0;
    }

    fn is_promising(&self, from: usize, need: i128, so_far: Sum) -> bool {
        let Some(relaxed) = self.classes.relaxation(from, need) else {
            return false;
        };
        let harm = so_far.harm + relaxed.harm;
        match self.goal {
            Goal::LeastHarm => harm < self.found.sum.harm,
            Goal::Preferred { harm: least } => match relaxed.trades {
                Some(trades) if harm == least => so_far.trades + trades <= self.found.sum.trades,
                Some(_) | None => harm <= least,
            },
        }
    }

    fn keep(&mut self, sum: Sum) {
        let found = &self.found;
        let rank = |sum: Sum| (sum.harm, sum.trades, Reverse(sum.freed));
        let better = match self.goal {
            Goal::LeastHarm => sum.harm < found.sum.harm,
            Goal::Preferred { .. } => match rank(sum).cmp(&rank(found.sum)) {
                Ordering::Less => true,
                Ordering::Equal => self.classes.steps(&self.taken) < found.steps,
                Ordering::Greater => false,
            },
        };
        if better {
            self.found = Choice { sum, steps: self.classes.steps(&self.taken) };
        }
    }
}

/// The preferred choice by a table over the amount still to free; `None` if it has too many cells.
///
/// Rows are entered last to first, so that reading the table first to last can give every row the
/// fewest steps that still lead to an optimum.
fn table(runs: &[Run], n_rows: usize, need: i128, unit: i128, cells: u64) -> Option<Choice> {
    const MOST_AMOUNTS: usize = 250_000;

    let amounts = usize::try_from(need / unit).ok().filter(|amounts| *amounts < MOST_AMOUNTS)?;
    let rows: Vec<&[Run]> = runs.chunk_by(|a, b| a.row == b.row).collect();
    let most_steps = |runs: &[Run]| {
        let available = runs.iter().map(|run| run.count).sum::<i128>();
        usize::try_from(available.min((need + runs[0].size - 1) / runs[0].size)).ok()
    };
    let visits = rows.iter().try_fold(0, |visits: u64, runs| {
        let steps = u64::try_from(most_steps(runs)?).ok()?;
        (steps + 1).checked_mul(amounts as u64 + 1)?.checked_add(visits)
    })?;
    if cells < visits {
        return None;
    }

    let mut cheapest: Vec<Option<Sum>> = vec![None; amounts + 1];
    cheapest[0] = Some(Sum::ZERO);
    let mut decisions: Vec<Vec<u32>> = Vec::with_capacity(rows.len());
    for runs in rows.iter().rev() {
        let ladder = ladder(runs, most_steps(runs)?);
        let width = usize::try_from(runs[0].size / unit).ok()?;
        let (next, decision) = enter_row(&cheapest, &ladder, width);
        cheapest = next;
        decisions.push(decision);
    }

    let sum = cheapest[amounts]?;
    let mut steps = vec![0; n_rows];
    let mut left = amounts;
    for (runs, decision) in rows.iter().zip(decisions.iter().rev()) {
        let count = decision[left];
        steps[runs[0].row] = i128::from(count);
        left = left.saturating_sub(usize::try_from(runs[0].size / unit).ok()? * count as usize);
    }
    Some(Choice { sum, steps })
}

/// What 0, 1, 2 … steps of a row free and cost.
fn ladder(runs: &[Run], most: usize) -> Vec<Sum> {
    let mut ladder = vec![Sum::ZERO];
    for run in runs {
        for _ in 0..run.count {
            if most < ladder.len() {
                return ladder;
            }
            ladder.push(ladder[ladder.len() - 1].plus(run, 1));
        }
    }
    ladder
}

/// One row more: the best sum for each amount to free, and the fewest steps of the row that reach it.
fn enter_row(cheapest: &[Option<Sum>], ladder: &[Sum], width: usize) -> (Vec<Option<Sum>>, Vec<u32>) {
    let rank = |sum: &Sum| (sum.harm, sum.trades, Reverse(sum.freed));
    let best = |amount: usize| {
        let mut best: Option<(Sum, u32)> = None;
        for (count, taken) in (0_u32..).zip(ladder) {
            let left = amount.saturating_sub(width.saturating_mul(count as usize));
            let Some(rest) = cheapest[left] else { continue };
            let sum = Sum {
                freed: taken.freed + rest.freed,
                harm: taken.harm + rest.harm,
                trades: taken.trades + rest.trades,
            };
            if best.is_none_or(|(found, _)| rank(&sum) < rank(&found)) {
                best = Some((sum, count));
            }
        }
        best
    };
    (0..cheapest.len())
        .map(|amount| best(amount).map_or((None, 0), |(sum, count)| (Some(sum), count)))
        .unzip()
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
    (quotient.expect("harm is at most the amount freed"), product % denominator == I256::ZERO)
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
