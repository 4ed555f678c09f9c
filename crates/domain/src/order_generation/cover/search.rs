//! Branch and bound over the classes in order of harm per unit freed, bounded by the linear relaxation.

use std::cmp::Reverse;

use super::{Choice, Classes, Found, Sum};

/// The choice of least harm, or the best within so many nodes.
pub(super) fn least_harm(classes: &Classes, need: i128, nodes: u64) -> Found {
    let relaxed = classes.relaxation(0, need).map_or(0, |relaxed| relaxed.harm);
    let taken = classes.greedy(need);
    let found = Found { sum: classes.sum(&taken), taken, lower_bound: relaxed };

    let mut search =
        Search { classes, goal: LeastHarm(found), taken: classes.none(), nodes_left: nodes.max(1) };
    search.descend(0, need, Sum::ZERO);
    let LeastHarm(found) = search.goal;
    let lower_bound = if search.nodes_left == 0 { relaxed } else { found.sum.harm };
    Found { lower_bound, ..found }
}

/// The preferred among the choices no more harmful than `least`, or the best within so many nodes.
pub(super) fn preferred(classes: &Classes, need: i128, least: Choice, nodes: u64) -> Choice {
    let goal = Preferred(least);
    let mut search = Search { classes, goal, taken: classes.none(), nodes_left: nodes.max(1) };
    search.descend(0, need, Sum::ZERO);
    let Preferred(choice) = search.goal;
    choice
}

/// What is looked for, and the best found so far.
trait Goal {
    /// Whether freeing `need` more with the classes from `from` on may still be better.
    fn is_promising(&self, classes: &Classes, from: usize, need: i128, so_far: Sum) -> bool;
    fn keep_if_better(&mut self, classes: &Classes, taken: &[i128], sum: Sum);
}

struct LeastHarm(Found);

impl Goal for LeastHarm {
    fn is_promising(&self, classes: &Classes, from: usize, need: i128, so_far: Sum) -> bool {
        let relaxed = classes.relaxation(from, need);
        relaxed.is_some_and(|relaxed| so_far.harm + relaxed.harm < self.0.sum.harm)
    }

    fn keep_if_better(&mut self, _: &Classes, taken: &[i128], sum: Sum) {
        if sum.harm < self.0.sum.harm {
            self.0.sum = sum;
            self.0.taken = taken.to_vec();
        }
    }
}

/// Starts from a choice of least harm.
struct Preferred(Choice);

impl Goal for Preferred {
    fn is_promising(&self, classes: &Classes, from: usize, need: i128, so_far: Sum) -> bool {
        let Some(relaxed) = classes.relaxation(from, need) else {
            return false;
        };
        let least = self.0.sum;
        match relaxed.trades {
            Some(trades) if so_far.harm + relaxed.harm == least.harm => {
                so_far.trades + trades <= least.trades
            }
            Some(_) | None => so_far.harm + relaxed.harm <= least.harm,
        }
    }

    fn keep_if_better(&mut self, classes: &Classes, taken: &[i128], sum: Sum) {
        let rank = |sum: Sum| (sum.harm, sum.trades, Reverse(sum.freed));
        if rank(sum) <= rank(self.0.sum) {
            let steps = classes.steps(taken);
            if rank(sum) < rank(self.0.sum) || steps < self.0.steps {
                self.0 = Choice { sum, steps };
            }
        }
    }
}

struct Search<'a, G> {
    classes: &'a Classes,
    goal: G,
    /// Steps of each class on the way to the current node.
    taken: Vec<i128>,
    /// At zero the search gives up.
    nodes_left: u64,
}

impl<G: Goal> Search<'_, G> {
    /// Tries every class from `from` on as the next one to step down in.
    fn descend(&mut self, from: usize, need: i128, so_far: Sum) {
        if need <= 0 {
            self.goal.keep_if_better(self.classes, &self.taken, so_far);
            return;
        }
        for idx in from..self.taken.len() {
            // Classes only get worse, so neither would a later one be promising.
            if !self.goal.is_promising(self.classes, idx, need, so_far) {
                return;
            }
            self.try_class(idx, need, so_far);
            if self.nodes_left == 0 {
                return;
            }
        }
    }

    fn try_class(&mut self, idx: usize, need: i128, so_far: Sum) {
        let class = &self.classes.ranked[idx];
        for count in (1..=class.at_most(need)).rev() {
            self.nodes_left -= 1;
            let so_far = so_far.plus(&class.run, count);
            let need = need - class.run.size * count;
            // Fewer steps here mean more of worse ones.
            let is_promising = need <= 0 || self.goal.is_promising(self.classes, idx + 1, need, so_far);
            if self.nodes_left == 0 || !is_promising {
                break;
            }
            self.taken[idx] = count;
            self.descend(idx + 1, need, so_far);
            if self.nodes_left == 0 {
                break;
            }
        }
        self.taken[idx] = 0;
    }
}
