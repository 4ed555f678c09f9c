//! The preferred among choices of least harm: the fewest units traded, then the most freed, then the
//! fewest steps of the earlier rows.

use std::cmp::Reverse;
use std::mem;

use super::Found;
use super::covering::{Class, Covering, Sum};
use super::number::Number;
use super::runs::Run;
use super::search::{Goal, search};

/// Room to look for the preferred choice.
#[derive(Debug, Default)]
pub(super) struct Ties<N> {
    /// The classes of which not every choice of least harm takes as many steps as the relaxation.
    covering: Covering<N>,
    /// By row; the steps of the other classes.
    anyway: Vec<N>,
    /// By row.
    preferred: Vec<N>,
    candidate: Vec<N>,
    taken: Vec<N>,
}

impl<N: Number> Ties<N> {
    /// The steps of each row in the preferred choice among those of the least harm, one of which is
    /// `found`; or in the best that so many nodes lead to.
    pub(super) fn preferred(
        &mut self,
        all: &Covering<N>,
        runs: &[Run<N>],
        found: &Found<N>,
        n_rows: usize,
        nodes: usize,
    ) -> &[N] {
        for steps in [&mut self.anyway, &mut self.preferred, &mut self.candidate] {
            steps.clear();
            steps.resize(n_rows, N::ZERO);
        }
        let mut sum = Sum::<N>::default();
        for (run, &steps) in runs.iter().zip(&found.steps) {
            sum.freed += run.size * steps;
            sum.harm += run.harm * steps;
            sum.trades += run.trades * steps;
            self.preferred[run.row] += steps;
        }
        let anyway = self.state(all, runs, found.harm);
        if self.covering.relax() {
            sum.freed -= anyway.freed;
            sum.harm -= anyway.harm;
            sum.trades -= anyway.trades;
            let Self { covering, anyway, preferred: steps, candidate, taken } = self;
            let mut goal = Preferred { sum, steps, covering, runs, anyway, candidate };
            search(covering, &mut goal, taken, nodes);
        }
        &self.preferred
    }

    /// Sets up the covering; tells what the steps come to that are taken anyway.
    fn state(&mut self, all: &Covering<N>, runs: &[Run<N>], least_harm: N) -> Sum<N> {
        let margin = all.margin(least_harm);
        let mut anyway = Sum::default();
        self.covering.classes.clear();
        for (idx, class) in all.classes.iter().enumerate() {
            let mut end = class.runs.start;
            for alike in runs[class.runs.clone()].chunk_by(|a, b| a.trades == b.trades) {
                let place = end..end + alike.len();
                end = place.end;
                let mut class = Class { trades: alike[0].trades, ..Class::of(runs, place) };
                let reach = margin.reach(class.size, class.harm, class.count);
                class.anyway = if idx < all.split { class.count - reach } else { N::ZERO };
                class.count = reach;
                anyway = anyway.plus(&class, class.anyway);
                if reach == N::ZERO {
                    enter(runs, &class, class.anyway, &mut self.anyway);
                } else {
                    self.covering.classes.push(class);
                }
            }
        }
        // Where harm leaves a choice, the fewest trades are the best bound.
        self.covering.classes.sort_unstable_by(|a, b| {
            let by_harm = a.harm.times(b.size).cmp(&b.harm.times(a.size));
            let by_trades = || a.trades.times(b.size).cmp(&b.trades.times(a.size));
            by_harm.then_with(by_trades).then_with(|| a.runs.start.cmp(&b.runs.start))
        });
        self.covering.need = all.need - anyway.freed;
        anyway
    }
}

struct Preferred<'a, N> {
    /// Of the best so far, without the steps that are taken anyway.
    sum: Sum<N>,
    steps: &'a mut Vec<N>,
    covering: &'a Covering<N>,
    runs: &'a [Run<N>],
    anyway: &'a [N],
    candidate: &'a mut Vec<N>,
}

impl<N: Number> Goal<N> for Preferred<'_, N> {
    fn most(&self) -> Sum<N> {
        self.sum
    }

    fn meet(&mut self, taken: &[N], sum: Sum<N>) {
        let rank = |sum: &Sum<N>| (sum.harm, sum.trades, Reverse(sum.freed));
        if rank(&self.sum) < rank(&sum) {
            return;
        }
        self.candidate.copy_from_slice(self.anyway);
        for (class, &taken) in self.covering.classes.iter().zip(taken) {
            enter(self.runs, class, class.anyway + taken, self.candidate);
        }
        if rank(&sum) < rank(&self.sum) || self.candidate < self.steps {
            self.sum = sum;
            mem::swap(self.steps, self.candidate);
        }
    }
}

/// Enters steps of a class by row.
fn enter<N: Number>(runs: &[Run<N>], class: &Class<N>, steps: N, by_row: &mut [N]) {
    class.steps(runs, steps).for_each(|(run, steps)| by_row[run.row] += steps);
}
