//! Less harmful choices by meeting in the middle: two lists of part-choices, each of half of the classes,
//! and the best pair of a part from either.
//!
//! A part is so many steps more or fewer than in the relaxation. One that frees no more than another and
//! harms no less is left out, and so is one that is too far from the relaxation to pay. Short lists then
//! hold all that matters, and the best pair is the best choice. Where steps are equally harmful for what
//! they free, that leaves out nothing. But then very many choices are as good as the relaxation, and a
//! thousand parts of a few classes make up a million of them.

use std::mem;

use super::covering::{Covering, Margin};
use super::number::Number;

/// Room for the lists.
#[derive(Debug, Default)]
pub(super) struct Halves<N: Number> {
    /// Those most like the class at the split first, and of them the smallest steps.
    windows: Vec<Window<N>>,
    /// What the steps at the start of all windows come to.
    start: Part<N>,
    bounds: Bounds<N>,
    left: Half<N>,
    right: Half<N>,
    /// The codes of the best pair.
    pair: (u64, u64),
}

/// The numbers of steps of one class that are tried.
#[derive(Debug, Clone, Copy)]
struct Window<N: Number> {
    class: usize,
    size: N,
    harm: N,
    excess: N::Wide,
    start: N,
    /// Whether fewer steps than at the start are tried, and not more.
    is_falling: bool,
    /// How many numbers of steps may pay.
    reach: u32,
    /// How many are tried.
    width: u32,
}

/// What parts must keep to if they are to pay.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds<N: Number> {
    margin: Margin<N>,
    /// Of a choice.
    most_harm: N,
    /// What a part may add to the harm.
    most_added: N,
    most_parts: usize,
}

/// Choices of steps in some of the classes, from the one that frees and harms the most to the least.
#[derive(Debug, Default)]
struct Half<N: Number> {
    parts: Vec<Part<N>>,
    merged: Vec<Part<N>>,
    windows: Vec<Window<N>>,
    /// The place value of the next window in the codes.
    unit: u64,
}

/// Other steps than at the start in some classes.
#[derive(Debug, Clone, Copy, Default)]
struct Part<N> {
    /// More than at the start; may be below zero, as may the harm.
    freed: N,
    harm: N,
    /// By how many steps each class differs: its digit, in a number system of all windows' widths.
    code: u64,
}

impl<N: Number> Halves<N> {
    /// Prepares to list parts of choices that do `most_harm`. Tells how many choices there are of steps
    /// that are level: equally harmful for what they free as those at the split.
    pub(super) fn open(&mut self, covering: &Covering<N>, most_harm: N) -> usize {
        let margin = covering.margin(most_harm);
        self.bounds = Bounds { margin, most_harm, ..Bounds::default() };
        self.windows.clear();
        self.windows.extend(covering.classes.iter().enumerate().map(|(idx, class)| {
            let is_falling = idx < covering.split;
            let reach = class.count.try_into().map_or(u32::MAX, |count: u32| count.saturating_add(1));
            Window {
                class: idx,
                size: class.size,
                harm: class.harm,
                excess: margin.excess(class.size, class.harm),
                start: if is_falling { class.count } else { N::ZERO },
                is_falling,
                reach,
                width: reach,
            }
        }));
        self.windows.sort_unstable_by_key(|window| (window.excess, window.size, window.class));
        let level = self.windows.iter().take_while(|window| window.is_level());
        level.fold(1, |choices, window| choices.saturating_mul(window.reach as usize))
    }

    /// Lists every part that may pay; whether no more than so many do.
    pub(super) fn list_all(&mut self, most_parts: usize) -> bool {
        self.clear(most_parts);
        let Self { windows, bounds, left, right, .. } = self;
        windows.iter().all(|window| Half::shorter(left, right).extend(*window, bounds))
    }

    /// Lists about so many parts, with steps of the first classes.
    pub(super) fn list_some(&mut self, need: N, most_parts: usize) {
        self.widen(most_parts.saturating_pow(2));
        self.centre(need);
        self.clear(2 * most_parts);
        let Self { windows, bounds, left, right, .. } = self;
        for window in windows {
            Half::shorter(left, right).extend(*window, bounds);
        }
    }

    /// Doubles one window after the other, again and again, up to so many choices.
    fn widen(&mut self, most_choices: usize) {
        self.windows.iter_mut().for_each(|window| window.width = 1);
        let (mut before, mut choices) = (0, 1_usize);
        while before < choices {
            before = choices;
            for window in &mut self.windows {
                let width = window.width.saturating_mul(2).min(window.reach);
                let more = (choices / window.width as usize).saturating_mul(width as usize);
                if more <= most_choices {
                    (window.width, choices) = (width, more);
                }
            }
        }
    }

    /// Exchanges level steps, so that the middle of what is tried frees `need`.
    fn centre(&mut self, need: N) {
        let mut left = need;
        for window in &mut self.windows {
            if window.is_level() {
                (window.start, window.is_falling) = (N::ZERO, false);
            }
            let half = window.size * N::from(window.width - 1) / N::from(2);
            left -= window.size * window.start + if window.is_falling { -half } else { half };
        }
        for is_tried in [false, true] {
            for window in self.windows.iter_mut().rev() {
                if window.is_level() && is_tried == (1 < window.width) && N::ZERO < left {
                    window.start = (left / window.size).min(N::from(window.reach - window.width));
                    left -= window.size * window.start;
                }
            }
        }
    }

    fn clear(&mut self, most_parts: usize) {
        self.start = Part::default();
        let mut removable = N::ZERO;
        for window in &self.windows {
            let harm = window.harm * window.start;
            self.start.freed += window.size * window.start;
            self.start.harm += harm;
            removable += if window.is_falling { harm } else { N::ZERO };
        }
        self.bounds.most_added = self.bounds.most_harm - self.start.harm + removable;
        self.bounds.most_parts = most_parts;
        for half in [&mut self.left, &mut self.right] {
            half.clear(most_parts, self.windows.len());
        }
    }

    /// The harm of the least harmful pair that frees `need`, if it keeps to the bounds; `least` will do.
    pub(super) fn pair(&mut self, need: N, least: N) -> Option<N> {
        let mut best: Option<N> = None;
        let mut others = self.right.parts.iter().rev().peekable();
        for part in &self.left.parts {
            let freed = self.start.freed + part.freed;
            while others.next_if(|other| freed + other.freed < need).is_some() {}
            let Some(other) = others.peek() else { break };
            let harm = self.start.harm + part.harm + other.harm;
            if harm <= self.bounds.most_harm && best.is_none_or(|best| harm < best) {
                best = Some(harm);
                self.pair = (part.code, other.code);
                if harm <= least {
                    break;
                }
            }
        }
        best
    }

    /// Tells each class and its steps in the best pair.
    pub(super) fn steps(&self, mut tell: impl FnMut(usize, N)) {
        for (half, mut code) in [(&self.left, self.pair.0), (&self.right, self.pair.1)] {
            for window in &half.windows {
                let width = u64::from(window.width);
                let digit = N::from(u32::try_from(code % width).expect("less than the width"));
                tell(window.class, window.start + if window.is_falling { -digit } else { digit });
                code /= width;
            }
        }
    }
}

impl<N: Number> Window<N> {
    fn is_level(&self) -> bool {
        self.excess == N::Wide::default()
    }
}

impl<N: Number> Half<N> {
    fn shorter<'a>(left: &'a mut Self, right: &'a mut Self) -> &'a mut Self {
        if left.parts.len() <= right.parts.len() { left } else { right }
    }

    fn clear(&mut self, most_parts: usize, n_windows: usize) {
        for parts in [&mut self.parts, &mut self.merged] {
            parts.clear();
            parts.reserve(2 * most_parts);
        }
        self.parts.push(Part::default());
        self.windows.clear();
        self.windows.reserve(n_windows);
        self.unit = 1;
    }

    /// One class more; whether there was room for its whole window.
    fn extend(&mut self, window: Window<N>, bounds: &Bounds<N>) -> bool {
        let has_digit = self.unit.checked_mul(window.width.into()).is_some();
        let mut width = 1;
        while width < window.width && has_digit {
            // Twice as many, or fewer: what would be there twice is left out.
            let more = width.min(window.width - width);
            let steps = if window.is_falling { -N::from(more) } else { N::from(more) };
            let change = Part {
                freed: window.size * steps,
                harm: window.harm * steps,
                code: self.unit * u64::from(more),
            };
            if !self.merge(change, bounds) {
                break;
            }
            mem::swap(&mut self.parts, &mut self.merged);
            width += more;
        }
        self.unit *= u64::from(width);
        self.windows.push(Window { width, ..window });
        width == window.width
    }

    /// Merges the parts as they are with the parts as they become by `change`; whether there was room.
    fn merge(&mut self, change: Part<N>, bounds: &Bounds<N>) -> bool {
        let Self { parts, merged, .. } = self;
        let none = Part::default();
        let (more, less) = if change.freed < N::ZERO { (none, change) } else { (change, none) };
        merged.clear();
        let mut least = bounds.most_added + N::ONE;
        let mut keep = |part: Part<N>| {
            if part.harm < least {
                least = part.harm;
                if bounds.margin.contains(part.freed, part.harm) {
                    merged.push(part);
                }
            }
        };
        let mut others = parts.iter().map(|part| part.plus(less));
        let mut next = others.next();
        for part in &*parts {
            let part = part.plus(more);
            while let Some(other) = next
                && part.freed < other.freed
            {
                keep(other);
                next = others.next();
            }
            keep(part);
        }
        next.into_iter().chain(others).for_each(keep);
        merged.len() <= bounds.most_parts
    }
}

impl<N: Number> Part<N> {
    fn plus(self, change: Self) -> Self {
        Self {
            freed: self.freed + change.freed,
            harm: self.harm + change.harm,
            code: self.code + change.code,
        }
    }
}
