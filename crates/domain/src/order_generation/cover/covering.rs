//! A covering knapsack of classes of equal steps, and what its linear relaxation tells.

use std::cmp::Ordering;
use std::ops::Range;

use super::number::Number;
use super::runs::{Run, gcd};

/// Equal steps down, whatever their rows.
#[derive(Debug, Clone)]
pub(super) struct Class<N> {
    /// As in [`Run`].
    pub(super) size: N,
    pub(super) harm: N,
    /// Zero where trades are left out of account.
    pub(super) trades: N,
    pub(super) count: N,
    /// Steps that are taken whatever is chosen; they are not among the `count`.
    pub(super) anyway: N,
    /// Where its runs are among all.
    pub(super) runs: Range<usize>,
}

/// What steps come to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum<N> {
    pub(super) freed: N,
    pub(super) harm: N,
    pub(super) trades: N,
}

/// Wanted are the least harmful steps that free what is needed.
#[derive(Debug, Default)]
pub(super) struct Covering<N> {
    /// Least harm per unit freed first.
    pub(super) classes: Vec<Class<N>>,
    /// Above zero.
    pub(super) need: N,
    /// Were steps divisible, all those of the classes before this one would be taken, as many of its own
    /// as are still needed, and none of those after it.
    pub(super) split: usize,
    /// What all steps of the classes before an index come to.
    before: Vec<Sum<N>>,
}

/// How much worse than the relaxation a choice of steps may be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Margin<N: Number> {
    /// Of a step of the class at the split.
    size: N,
    harm: N,
    /// Harm to spare; it and every harm compared with it are counted `size` times, to be whole.
    spare: N::Wide,
}

impl<N: Number> Class<N> {
    pub(super) fn of(runs: &[Run<N>], place: Range<usize>) -> Self {
        let Run { size, harm, .. } = runs[place.start];
        let count = runs[place.clone()].iter().fold(N::ZERO, |count, run| count + run.count);
        Self { size, harm, trades: N::ZERO, count, anyway: N::ZERO, runs: place }
    }

    /// The most steps worth taking to free `need`.
    pub(super) fn at_most(&self, need: N) -> N {
        if self.count == N::ONE || self.size * self.count <= need {
            return self.count;
        }
        ((need + self.size - N::ONE) / self.size).min(self.count)
    }

    /// The runs, and how many of the steps each takes when they are taken in order.
    pub(super) fn steps<'a>(
        &self,
        runs: &'a [Run<N>],
        steps: N,
    ) -> impl Iterator<Item = (&'a Run<N>, N)> + use<'a, N> {
        let mut left = steps;
        runs[self.runs.clone()].iter().map(move |run| {
            let count = run.count.min(left);
            left -= count;
            (run, count)
        })
    }
}

impl<N: Number> Sum<N> {
    pub(super) fn plus(self, class: &Class<N>, count: N) -> Self {
        Self {
            freed: self.freed + class.size * count,
            harm: self.harm + class.harm * count,
            trades: self.trades + class.trades * count,
        }
    }
}

impl<N: Number> Covering<N> {
    pub(super) fn copy(&mut self, other: &Self) {
        self.classes.clone_from(&other.classes);
        self.before.clone_from(&other.before);
        (self.need, self.split) = (other.need, other.split);
    }

    /// Finds the split, once classes and need are what they should be; whether all steps free enough.
    pub(super) fn relax(&mut self) -> bool {
        self.before.clear();
        self.before.reserve(self.classes.len() + 1);
        let mut sum = Sum::default();
        self.before.push(sum);
        for class in &self.classes {
            sum = sum.plus(class, class.count);
            self.before.push(sum);
        }
        self.split = self.split_of(0, 0, self.need);
        self.split < self.classes.len()
    }

    /// The split were `need` to be freed with the classes from `from` on; it must not be before `least`.
    pub(super) fn split_of(&self, from: usize, least: usize, need: N) -> usize {
        let need = self.before[from].freed + need;
        let mut split = least;
        while split < self.classes.len() && self.before[split + 1].freed < need {
            split += 1;
        }
        split
    }

    /// How the least harm that freeing `need` with the classes from `from` on does, were steps divisible,
    /// and then the trades that it takes, compare with `most`.
    pub(super) fn compare_relaxed(&self, from: usize, split: usize, need: N, most: &Sum<N>) -> Ordering {
        let (start, whole, class) = (&self.before[from], &self.before[split], &self.classes[split]);
        let rest = need - (whole.freed - start.freed);
        let harm = most.harm - (whole.harm - start.harm);
        rest.times(class.harm).cmp(&harm.times(class.size)).then_with(|| {
            let trades = most.trades - (whole.trades - start.trades);
            rest.times(class.trades).cmp(&trades.times(class.size))
        })
    }

    /// No choice does less harm.
    pub(super) fn lower_bound(&self) -> N {
        let (whole, class) = (&self.before[self.split], &self.classes[self.split]);
        whole.harm + N::quotient_up((self.need - whole.freed).times(class.harm), class.size)
    }

    /// That of choices which do `most_harm`.
    pub(super) fn margin(&self, most_harm: N) -> Margin<N> {
        let (whole, class) = (&self.before[self.split], &self.classes[self.split]);
        let relaxed = (self.need - whole.freed).times(class.harm);
        let spare = (most_harm - whole.harm).times(class.size) - relaxed;
        Margin { size: class.size, harm: class.harm, spare }
    }

    /// What divides all that can be freed.
    pub(super) fn unit(&self) -> N {
        self.classes.iter().fold(N::ZERO, |unit, class| gcd(class.size, unit))
    }
}

impl<N: Number> Margin<N> {
    /// By so much a step makes a choice worse than the relaxation that only one of them takes.
    pub(super) fn excess(&self, size: N, harm: N) -> N::Wide {
        let (one, other) = (harm.times(self.size), size.times(self.harm));
        if one < other { other - one } else { one - other }
    }

    /// By how many of its steps a class may differ from the relaxation.
    pub(super) fn reach(&self, size: N, harm: N, count: N) -> N {
        let excess = self.excess(size, harm);
        if self.spare < excess {
            N::ZERO
        } else if excess == N::Wide::default() || count == N::ONE {
            count
        } else {
            N::quotient(self.spare, excess, count)
        }
    }

    /// Whether a choice may free and harm by so much more than the relaxation in some of the classes.
    pub(super) fn contains(&self, freed: N, harm: N) -> bool {
        harm.times(self.size) - freed.times(self.harm) <= self.spare
    }
}
