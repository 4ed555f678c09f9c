//! Less harmful choices near a known one, by meeting in the middle.
//!
//! A search is at its worst where all steps are equally harmful for what they free: every bound is
//! then the same, and only freeing the exact amount will do. But then there are very many choices,
//! and two lists of some thousand part-choices make up many millions of them.

use ethnum::I256;

use super::{Class, Classes, Found};

/// Looks for choices less harmful than `found` by pairing two lists of up to so many parts, longer ones
/// each time, around the best so far, until it is within `tolerance` of the least.
pub(super) fn improve(classes: &Classes, need: i128, mut found: Found, tolerance: i128, parts: u64) -> Found {
    for parts in [parts / 16, parts / 4, parts] {
        found = improve_once(classes, need, found, parts);
        if found.sum.harm - found.lower_bound <= tolerance {
            break;
        }
    }
    found
}

fn improve_once(classes: &Classes, need: i128, found: Found, parts: u64) -> Found {
    let mut windows = windows(classes, need, &found);
    let mut taken: Vec<i128> =
        windows.iter().map(|window| if window.reach() == 1 { window.lowest } else { 0 }).collect();
    windows.retain(|window| window.reach() != 1);
    windows.sort_by_key(|window| window.class.abs_diff(classes.split(0, need)));
    let (mut left, mut right): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (idx, window) in windows.into_iter().enumerate() {
        if idx.is_multiple_of(2) { left.push(window) } else { right.push(window) }
    }
    widen(&mut left, parts.into());
    widen(&mut right, parts.into());

    let is_exhaustive = left.iter().chain(&right).all(|window| window.width == window.reach());
    let need = need - classes.sum(&taken).freed;
    if let Some((a, b)) = cheapest_pair(list(classes, &left), list(classes, &right), need) {
        enter(a.code, &left, &mut taken);
        enter(b.code, &right, &mut taken);
        let sum = classes.sum(&taken);
        if sum.harm < found.sum.harm {
            let lower_bound = if is_exhaustive { sum.harm } else { found.lower_bound };
            return Found { sum, taken, lower_bound };
        }
    }
    let lower_bound = if is_exhaustive { found.sum.harm } else { found.lower_bound };
    Found { lower_bound, ..found }
}

/// The steps of one class that are tried.
struct Window {
    class: usize,
    centre: i128,
    /// No less harmful choice has fewer steps.
    lowest: i128,
    /// No less harmful choice has more steps.
    highest: i128,
    width: i128,
}

impl Window {
    const fn reach(&self) -> i128 {
        self.highest - self.lowest + 1
    }

    fn first(&self) -> i128 {
        (self.centre - self.width / 2).clamp(self.lowest, self.highest + 1 - self.width)
    }
}

/// For each class its steps in `found`, and how many can pay: each step away from those of the
/// relaxation adds so much to the harm, and only so much of it would still be an improvement.
fn windows(classes: &Classes, need: i128, found: &Found) -> Vec<Window> {
    let split = classes.split(0, need);
    let whole = classes.before[split];
    let run = &classes.ranked[split].run;
    let rest = need - whole.freed;
    // Harm counts `run.size` times, so that the relaxation's is a whole number.
    let product = |a: i128, b: i128| I256::from(a) * I256::from(b);
    let spare = product(found.sum.harm - 1 - whole.harm, run.size) - product(rest, run.harm);

    let window = |(idx, class): (usize, &Class)| {
        let excess = (product(class.run.harm, run.size) - product(run.harm, class.run.size)).abs();
        let reach = if excess == I256::ZERO { I256::MAX } else { spare / excess };
        let reach = i128::try_from(reach).map_or(class.count, |reach| reach.min(class.count));
        let relaxed = if idx < split { class.count } else { 0 };
        Window {
            class: idx,
            centre: found.taken[idx],
            lowest: (relaxed - reach).max(0),
            highest: (relaxed + reach).min(class.count),
            width: 1,
        }
    };
    classes.ranked.iter().enumerate().map(window).collect()
}

/// Triples one window after the other, again and again, up to so many parts.
fn widen(windows: &mut [Window], most: i128) {
    let mut n_parts = 1;
    loop {
        let before = n_parts;
        for window in &mut *windows {
            let width = (3 * window.width).min(window.reach());
            let wider = n_parts / window.width * width;
            if wider <= most {
                n_parts = wider;
                window.width = width;
            }
        }
        if n_parts == before {
            return;
        }
    }
}

/// A choice of steps for half of the classes.
#[derive(Clone, Copy)]
struct Part {
    freed: i128,
    harm: i128,
    /// Tells the steps.
    code: i128,
}

/// Every choice of steps in the windows, by what it frees.
fn list(classes: &Classes, windows: &[Window]) -> Vec<Part> {
    let mut parts = vec![Part { freed: 0, harm: 0, code: 0 }];
    let mut unit = 1;
    for window in windows {
        let run = &classes.ranked[window.class].run;
        let longer = |nth: i128| {
            let steps = window.first() + nth;
            parts.iter().map(move |part| Part {
                freed: part.freed + steps * run.size,
                harm: part.harm + steps * run.harm,
                code: part.code + nth * unit,
            })
        };
        parts = (0..window.width).flat_map(longer).collect();
        parts.sort_by_key(|part| part.freed);
        unit *= window.width;
    }
    parts
}

/// Enters the steps of a part among those of all classes.
fn enter(mut code: i128, windows: &[Window], taken: &mut [i128]) {
    for window in windows {
        taken[window.class] = window.first() + code % window.width;
        code /= window.width;
    }
}

/// The least harmful pair that frees `need`.
fn cheapest_pair(left: Vec<Part>, right: Vec<Part>, need: i128) -> Option<(Part, Part)> {
    let mut suited = left.into_iter().rev().peekable();
    let mut partner: Option<Part> = None;
    let mut cheapest: Option<(i128, Part, Part)> = None;
    for part in right {
        while let Some(other) = suited.next_if(|other| need <= other.freed + part.freed) {
            if partner.is_none_or(|partner| other.harm < partner.harm) {
                partner = Some(other);
            }
        }
        if let Some(partner) = partner {
            let harm = partner.harm + part.harm;
            if cheapest.is_none_or(|(least, ..)| harm < least) {
                cheapest = Some((harm, partner, part));
            }
        }
    }
    cheapest.map(|(_, a, b)| (a, b))
}
