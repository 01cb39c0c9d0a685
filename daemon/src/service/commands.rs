//! Carries out what was asked for over MQTT, one request after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bundles::{self, UpdateError};
use crate::config::Config;
use crate::deliver::commands::{
    BundleActivate, BundleRollback, BundleStage, Check, Command, CommandState, Desk, LogLevel,
    Request,
};
use crate::domain::StudyRef;
use crate::store::index::Requested;
use crate::store::{Index, write_atomically};
use crate::{logging, support};

/// At a stop a request may go on for this long: fetching a bundle can take minutes.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What becomes of a request: what was checked, or the code of the reason why it failed.
type Carried = Result<Vec<Check>, (&'static str, Vec<Check>)>;

/// What requests are carried out with.
pub struct Executor {
    pub config: Config,
    pub index: Index,
    pub bundles: Arc<bundles::Store>,
    pub desk: Arc<Desk>,
    pub waiting: mpsc::Receiver<Command>,
}

impl Executor {
    /// Works until `shutdown`; a request at work is finished first if it ends within [`STOP_GRACE`]. One that doesn't counts as
    /// interrupted at the next start.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let command = tokio::select! {
                () = shutdown.cancelled() => return,
                command = self.waiting.recv() => command,
            };
            let Some(command) = command else { return };
            let (config, index) = (self.config.clone(), self.index.clone());
            let (desk, bundles) = (Arc::clone(&self.desk), Arc::clone(&self.bundles));
            let done = tokio::task::spawn_blocking(move || {
                desk.answer(&command, CommandState::Running, None, Vec::new())?;
                let (state, reason, checks) =
                    match carry_out(&command.request, &config, &index, &bundles) {
                        Ok(checks) => (CommandState::Succeeded, None, checks),
                        Err((reason, checks)) => (CommandState::Failed, Some(reason), checks),
                    };
                desk.answer(&command, state, reason, checks)
            });
            let is_over = async {
                shutdown.cancelled().await;
                sleep(STOP_GRACE).await;
            };
            let done = tokio::select! {
                done = done => done,
                () = is_over => {
                    tracing::warn!("A command is left unfinished, since the daemon stops.");
                    // After a reload it may still be at work beside the next service.
                    self.desk.leave();
                    return;
                }
            };
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "A command could not be answered."),
                Err(_) => tracing::error!("A command ended in a panic."),
            }
        }
    }
}

fn carry_out(request: &Request, config: &Config, index: &Index, store: &bundles::Store) -> Carried {
    match request {
        Request::StudyRerun(rerun) => run_again(&rerun.study_ref, index),
        Request::SelfTest(_) => self_test(config, index),
        Request::LogLevel(LogLevel { level, for_s, .. }) => {
            let time = Duration::from_secs((*for_s).into());
            logging::set_for(*level, time).map_err(|error| failed("log_level", error))?;
            Ok(Vec::new())
        }
        Request::BundleStage(BundleStage { url, sha256, .. }) => {
            update(|| store.stage(&bundles::fetch(url, Some(sha256), &config.bundles)?).map(drop))
        }
        Request::BundleActivate(BundleActivate { name, sha256, .. }) => {
            update(|| store.activate(*name, Some(sha256)).map(drop))
        }
        Request::BundleRollback(BundleRollback { name, .. }) => {
            update(|| store.roll_back(*name).map(drop))
        }
        Request::SupportBundle(_) => support::keep(config)
            .map(|_| Vec::new())
            .map_err(|error| failed("support_bundle_failed", error)),
    }
}

/// The worker takes up what was changed before its next study.
fn update(change: impl FnOnce() -> Result<(), UpdateError>) -> Carried {
    change().map(|()| Vec::new()).map_err(|error| {
        let reason = error.reason.as_str();
        failed(reason, format!("{:#}", anyhow::Error::from(error)))
    })
}

fn run_again(study_ref: &StudyRef, index: &Index) -> Carried {
    match index.analyse_again(study_ref) {
        Ok(Requested::Due) => Ok(Vec::new()),
        Ok(Requested::UnknownStudy) => Err(("unknown_study", Vec::new())),
        Ok(Requested::InstancesRemoved) => Err(("instances_removed", Vec::new())),
        Err(error) => Err(failed("index_failed", error)),
    }
}

fn self_test(config: &Config, index: &Index) -> Carried {
    let probe = config.state_dir.join("self-test");
    let written = write_atomically(&probe, b"self-test")
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(std::fs::remove_file(&probe)?));
    let checks = vec![
        check("networks", bundles::analyser(config).map(drop)),
        check("state_dir", written),
        check("index", index.studies().map(drop)),
    ];
    if checks.iter().all(|check| check.ok) { Ok(checks) } else { Err(("self_test_failed", checks)) }
}

fn check<E: std::fmt::Display>(check: &'static str, result: Result<(), E>) -> Check {
    let ok = result.is_ok();
    if let Err(error) = result {
        tracing::error!(check, %error, "The self-test found a fault.");
    }
    Check { check, ok }
}

fn failed(reason: &'static str, error: impl std::fmt::Display) -> (&'static str, Vec<Check>) {
    tracing::error!(reason, %error, "A command failed.");
    (reason, Vec::new())
}
