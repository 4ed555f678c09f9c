//! What the operating system says of this process; nothing where there is no `/proc`.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Meter;
use rustix::param::{clock_ticks_per_second, page_size};

/// A share of the processor is told over no less than this, however often one asks.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn observe(meter: &Meter) {
    gauge(meter, "process_resident_memory_bytes", "By", "Resident memory", || Some(stat()?.resident_bytes));
    gauge(meter, "process_virtual_memory_bytes", "By", "Virtual memory", || Some(stat()?.virtual_bytes));
    gauge(meter, "memory_usage_bytes", "By", "Resident memory", || Some(stat()?.resident_bytes));
    gauge(meter, "process_open_fds", "{file}", "Open file descriptors", open_files);
    gauge(meter, "process_max_fds", "{file}", "File descriptors that may be open", max_open_files);
    gauge(meter, "process_threads", "{thread}", "Threads", || Some(stat()?.threads));

    meter
        .f64_observable_counter("process_cpu_seconds_total")
        .with_unit("s")
        .with_description("Processor time used, in user and system mode")
        .with_callback(|to| {
            if let Some(stat) = stat() {
                to.observe(stat.cpu.as_secs_f64(), &[]);
            }
        })
        .build();
    meter
        .f64_observable_gauge("process_start_time_seconds")
        .with_unit("s")
        .with_description("When the process started, since the Unix epoch")
        .with_callback(|to| {
            if let Some(start) = stat().and_then(|stat| stat.start_time()) {
                to.observe(start.as_secs_f64(), &[]);
            }
        })
        .build();
    let usage = Arc::new(Mutex::new(Usage::default()));
    meter
        .f64_observable_gauge("cpu_usage_percent")
        .with_unit("%")
        .with_description("Processor time used of late, as a share of one core")
        .with_callback(move |to| {
            if let Some(percent) = usage.lock().ok().and_then(|mut usage| usage.percent(stat()?.cpu)) {
                to.observe(percent, &[]);
            }
        })
        .build();
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    value: fn() -> Option<u64>,
) {
    meter
        .u64_observable_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |to| {
            if let Some(value) = value() {
                to.observe(value, &[]);
            }
        })
        .build();
}

/// How busy the process was between two looks.
#[derive(Default)]
struct Usage {
    last: Option<(Instant, Duration)>,
    percent: Option<f64>,
}

impl Usage {
    fn percent(&mut self, cpu: Duration) -> Option<f64> {
        let now = Instant::now();
        match self.last {
            Some((then, _)) if now - then < SHORTEST => {}
            Some((then, before)) => {
                let share = cpu.saturating_sub(before).as_secs_f64() / (now - then).as_secs_f64();
                self.percent = Some(share * 100.0);
                self.last = Some((now, cpu));
            }
            None => self.last = Some((now, cpu)),
        }
        self.percent
    }
}

struct Stat {
    cpu: Duration,
    threads: u64,
    /// Since the system started.
    start: Duration,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn start_time(&self) -> Option<Duration> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(Duration::from_secs(boot.trim().parse().ok()?) + self.start)
    }
}

fn stat() -> Option<Stat> {
    parsed(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// By `proc_pid_stat(5)`; the name, in brackets, may hold blanks and brackets.
fn parsed(text: &str) -> Option<Stat> {
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // The first here is the third there.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = |ticks: u64| Duration::from_millis(ticks * 1000 / clock_ticks_per_second().max(1));
    Some(Stat {
        cpu: ticks(field(14)? + field(15)?),
        threads: field(20)?,
        start: ticks(field(22)?),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page_size() as u64,
    })
}

fn open_files() -> Option<u64> {
    // One of them is the folder that is being counted.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn max_open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let numbers = (4..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let stat = parsed(&format!("17 (a ) 1 (b) R {numbers}")).unwrap();

        assert_eq!(stat.threads, 20);
        assert_eq!(stat.virtual_bytes, 23);
        assert_eq!(stat.resident_bytes, 24 * page_size() as u64);
        assert_eq!(stat.cpu, Duration::from_millis(29 * 1000 / clock_ticks_per_second()));
    }

    #[test]
    fn the_use_of_the_processor_is_told_over_a_second_at_least() {
        let mut usage = Usage::default();

        assert_eq!(usage.percent(Duration::ZERO), None);
        assert_eq!(usage.percent(Duration::from_secs(9)), None);
    }
}
