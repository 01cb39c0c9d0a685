//! What is logged, and how much of it.
//!
//! Records go to standard error, where systemd's journal adds the time, and to the page. The level can be changed while the process
//! runs, for modicd's own records only: what libraries say at lower levels may hold what peers sent.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::deliver::commands::Verbosity;

/// How the level is changed once logging has begun.
struct Control {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    /// Changes so far, by which an older one knows that its end has no meaning any more.
    changes: AtomicU64,
}

static CONTROL: OnceLock<Control> = OnceLock::new();

/// Why the level could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// Logging was never started.
    #[error("this process does not log")]
    NotStarted,
    /// The subscriber is gone.
    #[error("the log's filter can't be changed")]
    Reload(#[source] reload::Error),
}

/// Starts logging at the level that the environment variable `RUST_LOG` says, or at `default_level`.
pub fn start(default_level: &str) {
    let chosen = std::env::var("RUST_LOG").unwrap_or_else(|_| default_level.to_owned());
    let configured = format!("{chosen},tract=warn,{}", crate::broker::LOG_DIRECTIVE);
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&configured));
    let journal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(crate::page::logs::layer())
        .init();
    // A second start would have panicked in init().
    let _ = CONTROL.set(Control { filter: handle, configured, changes: AtomicU64::new(0) });
}

/// Logs modicd's own records from this level on, for a time or until the next call. Needs tokio's runtime.
pub fn set_for(level: Verbosity, time: Duration) -> Result<(), LevelError> {
    let control = CONTROL.get().ok_or(LevelError::NotStarted)?;
    let directives = format!("{},modicd={}", control.configured, level.as_str());
    tracing::info!(level = level.as_str(), "The log's level is changed.");
    control.filter.reload(EnvFilter::new(directives)).map_err(LevelError::Reload)?;
    let change = control.changes.fetch_add(1, Ordering::Relaxed) + 1;
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        if control.changes.load(Ordering::Relaxed) != change {
            return;
        }
        match control.filter.reload(EnvFilter::new(&control.configured)) {
            Ok(()) => tracing::info!("The log's level is the configured one again."),
            Err(error) => tracing::error!(%error, "The log's filter can't be changed."),
        }
    });
    Ok(())
}
