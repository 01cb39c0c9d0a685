//! One service after another in one process: a changed configuration is taken as a whole, or refused as a whole.
//!
//! What the new configuration names is opened first; only then is the running service stopped in order, and the next one
//! started with the same ports and the same index. If it can't start even so, the former configuration comes back.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Handover, Service};
use crate::audit::Event;
use crate::config::Config;
use crate::store::Disk;
use crate::{preflight, supervision};

/// For `systemctl status`.
const RUNNING: &str = "Receiving and analysing exams.";
const WAITING_FOR_SPACE: &str = "Waiting for space on the disk.";
const REFUSED: &str =
    "Running; a changed configuration was refused, see the journal and `modicd check`.";

/// Less free than this, bytes, and index and outbox can't be opened.
const SPACE_TO_START: u64 = 4 << 20;
/// Between two looks at a full disk.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the daemon with the configuration of a file: until SIGTERM or SIGINT; at SIGHUP the file is read again.
///
/// # Errors
/// The file can't be used at the start, or the daemon became unusable while it ran.
pub async fn serve(path: &Path) -> anyhow::Result<()> {
    let mut config = Config::load(path)?;
    let mut signals = Signals::new().context("can't watch for signals")?;
    if !wait_for_space(&config.state_dir, &mut signals).await {
        return Ok(());
    }
    let mut service = Service::start(config.clone(), None).await?;
    supervision::ready(RUNNING);
    loop {
        let refused = service.config_refused();
        let stop = CancellationToken::new();
        let mut running = tokio::spawn(service.run(stop.clone()));
        let next = loop {
            let asked = tokio::select! {
                ended = &mut running => {
                    ended.context("the daemon ended in a panic")??.end().await;
                    return Ok(());
                }
                asked = signals.next() => asked,
            };
            if asked == Asked::Stop {
                tracing::info!("Asked to stop.");
                supervision::stopping();
                stop.cancel();
                running.await.context("stopping ended in a panic")??.end().await;
                return Ok(());
            }
            match read_again(path, &config).await {
                Ok(next) => break next,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "The configuration is refused; the former one stays.");
                    refused.store(true, Ordering::Relaxed);
                    supervision::status(REFUSED);
                }
            }
        };
        tracing::info!("The configuration is read again.");
        supervision::reloading();
        stop.cancel();
        let mut former = running.await.context("stopping ended in a panic")??;
        (service, config) = start_next(next, config, &mut former).await?;
    }
}

/// Waits while the disk is so full that nothing can be opened: to end, and be started again and again, would make the service
/// manager give up. False when asked to stop meanwhile.
async fn wait_for_space(state_dir: &Path, signals: &mut Signals) -> bool {
    let mut told = false;
    while Disk::has_less_than(state_dir, SPACE_TO_START) {
        if !told {
            tracing::error!(
                needed_bytes = SPACE_TO_START,
                "The disk is full: the start waits for space. See what fills it."
            );
            told = true;
        }
        supervision::starting(WAITING_FOR_SPACE, 2 * LOOK_INTERVAL);
        tokio::select! {
            () = sleep(LOOK_INTERVAL) => {}
            asked = signals.next() => if asked == Asked::Stop { return false },
        }
    }
    true
}

async fn start_next(
    next: Config,
    config: Config,
    former: &mut Handover,
) -> anyhow::Result<(Service, Config)> {
    match Service::start(next.clone(), Some(former)).await {
        Ok(service) => {
            service.auditor.note(&Event::Reconfigured);
            supervision::ready(RUNNING);
            Ok((service, next))
        }
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "The configuration can't be taken; the former one comes back."
            );
            let service = Service::start(config.clone(), Some(former)).await?;
            service.config_refused().store(true, Ordering::Relaxed);
            supervision::ready(REFUSED);
            Ok((service, config))
        }
    }
}

/// Reads the file and opens what it names.
async fn read_again(path: &Path, current: &Config) -> anyhow::Result<Config> {
    let config = Config::load(path)?;
    anyhow::ensure!(
        config.state_dir == current.state_dir,
        "state_dir can't change while the daemon runs; stop it, move the folder, start it"
    );
    let checked = config.clone();
    tokio::task::spawn_blocking(move || preflight::check(&checked))
        .await
        .context("checking the configuration ended in a panic")??;
    Ok(config)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.reload.recv() => Asked::Reload,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}
