//! Branch and bound over the classes, the best first, bounded by the relaxation.

use super::covering::{Covering, Sum};
use super::number::Number;

/// What is looked for.
pub(super) trait Goal<N> {
    /// What a choice may come to that is still of interest: no more harm, and with as much no more trades.
    fn most(&self) -> Sum<N>;

    /// Looks at steps of each class that free enough, and what they come to.
    fn meet(&mut self, taken: &[N], sum: Sum<N>);
}

/// Shows the goal every choice of interest, or those that so many nodes lead to; whether it was every one.
/// All steps of the covering must free enough.
pub(super) fn search<N: Number>(
    covering: &Covering<N>,
    goal: &mut impl Goal<N>,
    taken: &mut Vec<N>,
    nodes: usize,
) -> bool {
    taken.clear();
    taken.resize(covering.classes.len(), N::ZERO);
    let mut search = Search { covering, goal, taken, nodes_left: nodes };
    search.descend(0, covering.split, covering.need, Sum::default());
    0 < search.nodes_left
}

struct Search<'a, N, G> {
    covering: &'a Covering<N>,
    goal: &'a mut G,
    /// Steps of each class on the way to the current node.
    taken: &'a mut [N],
    /// At zero the search gives up.
    nodes_left: usize,
}

impl<N: Number, G: Goal<N>> Search<'_, N, G> {
    /// Tries every class from `from` on as the next one to step down in.
    fn descend(&mut self, from: usize, mut split: usize, need: N, so_far: Sum<N>) {
        for idx in from..self.taken.len() {
            self.try_class(idx, split, need, so_far);
            // Classes only get worse: if the next one is not promising, none is.
            if self.nodes_left == 0 || !self.is_promising(idx + 1, &mut split, need, so_far) {
                return;
            }
        }
    }

    fn try_class(&mut self, idx: usize, split: usize, need: N, so_far: Sum<N>) {
        let class = &self.covering.classes[idx];
        let mut count = class.at_most(need);
        while N::ZERO < count && 0 < self.nodes_left {
            self.nodes_left -= 1;
            self.taken[idx] = count;
            let so_far = so_far.plus(class, count);
            let need = need - class.size * count;
            if need <= N::ZERO {
                self.goal.meet(self.taken, so_far);
            } else {
                let mut split = split;
                // Fewer steps here mean more of worse ones.
                if !self.is_promising(idx + 1, &mut split, need, so_far) {
                    break;
                }
                self.descend(idx + 1, split, need, so_far);
            }
            count -= N::ONE;
        }
        self.taken[idx] = N::ZERO;
    }

    /// Whether freeing `need` more with the classes from `from` on may still be of interest; moves
    /// the split on to where it is for them.
    fn is_promising(&self, from: usize, split: &mut usize, need: N, so_far: Sum<N>) -> bool {
        *split = self.covering.split_of(from, from.max(*split), need);
        let most = self.goal.most();
        let left = Sum { freed: N::ZERO, harm: most.harm - so_far.harm, trades: most.trades - so_far.trades };
        *split < self.taken.len() && self.covering.compare_relaxed(from, *split, need, &left).is_le()
    }
}
