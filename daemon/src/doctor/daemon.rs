//! The daemon itself, by what it last said of itself.

use std::time::Duration;

use super::Check;
use crate::status::Status;

/// A running daemon writes its status at least every 30 s.
const STALE: Duration = Duration::from_secs(120);
/// Messages that wait longer mean that the broker doesn't take them.
const OLD_MESSAGES_S: u64 = 600;

/// `status` is that of the state folder, if a daemon has written one.
pub(super) fn checks(status: Option<&Status>) -> Vec<Check> {
    const NAME: &str = "daemon";
    let Some(status) = status else {
        return vec![Check::skipped(NAME, "hasn't run yet with this state_dir")];
    };
    if !status.is_alive() {
        let remedy = "Start it: systemctl start modicd; journalctl -u modicd says why it ended.";
        return vec![Check::warning(NAME, status.condition(), remedy)];
    }
    let age = status.age();
    let mut checks = vec![if age > STALE {
        let found = format!("runs, but has said nothing for {} s", age.as_secs());
        let remedy =
            "It hangs, or the disk is full: journalctl -u modicd; then systemctl restart modicd.";
        Check::fault(NAME, found, remedy)
    } else {
        Check::ok(NAME, status.condition())
    }];
    for reason in status.reasons() {
        checks.push(Check::warning("health", reason.as_str(), reason.what_to_do()));
    }
    let outbox = &status.health["outbox"];
    let oldest_s = outbox["oldest_age_s"].as_u64().unwrap_or_default();
    if oldest_s > OLD_MESSAGES_S {
        checks.push(Check::warning(
            "outbox",
            format!(
                "{} messages wait for the broker, the oldest for {oldest_s} s",
                outbox["messages"]
            ),
            "See the check of the broker; nothing is lost meanwhile.",
        ));
    }
    checks
}
