//! What the operating system says of this process.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::body::{MemoryBody, ProcessorBody, rounded};

/// Shorter spells tell nothing of how busy a process is.
const LEAST_SPELL: Duration = Duration::from_millis(100);

pub(super) fn memory() -> MemoryBody {
    let used = bytes("/proc/self/status", "VmRSS:");
    let total = bytes("/proc/meminfo", "MemTotal:");
    MemoryBody {
        used_bytes: used,
        available_bytes: bytes("/proc/meminfo", "MemAvailable:"),
        percent: used.zip(total).map(|(used, total)| percent(used, total)),
    }
}

/// A line of a file that gives kibibytes.
fn bytes(file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts the bytes of a percentage")]
fn percent(part: u64, whole: u64) -> f64 {
    rounded(100.0 * part as f64 / whole.max(1) as f64)
}

/// How much the processor did for this process, from report to report.
pub(super) struct ProcessorUse(Mutex<Spell>);

/// Since when, what had been done by then, and what the last whole spell came to.
struct Spell {
    since: Instant,
    done: Duration,
    percent: Option<f64>,
}

impl Default for ProcessorUse {
    fn default() -> Self {
        Self(Mutex::new(Spell { since: Instant::now(), done: processor_time(), percent: None }))
    }
}

impl ProcessorUse {
    pub(super) fn since_last_time(&self) -> ProcessorBody {
        let mut spell = self.0.lock().expect("no holder of this lock panics");
        let (passed, done) = (spell.since.elapsed(), processor_time());
        if LEAST_SPELL <= passed {
            let busy = done.saturating_sub(spell.done);
            let percent = rounded(100.0 * busy.as_secs_f64() / passed.as_secs_f64());
            *spell = Spell { since: Instant::now(), done, percent: Some(percent) };
        }
        ProcessorBody { percent: spell.percent }
    }
}

/// Of all threads together, since the process began.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
