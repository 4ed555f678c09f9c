//! Log lines: JSON, one object a line, on standard output.

use anyhow::{Context, ensure};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts logging for the life of the process.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    let refusal = || format!("LOG_LEVEL (log.level): {level:?} is neither a level nor a log filter");
    // A filter takes any lone word for the name of a module, and so `verbose` for silence.
    let lone_words = level.split(',').filter(|directive| !directive.contains(['=', '[']));
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    ensure!(lone_words.into_iter().all(is_level), refusal());
    let filter = EnvFilter::try_new(level).with_context(refusal)?;
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
