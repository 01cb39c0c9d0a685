//! `modicd run`: the daemon.

use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::service::Service;

/// Run the daemon until SIGTERM or SIGINT: then the DICOM port closes, the study at work is finished and
/// what waits for the broker is offered once more.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; systemd/modicd.toml in the sources explains every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = Config::load(&args.config)?;
    super::runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        let service = Service::start(config).await?;
        tokio::spawn({
            let shutdown = shutdown.clone();
            let mut terminate =
                signal(SignalKind::terminate()).context("can't watch for SIGTERM")?;
            let mut interrupt =
                signal(SignalKind::interrupt()).context("can't watch for SIGINT")?;
            async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("Asked to stop.");
                shutdown.cancel();
            }
        });
        service.run(shutdown).await
    })?;
    Ok(super::EXIT_OK)
}
