//! What the service holds: memory, open files, threads.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use super::trouble::Trouble;
use crate::process::Watched;

const PAUSE: Duration = Duration::from_secs(1);
/// By then all caches and pools are full.
const MARK: Duration = Duration::from_mins(2);
/// Looked at as one, for no two seconds of the load are alike.
const WINDOW: Duration = Duration::from_secs(30);

/// How much more at the end is no growth: what caches and the allocator do.
const MEMORY: f64 = 1.15;
const MEMORY_MB: f64 = 4.0;
const FILES: f64 = 16.0;
const THREADS: f64 = 8.0;

pub(super) struct Vitals {
    begun: Instant,
    length: Duration,
    process: Cell<Watched>,
    samples: RefCell<Vec<Sample>>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    /// Memory in MB, open files, threads.
    found: [f64; 3],
}

/// The means of a window.
#[derive(Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) memory: f64,
    pub(super) files: f64,
    pub(super) threads: f64,
}

impl Vitals {
    pub(super) fn new(begun: Instant, length: Duration, process: Watched) -> Self {
        Self { begun, length, process: Cell::new(process), samples: RefCell::default() }
    }

    pub(super) fn is_now(&self, process: Watched) {
        self.process.set(process);
    }

    pub(super) async fn watch(&self, until: Instant) {
        while Instant::now() < until {
            let process = self.process.get();
            // One that is being killed has nothing to tell.
            if let (Ok(memory), Ok(files), Ok(threads)) =
                (process.resident(), process.open_files(), process.threads())
            {
                let sample = Sample { at: Instant::now(), found: [memory, files, threads] };
                self.samples.borrow_mut().push(sample);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// When growth is reckoned from.
    pub(super) fn mark(&self) -> Duration {
        MARK.min(self.length / 3)
    }

    /// Soon after the beginning, and at the end.
    pub(super) fn first_and_last(&self) -> [Held; 2] {
        let window = WINDOW.min(self.length / 4);
        [self.mark(), self.length.saturating_sub(window)].map(|from| {
            let from = self.begun + from;
            let samples = self.samples.borrow();
            let within = samples.iter().filter(|sample| (from..from + window).contains(&sample.at));
            let (count, sum) = within.fold((0.0, [0.0; 3]), |(count, sum), sample| {
                (count + 1.0, std::array::from_fn(|idx| sum[idx] + sample.found[idx]))
            });
            if count < 1.0 {
                return Held::default();
            }
            let [memory, files, threads] = sum.map(|sum| sum / count);
            Held { memory, files, threads }
        })
    }

    /// The memory of each tenth of the time, in MB: whether it levels off.
    pub(super) fn memory(&self) -> Vec<f64> {
        let samples = self.samples.borrow();
        let tenths = samples.chunks(samples.len().div_ceil(10).max(1));
        tenths.map(|tenth| tenth.iter().map(|sample| sample.found[0]).fold(0.0, f64::max)).collect()
    }

    pub(super) fn most(&self) -> Held {
        let most =
            |idx: usize| self.samples.borrow().iter().map(|sample| sample.found[idx]).fold(0.0, f64::max);
        Held { memory: most(0), files: most(1), threads: most(2) }
    }

    pub(super) fn expect_no_growth(&self, trouble: &Trouble) {
        let [first, last] = self.first_and_last();
        let grows = [
            ("memory grows", first.memory, last.memory, first.memory * MEMORY + MEMORY_MB),
            ("open files grow", first.files, last.files, first.files + FILES),
            ("threads grow", first.threads, last.threads, first.threads + THREADS),
        ];
        for (what, first, last, at_most) in grows {
            if at_most < last || first <= 0.0 {
                trouble.note(what, format!("from {first:.1} to {last:.1}"));
            }
        }
    }
}
