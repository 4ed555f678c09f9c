//! Which positions step down, and how far, when all of them at their best cost more than there is.
//!
//! Stepping down by a lot frees its price and adds to the deviation: undoing a round-up adds less
//! than the price, every further lot exactly the price. Buying less saves the cost of trading, selling
//! more adds it. So a row offers at most three runs of equal steps, each worse than the one before: it
//! frees no more and harms no less. Equal runs of different rows are one class.
//!
//! Wanted is the least harmful choice that frees at least the overspend: a covering knapsack, small
//! because few shares must go. Were shares divisible, the least harmful for what they free would go, and
//! one class in part. No choice does less harm than that relaxation, and every step taken otherwise adds
//! some. So the better the best choice so far, the fewer the classes that are open still: the core.
//!
//! Rounds of ever more work look for a better choice in the core, until there is none. In each, branch and
//! bound (`search`) has its way where few steps are to be taken, or few choices are as good as the
//! relaxation; pairs of part-choices (`halves`) where many are. Once the least harm is proven, a search looks
//! for the preferred choice among equals (`ties`).

mod covering;
mod halves;
mod number;
mod runs;
mod search;
#[cfg(test)]
mod tests;
mod ties;

use self::covering::{Class, Covering, Sum};
use self::halves::Halves;
use self::number::Number;
use self::runs::Run;
use self::search::{Goal, search};
use self::ties::Ties;
use super::optimum::Limits;
use super::problem::Row;

/// Nodes and parts of the first round.
const FIRST_WORK: usize = 256;
/// Each next round does so many times as much.
const GROWTH: usize = 4;

/// Finds the steps down; keeps its room from one problem to the next.
#[derive(Debug, Default)]
pub(super) struct Cover {
    narrow: Knapsack<i64>,
    wide: Knapsack<i128>,
}

impl Cover {
    /// Takes the least harmful steps down from the best `quantities` that free at least `overspend`, which
    /// must be above zero. No such steps add less to deviation and cost than what is told.
    ///
    /// Among equals: the fewest units traded, then the most freed, then the fewest steps of earlier rows,
    /// as far as the limits allow to tell. Where the lists would have to be long for it, a choice within
    /// `tolerance` of the least harm will do. The rows' lowest quantities must free enough.
    pub(super) fn step_down(
        &mut self,
        rows: &[Row],
        quantities: &mut [i64],
        overspend: i128,
        tolerance: i128,
        limits: Limits,
    ) -> i128 {
        if self.narrow.state(rows, quantities, overspend).is_some() {
            return self.narrow.solve(quantities, tolerance, limits);
        }
        let stated = self.wide.state(rows, quantities, overspend);
        stated.expect("the bound on all amounts leaves room for their sums");
        self.wide.solve(quantities, tolerance, limits)
    }
}

#[derive(Debug, Default)]
struct Knapsack<N: Number> {
    runs: Vec<Run<N>>,
    all: Covering<N>,
    found: Found<N>,
    core: Core<N>,
    halves: Halves<N>,
    ties: Ties<N>,
    /// Room for the search.
    taken: Vec<N>,
}

/// The least harmful choice so far.
#[derive(Debug, Default)]
struct Found<N> {
    harm: N,
    /// By run.
    steps: Vec<N>,
}

/// The classes of which not every better choice takes as many steps as the relaxation.
#[derive(Debug, Default)]
struct Core<N> {
    covering: Covering<N>,
    /// Of all steps that every better choice takes.
    harm: N,
    /// By run; the steps of the other classes.
    steps: Vec<N>,
}

impl<N: Number> Knapsack<N> {
    /// States the problem and a first choice; `None` if the amounts are too large for the numbers.
    fn state(&mut self, rows: &[Row], best: &[i64], overspend: i128) -> Option<()> {
        let unit: i128 = runs::list(rows, best, &mut self.runs)?.into();
        self.all.need = N::try_from((overspend + unit - 1) / unit * unit).ok()?;
        self.all.classes.clear();
        let n_mild = move_forward(&mut self.runs, Run::is_mild);
        self.rank(0, n_mild);
        if self.all.relax() {
            self.choose_in_order();
            self.drop_hopeless(n_mild);
        }
        if n_mild < self.runs.len() {
            self.rank(n_mild, self.runs.len());
            self.all.relax();
            self.choose_in_order();
        }
        Some(())
    }

    /// Makes classes of some of the runs, to follow those that there are.
    fn rank(&mut self, from: usize, to: usize) {
        self.runs[from..to].sort_unstable_by(Run::compare);
        let mut end = from;
        for alike in self.runs[from..to].chunk_by(Run::is_like) {
            let place = end..end + alike.len();
            end = place.end;
            self.all.classes.push(Class::of(&self.runs, place));
        }
    }

    /// Takes as many steps as it takes, the least harmful for what they free first.
    fn choose_in_order(&mut self) {
        let Found { harm, steps } = &mut self.found;
        *harm = N::ZERO;
        steps.clear();
        steps.resize(self.runs.len(), N::ZERO);
        let mut left = self.all.need;
        for class in &self.all.classes {
            if left <= N::ZERO {
                return;
            }
            let count = class.at_most(left);
            left -= class.size * count;
            *harm += class.harm * count;
            enter(&self.runs, class, count, steps);
        }
    }

    /// Where mild steps free enough, hardly any other pays: it need not be sorted.
    fn drop_hopeless(&mut self, n_mild: usize) {
        let margin = self.all.margin(self.found.harm);
        let pays = |run: &Run<N>| margin.reach(run.size, run.harm, N::ONE) == N::ONE;
        let n_paying = move_forward(&mut self.runs[n_mild..], pays);
        self.runs.truncate(n_mild + n_paying);
        self.found.steps.truncate(n_mild + n_paying);
    }

    fn solve(&mut self, quantities: &mut [i64], tolerance: i128, limits: Limits) -> i128 {
        let lower_bound = self.least_harm(tolerance, limits.parts);
        let n_rows = quantities.len();
        let mut step_down = |row: usize, steps: N| {
            let steps: i128 = steps.into();
            quantities[row] -= i64::try_from(steps).expect("a row steps down to its lowest at most");
        };
        if lower_bound == self.found.harm {
            let steps = self.ties.preferred(&self.all, &self.runs, &self.found, n_rows, limits.tie_nodes);
            steps.iter().enumerate().for_each(|(row, &steps)| step_down(row, steps));
        } else {
            let steps = self.runs.iter().zip(&self.found.steps);
            steps.for_each(|(run, &steps)| step_down(run.row, steps));
        }
        lower_bound.into()
    }

    /// Improves the choice until none is less harmful, or so much work was done; tells the harm that no
    /// choice is below.
    fn least_harm(&mut self, tolerance: i128, most_work: usize) -> N {
        let mut lower_bound = self.all.lower_bound();
        let mut work = FIRST_WORK;
        self.core.start(&self.all, self.runs.len());
        while work <= most_work && lower_bound < self.found.harm {
            match self.core.reduce(&self.runs, self.found.harm - N::ONE) {
                Some(least) if least < self.found.harm => lower_bound = lower_bound.max(least),
                Some(_) | None => return self.found.harm,
            }
            if self.search(work) {
                return self.found.harm;
            }
            let gap: i128 = (self.found.harm - lower_bound).into();
            let most_harm = self.found.harm - N::ONE - self.core.harm;
            let level_choices = self.halves.open(&self.core.covering, most_harm);
            // Hardly any lists are long enough for all of so many, but at last that is tried as well.
            let may_be_few = level_choices <= work.pow(2) || most_work < GROWTH * work;
            if may_be_few && self.halves.list_all(work) {
                self.pair(lower_bound);
                return self.found.harm;
            }
            if tolerance < gap {
                self.halves.list_some(self.core.covering.need, work);
                self.pair(lower_bound);
            } else if most_work.pow(2) < level_choices {
                break;
            }
            work *= GROWTH;
        }
        lower_bound
    }

    /// Looks for better choices in the core; whether none is left.
    fn search(&mut self, nodes: usize) -> bool {
        let Self { runs, found, core, taken, .. } = self;
        search(&core.covering, &mut LeastHarm { found, runs, core }, taken, nodes)
    }

    /// Takes the best pair of what is listed, if it is better; one of the harm `least` will do.
    fn pair(&mut self, least: N) {
        let Core { covering, harm, steps } = &self.core;
        if let Some(pair) = self.halves.pair(covering.need, least - *harm) {
            self.found.harm = *harm + pair;
            self.found.steps.copy_from_slice(steps);
            self.halves.steps(|idx, steps| {
                let class = &covering.classes[idx];
                enter(&self.runs, class, class.anyway + steps, &mut self.found.steps);
            });
        }
    }
}

impl<N: Number> Core<N> {
    fn start(&mut self, all: &Covering<N>, n_runs: usize) {
        self.covering.copy(all);
        self.harm = N::ZERO;
        self.steps.clear();
        self.steps.resize(n_runs, N::ZERO);
    }

    /// Closes all that no choice of `most_harm` takes otherwise than the relaxation, and tells a harm that
    /// none of the choices left is below; `None` if none is left.
    fn reduce(&mut self, runs: &[Run<N>], most_harm: N) -> Option<N> {
        let Self { covering, harm, steps } = self;
        let margin = covering.margin(most_harm - *harm);
        let (split, mut idx) = (covering.split, 0);
        covering.classes.retain_mut(|class| {
            let reach = margin.reach(class.size, class.harm, class.count);
            let anyway = if idx < split { class.count - reach } else { N::ZERO };
            idx += 1;
            covering.need -= class.size * anyway;
            *harm += class.harm * anyway;
            class.anyway += anyway;
            class.count = reach.min(class.at_most(covering.need));
            if class.count == N::ZERO {
                enter(runs, class, class.anyway, steps);
            }
            N::ZERO < class.count
        });
        let unit = covering.unit();
        if unit == N::ZERO {
            return None;
        }
        // The fewer classes, the coarser are the amounts that they can free.
        covering.need = (covering.need + unit - N::ONE) / unit * unit;
        covering.relax().then(|| *harm + covering.lower_bound())
    }
}

struct LeastHarm<'a, N> {
    found: &'a mut Found<N>,
    runs: &'a [Run<N>],
    core: &'a Core<N>,
}

impl<N: Number> Goal<N> for LeastHarm<'_, N> {
    fn most(&self) -> Sum<N> {
        Sum { harm: self.found.harm - N::ONE - self.core.harm, ..Sum::default() }
    }

    fn meet(&mut self, taken: &[N], sum: Sum<N>) {
        let harm = self.core.harm + sum.harm;
        if harm < self.found.harm {
            self.found.harm = harm;
            self.found.steps.copy_from_slice(&self.core.steps);
            for (class, &taken) in self.core.covering.classes.iter().zip(taken) {
                enter(self.runs, class, class.anyway + taken, &mut self.found.steps);
            }
        }
    }
}

/// Enters steps of a class by run.
fn enter<N: Number>(runs: &[Run<N>], class: &Class<N>, steps: N, by_run: &mut [N]) {
    let by_run = &mut by_run[class.runs.clone()];
    by_run.iter_mut().zip(class.steps(runs, steps)).for_each(|(of_run, (_, steps))| *of_run = steps);
}

/// Moves some items before all others, and tells how many they are.
fn move_forward<T>(items: &mut [T], is_moved: impl Fn(&T) -> bool) -> usize {
    let mut n_moved = 0;
    for idx in 0..items.len() {
        if is_moved(&items[idx]) {
            items.swap(n_moved, idx);
            n_moved += 1;
        }
    }
    n_moved
}
