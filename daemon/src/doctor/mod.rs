//! Doctor: what is wrong with a box, and what to do about it.
//!
//! Owns the checks that a field engineer runs before, during and after an installation. Promises that each check says what
//! it found and, unless all is well, what to do; that nothing is changed (what a check writes it removes again); and that
//! a running daemon is not disturbed. Never says anything of a patient.

mod daemon;
mod files;
mod machine;
mod network;
mod networks;

use serde::Serialize;

use crate::config::Config;
use crate::status::Status;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It can't be told here, or doesn't apply.
    Skipped,
    /// As it should be.
    Ok,
    /// It works, but not well, or not for long.
    Warning,
    /// Something doesn't work.
    Fault,
}

/// One check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked: a word, with the configuration's name of it where there are several.
    pub check: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; absent where nothing need be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Check {
        Check { check: check.into(), verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    fn skipped(check: impl Into<String>, found: impl Into<String>) -> Check {
        Check { verdict: Verdict::Skipped, ..Check::ok(check, found) }
    }

    fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        let remedy = Some(remedy.into());
        Check { verdict: Verdict::Warning, remedy, ..Check::ok(check, found) }
    }

    fn fault(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check { verdict: Verdict::Fault, ..Check::warning(check, found, remedy) }
    }
}

/// Every check with a configuration that is valid. Blocks; takes some seconds, longer where peers don't answer.
pub fn examine(config: &Config) -> Vec<Check> {
    let status = Status::read(&config.state_dir).ok().flatten();
    let mut checks = daemon::checks(status.as_ref());
    checks.extend(files::checks(config));
    checks.extend(machine::checks(config));
    checks.extend(networks::checks(config));
    checks.extend(network::checks(config, status.is_some_and(|status| status.is_alive())));
    checks
}

/// Runs what waits for something else. Blocks.
fn wait_for<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// What to say of a configuration that is not valid: no other check can follow.
pub fn invalid(error: &anyhow::Error) -> Vec<Check> {
    let remedy = "Correct the file; systemd/modicd.toml in the sources explains every key.";
    vec![Check::fault("configuration", format!("{error:#}"), remedy)]
}
