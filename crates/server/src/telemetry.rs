//! Log lines: JSON, one object a line, on standard output.

pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod optimizer;
mod process;
pub(crate) mod resource;
pub(crate) mod store;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts logging for the life of the process.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_span_events(FmtSpan::NONE)
        .with_env_filter(filter)
        .finish();
    // A second start in one process, as tests make it, keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
